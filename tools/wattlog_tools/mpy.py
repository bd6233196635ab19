"""`wattlog-tools mpy`: what each module of a head has in bytes, beside what was kept last."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from wattlog_tools.console import EXIT_OK, ToolError
from wattlog_tools.head_files import compile_modules

KEPT = Path("firmware/mpy-sizes.txt")
CORE = "wattlog"
CORE_BYTES_MAX = 48_000
"""A budget, not a limit: of the core's byte code, for a board that has to load it."""


def main(arguments: Sequence[str]) -> int:
    """Print the table; return the exit status."""
    options = _parser().parse_args(arguments)
    sizes = {name: len(code) for name, code in sorted(compile_modules().items())}
    kept = read(options.kept)
    for line in table(sizes, kept):
        print(line)
    if options.keep and sizes != kept:
        options.kept.write_text(pack(sizes))
        print(f"kept in {options.kept}: commit it")
    return EXIT_OK


def table(sizes: Mapping[str, int], kept: Mapping[str, int]) -> Iterator[str]:
    """Yield a line for each module, and the sums."""
    rows = [(name, sizes.get(name, 0), kept.get(name, 0)) for name in sorted({*sizes, *kept})]
    core = [name for name in sizes if name.partition(".")[0] == CORE]
    core_bytes = sum(sizes[name] for name in core)
    core_kept_bytes = sum(size for name, size in kept.items() if name.partition(".")[0] == CORE)
    rows.append(("the core", core_bytes, core_kept_bytes))
    rows.append(("all", sum(sizes.values()), sum(kept.values())))
    width = max(len(name) for name, _, _ in rows)
    for name, size, kept_size in rows:
        change = f"{size - kept_size:+d}" if size != kept_size else ""
        yield f"{name:{width}}  {size:>6}  {change:>6}".rstrip()
    over = core_bytes - CORE_BYTES_MAX
    where = f"{over} bytes over" if over > 0 else f"{-over} bytes below"
    yield f"the core is {where} its budget of {CORE_BYTES_MAX}"


def read(path: Path) -> dict[str, int]:
    """Return what was kept: module -> bytes; nothing where there is no file."""
    sizes = {}
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return {}
    except OSError as err:
        raise ToolError(f"{path}: {(err.strerror or str(err)).lower()}") from None
    for number, line in enumerate(lines, 1):
        name, _, size = line.partition(" ")
        if not size.isdigit():
            raise ToolError(f"{path} line {number}: not a module and its bytes")
        sizes[name] = int(size)
    return sizes


def pack(sizes: Mapping[str, int]) -> str:
    """Return the text of the file; one module a line, so that a diff shows what grew."""
    return "".join(f"{name} {size}\n" for name, size in sorted(sizes.items()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wattlog-tools mpy",
        description="Compiles the modules of a head and prints their bytes, and how they differ "
        "from those kept with the last commit.",
        allow_abbrev=False,
    )
    parser.add_argument("--keep", action="store_true", help="write the figures into the file")
    parser.add_argument(
        "--kept",
        type=Path,
        default=KEPT,
        metavar="FILE",
        help=f"where the last figures are (default {KEPT})",
    )
    return parser
