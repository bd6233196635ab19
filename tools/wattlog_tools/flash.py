"""`wattlog-tools flash`: from a firmware file and a TOML file to a head that runs."""

import argparse
import os
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from wattlog_tools import esptool, firmware_file, head_files, head_settings, partitions
from wattlog_tools.chips import CHIPS, Chip, by_name
from wattlog_tools.console import EXIT_OK, ToolError

FIRMWARE_NAME = "firmware.bin"
FILES_NAME = "vfs.bin"


class Part(NamedTuple):
    """Bytes and their place in the flash."""

    offset: int
    name: str
    data: bytes


def main(arguments: Sequence[str]) -> int:
    """Check, build and write; return the exit status."""
    options = _parser().parse_args(arguments)
    chip = by_name(options.chip)
    head = head_settings.read(options.config, chip)
    if options.check_config:
        print("\n".join(head_settings.shown(head)))
        return EXIT_OK
    _check_options(options)
    if options.port is not None:
        esptool.require(options.port)
    parts = build(head, chip, None if options.app_only else options.firmware)
    for part in parts:
        print(f"{part.name:{len(FIRMWARE_NAME)}}  {len(part.data):>8} bytes at {part.offset:#x}")
    if options.image_only is not None:
        places = _save(parts, options.image_only)
        line = esptool.write_flash(chip, "PORT", options.baud, places, options.erase)
        print(shlex.join(["esptool", *line]))
        return EXIT_OK
    with tempfile.TemporaryDirectory(prefix="wattlog-flash-") as folder:
        places = _save(parts, Path(folder))
        line = esptool.write_flash(chip, options.port, options.baud, places, options.erase)
        esptool.run(line, options.port)
    print(f"done: the head {head.checked['agent.id']} starts now; what it says: 115200 baud there")
    return EXIT_OK


def build(head: head_settings.HeadSettings, chip: Chip, firmware: Path | None) -> list[Part]:
    """Return what goes into the flash; without a firmware it is the file system only."""
    parts = []
    if firmware is not None:
        data = firmware_file.read(firmware, chip)
        parts.append(Part(chip.firmware_offset, FIRMWARE_NAME, data))
    settings = head_settings.pack(head.checked)
    files = head_files.head_files(settings, head_files.compile_modules(), head.ca)
    image = head_files.file_system(files)
    parts.append(Part(partitions.find("vfs").offset, FILES_NAME, image))
    return parts


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wattlog-tools flash",
        description="Makes an IR head of an ESP32: checks the settings, puts wattlog beside "
        "MicroPython's firmware, and writes both into the chip. What waits in the head's log for "
        "the host stays, unless --erase is given. The files hold the passwords of the settings.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config", type=Path, required=True, metavar="TOML", help="the settings, like head.toml"
    )
    parser.add_argument("--chip", choices=[chip.name for chip in CHIPS], required=True)
    parser.add_argument(
        "--firmware", type=Path, metavar="BIN", help="MicroPython's .bin for the board"
    )
    parser.add_argument("--port", metavar="PORT", help="where the board is, like /dev/ttyUSB0")
    parser.add_argument(
        "--image-only",
        type=Path,
        metavar="DIR",
        help="write nothing into a chip; leave the files there and print esptool's command",
    )
    parser.add_argument(
        "--app-only",
        action="store_true",
        help="write wattlog and the settings only: the firmware is there already",
    )
    parser.add_argument(
        "--erase", action="store_true", help="erase the whole chip first, its log too"
    )
    parser.add_argument(
        "--baud",
        type=int,
        default=esptool.BAUD,
        metavar="N",
        help=f"speed of writing (default {esptool.BAUD})",
    )
    parser.add_argument(
        "--check-config", action="store_true", help="print the settings in effect, and no more"
    )
    return parser


def _check_options(options: argparse.Namespace) -> None:
    if (options.port is None) == (options.image_only is None):
        raise ToolError("either --port, to write into a board, or --image-only, to keep the files")
    if options.app_only and (options.firmware is not None or options.erase):
        raise ToolError("--app-only leaves the firmware as it is: no --firmware, no --erase")
    if options.firmware is None and not options.app_only:
        raise ToolError(
            f"--firmware is missing: {firmware_file.where_from(by_name(options.chip))}; or "
            "--app-only, where wattlog runs on this board already"
        )


def _save(parts: Sequence[Part], folder: Path) -> list[tuple[int, Path]]:
    """Write the files for this user's eyes only; return where each goes in the flash."""
    places = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for part in parts:
            path = folder / part.name
            path.unlink(missing_ok=True)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(part.data)
            places.append((part.offset, path))
    except OSError as err:
        raise ToolError(
            f"cannot write to {folder}: {(err.strerror or str(err)).lower()}"
        ) from None
    return places
