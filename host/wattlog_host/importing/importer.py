"""Brings a source's readings into the store: what is there already stays, the rest is added.

Nothing is kept beside the store to know how far an import is: each row is looked for among what is
stored of its meter at its time. So an import may be killed, repeated, or made again of a file that
has grown, overlaps another, or has another name: each reading is there once.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar
from zlib import crc32

import sqlalchemy as sa

from wattlog_host.history.rollup import HOUR_MS
from wattlog_host.importing.packing import START_MS, Packer
from wattlog_host.importing.rows import Good, ImportFailed, Source
from wattlog_host.ingest import stored_values
from wattlog_host.placing import CLOCK_AHEAD_MS_MAX
from wattlog_host.store import imports
from wattlog_host.store.records import Committed, Incoming, StoreError

T = TypeVar("T")

_DAY_MS = 24 * HOUR_MS
# So many batches are committed together, as many as the host does.
_BATCHES_MAX = 256
# Of so many days of each meter it is in memory what is stored.
_DAYS_MAX = 3
_METER_TEXT = "text:"


class Target(Protocol):
    """The store, or what stands for it in a dry run."""

    def look(self, question: Callable[[sa.Connection], T]) -> T:
        """Return what the question finds."""

    def commit(self, items: Sequence[Incoming]) -> Committed:
        """Store the batches durably."""


@dataclass(slots=True)
class Span:
    """How many readings of a meter are new, and from when to when."""

    readings: int = 0
    first_ms: int = 0
    last_ms: int = 0

    def take(self, time_ms: int) -> None:
        """Count one."""
        self.first_ms = min(self.first_ms or time_ms, time_ms)
        self.last_ms = max(self.last_ms, time_ms)
        self.readings += 1


@dataclass(slots=True)
class Report:
    """What became of the rows."""

    rows: int = 0
    new: dict[bytes, Span] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    """By reason: rows that are not stored."""
    refused: Counter[str] = field(default_factory=Counter)
    """By reason: values that are not stored, of rows that may be."""
    first_number: dict[str, int] = field(default_factory=dict)
    """By reason: the first row, or line."""

    def leave_out(self, reason: str, number: int) -> None:
        """Count a row."""
        self.left_out[reason] += 1
        self.first_number.setdefault(reason, number)


THERE = "already stored"
OTHER = "another reading is stored at this time"
LIVE = "the meter's own agent has read it then"
FUTURE = "in the future"
EARLY = "before 2005"
NO_METER = "no meter id"
NO_VALUE = "no value"


class Importer:
    """One import under one name; meter, where given, is that of all rows."""

    def __init__(self, target: Target, name: str, meter: bytes | None, now_ms: int) -> None:
        """Go on with the import of this name, or begin it."""
        self.report = Report()
        self._target = target
        self._meter = meter
        self._now_ms = now_ms
        edge = imports.PREFIX + name
        log = crc32(edge.encode())
        number, is_new = target.look(lambda one: imports.next_seq(one, edge, log))
        self._packer = Packer(edge, log, number, is_new=is_new)
        self._server_ids: dict[str, bytes] = {}
        self._windows: dict[tuple[bytes, int], imports.Stored] = {}

    def run(self, source: Source, tell: Callable[[int, int], None]) -> Report:
        """Import all; raise ImportFailed or StoreError, with what was committed before stored."""
        for row in source.rows(tell):
            self.report.rows += 1
            if not isinstance(row, Good):
                self.report.leave_out(row.reason, row.number)
                continue
            for refused in row.refused:
                self.report.refused[refused] += 1
                self.report.first_number.setdefault(refused, row.number)
            reason = self._take(row)
            if reason is not None:
                self.report.leave_out(reason, row.number)
            if self._packer.count() > _BATCHES_MAX:
                self._commit()
        self._commit()
        return self.report

    def _take(self, row: Good) -> str | None:
        """Pack a row that is new; return why it is not, else."""
        server_id = self._meter or self._server_id(row.meter)
        for reason, applies in (
            (NO_VALUE, not row.values),
            (EARLY, row.time_ms < START_MS),
            (FUTURE, row.time_ms > self._now_ms + CLOCK_AHEAD_MS_MAX),
        ):
            if applies:
                return reason
        if server_id is None:
            return NO_METER
        there = self._stored(server_id, row.time_ms)
        own = imports.fingerprint(stored_values(row.values))
        known = _known(there, row.time_ms, own)
        if known is None:
            there.values[row.time_ms] = own
            self._packer.add(row.time_ms, server_id, row.values)
            self.report.new.setdefault(server_id, Span()).take(row.time_ms)
        return known

    def _stored(self, server_id: bytes, time_ms: int) -> imports.Stored:
        start_ms = time_ms - time_ms % _DAY_MS
        key = server_id, start_ms
        found = self._windows.get(key)
        if found is None:
            # What was packed meanwhile of a day that is out of memory must be found in the store.
            self._commit()
            days = [known for known in self._windows if known[0] == server_id]
            if len(days) == _DAYS_MAX:
                del self._windows[days[0]]
            found = self._target.look(lambda one: _look(one, server_id, start_ms))
            self._windows[key] = found
        return found

    def _commit(self) -> None:
        items = self._packer.take(self._now_ms)
        if not items:
            return
        for outcome in self._target.commit(items).outcomes:
            if outcome.reason is not None:
                batch = outcome.incoming.batch
                raise StoreError(
                    f"batch {batch.first_seq} of {batch.edge} was not taken: {outcome.reason}"
                )

    def _server_id(self, text: str | None) -> bytes | None:
        if text is None:
            return None
        if text not in self._server_ids:
            self._server_ids[text] = server_id_of(text)
        return self._server_ids[text]


def server_id_of(text: str) -> bytes:
    """Return the id that a file's name of a meter is: in hex, else the text itself."""
    found = hex_of(text)
    if found is None:
        found = text.encode()
    if not 1 <= len(found) <= 32:
        raise ImportFailed(f"{text} is no id of a meter: 1 to 32 bytes, in hex or as text")
    return found


def hex_of(text: str) -> bytes | None:
    """Return the bytes of a text in hex, None for any other."""
    try:
        return bytes.fromhex(text.replace("-", "").replace(":", ""))
    except ValueError:
        return None


def chosen_meter(text: str, known: Sequence[imports.KnownMeter]) -> bytes:
    """Return the server id of what a person calls a meter: its label, or its id in hex.

    One that is not known yet may be named by its id, or as text:NAME where it has none.
    """
    for meter in known:
        if text in (meter.label, meter.server_id.hex()):
            return meter.server_id
    if text.startswith(_METER_TEXT):
        return server_id_of(text.removeprefix(_METER_TEXT).encode().hex())
    found = hex_of(text)
    if not found or len(found) > 32:
        labels = ", ".join(meter.label for meter in known) or "none yet"
        raise ImportFailed(
            f"no meter is called {text}; known are: {labels}. A new one is named by its server id "
            f"in hex, or as {_METER_TEXT}NAME"
        )
    return found


def _known(there: imports.Stored, time_ms: int, own: int) -> str | None:
    """Return why a reading with these values need not be stored; None if it is to be."""
    before = there.values.get(time_ms)
    if before is not None:
        return THERE if before == own else OTHER
    if time_ms <= there.tails.get(time_ms - time_ms % HOUR_MS, 0):
        return THERE
    at = bisect_right(there.live, (time_ms, 1 << 62)) - 1
    return LIVE if at >= 0 and time_ms <= there.live[at][1] else None


def _look(connection: sa.Connection, server_id: bytes, start_ms: int) -> imports.Stored:
    for meter in imports.meters(connection):
        if meter.server_id == server_id:
            return imports.stored(connection, meter.id, start_ms, start_ms + _DAY_MS)
    return imports.Stored({}, (), {})
