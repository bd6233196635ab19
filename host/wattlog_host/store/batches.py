"""SQL for batches: look up what a batch's plan needs to know, then write the plan."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from wattlog.sml import server_id_text
from wattlog_host.ingest import ARRIVAL, SYNC, Known, Plan, Row, needs_arrivals, plan
from wattlog_host.store import tables
from wattlog_host.store.records import Incoming, Latest
from wattlog_host.wire import Batch

# A boot that runs for years collects sync points; the few around a batch place all of it.
_SYNCS_MAX = 1_000


class Writing:
    """One transaction's batches, and what they touched."""

    def __init__(self) -> None:
        """Start with nothing written."""
        self.counts: Counter[tuple[str, str]] = Counter()
        self.meter_ids: set[int] = set()
        self.meters_new: list[tuple[str, str]] = []

    def write(self, connection: sa.Connection, item: Incoming) -> Plan:
        """Plan one batch against what is stored and write the plan; return it."""
        batch = item.batch
        edge_id = _edge_id(connection, batch.edge, item.received_ms)
        planned = plan(batch, _known(connection, edge_id, batch), item.received_ms)
        self.counts.update(planned.counts)
        if not planned.accept:
            return planned
        connection.execute(
            sa.insert(tables.batch).values(
                edge_id=edge_id,
                boot=batch.boot,
                first_seq=batch.first_seq,
                count=batch.count,
                received_ms=item.received_ms,
                payload=batch.payload,
            )
        )
        if planned.syncs:
            rows = [
                {"edge_id": edge_id, "boot": batch.boot, "uptime_ms": uptime, "epoch_ms": epoch}
                for uptime, epoch in planned.syncs
            ]
            connection.execute(sa.insert(tables.sync_point), rows)
        self._write_readings(connection, edge_id, item, planned.rows)
        self._replace_times(connection, edge_id, batch, planned)
        return planned

    def _write_readings(
        self, connection: sa.Connection, edge_id: int, item: Incoming, rows: Sequence[Row]
    ) -> None:
        if not rows:
            return
        batch = item.batch
        meter_ids = {
            server_id: self._meter_id(connection, server_id, item)
            for server_id in {row.server_id for row in rows}
        }
        self.meter_ids.update(meter_ids.values())
        ids = connection.execute(
            sa.insert(tables.reading).returning(tables.reading.c.id, sort_by_parameter_order=True),
            [
                {
                    "meter_id": meter_ids[row.server_id],
                    "edge_id": edge_id,
                    "boot": batch.boot,
                    "seq": row.seq,
                    "uptime_ms": row.uptime_ms,
                    "sec_index": row.sec_index,
                    "time_ms": row.time_ms,
                    "time_source": row.time_source,
                }
                for row in rows
            ],
        ).scalars()
        values = [
            {"reading_id": reading_id, "channel": channel, "value": value}
            for reading_id, row in zip(ids, rows, strict=True)
            for channel, value in row.values.items()
        ]
        if values:
            connection.execute(sa.insert(tables.reading_value), values)

    def _replace_times(
        self, connection: sa.Connection, edge_id: int, batch: Batch, planned: Plan
    ) -> None:
        if not planned.replaced:
            return
        reading = tables.reading.c
        connection.execute(
            sa.update(tables.reading)
            .where(reading.id == sa.bindparam("reading_id"))
            .values(time_ms=sa.bindparam("new_ms"), time_source=SYNC),
            [{"reading_id": number, "new_ms": time_ms} for number, time_ms in planned.replaced],
        )
        # Their order among a meter's readings may have changed with them.
        touched = (
            sa.select(reading.meter_id)
            .distinct()
            .where(reading.edge_id == edge_id, reading.boot == batch.boot)
        )
        self.meter_ids.update(connection.execute(touched).scalars())

    def _meter_id(self, connection: sa.Connection, server_id: bytes, item: Incoming) -> int:
        query = sa.select(tables.meter.c.id).where(tables.meter.c.server_id == server_id)
        meter_id = connection.execute(query).scalar_one_or_none()
        if meter_id is not None:
            return int(meter_id)
        label = server_id_text(server_id)
        self.meters_new.append((item.batch.edge, label))
        result = connection.execute(
            sa.insert(tables.meter).values(
                server_id=server_id, label=label, first_seen_ms=item.received_ms
            )
        )
        return inserted_id(result)


def latest(connection: sa.Connection, meter_ids: Sequence[int]) -> list[Latest]:
    """Return the newest reading of each of these meters that has one."""
    reading, meter, edge = tables.reading.c, tables.meter.c, tables.edge.c
    found = []
    for meter_id in meter_ids:
        row = connection.execute(
            sa.select(
                reading.id, reading.time_ms, reading.time_source,
                meter.server_id, meter.label, edge.name,
            )
            .select_from(tables.reading.join(tables.meter).join(tables.edge))
            .where(reading.meter_id == meter_id)
            .order_by(reading.time_ms.desc(), reading.id.desc())
            .limit(1)
        ).one_or_none()  # fmt: skip
        if row is None:
            continue
        value = tables.reading_value.c
        values = connection.execute(
            sa.select(value.channel, value.value)
            .where(value.reading_id == row.id)
            .order_by(value.channel)
        )
        found.append(
            Latest(
                row.server_id,
                row.label,
                row.name,
                row.time_ms,
                row.time_source,
                {channel: number for channel, number in values},  # noqa: C416 - rows to ints
            )
        )
    return found


def add_counts(connection: sa.Connection, counts: Mapping[tuple[str, str], int]) -> None:
    """Add to the totals that outlive the process."""
    counter = tables.counter
    for (name, reason), count in sorted(counts.items()):
        if not count:
            continue
        result = connection.execute(
            sa.update(counter)
            .where(counter.c.name == name, counter.c.reason == reason)
            .values(value=counter.c.value + count)
        )
        if not result.rowcount:
            connection.execute(sa.insert(counter).values(name=name, reason=reason, value=count))


def inserted_id(result: sa.CursorResult[Any]) -> int:
    """Return the number that the database gave the row just inserted."""
    key = result.inserted_primary_key
    assert key is not None, "only for inserts of one row"
    return int(key[0])


def _edge_id(connection: sa.Connection, name: str, now_ms: int) -> int:
    query = sa.select(tables.edge.c.id).where(tables.edge.c.name == name)
    edge_id = connection.execute(query).scalar_one_or_none()
    if edge_id is not None:
        return int(edge_id)
    return inserted_id(
        connection.execute(sa.insert(tables.edge).values(name=name, first_seen_ms=now_ms))
    )


def _known(connection: sa.Connection, edge_id: int, batch: Batch) -> Known:
    stored, reading = tables.batch.c, tables.reading.c
    payload = connection.execute(
        sa.select(stored.payload).where(
            stored.edge_id == edge_id,
            stored.boot == batch.boot,
            stored.first_seq == batch.first_seq,
        )
    ).scalar_one_or_none()
    if payload is not None:
        return Known(payload=payload)
    seqs = connection.execute(
        sa.select(reading.seq).where(
            reading.edge_id == edge_id,
            reading.boot == batch.boot,
            reading.seq >= batch.first_seq,
            reading.seq < batch.first_seq + batch.count,
        )
    ).scalars()
    syncs = _syncs_around(connection, edge_id, batch)
    # Once a boot has a sync point, none of its readings is placed by arrival any more.
    arrivals: Sequence[tuple[int, int]] = ()
    if not syncs and needs_arrivals(batch):
        rows = connection.execute(
            sa.select(reading.id, reading.uptime_ms).where(
                reading.edge_id == edge_id,
                reading.boot == batch.boot,
                reading.time_source == ARRIVAL,
            )
        )
        arrivals = [(row.id, row.uptime_ms) for row in rows]
    return Known(None, set(seqs), syncs, arrivals, _following(connection, edge_id, batch))


def _following(connection: sa.Connection, edge_id: int, batch: Batch) -> tuple[int, int] | None:
    """Return (uptime_ms, time_ms) of the boot's first stored reading after the batch."""
    reading = tables.reading.c
    row = connection.execute(
        sa.select(reading.uptime_ms, reading.time_ms)
        .where(
            reading.edge_id == edge_id,
            reading.boot == batch.boot,
            reading.seq >= batch.first_seq + batch.count,
        )
        .order_by(reading.seq)
        .limit(1)
    ).one_or_none()
    return None if row is None else (row.uptime_ms, row.time_ms)


def _syncs_around(connection: sa.Connection, edge_id: int, batch: Batch) -> list[tuple[int, int]]:
    """Return the sync points from the last one at or before the batch onwards."""
    sync = tables.sync_point.c
    of_boot = sa.and_(sync.edge_id == edge_id, sync.boot == batch.boot)
    uptime_ms_first = min((record.uptime_ms for record in batch.records), default=0)
    before = sa.select(sa.func.max(sync.uptime_ms)).where(
        of_boot, sync.uptime_ms <= uptime_ms_first
    )
    low = sa.func.coalesce(before.scalar_subquery(), 0)
    rows = connection.execute(
        sa.select(sync.uptime_ms, sync.epoch_ms)
        .where(of_boot, sync.uptime_ms >= low)
        .order_by(sync.uptime_ms)
        .limit(_SYNCS_MAX)
    )
    return [(row.uptime_ms, row.epoch_ms) for row in rows]
