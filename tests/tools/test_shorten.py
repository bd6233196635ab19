"""Names are cut short only where nobody else sees them; what the module does stays as it was."""

import ast
import types

import pytest

from wattlog_tools.head_files import sources
from wattlog_tools.shorten import shorten

SOURCES = {name: path.read_text() for name, path in sources().items()}
SHORT = shorten(SOURCES)


def shortened(source):
    return shorten({"module": source})["module"]


def run(source):
    module = types.ModuleType("module")
    exec(compile(source, "module.py", "exec"), module.__dict__)
    return module


ROWS = (
    ("a private attribute", "class A:\n    def f(self):\n        self._long = 1\n", "self._a = 1"),
    ("a private function", "def _helper(): pass\n_helper()\n", "_a()"),
    ("an argument", "def f(value): return value\n", "def f(a): return a"),
    ("a letter that is taken", "def f(value):\n    a = 1\n    return value + a\n", "b + a"),
    ("not what is called by keyword", "def f(value): return value\nf(value=1)\n", "f(value)"),
    ("not a global", "value = 1\ndef f(value): return value\n", "f(value)"),
    (
        "not a name of the class",
        "class A:\n    value = 1\n    def f(self, value): pass\n",
        "value)",
    ),
    ("not a builtin", "def f(id): return id\n", "def f(id)"),
    ("not an import", "import time\ndef f(time): return time\n", "def f(time)"),
    ("not an attribute of another", "def f(x, value): return x.value\n", "(a, value)"),
    ("not what a text names", "def f(value): return getattr(value, 'value')\n", "def f(value)"),
    ("not a constant", "_LIMIT = const(3)\nx = _LIMIT\n", "_LIMIT = const(3)\nx = _LIMIT"),
    ("not a method", "class A:\n    def close(self): pass\n", "def close"),
    ("not a double underscore", "class A:\n    def __init__(self): pass\n", "def __init__"),
    ("not in an f-string", "def f(value): return f'{value}'\n", "def f(value)"),
    (
        "not in a text",
        "def f(value):\n    'the value'\n    return '%s value' % value\n",
        "'%s value' % a",
    ),
)


@pytest.mark.parametrize(("what", "source", "part"), ROWS, ids=lambda text: text[:24])
def test_only_what_nobody_else_sees_is_renamed(what, source, part):
    if what.startswith("an argument"):
        assert "value" not in shortened(source)
    assert part in shortened(source), shortened(source)


def test_the_same_short_names_serve_every_module_but_not_one_object_twice():
    base = "class A:\n    def f(self):\n        self._first = 1\n"
    other = "class B:\n    def g(self):\n        self._second = 2\n"
    derived = "from base import A\n" + other.replace("class B:", "class B(A):")
    apart = shorten({"base": base, "other": other})
    assert "self._a = 1" in apart["base"] and "self._a = 2" in apart["other"]
    together = "".join(shorten({"base": base, "derived": derived}).values())
    assert "self._a = 1" in together and "self._b = 2" in together


def test_what_a_module_does_stays():
    source = (
        "class Counter:\n"
        "    def __init__(self, start):\n        self._count = start\n        self.step = 2\n"
        "    def next(self, *rest):\n        return self._add(lambda size: size + len(rest))\n"
        "    def _add(self, act):\n        self._count = act(self._count)\n"
        "        return [self._count for _ in range(self.step)]\n"
    )
    for text in (source, shortened(source)):
        assert run(text).Counter(5).next(1, 2) == [7, 7]
    assert "_count" not in shortened(source)


@pytest.mark.parametrize("name", SOURCES)
def test_lines_stay_and_what_is_public_stays(name):
    short = SHORT[name]
    assert short.count("\n") == SOURCES[name].count("\n"), "a traceback names the line"

    def skeleton(source):
        return [
            (type(node).__name__, node.lineno, getattr(node, "name", None))
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        ]

    assert skeleton(short) == skeleton(SOURCES[name])


def test_like_input_is_like_output_and_it_is_worth_it():
    assert shorten(dict(SOURCES)) == SHORT
    private = {
        node.attr
        for source in SHORT.values()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and node.attr.startswith("_")
    }
    assert len(private) < 70, "they are shared"
