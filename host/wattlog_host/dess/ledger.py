"""The solar ledger: records in, latest state and series out.

Each call runs in a transaction of its caller, so short that no meter's batch waits for it.
A record counts once by (device, time): what comes again, or late, fills in what was missing and
changes nothing that is there. Counters follow what is polled, not what is asked for later.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from wattlog_host.dess import counters, quarters
from wattlog_host.dess.mapping import Reading
from wattlog_host.dess.model import Device, local_date
from wattlog_host.dess.packed import E6, e6, pack, plain, unpack
from wattlog_host.store import tables

CHANNELS_MAX = 300
DEVICES_MAX = 200
SERIES_MAX = 100_000
BY_DEVICE, BY_ARRIVAL, BY_HISTORY = range(3)
ORIGINS = ("device", "arrival", "history")

_DEVICE, _CHANNEL, _RECORD = tables.solar_device, tables.solar_channel, tables.solar_record

# Built once: building a statement takes longer than running it.
_DEVICE_ID = sa.select(_DEVICE.c.id).where(_DEVICE.c.key == sa.bindparam("of_key"))
_CHANNELS = sa.select(_CHANNEL.c.id, _CHANNEL.c.key, _CHANNEL.c.unit).where(
    _CHANNEL.c.device_id == sa.bindparam("of_device")
)
_PLACE = (_RECORD.c.device_id == sa.bindparam("of_device")) & (
    _RECORD.c.time_ms == sa.bindparam("of_time")
)
_PACKED = sa.select(_RECORD.c.packed).where(_PLACE)
_NEW_RECORD = sa.insert(_RECORD)
_FILL_RECORD = sa.update(_RECORD).where(_PLACE).values(packed=sa.bindparam("filled"))
_COUNTERS = sa.select(tables.solar_counter).where(
    tables.solar_counter.c.channel_id.in_(sa.bindparam("ids", expanding=True))
)
_FORGET_LATEST = sa.delete(tables.solar_latest).where(
    tables.solar_latest.c.channel_id == sa.bindparam("of_channel")
)
_NEW_LATEST = sa.insert(tables.solar_latest)
_FORGET_COUNTER = sa.delete(tables.solar_counter).where(
    tables.solar_counter.c.channel_id == sa.bindparam("of_channel")
)
_NEW_COUNTER = sa.insert(tables.solar_counter)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One record of one device as it goes into the ledger; identity tells it from the next."""

    device: Device
    time_ms: int
    arrived_ms: int
    origin: int
    readings: Sequence[Reading]
    identity: str | None = None
    offset_s: int | None = None


@dataclass(slots=True)
class Stored:
    """What became of it: counts by reason, and of counters what was not a plain gain."""

    counts: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """A device as the ledger left it, with its latest readings: key to (reading, time_ms)."""

    device: Device
    identity: str | None
    record_ms: int | None
    arrived_ms: int | None
    offset_s: int | None
    readings: Mapping[str, tuple[Reading, int]]


def put(connection: sa.Connection, deliveries: Sequence[Delivery]) -> Stored:
    """Store records; the latest state and the counters follow those that were polled."""
    out = Stored()
    times: dict[int, list[int]] = {}
    for delivery in deliveries:
        device_id = _device_id(connection, delivery)
        if device_id is None:
            out.counts["devices"] += 1
            continue
        channels = _channels(connection, device_id, delivery.readings, out.counts)
        _store_record(connection, device_id, delivery, channels, out.counts)
        times.setdefault(device_id, []).append(delivery.time_ms)
        if delivery.origin != BY_HISTORY:
            _store_latest(connection, channels, delivery)
            _store_counters(connection, channels, delivery, out.counts)
    for device_id, times_ms in times.items():
        quarters.renew(connection, device_id, times_ms)
    return out


def known(connection: sa.Connection) -> list[KnownDevice]:
    """Return every device with its latest state."""
    latest = tables.solar_latest
    query = sa.select(latest, _CHANNEL).join(_CHANNEL, _CHANNEL.c.id == latest.c.channel_id)
    readings: dict[int, dict[str, tuple[Reading, int]]] = {}
    for row in connection.execute(query):
        value = None if row.value_e6 is None else Decimal(row.value_e6) / E6
        reading = Reading(
            row.key, row.label, row.unit, value, row.source, row.text, row.text_class,
            row.device_class, row.state_class, row.period, row.is_diagnostic, row.is_generic,
        )  # fmt: skip
        readings.setdefault(row.device_id, {})[row.key] = (reading, row.time_ms)
    return [
        KnownDevice(
            Device(row.pn, row.devcode, row.devaddr, row.key, row.alias, row.pid),
            row.identity,
            row.record_ms,
            row.arrived_ms,
            row.offset_s,
            readings.get(row.id, {}),
        )
        for row in connection.execute(sa.select(_DEVICE).order_by(_DEVICE.c.id))
    ]


def series(
    connection: sa.Connection, device_key: str, channel_key: str, from_ms: int, to_ms: int
) -> list[tuple[int, Decimal | str | None]]:
    """Return (time_ms, value) of one channel, oldest first; None where a record had no value."""
    query = (
        sa.select(_CHANNEL.c.id, _CHANNEL.c.device_id)
        .join(_DEVICE, _DEVICE.c.id == _CHANNEL.c.device_id)
        .where(_DEVICE.c.key == device_key, _CHANNEL.c.key == channel_key)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return []
    records = (
        sa.select(_RECORD.c.time_ms, _RECORD.c.packed)
        .where(_RECORD.c.device_id == row.device_id)
        .where(_RECORD.c.time_ms.between(from_ms, to_ms))
        .order_by(_RECORD.c.time_ms)
        .limit(SERIES_MAX)
    )
    return [
        (one.time_ms, plain(unpack(one.packed).get(row.id))) for one in connection.execute(records)
    ]


def totals(connection: sa.Connection, device_key: str) -> dict[str, counters.Counter]:
    """Return where a device's energy counters stand."""
    counter = tables.solar_counter
    query = (
        sa.select(counter, _CHANNEL.c.key)
        .join(_CHANNEL, _CHANNEL.c.id == counter.c.channel_id)
        .join(_DEVICE, _DEVICE.c.id == _CHANNEL.c.device_id)
        .where(_DEVICE.c.key == device_key)
    )
    return {row.key: _counter_of(row) for row in connection.execute(query)}


def times(connection: sa.Connection, device_key: str, from_ms: int, to_ms: int) -> list[int]:
    """Return when a device has records."""
    query = (
        sa.select(_RECORD.c.time_ms)
        .join(_DEVICE, _DEVICE.c.id == _RECORD.c.device_id)
        .where(_DEVICE.c.key == device_key, _RECORD.c.time_ms.between(from_ms, to_ms))
        .order_by(_RECORD.c.time_ms)
    )
    return list(connection.execute(query).scalars())


# --- one record ---------------------------------------------------------------------------


def _device_id(connection: sa.Connection, delivery: Delivery) -> int | None:
    device = delivery.device
    values: dict[str, Any] = {
        "pn": device.pn,
        "devcode": device.devcode,
        "devaddr": device.devaddr,
        "alias": device.alias,
        "pid": device.pid,
    }
    if delivery.origin != BY_HISTORY:
        values |= {
            "identity": delivery.identity,
            "record_ms": delivery.time_ms,
            "arrived_ms": delivery.arrived_ms,
            "offset_s": delivery.offset_s,
        }
    found = connection.execute(_DEVICE_ID, {"of_key": device.key}).scalar_one_or_none()
    if found is not None:
        connection.execute(sa.update(_DEVICE).where(_DEVICE.c.id == found).values(**values))
        return int(found)
    count = connection.execute(sa.select(sa.func.count()).select_from(_DEVICE)).scalar_one()
    if count >= DEVICES_MAX:
        return None
    made = connection.execute(
        sa.insert(_DEVICE).values(key=device.key, first_seen_ms=delivery.arrived_ms, **values)
    )
    return _inserted(made)


def _channels(
    connection: sa.Connection, device_id: int, readings: Sequence[Reading], counts: Counter[str]
) -> dict[str, int]:
    """Return the ids of the readings' channels; made where they are new."""
    known_rows = {row.key: row for row in connection.execute(_CHANNELS, {"of_device": device_id})}
    out: dict[str, int] = {}
    room = CHANNELS_MAX - len(known_rows)
    for reading in readings:
        row = known_rows.get(reading.key)
        if row is not None:
            if row.unit != reading.unit and (reading.unit or reading.value is not None):
                # Its numbers would stand beside others of another unit.
                counts["unit changed"] += 1
                continue
            out[reading.key] = row.id
        elif room > 0:
            room -= 1
            out[reading.key] = _inserted(
                connection.execute(
                    sa.insert(_CHANNEL).values(
                        device_id=device_id,
                        key=reading.key,
                        label=reading.label,
                        unit=reading.unit,
                        period=reading.period,
                        device_class=reading.device_class,
                        state_class=reading.state_class,
                        is_diagnostic=reading.is_diagnostic,
                        is_generic=reading.is_generic,
                    )
                )
            )
        else:
            counts["channels"] += 1
    return out


def _store_record(
    connection: sa.Connection,
    device_id: int,
    delivery: Delivery,
    channels: Mapping[str, int],
    counts: Counter[str],
) -> None:
    values: dict[int, int | str] = {}
    for reading in delivery.readings:
        if reading.key not in channels:
            continue
        if reading.value is not None:
            values[channels[reading.key]] = e6(reading.value)
        elif reading.text is not None:
            values[channels[reading.key]] = reading.text
    place = {"of_device": device_id, "of_time": delivery.time_ms}
    found = connection.execute(_PACKED, place).scalar_one_or_none()
    if found is None:
        counts["records"] += 1
        row = {
            "device_id": device_id,
            "time_ms": delivery.time_ms,
            "packed": pack(values),
        }
        row |= {"arrived_ms": delivery.arrived_ms, "origin": delivery.origin}
        connection.execute(_NEW_RECORD, row)
        return
    there = unpack(found)
    counts["repeated"] += 1
    if values.keys() - there.keys():
        filled = pack({**values, **there})
        connection.execute(_FILL_RECORD, {**place, "filled": filled})


def _store_latest(
    connection: sa.Connection, channels: Mapping[str, int], delivery: Delivery
) -> None:
    rows = [
        {
            "channel_id": channels[reading.key],
            "time_ms": delivery.time_ms,
            "value_e6": None if reading.value is None else e6(reading.value),
            "text": reading.text,
            "text_class": reading.text_class,
            "source": reading.source,
        }
        for reading in delivery.readings
        if reading.key in channels
    ]
    _replace(connection, _FORGET_LATEST, _NEW_LATEST, rows)


def _store_counters(
    connection: sa.Connection,
    channels: Mapping[str, int],
    delivery: Delivery,
    counts: Counter[str],
) -> None:
    counting = {
        channels[reading.key]: (reading, reading.value)
        for reading in delivery.readings
        if reading.key in channels and reading.period and reading.value is not None
    }
    there = {row.channel_id: row for row in connection.execute(_COUNTERS, {"ids": list(counting)})}
    rows = []
    for channel_id, (reading, value) in counting.items():
        row = there.get(channel_id)
        if row is None:
            counter = counters.start(reading.source, value, delivery.time_ms)
        else:
            counter, verdict = counters.step(
                _counter_of(row),
                reading.source,
                value,
                delivery.time_ms,
                may_restart=_has_begun(reading.period, row.raw_ms, delivery),
                unit=reading.unit,
            )
            if verdict not in ("gain", "same"):
                counts[f"counter {verdict}"] += 1
        rows.append(
            {
                "channel_id": channel_id,
                "source": counter.source,
                "raw_e6": e6(counter.raw),
                "raw_ms": counter.raw_ms,
                "total_e6": e6(counter.total),
                "held_e6": None if counter.held is None else e6(counter.held),
                "resets": counter.resets,
            }
        )
    _replace(connection, _FORGET_COUNTER, _NEW_COUNTER, rows)


def _replace(
    connection: sa.Connection, forget: sa.Delete, new: sa.Insert, rows: list[dict[str, Any]]
) -> None:
    if rows:
        connection.execute(forget, [{"of_channel": row["channel_id"]} for row in rows])
        connection.execute(new, rows)


def _has_begun(period: str, since_ms: int, delivery: Delivery) -> bool:
    """Tell whether a day (month, year) on the spot began since."""
    digits = {"day": 10, "month": 7, "year": 4}.get(period)
    if digits is None:
        return False
    before, now = (
        local_date(time_ms, delivery.offset_s or 0)[:digits]
        for time_ms in (since_ms, delivery.time_ms)
    )
    return before < now


def _counter_of(row: Any) -> counters.Counter:
    return counters.Counter(
        row.source,
        Decimal(row.raw_e6) / E6,
        row.raw_ms,
        Decimal(row.total_e6) / E6,
        None if row.held_e6 is None else Decimal(row.held_e6) / E6,
        row.resets,
    )


def _inserted(result: sa.CursorResult[Any]) -> int:
    key = result.inserted_primary_key
    assert key is not None, "only for inserts of one row"
    return int(key[0])
