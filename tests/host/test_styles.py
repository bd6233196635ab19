"""Style sheets: nothing in them that no page uses, and nothing that two of them say."""

import re
from itertools import combinations

import pytest

from layers import ROOT

WEB = ROOT / "host/wattlog_host/web"
STATIC, TEMPLATES = WEB / "static", WEB / "templates"
SHEETS = ("base", "dashboard", "state")
# The library makes these elements of a plot itself.
OF_THE_LIBRARY = {".uplot", ".u-over", ".u-select"}
# Of each page: its templates and its scripts; base.css is for all.
OF_STATE = {"alerts.html", "state.html", "state.js"}


def sources(sheet):
    paths = [*TEMPLATES.glob("*.html"), *STATIC.glob("js/*.js")]
    kept = {
        "base": lambda path: True,
        "dashboard": lambda path: path.name not in OF_STATE,
        "state": lambda path: path.name in {*OF_STATE, "base.html", "i18n.js"},
    }[sheet]
    return "\n".join(path.read_text() for path in paths if kept(path))


def selectors(css):
    """Each selector, with those of an at-rule."""
    plain = re.sub(r"/\*.*?\*/", "", css, flags=re.S)
    found = re.findall(r"(?:^|[{}])\s*([^{}@]+?)\s*(?=\{)", plain)
    return [one.strip() for many in found for one in re.split(r",(?![^(]*\))", many)]


def names(selector):
    """Classes and ids (".x", "#x"), attributes ("[x") and elements ("x") of a selector."""
    bare = re.sub(r'"[^"]*"|::?[\w-]+', "", selector)
    return set(re.findall(r"[.#\[]?[a-zA-Z][\w-]*", bare))


def unused(sheet, css, source):
    """Names of a sheet that are nowhere in a source, each with its selector."""
    quoted = re.findall(r'"[^"]*"|\'[^\']*\'|`[^`]*`', source)
    words = set(re.findall(r"[\w-]+", " ".join(quoted)))
    # Put together in the source, as in "trace-{{ name }}" and `trace-${name}`.
    stems = set(re.findall(r"([\w-]+-)(?:\{\{|\$\{)", source))
    ends = words | set(re.findall(r"\b(\w+)\b", source))

    def is_used(name):
        if name in OF_THE_LIBRARY:
            return True
        if name[0] in ".#":
            text = name[1:]
            return text in words or any(
                text.startswith(stem) and text.removeprefix(stem) in ends for stem in stems
            )
        if name[0] == "[":
            return name[1:] in source
        return f"<{name}" in source or f'el("{name}"' in source

    return {
        f"{sheet}.css: {selector}"
        for selector in selectors(css)
        if selector not in (":root", "to", "*")
        for name in names(selector)
        if not is_used(name)
    }


@pytest.mark.parametrize("sheet", SHEETS)
def test_every_selector_finds_something(sheet):
    css = (STATIC / f"{sheet}.css").read_text()
    assert len(selectors(css)) > 20
    assert unused(sheet, css, sources(sheet)) == set()


def test_what_finds_nothing_is_found():
    source = '<p class="note"></p> `trace-${name}` { band: true } <b data-x>'
    css = ".note, p.gone { } @media (x) { b[data-x] i { } .trace-band, .trace-none { } }"
    assert unused("x", css, source) == {
        "x.css: p.gone",
        "x.css: b[data-x] i",
        "x.css: .trace-none",
    }


def test_every_colour_is_used():
    everything = "".join((STATIC / f"{sheet}.css").read_text() for sheet in SHEETS)
    scripts = "".join(path.read_text() for path in STATIC.glob("js/*.js"))
    for name in set(re.findall(r"--([\w-]+):", everything)):
        assert f"var(--{name})" in everything or f'"{name}"' in scripts, name


def test_what_both_pages_say_is_said_once():
    rules = [
        {
            (selector, declaration.strip())
            for rule, body in re.findall(
                r"([^{}]+)\{([^{}]*)\}", (STATIC / f"{sheet}.css").read_text()
            )
            for selector in selectors(f"{rule}{{")
            for declaration in body.split(";")
            if declaration.strip()
        }
        for sheet in SHEETS
    ]
    assert all(len(one) > 60 for one in rules)
    for one, other in combinations(rules, 2):
        assert one & other == set()
