"""`wattlog-tools head`: the raw bytes that an IR head hears, and a restart of it, from afar."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from wattlog_host import eyes
from wattlog_host.bounds import WireError
from wattlog_tools import remote
from wattlog_tools.console import EXIT_OK, StopSignal, ToolError
from wattlog_tools.remote import Remote

RAW_BYTES = 1_024
RAW_S_MAX = 70.0
"""A head ends after 60 s."""
RESTART_S_MAX = 60.0


def main(arguments: Sequence[str]) -> int:
    """Do what is asked for; return the exit status."""
    options = _parser().parse_args(arguments)
    if options.act == "raw" and not 1 <= options.bytes <= eyes.RAW_BYTES_MAX:
        raise ToolError(f"--bytes must be 1 to {eyes.RAW_BYTES_MAX}")
    with Remote(options) as head:
        boot = head.online().boot
        assert boot is not None
        head.stop = StopSignal()
        if options.act == "raw":
            _raw(head, options.bytes, options.out)
        else:
            _restart(head, boot)
    return EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wattlog-tools head",
        description="Asks an IR head for the raw bytes that come over its ports from now on, or "
        "restarts it. Nothing that waits in its log is lost.",
        allow_abbrev=False,
    )
    parser.add_argument("act", choices=("raw", "restart"), help="what the head shall do")
    remote.add_options(parser)
    parser.add_argument(
        "--bytes",
        type=int,
        default=RAW_BYTES,
        metavar="N",
        help=f"so many bytes, of all ports together (default {RAW_BYTES})",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="write the bytes there, as they came; the head must have one port that talks",
    )
    return parser


def _raw(head: Remote, count: int, out: Path | None) -> None:
    head.send(eyes.pack_raw_wish(count))
    data: dict[str, bytes] = {}
    end_s = time.monotonic() + RAW_S_MAX
    while sum(map(len, data.values())) < count and not head.is_stopped():
        payload = head.answer(max(0.0, end_s - time.monotonic()))
        if payload is None:
            break
        try:
            piece = eyes.decode_raw(payload)
        except WireError:
            continue  # of a PIN by light, that somebody else has asked for
        before = data.get(piece.port, b"")
        if piece.offset != len(before):
            raise ToolError(
                f"{piece.port}: a hole at {len(before)}: the next piece is of {piece.offset}; "
                "somebody else may have asked too, so ask again"
            )
        data[piece.port] = before + piece.data
        if out is None:
            print(f"{piece.port} {piece.offset:04x} {piece.data.hex(' ')}", flush=True)
    total = sum(map(len, data.values()))
    if not total:
        raise ToolError(f"not a byte came of {head.edge}: is its IR head on the meter?")
    if out is not None:
        _write(out, data)
    print(f"{total} of {count} bytes, no hole")


def _write(out: Path, data: dict[str, bytes]) -> None:
    if len(data) > 1:
        raise ToolError(f"--out {out}: bytes came of {' and '.join(sorted(data))}; leave it out")
    try:
        out.write_bytes(b"".join(data.values()))
    except OSError as err:
        raise ToolError(f"{out}: {(err.strerror or str(err)).lower()}") from None


def _restart(head: Remote, boot: int) -> None:
    head.send(eyes.pack_restart(boot))
    if not head.wait_for_goodbye(RESTART_S_MAX):
        raise ToolError(f"{head.edge} goes on: its wattlog is too old for this")
    print(f"{head.edge} has said goodbye and restarts")
