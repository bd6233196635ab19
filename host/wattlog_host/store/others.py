"""SQL for what the other writers of a cell did: their totals, events and newest readings."""

from typing import NamedTuple

import sqlalchemy as sa

from wattlog_host.store import days, lookup, tables
from wattlog_host.store.days import FROM_DAY, since
from wattlog_host.store.records import Event, Latest, Losses

_EVENT, _METER, _SERIES = tables.event.c, tables.meter.c, tables.series.c

_NEWEST_EVENT = sa.select(sa.func.max(_EVENT.id))
_EVENTS = (
    sa.select(_EVENT.id, _EVENT.time_ms, _EVENT.kind, _EVENT.edge, _EVENT.text)
    .where(_EVENT.id > sa.bindparam("after"))
    .order_by(_EVENT.id)
)
_LAST_OF_METER = sa.select(sa.func.max(_SERIES.last_ms)).where(
    _SERIES.meter_id == _METER.id, since(_SERIES.day, FROM_DAY)
)
_LAST = sa.select(
    _METER.id,
    _LAST_OF_METER.scalar_subquery(),
).order_by(_METER.id).limit(sa.bindparam("meters_max", type_=sa.Integer))  # fmt: skip

EVENTS_LATE = 200
"""So far behind the newest number one is still looked for."""


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
        self._event_ids: set[int] = set()
        """Of those near the newest one, which were told."""
        self._last_ms: dict[int, int] = {}

    def look(self, connection: sa.Connection) -> News:
        """Return what is new; of the first look, no event is."""
        if self._event_id is None:
            self._event_id = connection.execute(_NEWEST_EVENT).scalar() or 0
            told = connection.execute(_EVENTS, {"after": self._event_id - EVENTS_LATE})
            self._event_ids = {row.id for row in told}
        # Numbers are drawn before a commit: what commits late has a smaller one than others.
        rows = connection.execute(_EVENTS, {"after": self._event_id - EVENTS_LATE}).all()
        new = [row for row in rows if row.id not in self._event_ids]
        events = [Event(row.time_ms, row.kind, row.edge, row.text) for row in new]
        self._event_ids = {row.id for row in rows}
        self._event_id = max(self._event_ids, default=self._event_id)
        # Who has sent nothing for a day has no news either.
        likely_day = max(0, days.from_day_of(max(self._last_ms.values(), default=0)) - 1)
        bounds = {"meters_max": self._meters_max, "from_day": likely_day}
        found = {row[0]: row[1] for row in connection.execute(_LAST, bounds) if row[1] is not None}
        moved = [one for one, at_ms in found.items() if at_ms != self._last_ms.get(one)]
        self._last_ms |= found
        latest = lookup.latest(connection, moved, likely_day=likely_day)
        return News(events, latest, lookup.losses(connection))
