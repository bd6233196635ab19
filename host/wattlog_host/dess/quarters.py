"""What each inverter produced, and its battery took and gave, by quarters of an hour.

A quarter is made from the records around it: from a counter of a lifetime where the device has
one, else from its power, which holds for the time since the record before. A quarter of which a
part is not known is not known. All is integer arithmetic in Wh * 10^3, and parts add up to what
the counter gained. Made when records are stored, and again when some of them come late.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

import sqlalchemy as sa

from wattlog_host.dess import counters
from wattlog_host.dess.packed import E6, e6, unpack
from wattlog_host.dess.powers import BATTERY_KEYS, SOLAR_KEYS, Value, battery_of, solar_of
from wattlog_host.store import tables

QUARTER_MS = 900_000
DAY_MS = 86_400_000
POWER_HOLD_MS = 16 * 60_000
"""A power speaks for the time since the record before, if that is not longer ago."""
COUNTER_HOLD_MS = 65 * 60_000
"""So far apart a counter's records may be, to tell the quarters between: the longest interval."""
_REACH_MS = max(POWER_HOLD_MS, COUNTER_HOLD_MS)
_E9_MS_PER_WH_E3 = 3_600_000_000
"""Millionths of W times ms in a Wh * 10^3."""

Record = tuple[int, Mapping[str, int]]
"""time_ms, and numbers in millionths by channel."""


@dataclass(frozen=True, slots=True)
class Role:
    """One energy: the counters of a lifetime that tell it, else the power, and its sign there."""

    name: str
    counters: tuple[str, ...]
    powers: tuple[str, ...]
    power: Callable[[Value], Decimal | None]
    sign: int = 1


ROLES = (
    Role("production", ("energy_total", "pv_cumulative_energy"), SOLAR_KEYS, solar_of),
    Role(
        "charged", ("accumulated_charge_energy", "battery_energy_total_charge"), BATTERY_KEYS,
        battery_of,
    ),
    Role(
        "discharged", ("accumulated_discharge_energy", "battery_energy_total_discharge"),
        BATTERY_KEYS, battery_of, -1,
    ),
)  # fmt: skip
_KEYS = sorted(
    {key for role in ROLES for key in (*role.counters, *role.powers, "battery_voltage")}
)

_QUARTER, _RECORD, _CHANNEL = tables.solar_quarter, tables.solar_record, tables.solar_channel
_COLUMNS = [_QUARTER.c[f"{role.name}_wh_e3"] for role in ROLES]
_IDS = sa.select(_CHANNEL.c.id, _CHANNEL.c.key).where(
    _CHANNEL.c.device_id == sa.bindparam("of_device"), _CHANNEL.c.key.in_(_KEYS)
)
_RECORDS = (
    sa.select(_RECORD.c.time_ms, _RECORD.c.packed)
    .where(_RECORD.c.device_id == sa.bindparam("of_device"))
    .where(_RECORD.c.time_ms.between(sa.bindparam("low_ms"), sa.bindparam("high_ms")))
    .order_by(_RECORD.c.time_ms)
)
_FORGET = sa.delete(_QUARTER).where(
    _QUARTER.c.device_id == sa.bindparam("of_device"),
    _QUARTER.c.start_ms.between(sa.bindparam("low_ms"), sa.bindparam("high_ms")),
)
_NEW = sa.insert(_QUARTER)


class Piece(NamedTuple):
    """Between two neighbouring records, so much."""

    start_ms: int
    end_ms: int
    amount: int

    def until(self, time_ms: int) -> int:
        """Return how much of it there was until then."""
        return self.amount * (time_ms - self.start_ms) // (self.end_ms - self.start_ms)


def quarters_of(
    records: Sequence[Record], starts_ms: Iterable[int]
) -> dict[int, dict[str, int | None]]:
    """Return each quarter's energies by role; those of which nothing is known are absent."""
    sources = {
        role.name: [
            *(_of_counter(records, key) for key in role.counters),
            _of_power(records, role),
        ]
        for role in ROLES
    }
    out = {}
    for start_ms in starts_ms:
        found = {
            name: next(
                (one for pieces in of if (one := _within(pieces, start_ms)) is not None), None
            )
            for name, of in sources.items()
        }
        if any(one is not None for one in found.values()):
            out[start_ms] = found
    return out


def _of_counter(records: Sequence[Record], key: str) -> list[Piece]:
    # One that has never counted anything is no counter: some devices have the title only.
    readings = [
        (time_ms, Decimal(value) / E6)
        for time_ms, values in records
        if (value := values.get(key)) is not None and value > 0
    ]
    gained = [(time_ms, e6(total)) for time_ms, total in counters.gained(readings)]
    return [
        Piece(before_ms, time_ms, total - before)
        for (before_ms, before), (time_ms, total) in pairwise(gained)
        if time_ms - before_ms <= COUNTER_HOLD_MS
    ]


def _of_power(records: Sequence[Record], role: Role) -> list[Piece]:
    out = []
    for (before_ms, _), (time_ms, values) in pairwise(records):
        power = role.power(_value_of(values))
        if power is not None and time_ms - before_ms <= POWER_HOLD_MS:
            amount = max(0, role.sign * e6(power)) * (time_ms - before_ms) // _E9_MS_PER_WH_E3
            out.append(Piece(before_ms, time_ms, amount))
    return out


def _value_of(values: Mapping[str, int]) -> Value:
    def value(key: str) -> Decimal | None:
        found = values.get(key)
        return None if found is None else Decimal(found) / E6

    return value


def _within(pieces: Sequence[Piece], start_ms: int) -> int | None:
    """Return how much there was in a quarter, None where no piece speaks for a part of it."""
    at_ms, end_ms, total = start_ms, start_ms + QUARTER_MS, 0
    for piece in pieces[max(0, bisect_right(pieces, at_ms, key=lambda one: one.start_ms) - 1) :]:
        if piece.start_ms > at_ms or piece.end_ms <= at_ms:
            return None
        until_ms = min(piece.end_ms, end_ms)
        total += piece.until(until_ms) - piece.until(at_ms)
        at_ms = until_ms
        if at_ms == end_ms:
            return total
    return None


# --- in the database ----------------------------------------------------------------------


class Sums(NamedTuple):
    """One quarter, all devices together: by ROLES how many tell it, and how much."""

    start_ms: int
    tellers: tuple[int, ...]
    wh_e3: tuple[int, ...]


class Member(NamedTuple):
    """A device, the roles that it has, and its first and last quarter."""

    key: str
    roles: frozenset[str]
    first_ms: int
    last_ms: int


def renew(connection: sa.Connection, device_id: int, times_ms: Iterable[int]) -> None:
    """Make the quarters anew that records of these times have a part in."""
    days: dict[int, list[int]] = {}
    for time_ms in times_ms:
        days.setdefault(time_ms // DAY_MS, []).append(time_ms)
    ids = {row.id: row.key for row in connection.execute(_IDS, {"of_device": device_id})}
    for of_day in days.values():
        _renew(connection, device_id, ids, min(of_day) - _REACH_MS, max(of_day) + _REACH_MS)


def _renew(
    connection: sa.Connection, device_id: int, ids: Mapping[int, str], low_ms: int, high_ms: int
) -> None:
    low_ms, high_ms = low_ms - low_ms % QUARTER_MS, high_ms - high_ms % QUARTER_MS
    asked = {
        "of_device": device_id,
        "low_ms": low_ms - _REACH_MS,
        "high_ms": high_ms + QUARTER_MS + _REACH_MS,
    }
    records = [
        (row.time_ms, _numbers(row.packed, ids)) for row in connection.execute(_RECORDS, asked)
    ]
    made = quarters_of(records, range(low_ms, high_ms + 1, QUARTER_MS))
    connection.execute(_FORGET, {"of_device": device_id, "low_ms": low_ms, "high_ms": high_ms})
    if made:
        rows = [
            {
                "device_id": device_id,
                "start_ms": start_ms,
                **{f"{name}_wh_e3": amount for name, amount in found.items()},
            }
            for start_ms, found in made.items()
        ]
        connection.execute(_NEW, rows)


def _numbers(packed: bytes, ids: Mapping[int, str]) -> dict[str, int]:
    return {
        ids[number]: value
        for number, value in unpack(packed).items()
        if number in ids and isinstance(value, int)
    }


def missing(connection: sa.Connection) -> list[tuple[int, int, int]]:
    """Return (device_id, first_ms, last_ms) of records that have no quarters yet.

    They were stored before there were any; a fill that was cut short goes on where it was.
    """
    keyed = sa.select(_CHANNEL.c.device_id).where(_CHANNEL.c.key.in_(_KEYS))
    latest = sa.select(
        _QUARTER.c.device_id, sa.func.max(_QUARTER.c.start_ms).label("last_ms")
    ).group_by(_QUARTER.c.device_id)
    made = {row.device_id: row.last_ms for row in connection.execute(latest)}
    spans = connection.execute(
        sa.select(
            _RECORD.c.device_id,
            sa.func.min(_RECORD.c.time_ms).label("first_ms"),
            sa.func.max(_RECORD.c.time_ms).label("last_ms"),
        )
        .where(_RECORD.c.device_id.in_(keyed))
        .group_by(_RECORD.c.device_id)
    )
    return [
        (row.device_id, made.get(row.device_id, row.first_ms), row.last_ms)
        for row in spans
        if row.device_id not in made or made[row.device_id] < row.last_ms - DAY_MS
    ]


def days_of(first_ms: int, last_ms: int) -> Iterable[tuple[int, int]]:
    """Return the first and last moment of each day that a time touches, to renew it by."""
    for at_ms in range(first_ms - first_ms % DAY_MS, last_ms + 1, DAY_MS):
        yield at_ms, at_ms + DAY_MS - 1


def sums(connection: sa.Connection, start_ms: int, end_ms: int) -> list[Sums]:
    """Return the quarters that begin in start_ms <= t < end_ms, rising, of all devices."""
    query = (
        sa.select(
            _QUARTER.c.start_ms,
            *(sa.func.count(column) for column in _COLUMNS),
            *(sa.func.sum(column) for column in _COLUMNS),
        )
        .where(_QUARTER.c.start_ms >= start_ms, _QUARTER.c.start_ms < end_ms)
        .group_by(_QUARTER.c.start_ms)
        .order_by(_QUARTER.c.start_ms)
    )
    split = 1 + len(ROLES)
    # PostgreSQL sums up integers as decimals.
    return [
        Sums(row[0], tuple(row[1:split]), tuple(int(one or 0) for one in row[split:]))
        for row in connection.execute(query)
    ]


def members(connection: sa.Connection) -> list[Member]:
    """Return the devices that have quarters."""
    device = tables.solar_device
    keys: dict[int, set[str]] = {}
    for row in connection.execute(
        sa.select(_CHANNEL.c.device_id, _CHANNEL.c.key).where(_CHANNEL.c.key.in_(_KEYS))
    ):
        keys.setdefault(row.device_id, set()).add(row.key)
    spans = connection.execute(
        sa.select(
            device.c.id,
            device.c.key,
            sa.func.min(_QUARTER.c.start_ms).label("first_ms"),
            sa.func.max(_QUARTER.c.start_ms).label("last_ms"),
        )
        .join(_QUARTER, _QUARTER.c.device_id == device.c.id)
        .group_by(device.c.id, device.c.key)
        .order_by(device.c.id)
    )
    return [
        Member(row.key, roles_of(keys.get(row.id, set())), row.first_ms, row.last_ms)
        for row in spans
    ]


def roles_of(keys: Iterable[str]) -> frozenset[str]:
    """Return the roles that a device with these channels has."""
    there = set(keys)
    return frozenset(role.name for role in ROLES if there & {*role.counters, *role.powers})
