"""What is told, in words: of the languages of the page, by the clock of the house."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from wattlog_host.alerts.config import AlertSettings
from wattlog_host.alerts.ledger import MINUTE_MS, NEWS, OFF, ON, Line, Message, Trouble
from wattlog_host.history.zone import Zone
from wattlog_host.web.languages import ABSENT, Speech

BEGUN = {
    "silent": "alert.silent.on",
    "offline": "alert.offline.on",
    "log": "alert.log.on",
    "disk": "alert.disk.on",
    "backup": "alert.backup.on",
    "database": "alert.database.on",
    "broker": "alert.broker.on",
    "base": "alert.base.on",
    "cloud": "alert.cloud.on",
    "inverter": "alert.inverter.on",
    "fault": "alert.fault.on",
}
OVER = {
    "silent": "alert.silent.off",
    "offline": "alert.offline.off",
    "log": "alert.log.off",
    "disk": "alert.disk.off",
    "backup": "alert.backup.off",
    "database": "alert.database.off",
    "broker": "alert.broker.off",
    "base": "alert.base.off",
    "cloud": "alert.cloud.off",
    "inverter": "alert.inverter.off",
    "fault": "alert.fault.off",
}
HAPPENED = {
    "gap": "alert.gap",
    "quarantine": "alert.quarantine",
    "refused": "alert.refused",
}
UNLESS_KNOWN = {("alert.disk.on", "days"): "alert.disk.on_unforeseen"}
"""What is said instead where this value is not known."""
_TEXTS: Mapping[str, Mapping[str, str]] = {ON: BEGUN, OFF: OVER, NEWS: HAPPENED}


def _span(say: Speech, value_ms: int) -> str:
    """Return a time span without what is too fine to matter, or nothing."""
    text = say.span(value_ms / 1000)
    return text if value_ms < MINUTE_MS else re.sub(r" (0 min|0 h|\d+ s)$", "", text)


_FORMS: Mapping[str, Callable[[Speech, Any], str]] = {
    "since": lambda say, value: say.moment(value),
    "usual": _span,
    "lasted": _span,
    "free": lambda say, value: say.size(value),
    "days": lambda say, value: say.term(value),
    "percent": lambda say, value: say.number(value),
    "watts": lambda say, value: say.number(value),
    "usual_watts": lambda say, value: say.number(value),
    "count": lambda say, value: say.exact(value),
}


def line_text(say: Speech, line: Line) -> str:
    """Return what a line says."""
    return _text(say, _TEXTS[line.phase][line.kind], line.values)


def trouble_text(say: Speech, trouble: Trouble) -> str:
    """Return what a standing condition says."""
    return _text(say, BEGUN[trouble.kind], trouble.values)


def message_text(say: Speech, message: Message) -> str:
    """Return a message: a line of its own for each, with its time where there are several."""
    lines = [line_text(say, line) for line in message.lines]
    if len(lines) > 1:
        moments = [say.moment(line.at_ms) for line in message.lines]
        lines = [f"{when}: {text}" for when, text in zip(moments, lines, strict=True)]
    if message.more:
        lines.append(say.text("alert.more", count=say.exact(message.more)))
    return "\n".join(lines)


def mood(message: Message) -> str:
    """Return what Apprise calls it, for targets that have colours or priorities."""
    if any(line.is_urgent and line.phase != OFF for line in message.lines):
        return "failure"
    return "success" if all(line.phase == OFF for line in message.lines) else "warning"


def title_of(house: str) -> str:
    """Return the title of a message."""
    return f"wattlog: {house}" if house else "wattlog"


def speech_of(settings: AlertSettings, zone: Zone) -> Speech:
    """Return who says it in messages."""
    return Speech(settings.language, zone.local)


def _text(say: Speech, key: str, values: Mapping[str, Any]) -> str:
    for name, value in values.items():
        if value is None:
            key = UNLESS_KNOWN.get((key, name), key)
    written = {
        name: ABSENT if value is None else _FORMS.get(name, _plain)(say, value)
        for name, value in values.items()
    }
    return say.text(key, **written)


def _plain(_: Speech, value: Any) -> str:
    return str(value)
