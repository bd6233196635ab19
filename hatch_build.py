"""Puts the chart library beside the page when the package is built; it is never committed.

frontend.lock.json names it, with its checksum and the files to take. The archive comes from the
first of: files that are here already, the folder in WATTLOG_TARBALLS, `npm pack`, the registry.
Nothing of it is run. By hand: `python hatch_build.py`.
"""

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # by hand, without the build system
    BuildHookInterface = object  # type: ignore[assignment, misc]

ROOT = Path(__file__).resolve().parent
LOCK = "frontend.lock.json"
STAMP = "stamp.json"
TARBALLS = "WATTLOG_TARBALLS"
ARCHIVE_BYTES_MAX = 10_000_000
FETCH_S_MAX = 60


class VendorError(Exception):
    """The chart library cannot be had; str() is one line that says why and what to do."""


class CustomBuildHook(BuildHookInterface):
    """What hatchling calls before it builds a wheel, an sdist or an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Put the files in place; raise VendorError where that is not possible.

        An editable install goes on without: the page says what is missing.
        """
        try:
            vendor(Path(self.root))
        except VendorError as err:
            if version != "editable" or os.environ.get("CI"):
                raise
            self.app.display_warning(str(err))


def vendor(root: Path) -> str:
    """Put the locked files below root; return where they came from.

    Raises VendorError where no source gives an archive with the locked checksum.
    """
    lock = json.loads((root / LOCK).read_text("utf-8"))
    target = root / lock["target"]
    if _is_in_place(target, lock):
        return "already in place"
    why = []
    for name, source in (
        (f"the folder in {TARBALLS}", _from_folder),
        ("npm pack", _from_npm),
        ("the registry", _from_registry),
    ):
        try:
            archive = source(lock)
        except (OSError, subprocess.SubprocessError, ValueError) as err:
            why.append(f"{name}: {err}")
            continue
        if archive is None:
            continue
        _unpack(archive, target, lock, name)
        return name
    raise VendorError(
        f"no source gave {lock['name']} {lock['version']} ({'; '.join(why) or 'none tried'}); "
        f"put {_file_name(lock)} into a folder and name it in {TARBALLS}"
    )


def _file_name(lock: dict[str, Any]) -> str:
    return f"{lock['name']}-{lock['version']}.tgz"


def _is_in_place(target: Path, lock: dict[str, Any]) -> bool:
    """Tell whether the files there are those that were unpacked for this lock."""
    try:
        stamp = json.loads((target / STAMP).read_text("utf-8"))
        return bool(stamp["integrity"] == lock["integrity"]) and all(
            stamp["sha256"][name] == hashlib.sha256((target / name).read_bytes()).hexdigest()
            for name in lock["files"].values()
        )
    except (OSError, ValueError, KeyError):
        return False


def _from_folder(lock: dict[str, Any]) -> bytes | None:
    folder = os.environ.get(TARBALLS)
    return (Path(folder) / _file_name(lock)).read_bytes() if folder else None


def _from_npm(lock: dict[str, Any]) -> bytes | None:
    npm = shutil.which("npm")
    if npm is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [
                npm, "pack", f"{lock['name']}@{lock['version']}", "--silent", "--ignore-scripts",
                "--pack-destination", folder,
            ],
            cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=FETCH_S_MAX, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            said = done.stderr.strip().splitlines()
            raise ValueError(said[-1] if said else f"ended with {done.returncode}")
        return (Path(folder) / _file_name(lock)).read_bytes()


def _from_registry(lock: dict[str, Any]) -> bytes:
    url = f"{lock['registry']}/{lock['name']}/-/{_file_name(lock)}"
    with urllib.request.urlopen(url, timeout=FETCH_S_MAX) as answer:
        return bytes(answer.read(ARCHIVE_BYTES_MAX))


def _unpack(archive: bytes, target: Path, lock: dict[str, Any], name: str) -> None:
    digest = base64.b64encode(hashlib.sha512(archive).digest()).decode()
    if f"sha512-{digest}" != lock["integrity"]:
        raise VendorError(
            f"{name} gave a {lock['name']} {lock['version']} whose checksum is not the one in "
            f"{LOCK}: nothing of it is used"
        )
    target.mkdir(parents=True, exist_ok=True)
    sums = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for inside, outside in lock["files"].items():
            member = tar.extractfile(inside)
            if member is None:
                raise VendorError(f"{lock['name']} {lock['version']} has no file {inside}")
            data = member.read()
            (target / outside).write_bytes(data)
            sums[outside] = hashlib.sha256(data).hexdigest()
    # The stamp goes last: half an archive is none.
    stamp = {key: lock[key] for key in ("name", "version", "licence", "integrity")}
    (target / STAMP).write_text(json.dumps({**stamp, "sha256": sums}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    try:
        print("wattlog: the chart library:", vendor(ROOT))  # noqa: T201
    except VendorError as err:
        sys.exit(f"wattlog: {err}")
