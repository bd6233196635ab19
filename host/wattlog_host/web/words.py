"""How the page says numbers; web/static/app.js says them the same way."""

from collections.abc import Mapping

ABSENT = "\u2013"
_THIN = "\u202f"

DIRECTIONS = {
    "importing": "importing from the grid",
    "exporting": "exporting to the grid",
    "balanced": "neither importing nor exporting",
}

# What became of readings that were held back, and why they were: names of agent/SPEC.md.
OUTCOMES = {
    "held": "held now",
    "released": "confirmed",
    "glitch": "discarded as glitch",
}
DOUBTS = {
    "set": "other registers",
    "falls": "counter fell",
    "jumps": "counter jumped",
    "id": "other meter number",
}


def number(text: str | int | float | None) -> str:
    """Return the digits with thin spaces between the thousands; a dash where there is nothing."""
    if text is None:
        return ABSENT
    whole, dot, places = str(text).partition(".")
    sign = "\u2212" if whole.startswith("-") else ""
    return sign + f"{int(whole.lstrip('-')):,}".replace(",", _THIN) + dot + places


def magnitude(text: str | None) -> str:
    """Return a signed number without its sign, which the words beside it carry."""
    return number(None if text is None else text.lstrip("-"))


def direction(word: str | None) -> str:
    """Return what a power's sign means."""
    return "power unknown" if word is None else DIRECTIONS[word]


def duration(seconds: float | None) -> str:
    """Return a time span in its two largest units."""
    if seconds is None:
        return ABSENT
    whole = int(seconds)
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, rest = divmod(rest, 60)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def ago(seconds: float | None) -> str:
    """Return how long ago something was."""
    return ABSENT if seconds is None else f"{duration(seconds)} ago"


def size(count: int | None) -> str:
    """Return bytes as a person reads them."""
    if count is None:
        return ABSENT
    if count < 1024:
        return f"{count} B"
    value = count / 1024
    for unit in ("KiB", "MiB"):
        if value < 1024:
            return f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def reasons(counts: Mapping[str, int] | None) -> str:
    """Return counts by reason as a short text; a dash where nothing is known."""
    if counts is None:
        return ABSENT
    bad = [f"{name} {number(count)}" for name, count in counts.items() if count]
    return ", ".join(bad) if bad else "none"


def quarantine(counts: Mapping[str, int] | None) -> str:
    """Return what became of readings that were held back, and why; empty where none was."""
    counts = counts or {}
    outcomes = [
        f"{number(counts[key])} {text}" for key, text in OUTCOMES.items() if counts.get(key)
    ]
    # A reason of a later agent comes last, by the name it gives.
    names = [*DOUBTS, *(key for key in counts if key not in DOUBTS and key not in OUTCOMES)]
    doubts = [
        f"{DOUBTS.get(key, key)} ({number(counts[key])})" for key in names if counts.get(key)
    ]
    return "; why: ".join(", ".join(part) for part in (outcomes, doubts) if part)


FILTERS = {
    "number": number,
    "magnitude": magnitude,
    "direction": direction,
    "duration": duration,
    "ago": ago,
    "size": size,
    "reasons": reasons,
    "quarantine": quarantine,
}
