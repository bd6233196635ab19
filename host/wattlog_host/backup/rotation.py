"""Which backups are kept: names with their time, and the newest of each period. Pure."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

HOUR_MS = 3_600_000

_NAME = re.compile(r"wattlog-(\d{8}T\d{6})Z\.db", re.ASCII)
_STAMP = "%Y%m%dT%H%M%S"


class Keep(NamedTuple):
    """How many of each period are kept; a backup may count for several."""

    hourly: int
    daily: int
    weekly: int
    monthly: int


@dataclass(frozen=True, slots=True)
class Backups:
    """What is known: the newest one there is, and why the last try failed."""

    folder: Path
    newest: Path | None = None
    newest_ms: int | None = None
    trouble: str | None = None
    trouble_ms: int | None = None


# What tells two periods of a kind apart. In UTC, so that no period comes twice.
_PERIODS = Keep("%Y-%m-%d %H", "%Y-%m-%d", "%G-%V", "%Y-%m")  # type: ignore[arg-type]


def name_of(time_ms: int) -> str:
    """Return the name of a backup that was made then."""
    return f"wattlog-{_moment(time_ms).strftime(_STAMP)}Z.db"


def time_of(name: str) -> int | None:
    """Return when the backup of this name was made, None for any other name."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    try:
        moment = datetime.strptime(match[1], _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None
    return int(moment.timestamp()) * 1000


def kept(times_ms: Collection[int], keep: Keep) -> set[int]:
    """Return which of these backups are kept: of each kind the newest of the newest periods."""
    chosen: set[int] = set()
    for form, count in zip(_PERIODS, keep, strict=True):
        periods: set[str] = set()
        for time_ms in sorted(times_ms, reverse=True):
            period = _moment(time_ms).strftime(str(form))
            if period in periods:
                continue
            if len(periods) == count:
                break
            periods.add(period)
            chosen.add(time_ms)
    return chosen


def wait_ms(newest_ms: int | None, now_ms: int) -> int:
    """Return how long until the next one is due; one in the future says nothing: due now."""
    if newest_ms is None or newest_ms > now_ms:
        return 0
    return max(0, newest_ms + HOUR_MS - now_ms)


def _moment(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms // 1000, UTC)
