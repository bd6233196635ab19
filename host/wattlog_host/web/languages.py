"""German and English: which one a visitor gets, its words, and how it writes numbers and dates.

The words are static/lang/<language>.json, which the page's scripts read as well; static/js/
format.js writes numbers and dates the same way.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from pathlib import Path

LANGUAGES = ("en", "de")
COOKIE = "lang"
ABSENT = "\u2013"
MINUS = "\u2212"

# What became of readings that were held back, and why they were: names of agent/SPEC.md.
OUTCOMES = {
    "held": "state.held_now",
    "released": "state.released",
    "glitch": "state.glitch",
}
DOUBTS = {
    "set": "state.doubt.set",
    "falls": "state.doubt.falls",
    "jumps": "state.doubt.jumps",
    "id": "state.doubt.id",
}

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_FOLDER = Path(__file__).parent / "static/lang"
_MARKS = {"en": (",", "."), "de": (".", ",")}
_SIGNS = {"EUR": "\u20ac", "USD": "$", "GBP": "\u00a3"}
_ACCEPTED_MAX = 20


def chosen(wanted: str | None, remembered: str | None, accepted: str) -> str:
    """Return the language: the one asked for, else the remembered one, else by Accept-Language."""
    for language in (wanted, remembered):
        if language in LANGUAGES:
            return str(language)
    ranked = []
    for index, entry in enumerate(accepted.split(",")[:_ACCEPTED_MAX]):
        name, _, weight = entry.partition(";")
        try:
            quality = float(weight.partition("=")[2] or 1) if weight else 1.0
        except ValueError:
            continue
        ranked.append((-quality, index, name.strip().lower()[:2]))
    for quality, _, name in sorted(ranked):
        if name in LANGUAGES and quality < 0:
            return name
    return LANGUAGES[0]


@cache
def words(language: str) -> Mapping[str, str]:
    """Return the words of a language by key."""
    return dict(json.loads((_FOLDER / f"{language}.json").read_text("utf-8")))


class Speech:
    """Says things in one language and by one clock; None is always a dash."""

    def __init__(self, language: str, local: Callable[[int], datetime]) -> None:
        """Take a language of LANGUAGES, and what tells the local time of ms since 1970."""
        self.language = language
        self._words = words(language)
        self._local = local

    def text(self, key: str, /, **values: object) -> str:
        """Return the words of this key with the values in their places."""
        said = self._words[key]
        return said.format(**values) if values else said

    def number(self, value: float | None, places: int = 0) -> str:
        """Return the number with so many places."""
        if value is None or not math.isfinite(value):
            return ABSENT
        # Half is up, as in JavaScript, where the same numbers are written.
        rounded = Decimal(abs(value)).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
        text = f"{rounded:,f}"
        thousands, point = _MARKS[self.language]
        text = text.replace(",", "\0").replace(".", point).replace("\0", thousands)
        return (MINUS if value < 0 and rounded else "") + text

    def reading(self, value: float | str | None) -> str:
        """Return a value as a device told it: a number with its digits, four places at most."""
        if isinstance(value, str) or value is None:
            return ABSENT if value is None else value
        digits = f"{value:.4f}".rstrip("0").partition(".")[2]
        return self.number(value, len(digits))

    def exact(self, text: str | int | None) -> str:
        """Return a number with all digits that it has, as the language writes it."""
        if text is None:
            return ABSENT
        whole, _, places = str(text).partition(".")
        thousands, point = _MARKS[self.language]
        digits = f"{int(whole.lstrip('-')):,}".replace(",", thousands)
        sign = MINUS if whole.startswith("-") else ""
        return sign + digits + (point + places if places else "")

    def magnitude(self, text: str | None) -> str:
        """Return a signed number without its sign, which the words beside it carry."""
        return self.exact(None if text is None else text.lstrip("-"))

    def size(self, count: int | None) -> str:
        """Return bytes as a person reads them."""
        if count is None:
            return ABSENT
        if count < 0:
            return MINUS + self.size(-count)
        if count < 1024:
            return f"{count} B"
        value = count / 1024
        for unit in ("KiB", "MiB"):
            if value < 1024:
                return f"{self.number(value, 1)} {unit}"
            value /= 1024
        return f"{self.number(value, 1)} GiB"

    def term(self, days: int | None) -> str:
        """Return how many days something takes, in years where they are many."""
        if days is None:
            return ABSENT
        years = days // 365
        if years > 100:
            return self.text("term.ages")
        key, count = ("term.years", years) if years >= 3 else ("term.days", days)
        return self.text(key, count=self.exact(count))

    def reasons(self, counts: Mapping[str, int] | None) -> str:
        """Return counts by reason as a short text; a dash where nothing is known."""
        if counts is None:
            return ABSENT
        bad = [f"{name} {self.exact(count)}" for name, count in counts.items() if count]
        return ", ".join(bad) if bad else self.text("state.none")

    def quarantine(self, counts: Mapping[str, int] | None) -> str:
        """Return what became of readings that were held back, and why; empty where none was."""
        counts = counts or {}
        outcomes = [
            f"{self.exact(counts[name])} {self.text(key)}"
            for name, key in OUTCOMES.items()
            if counts.get(name)
        ]
        # A reason of a later agent comes last, by the name it gives.
        names = [
            *DOUBTS,
            *(name for name in counts if name not in DOUBTS and name not in OUTCOMES),
        ]
        doubts = [
            f"{self.text(DOUBTS[name]) if name in DOUBTS else name} ({self.exact(counts[name])})"
            for name in names
            if counts.get(name)
        ]
        why = self.text("state.why") + " "
        return why.join(", ".join(part) for part in (outcomes, doubts) if part)

    def watts(self, value: float | None) -> str:
        """Return a power in whole watts, without its unit."""
        return self.number(value)

    def kwh(self, value: float | None) -> str:
        """Return an energy in kWh with the places that matter, without its unit."""
        if value is None:
            return ABSENT
        size = abs(value)
        places = 3 if 0 < size < 0.1 else 2 if size < 100 else 1 if size < 1000 else 0
        return self.number(value, places)

    def signed_kwh(self, value: float | None) -> str:
        """Return a difference in kWh with its sign; less than 0.01 is none."""
        if value is None:
            return ABSENT
        size = abs(value)
        text = self.number(value, 2 if size < 100 else 1 if size < 1000 else 0)
        return f"+{text}" if value > 0 and re.search("[1-9]", text) else text

    def tone(self, difference: float | None) -> str:
        """Return "more" or "less", nothing for a difference that is none as it is written."""
        if difference is None or not re.search("[1-9]", self.signed_kwh(difference)):
            return ""
        return "more" if difference > 0 else "less"

    def money(self, value: float | None, currency: str) -> str:
        """Return an amount with its currency."""
        if value is None:
            return ABSENT
        text, sign = self.number(value, 2), _SIGNS.get(currency, currency)
        if self.language == "de" or sign == currency:
            return f"{text}\u00a0{sign}"
        return text.replace(MINUS, f"{MINUS}{sign}") if value < 0 else sign + text

    def percent(self, part: float | None) -> str:
        """Return a share of one in percent; only what is complete is 100 %."""
        if part is None:
            return ABSENT
        whole = math.floor(100 * part + 1e-9)
        # Little is not nothing.
        return f"{'<' if part > 0 and not whole else ''}{self.number(whole or (part > 0))}\u00a0%"

    def day(self, day: date | None) -> str:
        """Return a day as "Fri 27 Nov"."""
        if day is None:
            return ABSENT
        weekday = self._words["weekdays"].split()[day.weekday()]
        month = self._words["months"].split()[day.month - 1]
        return self._words["format.day"].format(weekday=weekday, day=day.day, month=month)

    def date(self, iso: str) -> str:
        """Return a day, "2026-11-27", as "27 Nov 2026"."""
        day = date.fromisoformat(iso)
        month = self._words["months"].split()[day.month - 1]
        return self._words["format.date"].format(day=day.day, month=month, year=day.year)

    def weekdays(self, names: Sequence[str]) -> str:
        """Return weekdays, "mon" to "sun", as " (Mon, Tue)"; nothing for all of them."""
        if len(names) == len(WEEKDAYS):
            return ""
        words = dict(zip(WEEKDAYS, self._words["weekdays"].split(), strict=True))
        return f" ({', '.join(words[name] for name in names)})"

    def clock(self, time_ms: int | None) -> str:
        """Return the time of day with seconds."""
        return ABSENT if time_ms is None else f"{self._local(time_ms):%H:%M:%S}"

    def moment(self, time_ms: int | None) -> str:
        """Return day and time of day to the minute."""
        if time_ms is None:
            return ABSENT
        moment = self._local(time_ms)
        return f"{self.day(moment.date())}, {moment:%H:%M}"

    def ago(self, seconds: float | None) -> str:
        """Return how long ago something was, in its two largest units."""
        if seconds is None:
            return ABSENT
        return self.text("ago", span=self.span(seconds))

    def span(self, seconds: float | None) -> str:
        """Return a time span in its two largest units."""
        if seconds is None:
            return ABSENT
        minutes, rest = divmod(int(seconds), 60)
        hours, minutes_left = divmod(minutes, 60)
        days, hours_left = divmod(hours, 24)
        day = self._words["unit.day"]
        if days:
            return f"{days} {day} {hours_left} h"
        if hours:
            return f"{hours} h {minutes_left} min"
        return f"{minutes} min {rest} s" if minutes else f"{rest} s"
