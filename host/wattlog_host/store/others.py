"""SQL for what the other writers of a cell did: their totals, events and newest readings."""

from typing import NamedTuple

import sqlalchemy as sa

from wattlog_host.store import lookup, tables
from wattlog_host.store.records import Event, Latest, Losses

_EVENT, _METER, _SERIES = tables.event.c, tables.meter.c, tables.series.c

_NEWEST_EVENT = sa.select(sa.func.max(_EVENT.id))
_EVENTS = (
    sa.select(_EVENT.id, _EVENT.time_ms, _EVENT.kind, _EVENT.edge, _EVENT.text)
    .where(_EVENT.id > sa.bindparam("after"))
    .order_by(_EVENT.id)
)
_LAST = sa.select(
    _METER.id,
    sa.select(sa.func.max(_SERIES.last_ms)).where(_SERIES.meter_id == _METER.id).scalar_subquery(),
).order_by(_METER.id).limit(sa.bindparam("meters_max", type_=sa.Integer))  # fmt: skip


class News(NamedTuple):
    """What was done since the last look, by whomever: events, the newest readings, all losses."""

    events: list[Event]
    latest: list[Latest]
    losses: Losses


class Others:
    """What is known of the work of all writers, looked at again and again."""

    def __init__(self, meters_max: int) -> None:
        """Look at the readings of so many meters."""
        self._meters_max = meters_max
        self._event_id: int | None = None
        self._last_ms: dict[int, int | None] = {}

    def look(self, connection: sa.Connection) -> News:
        """Return what is new; of the first look, no event is."""
        if self._event_id is None:
            self._event_id = connection.execute(_NEWEST_EVENT).scalar() or 0
        rows = connection.execute(_EVENTS, {"after": self._event_id}).all()
        if rows:
            self._event_id = rows[-1].id
        events = [Event(row.time_ms, row.kind, row.edge, row.text) for row in rows]
        found = connection.execute(_LAST, {"meters_max": self._meters_max})
        last_ms: dict[int, int | None] = {row[0]: row[1] for row in found}
        moved = [one for one, at_ms in last_ms.items() if at_ms != self._last_ms.get(one)]
        self._last_ms = last_ms
        return News(events, lookup.latest(connection, moved), lookup.losses(connection))
