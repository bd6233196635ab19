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
    ("a private attribute", "class k:\n    def f(self):\n        self._long = 1\n", "self._a = 1"),
    ("a public name", "LIMIT_W = 3\nx = LIMIT_W\n", "_a = 3\nx = _a"),
    (
        "a public attribute",
        "class k:\n    def f(self):\n        self.limit_w = 1\n",
        "self._a = 1",
    ),
    (
        "not an attribute of another's object",
        "import tls\ncontext = tls.SSLContext(0)\ncontext.verify_mode = 2\n",
        "context.verify_mode = 2",
    ),
    ("a public method", "class k:\n    def hang_up(self): pass\n", "def _a(self)"),
    ("a class", "class Line: pass\n", "class _a: pass"),
    ("a constant, so that no name is left", "LIMIT = const(3)\nx = LIMIT\n", "_a = const(3)\n"),
    ("not one that a text names", "LIMIT = 3\nx = getattr(m, 'LIMIT')\n", "LIMIT = 3\n"),
    (
        "not what another's module has",
        "import gc\ndef f():\n    mem_free = gc.mem_free()\n",
        "mem_free = gc.mem_free()",
    ),
    ("not what is imported", "from time import sleep_ms\nsleep_ms = 3\n", "import sleep_ms"),
    ("not a keyword of a call", "def f(a_b): pass\nx.g(a_b=1)\n", "f(a_b)"),
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
    base = "class a:\n    def f(self):\n        self._first = 1\n"
    other = "class b:\n    def g(self):\n        self._second = 2\n"
    derived = "from base import a\n" + other.replace("class b:", "class b(a):")
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
    short = shorten({"module": source, "user": "from module import Counter\n"})["module"]
    for text in (source, short):
        assert run(text).Counter(5).next(1, 2) == [7, 7]
    assert "_count" not in short


def test_what_another_module_mentions_keeps_its_name():
    one = "LIMIT_W = 3\nclass Line:\n    def hang_up(self): pass\n"
    other = "import one\nx = one.LIMIT_W\none.Line().hang_up()\n"
    assert shorten({"one": one, "other": other}) == {"one": one, "other": other}


@pytest.mark.parametrize("name", SOURCES)
def test_lines_stay_and_what_is_public_stays(name):
    short = SHORT[name]
    assert short.count("\n") == SOURCES[name].count("\n"), "a traceback names the line"

    mentioned = set()
    for other, source in SOURCES.items():
        if other != name:
            nodes = list(ast.walk(ast.parse(source)))
            for kind, field in ((ast.Name, "id"), (ast.Attribute, "attr"), (ast.alias, "name")):
                mentioned |= {getattr(node, field) for node in nodes if isinstance(node, kind)}
    mentioned = {word for word in mentioned if not word.startswith("_")}

    def skeleton(source, names):
        return [
            (type(node).__name__, node.lineno, node.name if node.name in names else None)
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
        ]

    assert skeleton(short, mentioned) == skeleton(SOURCES[name], mentioned)


def test_like_input_is_like_output_and_it_is_worth_it():
    assert shorten(dict(SOURCES)) == SHORT
    private = {
        node.attr
        for source in SHORT.values()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and node.attr.startswith("_")
    }
    assert len(private) < 70, "they are shared"
