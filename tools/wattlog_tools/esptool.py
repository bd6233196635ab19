"""esptool, which writes into a chip's flash: called as a program, and its failures in words.

It is under the GPL and we are not, so it is never imported.
"""

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from wattlog_tools import partitions
from wattlog_tools.chips import Chip
from wattlog_tools.console import ToolError

BAUD = 460_800

# What esptool says, as a pattern, and what that means for the person at the board.
FAILURES = (
    (
        r"Wrong chip argument",
        "the chip on {port} is not the one that --chip names: {detail}",
    ),
    (
        r"Could not open .*, the port is busy or doesn't exist",
        "{port} cannot be opened: end the program that has it, such as a serial monitor",
    ),
    (
        r"Failed to connect to|No serial data received",
        "no answer from the board on {port}: hold its BOOT button, press EN (or RST) once, and "
        "start this again; a cable that only charges would look the same",
    ),
    (
        r"will not fit in",
        "the board's flash is smaller than 4 MB: {detail}",
    ),
    (
        r"MD5 of file does not match",
        "what was written is not what was sent: try again with --baud 115200",
    ),
    (
        r"Invalid head of packet|Timed out waiting|Packet content transfer stopped",
        "the line to the board is bad: try again with --baud 115200, or another cable",
    ),
)


def write_flash(
    chip: Chip, port: str, baud: int, parts: Sequence[tuple[int, Path]], erases_all: bool
) -> list[str]:
    """Return esptool's arguments that write the files to these places in the flash.

    A firmware made for a larger flash would not start on 4 MB; esptool puts that right in its
    header. On a larger flash our partitions are the same.
    """
    arguments = ["--chip", chip.name, "--port", port, "--baud", str(baud), "write-flash"]
    arguments += ["--flash-size", f"{partitions.FLASH_BYTES >> 20}MB"]
    if erases_all:
        arguments.append("--erase-all")
    for offset, path in parts:
        arguments += [f"{offset:#x}", str(path)]
    return arguments


def require(port: str) -> None:
    """Raise ToolError where esptool or the port is not there for us."""
    if importlib.util.find_spec("esptool") is None:
        raise ToolError("esptool is missing; install it: pip install 'wattlog[flash]'")
    if "://" in port:
        return  # pyserial knows ports that are no files
    if not Path(port).exists():
        raise ToolError(f"there is no port {port}: is the board plugged in? `ls /dev/tty*` tells")
    if not os.access(port, os.R_OK | os.W_OK):
        raise ToolError(
            f"{port} may not be opened by you: `sudo usermod -aG dialout $USER`, then log in again"
        )


def run(arguments: Sequence[str], port: str) -> None:
    """Run esptool, its progress on our output; raises ToolError in words if it fails."""
    said = []
    with subprocess.Popen(
        [sys.executable, "-m", "esptool", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout is not None
        # Not by line: a bar of progress is one line until it is full.
        while piece := os.read(process.stdout.fileno(), 4096):
            sys.stdout.write(piece.decode(errors="replace"))
            sys.stdout.flush()
            said.append(piece)
    if process.returncode:
        raise ToolError(in_words(b"".join(said).decode(errors="replace"), port))


def in_words(said: str, port: str) -> str:
    """Return what went wrong for a person, from all that esptool printed."""
    lines = [line.strip() for line in re.split(r"[\r\n]+", said) if line.strip()]
    for pattern, words in FAILURES:
        for line in lines:
            if re.search(pattern, line):
                detail = re.sub(r"^.*?fatal error occurred: ", "", line)
                return words.format(port=port, detail=detail)
    return f"esptool failed: {lines[-1] if lines else 'it says nothing'}"
