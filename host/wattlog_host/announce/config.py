"""[announce] of host.toml: what others are told over MQTT in plain text."""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from wattlog.config import ConfigError, Key
from wattlog.live import LIVE_EVERY_MS

SCHEMA = (
    Key("announce.homeassistant", "boolean", True, None, None, "whether Home Assistant finds us"),
    Key("announce.prefix", "text", "homeassistant", 1, 100, "Home Assistant's discovery prefix"),
    Key("announce.form", ("device", "entity"), "device", None, None, "how; entity before 2024.11"),
    Key("announce.every_s", "integer", 10, 1, 3600, "least time between two readings of a meter"),
    Key("announce.tasmota", "text", "", 0, 60, "the name of the Tasmota that we stand for"),
    Key("announce.tasmota_name", "text", "SML", 1, 60, "what that one calls the meter"),
    Key("announce.tasmota_meter", "text", "", 0, 60, "which meter that is: its id or label"),
)
_TOPIC = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")


@dataclass(frozen=True, slots=True)
class AnnounceSettings:
    """What is set; every_s is in s, tasmota and tasmota_meter are empty where nobody is meant."""

    homeassistant: bool
    prefix: str
    form: str
    every_s: int
    tasmota: str
    tasmota_name: str
    tasmota_meter: str

    def wants_all_live(self) -> bool:
        """Tell whether agents are to send every reading at once, and not one in a while."""
        return 1000 * self.every_s < LIVE_EVERY_MS

    def lines(self) -> list[str]:
        """Return them as TOML lines."""
        return ["[announce]", *(f"{key} = {_toml(value)}" for key, value in asdict(self).items())]


def read(table: Mapping[str, Any], refuse: Callable[[str, str], ConfigError]) -> AnnounceSettings:
    """Return the settings in a checked table; raise what refuse(key, why) returns."""
    for key in ("prefix", "tasmota"):
        if table[key] and not _TOPIC.fullmatch(table[key]):
            raise refuse(
                f"announce.{key}", "may hold letters, digits, _ and -, and / between them"
            )
    return AnnounceSettings(**table)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else f'"{value}"'
