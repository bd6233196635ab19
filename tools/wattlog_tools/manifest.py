"""`wattlog-tools manifest`: a folder for a web server, from which browsers flash heads.

ESP Web Tools reads its manifest.json: the firmware of each chip, and wattlog's files beside it,
without settings, so that a head then asks for them. Its package.json is for MicroPython's own
installer, mip, on a board that runs already.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wattlog import __version__
from wattlog_tools import firmware_file, head_files, partitions
from wattlog_tools.chips import CHIPS, Chip, by_name
from wattlog_tools.console import EXIT_OK, ToolError

MANIFEST_NAME = "manifest.json"
PACKAGE_NAME = "package.json"
FILES_NAME = "wattlog-files.bin"
MODULES_FOLDER = "mpy"
# The head reads the serial port some seconds after its start; a browser asks again until then.
IMPROV_WAIT_S = 15
# What a board without its own firmware file may lack, as mip knows it.
_NEEDS = (("umqtt.simple", "latest"),)


def main(arguments: Sequence[str]) -> int:
    """Build the folder; return the exit status."""
    options = _parser().parse_args(arguments)
    chips = _chips(options.firmware)
    modules = head_files.compile_modules()
    files = head_files.head_files(b"", modules)
    del files[head_files.SETTINGS_PATH]
    content = {FILES_NAME: head_files.file_system(files)}
    for chip, path in chips.items():
        content[_firmware_name(chip)] = firmware_file.read(path, chip)
    library = {
        path.removeprefix("lib/"): code
        for path, code in files.items()
        if path.startswith("lib/") and path.endswith(".mpy")
    }
    content |= {f"{MODULES_FOLDER}/{path}": code for path, code in library.items()}
    content[MANIFEST_NAME] = _packed(manifest(list(chips)))
    content[PACKAGE_NAME] = _packed(package(list(library), options.base))
    _save(content, options.out)
    print(f"{options.out / MANIFEST_NAME} for {', '.join(chip.title for chip in chips)}")
    return EXIT_OK


def manifest(chips: Sequence[Chip]) -> dict[str, Any]:
    """Return what ESP Web Tools reads; paths are relative to it."""
    files_offset = partitions.find("vfs").offset
    return {
        "name": "wattlog",
        "version": __version__,
        # The log of a head that is flashed again holds readings: the person decides.
        "new_install_prompt_erase": True,
        "new_install_improv_wait_time": IMPROV_WAIT_S,
        "builds": [
            {
                "chipFamily": chip.title,
                "improv": True,
                "parts": [
                    {"path": _firmware_name(chip), "offset": chip.firmware_offset},
                    {"path": FILES_NAME, "offset": files_offset},
                ],
            }
            for chip in chips
        ],
    }


def package(modules: Sequence[str], base: str) -> dict[str, Any]:
    """Return what mip reads: where each file goes below /lib, and where it comes from."""
    place = base if not base or base.endswith("/") else base + "/"
    return {
        "urls": [[path, f"{place}{MODULES_FOLDER}/{path}"] for path in sorted(modules)],
        "deps": [list(need) for need in _NEEDS],
        "version": __version__,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wattlog-tools manifest",
        description="Builds a folder for a web server: with ESP Web Tools in a page beside it, a "
        "browser makes an IR head of a board. It holds no settings; a head asks for them.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--firmware",
        action="append",
        required=True,
        metavar="CHIP=BIN",
        help="MicroPython's .bin for a chip: " + ", ".join(chip.name for chip in CHIPS),
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="where the folder is made"
    )
    parser.add_argument(
        "--base",
        default="",
        metavar="URL",
        help="where the folder will be, for MicroPython's mip before 1.26; default: relative",
    )
    return parser


def _chips(given: Sequence[str]) -> dict[Chip, Path]:
    chips: dict[Chip, Path] = {}
    for word in given:
        name, equals, path = word.partition("=")
        if not equals or name not in [chip.name for chip in CHIPS]:
            known = ", ".join(f"{chip.name}=BIN" for chip in CHIPS)
            raise ToolError(f"--firmware {word}: write one of {known}")
        if by_name(name) in chips:
            raise ToolError(f"--firmware {word}: one file per chip")
        chips[by_name(name)] = Path(path)
    return chips


def _firmware_name(chip: Chip) -> str:
    return f"{chip.name}-firmware.bin"


def _packed(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=1) + "\n").encode()


def _save(content: Mapping[str, bytes], folder: Path) -> None:
    try:
        for name, data in content.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    except OSError as err:
        raise ToolError(
            f"cannot write to {folder}: {(err.strerror or str(err)).lower()}"
        ) from None
