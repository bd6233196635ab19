"""German and English: complete, chosen rightly, and written as each is."""

import json
import re

import pytest

from layers import ROOT
from wattlog_host.web.languages import LANGUAGES, Speech, chosen, words

WEB = ROOT / "host/wattlog_host/web"
SOURCES = [
    *WEB.glob("templates/*.html"),
    *WEB.glob("static/js/*.js"),
    WEB / "languages.py",
    WEB.parent / "alerts/words.py",
    WEB.parent / "alerts/service.py",
]

CHOICES = (
    ("nothing said", None, None, "", "en"),
    ("asked for", "de", "en", "en", "de"),
    ("remembered", None, "de", "en", "de"),
    ("what does not exist is not asked for", "fr", "xx", "de", "de"),
    ("the browser's first", None, None, "de-DE,de;q=0.9,en;q=0.8", "de"),
    ("by weight, not by place", None, None, "en;q=0.3, de-AT;q=0.7", "de"),
    ("the first that exists", None, None, "fr, pl;q=0.9, de;q=0.2", "de"),
    ("refused", None, None, "de;q=0", "en"),
    ("nonsense", None, None, "de;q=x,,;;=", "en"),
    ("without end", None, None, ",".join(["fr"] * 5000) + ",de", "en"),
)


@pytest.mark.parametrize(
    ("wanted", "remembered", "accepted", "language"),
    [row[1:] for row in CHOICES],
    ids=[row[0] for row in CHOICES],
)
def test_which_language(wanted, remembered, accepted, language):
    assert chosen(wanted, remembered, accepted) == language


@pytest.mark.parametrize("language", LANGUAGES)
def test_all_languages_say_the_same_things(language):
    english, other = words(LANGUAGES[0]), words(language)
    assert english.keys() == other.keys()
    for key, text in english.items():
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", other[key])), key
        assert other[key].strip(), key
    for key, count in (("weekdays", 7), ("months", 12), ("months.long", 12)):
        assert len(other[key].split()) == count
    assert Speech(language, lambda _: None).number(1234.5, 1) != "1234.5"
    marks = re.search(r"const MARKS = \{(.*)\};", (WEB / "static/js/format.js").read_text())
    assert f"{language}: [" in marks[1]


def test_a_language_of_the_folder_is_offered():
    assert {path.stem for path in (WEB / "static/lang").glob("*.json")} == set(LANGUAGES)


def test_no_key_stands_twice():
    for language in LANGUAGES:
        text = (WEB / f"static/lang/{language}.json").read_text()
        pairs = json.loads(text, object_pairs_hook=list)
        names = [name for name, _ in pairs]
        assert sorted(names) == sorted(set(names))


def test_every_word_is_used_and_every_used_word_is_there():
    texts = [path.read_text() for path in SOURCES]
    source = "".join(texts)
    # Names of periods, buckets, sensors and states, which others put behind a dot.
    named = (
        "web/pages.py",
        "web/static/js/shown.js",
        "dess/sensors.py",
        "dess/worker.py",
        "dess/model.py",
    )
    names = "".join((WEB.parent / path).read_text() for path in named)
    known = words("en")
    used = set(re.findall(r"""\bt\(["']([\w.]+)["']""", source))
    assert {key for key in used if not key.endswith(".")} - known.keys() == set()
    for key in known.keys() - used:
        if re.search(rf"""["']{re.escape(key)}["']""", source):
            continue
        # Put together in the source: both sides of the last dot are written in one file.
        stem, _, last = key.rpartition(".")
        last = last.replace("_", "[ _]")
        assert any(
            (f'"{stem}."' in text or f"`{stem}.$" in text)
            and re.search(rf"""["'`]{last}["'`]|\b{last}:|^{last}\*? \|""", text + names, re.M)
            for text in texts
        ), f"{key}: not used"


EN, DE = (Speech(language, lambda _: None) for language in ("en", "de"))

WRITTEN = (
    (EN.number, (1234.5, 1), "1,234.5"),
    (DE.number, (1234.5, 1), "1.234,5"),
    (DE.number, (-0.04, 1), "0,0"),
    (DE.number, (-0.05, 1), "\u22120,1"),
    (DE.number, (2.5,), "3"),
    (DE.number, (None,), "\u2013"),
    (DE.number, (float("nan"),), "\u2013"),
    (DE.kwh, (0.0123,), "0,012"),
    (DE.kwh, (12.345,), "12,35"),
    (DE.kwh, (123.45,), "123,5"),
    (DE.kwh, (12345.6,), "12.346"),
    (DE.signed_kwh, (1.5,), "+1,50"),
    (DE.signed_kwh, (0.004,), "0,00"),
    (DE.tone, (0.004,), ""),
    (DE.tone, (-2,), "less"),
    (DE.percent, (0.9999,), "99\u00a0%"),
    (DE.percent, (1.0,), "100\u00a0%"),
    (DE.percent, (0.004,), "<1\u00a0%"),
    (DE.percent, (0.0,), "0\u00a0%"),
)


@pytest.mark.parametrize(("say", "values", "text"), WRITTEN)
def test_how_numbers_are_written(say, values, text):
    assert say(*values) == text


def test_how_money_is_written():
    assert DE.money(-1234.5, "EUR") == "\u22121.234,50\u00a0€"
    assert EN.money(-1234.5, "EUR") == "\u2212€1,234.50"
    assert EN.money(3, "CHF") == "3.00\u00a0CHF"
    assert EN.money(None, "EUR") == "\u2013"
