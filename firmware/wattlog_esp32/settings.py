"""The head's settings: /wattlog.json, one flat object; a mistake is one line that names the key.

Flat on purpose: MicroPython's json takes a text that was cut off for a whole one. Of a flat
object such a text cannot end in a brace outside a string, so the cut is seen.
"""

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EDGE_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789_-"
METERS = ("meter", "meter2", "meter3")  # an ESP32 has three UARTs
_UART_MAX = 2
_PIN_MAX = 48


def _meter_rows(name: str, uart: "int | None") -> "tuple[Any, ...]":
    """Return the keys of one meter; those of all but the first may be absent together."""
    rx: tuple[Any, ...] = ("%s.rx" % name, int, 0, _PIN_MAX)
    tx: tuple[Any, ...] = ("%s.tx" % name, int, 0, _PIN_MAX)
    if name != METERS[0]:
        rx += (None,)
        tx += (None,)
    # UART 0 is the console's: nobody gets it who does not ask for it.
    number = ("%s.uart" % name, int, 0, _UART_MAX, uart)
    baud = ("%s.baud" % name, int, 300, 921600, 9600)
    return number, rx, tx, baud, ("%s.invert" % name, bool, 0, 1, False)


# key, type, low, high (of a value or of a length), default (absent: the file must have it)
KEYS: "tuple[Any, ...]" = (
    ("agent.id", str, 1, 32),
    ("wifi.ssid", str, 1, 32),
    ("wifi.password", str, 0, 63, ""),
    ("mqtt.host", str, 1, 255),
    ("mqtt.port", int, 1, 65535, None),
    ("mqtt.username", str, 1, 255, None),
    ("mqtt.password", str, 1, 255, None),
    ("mqtt.tls", bool, 0, 1, False),
    ("ntp.host", str, 1, 255, "pool.ntp.org"),
    ("uplink.batch_s", int, 1, 60, 30),
    ("led.pin", int, 0, _PIN_MAX, None),
    ("led.active_low", bool, 0, 1, False),
    ("update.key", str, 64, 64, None),
    ("pin.allow", bool, 0, 1, False),
    ("pin.active_low", bool, 0, 1, True),
)
for _name, _uart in zip(METERS, (1, 2, None)):  # noqa: B905 - MicroPython has no strict=
    KEYS += _meter_rows(_name, _uart)


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
    """Return the settings with every default filled in; raise ConfigError for a wrong one.

    Of a meter that is not given there is no key.
    """
    unknown = sorted(set(given) - {row[0] for row in KEYS})
    if unknown:
        table = str(unknown[0]).split(".")[0] + "."
        known = [row[0] for row in KEYS if row[0].startswith(table)]
        if not known:
            known = sorted({row[0].split(".")[0] + ".*" for row in KEYS})
        raise ConfigError("%s: unknown key %s; there are %s" % (path, unknown[0], _list(known)))
    out = {}
    for row in KEYS:
        key, kind, low, high = row[:4]
        if key in given:
            out[key] = _checked(path, key, given[key], kind, low, high)
        elif len(row) == 5:
            out[key] = row[4]
        else:
            raise ConfigError("%s: %s is missing; it must %s" % (path, key, _wanted(row)))
    if any(letter not in EDGE_CHARACTERS for letter in out["agent.id"]):
        raise ConfigError("%s: agent.id may hold a-z, 0-9, _ and -" % path)
    if out["mqtt.port"] is None:
        out["mqtt.port"] = 8883 if out["mqtt.tls"] else 1883
    _check_meters(given, out, path)
    return out


def _check_meters(given: "dict[str, Any]", out: "dict[str, Any]", path: str) -> None:
    """See to it that each meter is whole, and that no two want the same UART or pin."""
    taken: dict[tuple[str, int], str] = {}
    if out["led.pin"] is not None:
        taken["pin", out["led.pin"]] = "led.pin"
    for name in METERS:
        if not any(key.startswith(name + ".") for key in given):
            for row in KEYS:
                if row[0].startswith(name + "."):
                    del out[row[0]]
            continue
        for leaf, kind in (("uart", "UART"), ("rx", "pin"), ("tx", "pin")):
            key = "%s.%s" % (name, leaf)
            value = out[key]
            if value is None:
                row = [row for row in KEYS if row[0] == key][0]  # noqa: RUF015 - as short here
                raise ConfigError("%s: %s is missing; it must %s" % (path, key, _wanted(row)))
            if (kind, value) in taken:
                what = (path, key, kind, value, taken[kind, value])
                raise ConfigError("%s: %s: %s %d is taken by %s; give each its own" % what)
            taken[kind, value] = key


def _wanted(row: "tuple[Any, ...]") -> str:
    """Return what a key has to be, in words that follow "must"."""
    if row[1] is bool:
        return "be true or false"
    return ("have %d to %d bytes" if row[1] is str else "be %d to %d") % row[2:4]


def _list(names: "list[str]") -> str:
    return ", ".join(names)


def _checked(path: str, key: str, value: "Any", kind: "Any", low: int, high: int) -> "Any":
    # A bool is an int in Python, but no port number.
    if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
        wanted = {str: "a text", int: "a whole number", bool: "true or false"}[kind]
        raise ConfigError("%s: %s must be %s" % (path, key, wanted))
    size = len(value.encode()) if isinstance(value, str) else value
    if not low <= size <= high:
        raise ConfigError("%s: %s must %s" % (path, key, _wanted((key, kind, low, high))))
    return value
