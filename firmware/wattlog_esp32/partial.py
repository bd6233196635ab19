"""Settings that are not whole, or wrong in part: what of them can be used, and what cannot."""

import json
import os

from wattlog_esp32 import settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def usable(path: str) -> "dict[str, Any]":
    """Return what is usable of a file of settings that as a whole is not.

    A head that has a CA goes on with TLS, whatever became of the rest: the form cannot say so.
    """
    found = _usable(path)
    try:
        os.stat(path.rpartition("/")[0] + "/ca.der")
        found["mqtt.tls"] = True
    except OSError:
        pass
    return found


def _usable(path: str) -> "dict[str, Any]":
    try:
        with open(path, encoding="utf-8") as file:
            given = json.loads(file.read())
    except (OSError, ValueError, RuntimeError, MemoryError):
        return {}
    if not isinstance(given, dict):
        return {}
    return {
        row[0]: given[row[0]]
        for row in settings.KEYS
        if row[0] in given and not mistake(row, given)
    }


def mistake(row: "tuple[Any, ...]", given: "dict[str, Any]") -> str | None:
    """Return why a row's value cannot be used, as a key of page.REASONS; None where it can."""
    key, kind, low, high = row[:4]
    if key not in given:
        return None if len(row) == 5 else "missing"
    value = given[key]
    if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
        return {str: "text", int: "number", bool: "bool"}[kind]
    size = len(value.encode()) if isinstance(value, str) else value
    if not low <= size <= high:
        return "bytes" if kind is str else "range"
    if key == "agent.id" and any(letter not in settings.EDGE_CHARACTERS for letter in value):
        return "letters"
    return None
