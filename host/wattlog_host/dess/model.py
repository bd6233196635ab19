"""Plants, collectors and devices as the cloud names them, and records of devices."""

import calendar
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wattlog_host.dess.parsing import Point, integer, text_of

OFFSET_S_MAX = 15 * 3600
FETCH_S = 300
"""How often a collector uploads where it does not say."""
_FETCH_S_MIN, _FETCH_S_MAX = 30, 3_600

_TIME = re.compile(r"(20\d\d)-(\d\d?)-(\d\d?)[ T](\d\d?):(\d\d)(?::(\d\d))?(?:\.\d+)?")

STATUSES = ("online", "offline", "fault", "standby", "warning", "error", "protocol error")
_AWAY = (1, 5, 6)


@dataclass(frozen=True, slots=True)
class Plant:
    """One plant; offset_s is its zone's distance from UTC, None where it is not told."""

    pid: str
    name: str
    status: int | None
    offset_s: int | None


@dataclass(frozen=True, slots=True)
class Collector:
    """One collector (the stick that uploads); fetch_s is how often."""

    pn: str
    alias: str
    pid: str
    status: int | None
    firmware: str
    signal: int | None
    offset_s: int | None
    fetch_s: int = FETCH_S


@dataclass(frozen=True, slots=True)
class Device:
    """One inverter; the four values together name it to the cloud, key to us."""

    pn: str
    devcode: int
    devaddr: int
    sn: str
    alias: str
    pid: str

    @property
    def key(self) -> str:
        """Return the name by which it is stored."""
        return self.sn or f"{self.pn}-{self.devcode}-{self.devaddr}"

    @property
    def label(self) -> str:
        """Return its name for people, with its collector's number."""
        return f"{self.alias or 'Inverter'} ({self.pn})"

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Return what names it in a call."""
        return (
            ("pn", self.pn),
            ("devcode", str(self.devcode)),
            ("devaddr", str(self.devaddr)),
            ("sn", self.sn),
        )


@dataclass(frozen=True, slots=True)
class Record:
    """What one device last said: its own name of the record, its local time, its readings."""

    id: str | None
    local_time: str | None
    points: tuple[Point, ...]


def status_word(status: int | None) -> str:
    """Return what a status means."""
    if status is None or not 0 <= status < len(STATUSES):
        return "unknown"
    return STATUSES[status]


def is_away(status: int | None) -> bool:
    """Tell whether the cloud itself says that there is no contact."""
    return status in _AWAY


def plant_of(row: Mapping[str, Any]) -> Plant | None:
    """Return a plant, None where it has no number."""
    pid = text_of(row.get("pid"), 20)
    address = row.get("address")
    zone = address.get("timezone") if isinstance(address, dict) else None
    if pid is None:
        return None
    return Plant(pid, text_of(row.get("name")) or "", integer(row.get("status")), _offset(zone))


def collector_of(row: Mapping[str, Any], pid: str) -> Collector | None:
    """Return a collector, None where it has no number."""
    pn = text_of(row.get("pn"), 40)
    if pn is None:
        return None
    zone = row.get("timeZone", row.get("timezone"))
    return Collector(
        pn,
        text_of(row.get("alias")) or "",
        text_of(row.get("pid"), 20) or pid,
        integer(row.get("status")),
        text_of(row.get("fireware", row.get("firmware"))) or "",
        integer(row.get("signal")),
        _offset(zone),
        fetch_of(row),
    )


def fetch_of(row: Mapping[str, Any]) -> int:
    """Return how often a collector uploads, in seconds."""
    fetch_s = integer(row.get("datFetch"))
    if fetch_s is None or not _FETCH_S_MIN <= fetch_s <= _FETCH_S_MAX:
        return FETCH_S
    return fetch_s


def device_of(row: Mapping[str, Any], pn: str, pid: str) -> Device | None:
    """Return a device, None where the cloud could not be asked about it."""
    devcode, devaddr = integer(row.get("devcode")), integer(row.get("devaddr"))
    number = text_of(row.get("pn"), 40) or pn
    sn = text_of(row.get("sn"), 60)
    if devcode is None or devaddr is None or not number or not sn:
        return None
    alias = text_of(row.get("alias")) or text_of(row.get("devalias")) or ""
    return Device(number, devcode, devaddr, sn, alias, pid)


def record_of(points: list[Point]) -> Record:
    """Return the record that a device's points make."""
    named = {point.title.lower(): point.value for point in reversed(points)}
    return Record(text_of(named.get("id"), 64), text_of(named.get("timestamp"), 40), tuple(points))


def utc_ms(local_time: str | None, offset_s: int | None) -> int | None:
    """Return a device's local time as UTC, None where it is no time or the zone is not known."""
    match = _TIME.fullmatch(local_time or "")
    if match is None or offset_s is None:
        return None
    year, month, day, hour, minute = map(int, match.groups()[:5])
    second = int(match[6] or 0)
    if not 1 <= month <= 12 or not 1 <= day <= calendar.monthrange(year, month)[1]:
        return None
    if hour > 23 or minute > 59 or second > 59:
        return None
    epoch_s = calendar.timegm((year, month, day, hour, minute, second))
    return 1000 * (epoch_s - offset_s)


def local_date(time_ms: int, offset_s: int) -> str:
    """Return the date on the spot as the cloud writes it."""
    return time.strftime("%Y-%m-%d", time.gmtime(time_ms // 1000 + offset_s))


def _offset(value: Any) -> int | None:
    offset_s = integer(value)
    return offset_s if offset_s is not None and abs(offset_s) <= OFFSET_S_MAX else None
