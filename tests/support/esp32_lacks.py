"""What MicroPython on the ESP32 lacks, or does otherwise without a word; found in the source.

Measured on 1.25 and 1.26 (32 bit). What a source does not show (whether x in x.join() is bytes,
a reliance on the order of a dict) stays with the tests that run on MicroPython.
"""

import ast
from collections.abc import Iterator

from layers import run_time_nodes

# A method or attribute of that name is missing on the built-in types or modules that we use.
ATTRIBUTES = {
    "_asdict", "_replace", "bit_count", "bit_length", "casefold", "cast", "create_connection",
    "expandtabs", "findall", "fullmatch", "get_running_loop", "hexdigest",
    "isascii", "isidentifier", "isprintable", "iter_unpack", "ljust", "monotonic", "nbytes",
    "perf_counter", "removeprefix", "removesuffix", "rjust", "strftime", "swapcase", "title",
    "to_thread", "tobytes", "zfill",
    "__annotations__", "__cause__", "__context__", "__traceback__",
}  # fmt: skip
NAMES = {
    "BrokenPipeError", "ConnectionAbortedError", "ConnectionError", "ConnectionRefusedError",
    "ConnectionResetError", "FileExistsError", "FileNotFoundError", "InterruptedError",
    "ModuleNotFoundError", "PermissionError", "RecursionError", "TimeoutError",
    "UnicodeDecodeError", "UnicodeEncodeError", "ascii", "breakpoint", "format", "vars",
}  # fmt: skip
SPECIAL_METHODS = {
    "__bytes__", "__class_getitem__", "__format__", "__index__", "__init_subclass__",
    "__match_args__", "__set_name__",
}  # fmt: skip
# (function or method, keyword): ignored or refused there.
KEYWORDS = {
    ("from_bytes", "signed"),
    ("namedtuple", "defaults"),
    ("namedtuple", "module"),
    ("open", "newline"),
    ("print", "flush"),
    ("to_bytes", "signed"),
    ("zip", "strict"),
}
STRUCT_ATTRIBUTES = {"Struct", "error"}
STRUCT_FORMAT_CALLS = {"calcsize", "pack", "pack_into", "unpack", "unpack_from"}
BUILTIN_TYPES = {
    "bool", "bytearray", "bytes", "dict", "float", "int", "list", "set", "str", "tuple",
}  # fmt: skip

# The core takes time and I/O as arguments and counts in integers.
CORE_CALLS = {"eval", "exec", "float", "input", "open", "print", "round"}


def called_name(node: ast.Call) -> str:
    """f of f(…) and of x.f(…)."""
    if isinstance(node.func, ast.Name):
        return node.func.id
    return node.func.attr if isinstance(node.func, ast.Attribute) else ""


def _syntax(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Match):
        yield "match"
    elif isinstance(node, ast.TryStar):
        yield "except*"
    elif isinstance(node, ast.arguments) and node.posonlyargs:
        yield "positional-only arguments"
    elif isinstance(node, ast.comprehension) and node.is_async:
        yield "an async comprehension"
    elif isinstance(node, ast.Slice) and node.step is not None:
        yield "a slice with a step"
    elif isinstance(node, ast.Delete) and any(
        isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Slice)
        for target in node.targets
    ):
        yield "del x[a:b]"


def _displays(node: ast.AST) -> Iterator[str]:
    read = isinstance(getattr(node, "ctx", None), ast.Load)  # not a target: a, *b = c
    if isinstance(node, ast.Dict) and None in node.keys:
        yield "a display with **: {**a}"
    elif isinstance(node, ast.Set) or (isinstance(node, ast.List | ast.Tuple) and read):
        starred = [item for item in node.elts if isinstance(item, ast.Starred)]
        yield from ["a display with *: [*a]"] * len(starred)


def _own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function without those of functions inside it."""
    for child in ast.iter_child_nodes(function):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from _own_nodes(child)


def _definitions(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.AsyncFunctionDef):
        if any(isinstance(inner, ast.Yield) for inner in _own_nodes(node)):
            yield "an async generator"
    elif isinstance(node, ast.ClassDef) and any(key.arg == "metaclass" for key in node.keywords):
        yield "a metaclass"
    if isinstance(node, ast.FunctionDef) and node.name in SPECIAL_METHODS:
        yield f"{node.name} (never called)"


def _is_type(node: ast.AST) -> bool:
    return (isinstance(node, ast.Name) and node.id in BUILTIN_TYPES) or (
        isinstance(node, ast.Constant) and node.value is None
    )


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name) and node.id in NAMES:
        yield node.id
    elif isinstance(node, ast.Attribute):
        if node.attr in ATTRIBUTES:
            yield f".{node.attr}"
        owner = node.value
        if getattr(owner, "id", "") == "struct" and node.attr in STRUCT_ATTRIBUTES:
            yield f"struct.{node.attr}"
    elif isinstance(node, ast.Subscript) and _is_type(node.value):
        yield "a generic type at run time: list[int]"
    elif (
        isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.BitOr)
        and (_is_type(node.left) or _is_type(node.right))
    ):
        yield "a union at run time: int | None"


def _calls(node: ast.AST) -> Iterator[str]:
    if not isinstance(node, ast.Call):
        return
    name = called_name(node)
    for keyword in node.keywords:
        if (name, keyword.arg) in KEYWORDS:
            yield f"{name}({keyword.arg}=)"
    if name == "deque" and len(node.args) < 2:
        yield "deque() without (iterable, maxlen)"
    if name in STRUCT_FORMAT_CALLS and node.args:
        form = node.args[0]
        if isinstance(form, ast.Constant) and isinstance(form.value, str) and "?" in form.value:
            yield "struct format '?'"


def _core(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
        yield f"the float {node.value}"
    elif isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
        yield "a division that gives a float: use //"
    elif isinstance(node, ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith | ast.Await):
        yield "async"
    elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in CORE_CALLS:
        yield f"{called_name(node)}()"


def lacks(source: str, core: bool = False, compat: bool = False) -> list[str]:
    """What this source uses and the device lacks, as "line N: thing"; with core, also what the
    core keeps out of itself. Only the file compat may import inside a try."""
    rules = [_syntax, _displays, _definitions, _names, _calls]
    if core:
        rules.append(_core)
    found = []
    for node in run_time_nodes(ast.parse(source)):
        line = getattr(node, "lineno", 0)
        found += [(line, thing) for rule in rules for thing in rule(node)]
        if core and not compat and isinstance(node, ast.Try):
            found += [
                (inner.lineno, "an import inside try: only compat does that")
                for inner in ast.walk(node)
                if isinstance(inner, ast.Import | ast.ImportFrom)
            ]
    return [f"line {line}: {thing}" for line, thing in sorted(found)]
