"""The head's settings: /wattlog.json, one flat object; a mistake is one line that names the key.

Flat on purpose: MicroPython's json takes a text that was cut off for a whole one. Of a flat
object such a text cannot end in a brace outside a string, so the cut is seen.
"""

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EDGE_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789_-"

# key, type, default (absent: the file must have it), low, high: of a value or of a length
KEYS: "tuple[Any, ...]" = (
    ("agent.id", str, 1, 32),
    ("wifi.ssid", str, 1, 32),
    ("wifi.password", str, 0, 63, ""),
    ("mqtt.host", str, 1, 255),
    ("mqtt.port", int, 1, 65535, 1883),
    ("mqtt.username", str, 1, 255, None),
    ("mqtt.password", str, 1, 255, None),
    ("mqtt.tls", bool, 0, 1, False),
    ("meter.uart", int, 1, 2, 1),
    ("meter.rx", int, 0, 48),
    ("meter.tx", int, 0, 48),
    ("meter.baud", int, 300, 921600, 9600),
    ("meter.invert", bool, 0, 1, False),
    ("ntp.host", str, 1, 255, "pool.ntp.org"),
    ("uplink.batch_s", int, 1, 60, 30),
)


class ConfigError(Exception):
    """Settings that cannot be used; str() is one line for a person."""


def read(path: str) -> "dict[str, Any]":
    """Return the checked settings of a file, with every default filled in."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError as err:
        raise ConfigError("%s cannot be read (error %s)" % (path, err.args[0])) from None
    except (ValueError, MemoryError):  # UnicodeError is a ValueError
        raise ConfigError("%s is not a text in UTF-8 that fits into memory" % path) from None
    try:
        given = json.loads(text)
    except (ValueError, RuntimeError, MemoryError):  # broken, or nested too deep
        given = None
    if not isinstance(given, dict) or not text.rstrip().endswith("}"):
        raise ConfigError("%s is not one whole JSON object" % path)
    return check(given, path)


def check(given: "dict[str, Any]", path: str) -> "dict[str, Any]":
    """Return the settings with every default filled in; raise ConfigError for a wrong one."""
    unknown = sorted(set(given) - {row[0] for row in KEYS})
    if unknown:
        raise ConfigError("%s: unknown key %s" % (path, unknown[0]))
    out = {}
    for row in KEYS:
        key, kind, low, high = row[:4]
        if key in given:
            out[key] = _checked(path, key, given[key], kind, low, high)
        elif len(row) == 5:
            out[key] = row[4]
        else:
            raise ConfigError("%s: %s is missing" % (path, key))
    if any(letter not in EDGE_CHARACTERS for letter in out["agent.id"]):
        raise ConfigError("%s: agent.id may hold a-z, 0-9, _ and -" % path)
    if out["mqtt.tls"]:
        raise ConfigError("%s: mqtt.tls: this firmware has no TLS; say false" % path)
    return out


def _checked(path: str, key: str, value: "Any", kind: "Any", low: int, high: int) -> "Any":
    # A bool is an int in Python, but no port number.
    if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
        wanted = {str: "a text", int: "a whole number", bool: "true or false"}[kind]
        raise ConfigError("%s: %s must be %s" % (path, key, wanted))
    size = len(value.encode()) if isinstance(value, str) else value
    if not low <= size <= high:
        what = "have %d to %d bytes" if kind is str else "be %d to %d"
        raise ConfigError("%s: %s must %s" % (path, key, what % (low, high)))
    return value
