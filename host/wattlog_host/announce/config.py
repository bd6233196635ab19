"""[announce] of host.toml: what others are told over MQTT in plain text."""

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wattlog.config import ConfigError, Key
from wattlog.live import LIVE_EVERY_MS
from wattlog_host.dess.config import require_secret

SCHEMA = (
    Key("announce.homeassistant", "boolean", True, None, None, "whether Home Assistant finds us"),
    Key("announce.prefix", "text", "homeassistant", 1, 100, "Home Assistant's discovery prefix"),
    Key("announce.form", ("device", "entity"), "device", None, None, "how; entity before 2024.11"),
    Key("announce.every_s", "integer", 10, 1, 3600, "least time between two readings of a meter"),
    Key("announce.tasmota", "text", "", 0, 60, "the name of the Tasmota that we stand for"),
    Key("announce.tasmota_name", "text", "SML", 1, 60, "what that one calls the meter"),
    Key("announce.tasmota_meter", "text", "", 0, 60, "which meter that is: its id or label"),
    Key(
        "announce.backfill_url", "text", "", 0, 300, "where missed hours are told, like https://ha"
    ),
    Key(
        "announce.backfill_token_file", "text", "", 0, 4096, "a file with a long-lived token there"
    ),
)
_URL = re.compile(r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\])(:\d{1,5})?/?")
_TOPIC = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")


@dataclass(frozen=True, slots=True)
class AnnounceSettings:
    """What is set; every_s is in s, a text is empty where nobody is meant.

    backfill_token_file is there where backfill_url is.
    """

    homeassistant: bool
    prefix: str
    form: str
    every_s: int
    tasmota: str
    tasmota_name: str
    tasmota_meter: str
    backfill_url: str
    backfill_token_file: Path | None

    def wants_all_live(self) -> bool:
        """Tell whether agents are to send every reading at once, and not one in a while."""
        return 1000 * self.every_s < LIVE_EVERY_MS

    def lines(self) -> list[str]:
        """Return them as TOML lines."""
        shown = {key: "" if value is None else value for key, value in asdict(self).items()}
        return ["[announce]", *(f"{key} = {_toml(value)}" for key, value in shown.items())]


def read(
    table: Mapping[str, Any],
    refuse: Callable[[str, str], ConfigError],
    place: Callable[[str, str], Path] = lambda _, text: Path(text),
) -> AnnounceSettings:
    """Return the settings in a checked table; raise what refuse(key, why) returns.

    place makes a path of a text, beside the file that names it.
    """
    for key in ("prefix", "tasmota"):
        if table[key] and not _TOPIC.fullmatch(table[key]):
            raise refuse(
                f"announce.{key}", "may hold letters, digits, _ and -, and / between them"
            )
    url, named = table["backfill_url"], table["backfill_token_file"]
    if bool(url) != bool(named):
        given, other = ("url", "token_file") if url else ("token_file", "url")
        raise refuse(f"announce.backfill_{given}", f"has no use without announce.backfill_{other}")
    token_file = place("announce.backfill_token_file", named) if named else None
    if token_file is not None:
        require_secret(token_file, "announce.backfill_token_file", refuse)
    return AnnounceSettings(
        **{**table, "backfill_url": _url(url, refuse), "backfill_token_file": token_file}
    )


def _url(text: str, refuse: Callable[[str, str], ConfigError]) -> str:
    if not text:
        return ""
    key, found = "announce.backfill_url", _URL.fullmatch(text)
    if found is None:
        raise refuse(key, "must be like https://homeassistant.example:8123")
    if found["scheme"] == "http" and not _is_loopback(found["host"].strip("[]")):
        raise refuse(key, "must begin with https:// (http:// is for this machine only)")
    return text.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else f'"{value}"'
