"""Colours: enough contrast for WCAG 2.2 AA in both themes, computed from the style sheet."""

import re

import pytest

from layers import ROOT

CSS = (ROOT / "host/wattlog_host/web/static/base.css").read_text()
TEXT, DRAWN = 4.5, 3.0

# What is written, and on what.
WRITTEN = (
    *(
        (text, ground)
        for text in ("text", "quiet", "accent")
        for ground in ("page", "card", "soft")
    ),
    *((text, "card") for text in ("import", "export", "bad")),
    ("bad", "bad-back"),
    ("bad", "page"),
    ("export", "page"),
    ("hint", "hint-back"),
    ("on-accent", "accent"),
    ("card", "export"),
    ("card", "side-a"),
    ("card", "side-b"),
    ("reading", "card"),
)
# What is drawn: lines, bars, frames of controls.
SHOWN = tuple(
    (name, "card")
    for name in (
        "power", "average", "energy", "sent", "baseline", "reading", "side-a", "side-b", "edge",
        "import", "export", "bad", "sun", "mains",
    )
)  # fmt: skip


def themes():
    """The custom properties of each theme."""
    blocks = re.findall(r":root \{(.*?)\}", CSS, re.S)
    found = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,8});", block)) for block in blocks]
    light, dark = found
    assert light.keys() == dark.keys(), "each colour has its counterpart"
    return {"light": light, "dark": dark}


def luminance(colour):
    digits = colour[1:]
    if len(digits) == 3:
        digits = "".join(2 * digit for digit in digits)
    parts = [int(digits[index : index + 2], 16) / 255 for index in (0, 2, 4)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(
        part * weight for part, weight in zip(linear, (0.2126, 0.7152, 0.0722), strict=True)
    )


def contrast(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_measure_is_that_of_wcag():
    assert contrast("#000", "#fff") == pytest.approx(21)
    assert contrast("#777777", "#fff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everything_can_be_read(theme):
    colours = themes()[theme]
    pairs = [(pair, TEXT) for pair in WRITTEN] + [(pair, DRAWN) for pair in SHOWN]
    weak = {
        f"{one} on {other}": round(contrast(colours[one], colours[other]), 2)
        for (one, other), least in pairs
        if contrast(colours[one], colours[other]) < least
    }
    assert weak == {}


def test_no_style_sheet_has_a_colour_of_its_own():
    for name in ("dashboard", "house", "login", "state"):
        css = (ROOT / f"host/wattlog_host/web/static/{name}.css").read_text()
        assert re.findall(r"#[0-9a-f]{3,8}\b(?=[;, )])", css) in ([], ["#0008"]), name
