"""Batches are named by log, hold their readings themselves, and what is lost has a table.

A batch of format 1 becomes one or more of format 2 with the same records: a boot had a log of its
own then, so that log := boot. Times stay as they were.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import msgpack
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
# How far the last record of a batch may be from the first, and how many keys one may hold.
RECORDS_MAX = 64
KEYS_MAX = 16

_BATCH = sa.text(
    "SELECT received_ms, payload FROM batch_0001 "
    "WHERE edge_id = :edge_id AND boot = :boot AND first_seq = :first_seq"
)
_READING = sa.text(
    "SELECT meter_id, seq, uptime_ms, time_ms, time_source FROM reading "
    "WHERE edge_id = :edge_id AND boot = :boot AND seq >= :first_seq AND seq < :end_seq"
)
_NEW_BATCH = sa.text(
    "INSERT INTO batch (log_id, first_seq, records, readings, skipped, boot, first_uptime_ms, "
    "last_uptime_ms, offset_ms, steps, time_source, received_ms, packed) VALUES (:log_id, "
    ":first_seq, :records, :readings, 0, :boot, :first_uptime_ms, :last_uptime_ms, :offset_ms, "
    ":steps, :time_source, :received_ms, :packed)"
)
_NEW_SERIES = sa.text(
    "INSERT INTO series (log_id, first_seq, meter_id, readings, first_ms, last_ms) "
    "VALUES (:log_id, :first_seq, :meter_id, :readings, :first_ms, :last_ms)"
)


def upgrade() -> None:
    """Make the new tables, move everything, drop the old ones."""
    for name in ("batch", "sync_point"):
        op.rename_table(name, f"{name}_0001")
    op.drop_index("ix_reading_meter_id_time_ms", "reading")
    _create_batches()
    _create_around()
    connection = op.get_bind()
    _move_logs(connection)
    _move_batches(connection)
    for name in ("reading_value", "reading", "sync_point_0001", "batch_0001"):
        op.drop_table(name)


def _create_batches() -> None:
    op.create_table(
        "edge_log",
        sa.Column("id", ID, primary_key=True),
        sa.Column("edge_id", ID, sa.ForeignKey("edge.id"), nullable=False),
        sa.Column("log", sa.BigInteger, nullable=False),
        sa.Column("first_seen_ms", sa.BigInteger, nullable=False),
        sa.Column("settled_seq", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("edge_id", "log"),
    )
    op.create_table(
        "batch",
        sa.Column("log_id", ID, sa.ForeignKey("edge_log.id"), nullable=False),
        sa.Column("first_seq", sa.BigInteger, nullable=False),
        sa.Column("records", sa.Integer, nullable=False),
        sa.Column("readings", sa.Integer, nullable=False),
        sa.Column("skipped", sa.BigInteger, nullable=False),
        sa.Column("boot", sa.BigInteger, nullable=False),
        sa.Column("first_uptime_ms", sa.BigInteger, nullable=False),
        sa.Column("last_uptime_ms", sa.BigInteger, nullable=False),
        sa.Column("offset_ms", sa.BigInteger, nullable=False),
        sa.Column("steps", sa.LargeBinary),
        sa.Column("time_source", sa.String(8), nullable=False),
        sa.Column("received_ms", sa.BigInteger, nullable=False),
        sa.Column("packed", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("log_id", "first_seq"),
    )
    op.create_index(
        "ix_batch_log_id_boot_last_uptime_ms", "batch", ["log_id", "boot", "last_uptime_ms"]
    )
    op.create_index(
        "ix_batch_log_id_time_source_first_seq", "batch", ["log_id", "time_source", "first_seq"]
    )


def _create_around() -> None:
    op.create_table(
        "series",
        sa.Column("log_id", ID, nullable=False),
        sa.Column("first_seq", sa.BigInteger, nullable=False),
        sa.Column("meter_id", ID, sa.ForeignKey("meter.id"), nullable=False),
        sa.Column("readings", sa.Integer, nullable=False),
        sa.Column("first_ms", sa.BigInteger, nullable=False),
        sa.Column("last_ms", sa.BigInteger, nullable=False),
        sa.Column("zero_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("log_id", "first_seq", "meter_id"),
        sa.ForeignKeyConstraint(("log_id", "first_seq"), ("batch.log_id", "batch.first_seq")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_series_meter_id_last_ms", "series", ["meter_id", "last_ms"])
    op.create_table(
        "sync_point",
        sa.Column("log_id", ID, sa.ForeignKey("edge_log.id"), nullable=False),
        sa.Column("boot", sa.BigInteger, nullable=False),
        sa.Column("uptime_ms", sa.BigInteger, nullable=False),
        sa.Column("epoch_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("log_id", "boot", "uptime_ms"),
    )
    op.create_table(
        "gap",
        sa.Column("id", ID, primary_key=True),
        sa.Column("log_id", ID, sa.ForeignKey("edge_log.id"), nullable=False),
        sa.Column("first_seq", sa.BigInteger, nullable=False),
        sa.Column("last_seq", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.String(8), nullable=False),
        sa.Column("noted_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_gap_log_id_last_seq", "gap", ["log_id", "last_seq"])


def _move_logs(connection: sa.Connection) -> None:
    connection.execute(
        sa.text(
            "INSERT INTO edge_log (edge_id, log, first_seen_ms, settled_seq) "
            "SELECT edge_id, boot, min(received_ms), 0 FROM batch_0001 "
            "GROUP BY edge_id, boot ORDER BY 3, 1, 2"
        )
    )
    connection.execute(
        sa.text(
            "INSERT INTO sync_point (log_id, boot, uptime_ms, epoch_ms) "
            "SELECT l.id, s.boot, s.uptime_ms, s.epoch_ms FROM sync_point_0001 s "
            "JOIN edge_log l ON l.edge_id = s.edge_id AND l.log = s.boot"
        )
    )


def _move_batches(connection: sa.Connection) -> None:
    names = connection.execute(
        sa.text(
            "SELECT l.id AS log_id, b.edge_id, b.boot, b.first_seq "
            "FROM batch_0001 b JOIN edge_log l ON l.edge_id = b.edge_id AND l.log = b.boot "
            "ORDER BY l.id, b.first_seq"
        )
    ).all()
    taken: set[int] = set()
    for index, name in enumerate(names):
        if not index or names[index - 1].log_id != name.log_id:
            taken = set()
        key = {"edge_id": name.edge_id, "boot": name.boot, "first_seq": name.first_seq}
        old = connection.execute(_BATCH, key).one()
        records = msgpack.unpackb(old.payload)[4]
        key["end_seq"] = name.first_seq + len(records)
        rows = {row.seq: row for row in connection.execute(_READING, key)}
        good = [
            (seq, record)
            for seq, record in enumerate(records, name.first_seq)
            if seq not in taken and (seq in rows or _is_sync(record))
        ]
        taken.update(seq for seq, _ in good)
        for part in _parts(good):
            own = [rows[seq] for seq, _ in part if seq in rows]
            values = {"log_id": name.log_id, "boot": name.boot, "received_ms": old.received_ms}
            connection.execute(_NEW_BATCH, values | _batch(name.boot, part, own))
            for meter_id in sorted({row.meter_id for row in own}):
                times = [row.time_ms for row in own if row.meter_id == meter_id]
                key = {"log_id": name.log_id, "first_seq": part[0][0], "meter_id": meter_id}
                span = {"readings": len(times), "first_ms": min(times), "last_ms": max(times)}
                connection.execute(_NEW_SERIES, key | span)


def _parts(good: Sequence[tuple[int, Any]]) -> list[list[tuple[int, Any]]]:
    """Return runs that fit one batch: so far from the first to the last, and so many keys."""
    parts: list[list[tuple[int, Any]]] = []
    for seq, record in good:
        if not parts or len(parts[-1]) == KEYS_MAX or seq - parts[-1][0][0] >= RECORDS_MAX:
            parts.append([])
        parts[-1].append((seq, record))
    return parts


def _batch(boot: int, part: Sequence[tuple[int, Any]], rows: Sequence[Any]) -> dict[str, Any]:
    """Return what the table wants to know of these records; rows are its stored readings."""
    first_seq = part[0][0]
    uptimes = [record[1] for _, record in part]
    offsets = sorted((row.uptime_ms, row.time_ms - row.uptime_ms) for row in rows)
    steps = [
        number
        for before, after in itertools.pairwise(offsets)
        if before[1] != after[1]
        for number in after
    ]
    return {
        "first_seq": first_seq,
        "records": part[-1][0] - first_seq + 1,
        "readings": len(rows),
        "first_uptime_ms": min(uptimes),
        "last_uptime_ms": max(uptimes),
        "offset_ms": offsets[0][1] if offsets else 0,
        "steps": msgpack.packb(steps) if steps else None,
        "time_source": "arrival" if any(row.time_source != "sync" for row in rows) else "sync",
        "packed": _packed(boot, part),
    }


def _packed(boot: int, part: Sequence[tuple[int, Any]]) -> bytes:
    """Return the records of format 2; each reading is a key, for no other refers to it."""
    first_seq, first = part[0]
    by_index = {seq - first_seq: record for seq, record in part}
    out = bytearray()
    keys = 0
    for index in range(part[-1][0] - first_seq + 1):
        record = by_index.get(index)
        if record is None:
            out.append(0)
            continue
        body = bytearray([record[0] << 6 | index])
        if index:
            body += _int(record[1] - first[1])
        else:
            body += boot.to_bytes(4, "little") + _uint(first[1]) + _uint(0)
        if record[0] == 0:
            body += _uint(record[2])
        else:
            _, _, server_id, sec_index, flat = record
            body += bytes([keys, len(server_id)]) + server_id
            body += _uint(0 if sec_index is None else sec_index + 1) + _uint(len(flat) // 3)
            for at in range(0, len(flat), 3):
                body += _uint(flat[at]) + _int(flat[at + 2]) + _int(flat[at + 1])
            keys += 1
        out += _uint(len(body)) + body
    return bytes(out)


def _is_sync(record: Any) -> bool:
    return (
        isinstance(record, list)
        and len(record) == 3
        and record[0] == 0
        and all(type(number) is int and 0 <= number < 2**40 for number in record[:2])
        and type(record[2]) is int
        and 0 <= record[2] < 2**48
    )


def _uint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])


def _int(value: int) -> bytes:
    return _uint(2 * value if value >= 0 else -2 * value - 1)


def downgrade() -> None:
    """Refuse: an older program does not open a newer database; go back by a copy of the file."""
    raise NotImplementedError("format 1 cannot hold what format 2 does")
