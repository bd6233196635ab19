"""A head's settings: the person's TOML file, checked, and the JSON file that the head reads."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from wattlog.config import REQUIRED, ConfigError, Key, line_of, parse
from wattlog_esp32 import settings
from wattlog_host.clock import now_ms
from wattlog_tools import ca_file
from wattlog_tools.chips import Chip
from wattlog_tools.console import ToolError

ABOUT = {
    "agent.id": 'this head\'s own name, like "cellar"',
    "wifi.ssid": "the name of your Wi-Fi",
    "wifi.password": 'its password; "" for an open one',
    "mqtt.host": "the broker's address; a name needs a name server that always answers",
    "mqtt.port": "the broker's TCP port; without it 1883, or 8883 with TLS",
    "mqtt.username": "the name to log in with; usually the head's id",
    "mqtt.password": "the password to log in with",
    "mqtt.tls": "whether to use TLS; the broker's certificate is always verified",
    "meter.uart": "the UART that the IR head is on",
    "meter.rx": "the pin that the IR head's TX is wired to",
    "meter.tx": "a pin for the IR head's RX, even where nothing is wired to it",
    "meter.baud": "the meter's speed in bit/s; SML has 9600",
    "meter.invert": "whether the IR head's TX is upside down: low where there is no light",
    "ntp.host": "the time server",
    "led.pin": "the pin of an LED that tells how the head is",
    "led.active_low": "whether that LED lights where the pin is low",
    "update.key": "what signs updates over the air for this head: 64 hex digits; without it none",
    "pin.allow": "whether the head may enter the meter's PIN by light when it is told to",
    "pin.active_low": "whether the IR head's LED lights where its RX is low",
    "uplink.batch_s": "how long readings are gathered in seconds, before they are sent together",
}
for _name in settings.METERS[1:]:
    for _leaf in ("uart", "rx", "tx", "baud", "invert"):
        ABOUT[f"{_name}.{_leaf}"] = f"{ABOUT[f'meter.{_leaf}']}, of another meter"
# Of the tool alone: the head has the certificate, and not its file's name.
CA_FILE = Key(
    "mqtt.ca_file", "text", None, 1, 4096, "a file with the CA's certificate, PEM or DER"
)
_KINDS = {str: "text", int: "integer", bool: "boolean"}
_SECRET = ("wifi.password", "mqtt.password", "update.key")


class HeadSettings(NamedTuple):
    """What a head gets: settings by the firmware's keys, and the certificate of its CA."""

    checked: dict[str, Any]
    ca_path: Path | None
    ca: bytes | None


def schema() -> tuple[Key, ...]:
    """Return the firmware's own table of keys, and ours, as wattlog.config wants it."""
    keys = []
    for row in settings.KEYS:
        path, kind, low, high = row[:4]
        default = row[4] if len(row) == 5 else REQUIRED
        if path.split(".")[0] in settings.METERS[1:]:
            default = None  # a meter that nobody gives must not come out of its defaults
        if kind is bool:
            low = high = None
        keys.append(Key(path, _KINDS[kind], default, low, high, ABOUT[path]))
    return (*keys, CA_FILE)


def read(path: Path, chip: Chip) -> HeadSettings:
    """Return the checked settings; raises ToolError with key and line."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors on Windows put a mark in front
    except UnicodeDecodeError:
        raise ToolError(f"{path}: not a text in UTF-8") from None
    except OSError as err:
        raise ToolError(f"{path}: {(err.strerror or str(err)).lower()}") from None
    try:
        nested = parse(str(path), text, tomllib.loads, schema())
    except ConfigError as err:
        raise ToolError(str(err)) from None
    given = {
        f"{table}.{leaf}": value
        for table, leaves in nested.items()
        for leaf, value in leaves.items()
        if value is not None
    }
    ca_name = given.pop(CA_FILE.path, None)
    try:
        checked: dict[str, Any] = settings.check(given, str(path))
    except settings.ConfigError as err:
        raise ToolError(_with_line(str(err), path, text)) from None
    for key, problem in _chip_problems(checked, chip):
        raise ToolError(_with_line(f"{path}: {key} {problem}", path, text))
    if checked["mqtt.tls"] != (ca_name is not None):
        key, problem = ("mqtt.tls", "is true but mqtt.ca_file is not given: whom to believe?")
        if ca_name is not None:
            key, problem = (CA_FILE.path, "is given but mqtt.tls is not true")
        raise ToolError(_with_line(f"{path}: {key} {problem}", path, text))
    if ca_name is None:
        return HeadSettings(checked, None, None)
    ca_path = path.parent / ca_name
    try:
        return HeadSettings(checked, ca_path, ca_file.read(ca_path, now_ms() / 1000))
    except ValueError as err:
        raise ToolError(_with_line(f"{path}: mqtt.ca_file {ca_path}: {err}", path, text)) from None


def pack(checked: Mapping[str, Any]) -> bytes:
    """Return the settings as the file that the firmware reads."""
    given = {key: value for key, value in checked.items() if value is not None}
    # MicroPython does not put the halves of a \\u escape together; UTF-8 it takes as it is.
    return (json.dumps(given, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()


def shown(head: HeadSettings) -> list[str]:
    """Return the settings in effect, a line each, without secrets."""
    lines = []
    shown = head.checked | {CA_FILE.path: None if head.ca_path is None else str(head.ca_path)}
    for key in schema():
        value = shown.get(key.path)
        if value is not None:
            text = "(secret)" if key.path in _SECRET else json.dumps(value, ensure_ascii=False)
            lines.append(f"{key.path} = {text}")
    return lines


def _chip_problems(checked: Mapping[str, Any], chip: Chip) -> list[tuple[str, str]]:
    """Return what this chip cannot do: key and problem."""
    wrong = []
    for name in settings.METERS:
        if f"{name}.uart" in checked:
            wrong += _meter_problems(checked, name, chip)
    if checked["led.pin"] is not None and checked["led.pin"] not in chip.outputs:
        pin = checked["led.pin"]
        wrong.append(
            ("led.pin", f"cannot be pin {pin} on the {chip.title}: {_runs(chip.outputs)}")
        )
    key = checked["update.key"]
    if key is not None and not set(key) <= set("0123456789abcdef"):
        wrong.append(("update.key", "may hold 0-9 and a-f"))
    if checked["mqtt.password"] is not None and checked["mqtt.username"] is None:
        wrong.append(("mqtt.password", "is given but mqtt.username is not"))
    return wrong


def _meter_problems(checked: Mapping[str, Any], name: str, chip: Chip) -> list[tuple[str, str]]:
    wrong = []
    # UART 0 is the console's, and goes to a meter only where that is asked for.
    if checked[f"{name}.uart"] not in (0, *chip.uarts):
        free = " or ".join(map(str, chip.uarts))
        wrong.append((f"{name}.uart", f"must be {free} on the {chip.title}"))
    for leaf, pins in (("rx", chip.inputs), ("tx", chip.outputs)):
        pin = checked[f"{name}.{leaf}"]
        if pin not in pins:
            text = f"cannot be pin {pin} on the {chip.title}: {_runs(pins)}"
            wrong.append((f"{name}.{leaf}", text))
    return wrong


def _runs(pins: frozenset[int]) -> str:
    """Return pins as a person lists them: "0-3, 5"."""
    runs: list[list[int]] = []
    for pin in sorted(pins):
        if runs and runs[-1][-1] == pin - 1:
            runs[-1].append(pin)
        else:
            runs.append([pin])
    listed = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return f"there are {', '.join(listed)}"


def _with_line(message: str, path: Path, text: str) -> str:
    """Return a message that begins with the file's name with the line of its key added."""
    for key in schema():
        start = f"{path}: {key.path}"
        if message.startswith(start):
            line = line_of(text, key.path)
            return message if line is None else f"{path} line {line}{message[len(str(path)) :]}"
    return message
