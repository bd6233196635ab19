"""`wattlog-tools bundle`: an update over the air, signed for a head, for a host's folder.

The signature is a keyed MAC: the head's update.key makes it and checks it. Whoever can read the
key out of a head's flash can sign for that head; so each head should have its own.
"""

import argparse
import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from wattlog import __version__
from wattlog_host.clock import now_ms
from wattlog_tools import head_files, head_settings
from wattlog_tools.chips import CHIPS, by_name
from wattlog_tools.console import EXIT_OK, ToolError

HEAD = "wattlog-update 1"
KEY_BYTES = 32
_BUILD_EPOCH_S = 1_767_225_600  # 2026-01-01: builds are seconds since then


def main(arguments: Sequence[str]) -> int:
    """Make the bundle; return the exit status."""
    options = _parser().parse_args(arguments)
    checked = head_settings.read(options.config, by_name(options.chip)).checked
    if checked["update.key"] is None:
        raise ToolError(
            f"{options.config}: update.key is missing, without which a head takes no update; "
            f"flash it with one of its own, like this new one: {secrets.token_hex(KEY_BYTES)}"
        )
    build = options.build if options.build is not None else now_ms() // 1000 - _BUILD_EPOCH_S
    release = f"{__version__}+{build}"
    data = pack(head_files.compile_modules(), release, bytes.fromhex(checked["update.key"]))
    path = options.out / f"{checked['agent.id']}.wlu"
    _save(path, data)
    print(f"{path}: {release}, {len(data)} bytes, for the head {checked['agent.id']}")
    return EXIT_OK


def pack(modules: Mapping[str, bytes], release: str, key: bytes) -> bytes:
    """Return the bundle: a line with release, byte code's version, size, SHA-256 and MAC, then
    each file behind a line with its path and size. Format: agent/SPEC.md.
    """
    files = head_files.slot_files(modules, release)
    body = b"".join(
        f"{path} {len(data)}\n".encode() + data for path, data in sorted(files.items())
    )
    mpy = next(iter(modules.values()))[1]
    digest = hashlib.sha256(body).hexdigest()
    vouched = f"{release} {mpy} {len(body)} {digest}"
    mac = hmac.new(key, vouched.encode(), hashlib.sha256).hexdigest()
    return f"{HEAD} {vouched} {mac}\n".encode() + body


def _save(path: Path, data: bytes) -> None:
    """Put the file in place whole: a host may be looking into the folder."""
    beside = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(data)
        os.replace(beside, path)
    except OSError as err:
        raise ToolError(f"cannot write {path}: {(err.strerror or str(err)).lower()}") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wattlog-tools bundle",
        description="Makes an update of wattlog for one head, signed with the update.key of its "
        "settings. Put it into the folder `updates` beside the host's database: the host offers "
        "it to the head, which takes it if it is newer, tries it, and goes back if no reading "
        "reaches the host within 10 minutes.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config", type=Path, required=True, metavar="TOML", help="the head's settings"
    )
    parser.add_argument("--chip", choices=[chip.name for chip in CHIPS], required=True)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="where to: the host's `updates`"
    )
    parser.add_argument(
        "--build",
        type=int,
        metavar="N",
        help="number of this build; of one version the greater is newer (default: from the clock)",
    )
    return parser
