"""The layering holds: every file has its row, imports only what the row says, and what runs on
the ESP32 uses nothing that it lacks. The checks themselves are shown to fail on bad input.
"""

import pytest

from esp32_lacks import lacks
from layers import (
    PORTABLE_SECTIONS,
    ROOT,
    TABLE,
    Row,
    find_cycle,
    forbidden_imports,
    imports_of,
    module_name,
    parse_table,
    source_files,
    wrong_rows,
)

ROWS = parse_table(TABLE)
FILES = source_files()


def read(path):
    return (ROOT / path).read_text()


def test_every_file_has_a_row_and_every_row_a_file():
    assert set(FILES) - set(ROWS) == set(), "files without a row in tests/support/layers.py"
    assert set(ROWS) - set(FILES) == set(), "rows without a file"


def test_the_rows_allow_only_what_exists_where_they_run():
    assert wrong_rows(ROWS) == []


@pytest.mark.parametrize("path", [path for path in FILES if path in ROWS])
def test_imports_only_what_its_row_allows(path):
    assert forbidden_imports(path, ROWS[path], read(path), ROWS) == []


def test_rows_allow_nothing_that_is_not_used():
    known = {module_name(path) for path in ROWS}
    unused = []
    for path in FILES:
        used = imports_of(read(path), known)
        for allowed in ROWS[path].imports if path in ROWS else ():
            package = allowed.removesuffix(".*")
            if not any(name == package or name.startswith(package + ".") for name in used):
                unused.append(f"{path}: {allowed}")
    assert unused == []


def test_no_module_imports_itself_through_others():
    known = {module_name(path) for path in FILES}
    graph = {module_name(path): imports_of(read(path), known) & known for path in FILES}
    assert find_cycle(graph) == []


@pytest.mark.parametrize(
    "path", [path for path, row in ROWS.items() if row.section in PORTABLE_SECTIONS]
)
def test_uses_nothing_that_the_esp32_lacks(path):
    core = ROWS[path].section == "core"
    assert lacks(read(path), core=core, compat=path.endswith("/compat.py")) == []


# -- the checks can fail ---------------------------------------------------------------------

BAD_EVERYWHERE = (
    ("match", "match x:\n    case 1: pass"),
    ("positional-only", "def f(a, /): pass"),
    ("positional-only lambda", "f = lambda a, /: a"),
    ("starred list", "x = [*a, 1]"),
    ("starred tuple", "x = *a, 1"),
    ("starred set", "x = {*a}"),
    ("starred dict", "x = {**a}"),
    ("except*", "try:\n    f()\nexcept* ValueError:\n    pass"),
    ("async comprehension", "async def f():\n    return [x async for x in y]"),
    ("async generator", "async def f():\n    while a:\n        yield 1"),
    ("del of a slice", "del buf[:3]"),
    ("step slice", "x = data[::2]"),
    ("signed from_bytes", "x = int.from_bytes(b, 'big', signed=True)"),
    ("signed to_bytes", "x = n.to_bytes(2, 'big', signed=True)"),
    ("memoryview.cast", "x = memoryview(b).cast('H')"),
    ("memoryview.tobytes", "x = view.tobytes()"),
    ("zfill", "x = s.zfill(3)"),
    ("ljust", "x = s.ljust(3)"),
    ("removeprefix", "x = s.removeprefix('a')"),
    ("title", "x = s.title()"),
    ("bit_length", "x = n.bit_length()"),
    ("hexdigest", "x = h.hexdigest()"),
    ("namedtuple defaults", "T = namedtuple('T', 'a', defaults=(1,))"),
    ("namedtuple _asdict", "x = t._asdict()"),
    ("bare deque", "x = deque()"),
    ("struct bool", "x = struct.pack('>?', 1)"),
    ("struct.Struct", "x = struct.Struct('>B')"),
    ("struct.error", "try:\n    f()\nexcept struct.error:\n    pass"),
    ("zip strict", "x = zip(a, b, strict=True)"),
    ("missing exception", "try:\n    f()\nexcept TimeoutError:\n    pass"),
    ("connection error", "raise ConnectionError"),
    ("format", "x = format(1, 'x')"),
    ("generic alias", "Pairs = list[int]"),
    ("union at run time", "x = isinstance(a, int | None)"),
    ("metaclass", "class A(metaclass=M): pass"),
    ("init_subclass", "class A:\n    def __init_subclass__(cls): pass"),
    ("inside a function", "def f():\n    def g():\n        return s.zfill(2)"),
)
BAD_IN_THE_CORE = (
    ("float literal", "x = 0.1"),
    ("exponent", "x = 1e3"),
    ("true division", "x = a / 10"),
    ("true division in place", "x /= 10"),
    ("float()", "x = float(a)"),
    ("round()", "x = round(a)"),
    ("print", "print(1)"),
    ("open", "open('x')"),
    ("async", "async def f(): pass"),
    ("import in try", "try:\n    import x\nexcept ImportError:\n    x = None"),
)
GOOD = (
    ("annotations", "def f(a: list[int] | None = None) -> dict[str, int] | None: pass"),
    ("annotated name", "x: tuple[int, ...] = ()"),
    ("type-checking branch", "if TYPE_CHECKING:\n    from typing import Any\n    X = list[int]"),
    ("starred target", "a, *b = c"),
    ("starred argument", "f(*a, **b)"),
    ("keyword-only", "def f(*, a): pass"),
    ("f-string", "x = f'{a:02x}'"),
    ("walrus", "while x := f(): pass"),
    ("floor division", "x = a // 10"),
    ("slice assignment", "buf[:3] = b''"),
    ("del of an item", "del d['k']"),
    ("bit-or of numbers", "x = a | 1"),
    ("deque with a limit", "x = deque((), 8)"),
    ("from_bytes", "x = int.from_bytes(b, 'big')"),
)


def each(rows):
    return pytest.mark.parametrize(
        "source", [row[1] for row in rows], ids=[row[0] for row in rows]
    )


@each(BAD_EVERYWHERE)
def test_what_the_device_lacks_is_found(source):
    assert lacks(source) != []


@each(BAD_IN_THE_CORE)
def test_what_the_core_keeps_out_is_found_there_and_only_there(source):
    assert lacks(source, core=True) != []
    assert lacks(source) == []


@each(GOOD)
def test_what_the_device_has_is_let_through(source):
    assert lacks(source, core=True) == []


def test_only_compat_imports_inside_a_try():
    source = "try:\n    from micropython import const\nexcept ImportError:\n    pass"
    assert lacks(source, core=True, compat=True) == []
    assert lacks(source, core=True) == ["line 2: an import inside try: only compat does that"]


SAMPLE = parse_table("""
[core]
agent/wattlog/__init__.py   0
agent/wattlog/crc.py        1   struct
agent/wattlog/sml.py        2   wattlog.crc  # a reason
agent/wattlog/other.py      2   wattlog.sml
[checker]
agent/wattlog/ports.py      wattlog.crc
[device]
firmware/wattlog_esp32/main.py  machine wattlog.* wattlog_pi.cli
[cpython]
agent/wattlog_pi/cli.py     wattlog.* serial
""")


@pytest.mark.parametrize(
    ("path", "source", "complaint"),
    [
        ("agent/wattlog/sml.py", "import wattlog.crc", None),
        ("agent/wattlog/sml.py", "from wattlog import crc", None),
        ("agent/wattlog/sml.py", "from wattlog.crc import crc16", None),
        ("agent/wattlog/sml.py", "import struct", "imports struct"),
        ("agent/wattlog/sml.py", "import wattlog", "imports wattlog,"),
        ("agent/wattlog/sml.py", "from . import crc", "relative import"),
        ("agent/wattlog/sml.py", "def f():\n    import time", "imports time"),
        ("agent/wattlog/sml.py", "if TYPE_CHECKING:\n    import time", None),
        ("agent/wattlog/other.py", "import wattlog.sml", "lower floor"),
        ("firmware/wattlog_esp32/main.py", "import wattlog.ports", "runs on the device"),
        ("firmware/wattlog_esp32/main.py", "import wattlog_pi.cli", "runs on the device"),
        ("firmware/wattlog_esp32/main.py", "import wattlog.sml", None),
        ("agent/wattlog_pi/cli.py", "import json, serial\nfrom wattlog.sml import x", None),
        ("agent/wattlog_pi/cli.py", "import requests", "imports requests"),
        ("agent/wattlog_pi/cli.py", "import wattlog_host", "imports wattlog_host"),
    ],
)
def test_an_import_is_judged_by_its_row(path, source, complaint):
    found = forbidden_imports(path, SAMPLE[path], source, SAMPLE)
    assert found == [] if complaint is None else complaint in "".join(found)


def test_a_row_may_not_allow_what_its_section_lacks():
    assert wrong_rows({"agent/wattlog/a.py": Row("core", 1, ("time",))}) != []
    assert wrong_rows({"agent/wattlog/a.py": Row("device", None, ("typing",))}) != []
    assert wrong_rows({"agent/wattlog/a.py": Row("heap", None, ())}) != []
    assert wrong_rows({"agent/wattlog/a.py": Row("device", None, ("machine",))}) == []


def test_two_rows_for_one_file_are_refused():
    with pytest.raises(ValueError, match="two rows"):
        parse_table("[cpython]\na/b.py\na/b.py")


def test_a_cycle_is_found():
    assert find_cycle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert find_cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert find_cycle({"a": {"a"}}) == ["a", "a"]
