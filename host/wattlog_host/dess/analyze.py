"""A device as a file for whoever adds its devcode: what it says, without who it is.

Serial numbers, the collector's number, names and the plant are replaced; a checksum tells whether
somebody changed the file on its way.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

from wattlog_host.dess import mapping
from wattlog_host.dess.controls import Control
from wattlog_host.dess.devcodes import Devcode
from wattlog_host.dess.model import Device
from wattlog_host.dess.parsing import Point, text_of
from wattlog_host.dess.sensors import NEVER

VERSION = 1
REDACTED = "redacted"
_NAMING = re.compile(r"serial|\bsn\b|\bpn\b|\bid\b|imei|mac\b|address|wifi|ssid", re.IGNORECASE)
_LONG = re.compile(r"[A-Za-z]*\d[A-Za-z\d]{9,}")
_TYPOS = ("termperature", "aparent", "devise", "devine", "frequence", "volatge", "curent")


def capture(
    device: Device,
    devcode: Devcode,
    points: Sequence[Point],
    parameters: Sequence[Point],
    controls: Sequence[Control],
) -> dict[str, Any]:
    """Return the capture of a device, checksum included."""
    mapped = mapping.readings_of(devcode, points, parameters)
    secrets = [text for text in (device.sn, device.pn, device.alias) if len(text) > 3]
    out = {
        "analysis_version": VERSION,
        "devcode": device.devcode,
        "devcode_known": devcode.is_known,
        "titles": [_title(point, devcode, secrets) for point in points],
        "unknown_titles": mapped.unknown,
        "modes": _seen(points, devcode, "mode"),
        "priorities": _seen(points, devcode, "priority"),
        "units": sorted({point.unit for point in points if point.unit}),
        "parameters": [_title(point, devcode, secrets) for point in parameters],
        "settings": [
            {
                "id": control.id,
                "name": control.name,
                "kind": control.kind,
                "unit": control.unit,
                "hint": control.hint,
                "options": dict(control.options),
            }
            for control in controls
        ],
        "suspected_typos": [
            point.title for point in points if any(typo in point.title.lower() for typo in _TYPOS)
        ],
    }
    return {**out, "checksum": checksum(out)}


def checksum(content: dict[str, Any]) -> str:
    """Return the checksum of a capture, whatever is written as its checksum left out."""
    rest = {key: value for key, value in content.items() if key != "checksum"}
    text = json.dumps(rest, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def template(content: dict[str, Any]) -> str:
    """Return a devcode file to fill in, as TOML text."""
    lines = [
        f"# Devcode {content['devcode']}: fill in what stands after each sign, delete the rest.",
        "",
        'models = ["maker and model as on the plate"]',
        "",
        "[titles]  # title in the reply = our sensor; the unit is that of the reply",
    ]
    for title in content["unknown_titles"]:
        unit = next((t["unit"] for t in content["titles"] if t["title"] == title), None)
        lines.append(f'# {_toml(title)} = ""  # {unit or "no unit"}')
    for name, key in (("modes", "modes"), ("output_priorities", "priorities")):
        if content[key]:
            lines += ["", f"[{name}]  # text in the reply = text to show, our class"]
            lines += [f'# {_toml(text)} = ["", ""]' for text in content[key]]
    return "\n".join(lines) + "\n"


def _title(point: Point, devcode: Devcode, secrets: Sequence[str]) -> dict[str, Any]:
    if point.title.lower() in NEVER:
        sensor = None
    else:
        sensor = mapping.sensor_of(point.title, devcode) or devcode.parameters.get(point.title)
    return {
        "title": point.title,
        "unit": point.unit,
        "sensor": sensor,
        "sample": _redacted(point, secrets),
    }


def _redacted(point: Point, secrets: Sequence[str]) -> str | None:
    text = text_of(point.value)
    if text is None:
        return None
    is_secret = any(secret.lower() in text.lower() for secret in secrets)
    if is_secret or _NAMING.search(point.title) or _LONG.fullmatch(text):
        return REDACTED
    return text


def _seen(points: Sequence[Point], devcode: Devcode, word: str) -> list[str]:
    """Return the raw texts of what is a mode or a priority; a clock of one is neither."""
    return sorted(
        {
            text
            for point in points
            if word in f"{point.title} {mapping.sensor_of(point.title, devcode)}".lower()
            and (text := text_of(point.value)) is not None
            and not re.fullmatch(r"[\d:. -]+", text)
        }
    )


def _toml(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
