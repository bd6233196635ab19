"""SQL for writers that share a database: who has which heads and meters for a transaction.

A writer holds the rows of its heads until it has committed, so that what it looked up stays true:
no other one plans a batch of the same head meanwhile. It takes them in the order of their names,
before all else; so nobody waits in a circle. In SQLite, and for who is alone, there is nothing
to be taken.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from wattlog_host.store import tables
from wattlog_host.store.records import StoreError
from wattlog_host.store.role import Role

# Held by the session that writes, for as long as it lives: what is committed was committed by its
# holder. However a host ends, the server gives it back. Who is alone has it for itself; who is of
# a cell shares it with the others of its cell, and has a slot for itself behind it.
LOCK_KEY = int.from_bytes(b"wattlog\0", "big")
SLOTS = range(1, 65)
"""Numbers of the workers of a cell; its lead has 0."""
ROLE, SLOT = "role", "slot"
"""What a connection that writes knows of itself."""

_EDGE, _METER, _DUE = tables.edge.c, tables.meter.c, tables.rollup_due.c

# Whoever was first has made the row.
_ADD_EDGE = sa.text(
    "INSERT INTO edge (name, first_seen_ms) VALUES (:name, :first_seen_ms)"
    " ON CONFLICT (name) DO NOTHING"
)
_ADD_METERS = sa.text(
    "INSERT INTO meter (server_id, label, first_seen_ms)"
    " SELECT * FROM unnest("
    "CAST(:server_id AS BYTEA[]), CAST(:label AS TEXT[]), CAST(:first_seen_ms AS BIGINT[]))"
    " ON CONFLICT (server_id) DO NOTHING RETURNING server_id"
)
_EDGES = sa.select(_EDGE.name).where(_EDGE.name.in_(sa.bindparam("names", expanding=True)))
_TAKE_EDGES = _EDGES.order_by(_EDGE.name).with_for_update(key_share=True)
_NEWEST_DUE = (
    sa.select(_DUE.meter_id)
    .where(_DUE.from_ms >= 0)
    .order_by(_DUE.hour_ms.desc(), _DUE.meter_id.desc())
    .limit(sa.bindparam("notes_max", type_=sa.Integer))
)
_TAKE_METERS = (
    sa.select(_METER.id)
    .where(_METER.id.in_(_NEWEST_DUE))
    .limit(sa.bindparam("count_max", type_=sa.Integer))
    .with_for_update(key_share=True, skip_locked=True)
)
# Of a meter several hours may be due: enough of them that another writer finds some, too.
_NOTES_PER_METER = 20


def is_shared(connection: sa.Connection) -> bool:
    """Tell whether others may write beside this connection."""
    return connection.info.get(ROLE, Role.ALONE) is not Role.ALONE


def slot_of(connection: sa.Connection) -> int:
    """Return this writer's number among those that share the database, 0 for who is alone."""
    return int(connection.info.get(SLOT, 0))


def require_alone(connection: sa.Connection, name: object) -> None:
    """Raise StoreError where others write, until this transaction ends: tables are to change."""
    if not is_shared(connection):
        return
    # What this session shares is not in its own way.
    if not connection.execute(sa.select(sa.func.pg_try_advisory_xact_lock(LOCK_KEY))).scalar():
        raise StoreError(
            f"the database {name} is of an older wattlog, whose workers still run: stop them, "
            "and start them again once this host runs"
        )


def take_edges(connection: sa.Connection, first_seen_ms: Mapping[str, int]) -> None:
    """Hold these heads until the transaction ends; they have rows then."""
    if not is_shared(connection):
        return
    names = sorted(first_seen_ms)
    known = set(connection.execute(_EDGES, {"names": names}).scalars())
    new = [
        {"name": name, "first_seen_ms": first_seen_ms[name]} for name in names if name not in known
    ]
    if new:
        connection.execute(_ADD_EDGE, new)
    connection.execute(_TAKE_EDGES, {"names": names})


def add_meters(connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> list[bytes]:
    """Add meters that are not there yet; return the server ids of those that were added here."""
    rising = sorted(rows, key=lambda row: row["server_id"])
    if not is_shared(connection):
        connection.execute(sa.insert(tables.meter), rising)
        return [row["server_id"] for row in rising]
    columns = {name: [row[name] for row in rising] for name in rising[0]}
    return [bytes(one) for one in connection.execute(_ADD_METERS, columns).scalars()]


def take_due_meters(connection: sa.Connection, count_max: int) -> Sequence[int] | None:
    """Hold meters whose buckets are due and that nobody holds; None is all of them."""
    if not is_shared(connection):
        return None
    bounds = {"count_max": count_max, "notes_max": count_max * _NOTES_PER_METER}
    return connection.execute(_TAKE_METERS, bounds).scalars().all()
