"""What is in the database beside what the heads have read: by the readings alone.

No counter of the host is asked. Each stored reading is decoded from its batch and compared with
that of the meter, which is a pure function: so a log after the other is looked at, and a bit for
each of its readings is all that is kept.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import sqlalchemy as sa

from wattlog.channels import all_channels
from wattlog_host.store import lookup, tables
from wattlog_host.store.kinds import Place
from wattlog_host.store.reader import Reader
from wattlog_host.store.records import StoredReading, StoreError
from wattlog_tools.console import ToolError
from wattlog_tools.fleet_head import EXPORT, IMPORT, POWER, Meter, Plan, edge_of

EXAMPLES_MAX = 5
TELL_EVERY = 10_000

T = TypeVar("T")
Progress = Callable[[int], None]


class Found(NamedTuple):
    """What a look at the database gave, in readings; gaps are records that are noted as lost."""

    stored: int
    lost: int
    duplicated: int
    invented: int
    misplaced: int
    """Right but for their time."""
    gaps: int
    dead_letters: int
    examples: tuple[str, ...]

    def is_clean(self) -> bool:
        """Tell whether each reading is there once, with its time, and nothing else."""
        return not any(self[1:-1])


class Books:
    """The readings that heads have made, and what is found of them."""

    def __init__(self, plan: Plan, made: Sequence[int], start_epoch_ms: int) -> None:
        """Take how many each head has made, and the fleet's start by the wall clock."""
        self._plan = plan
        self._made = made
        self._start_epoch_ms = start_epoch_ms
        self._numbers = {edge_of(number): number for number in range(plan.heads)}
        self._seen = bytearray(plan.heads)
        self._log: tuple[str, int] | None = None
        self._meter: Meter | None = None
        self._made_here = 0
        self._bits = bytearray()
        self.stored = self.lost = self.duplicated = self.invented = self.misplaced = 0
        self.examples: list[str] = []

    def take(self, one: StoredReading) -> None:
        """Look at the next reading; those of a log come together."""
        if (one.edge, one.log) != self._log:
            self._turn_to(one)
        self.stored += 1
        index = self._index(one)
        if index is None:
            self.invented += 1
            self._note("invented", one.edge, one.seq)
        elif self._bits[index]:
            self.duplicated += 1
            self._note("duplicated", one.edge, one.seq)
        else:
            self._bits[index] = 1
            assert self._meter is not None
            if one.time_ms != self._start_epoch_ms + self._meter.due_ms(index):
                self.misplaced += 1
                self._note(f"at another time ({one.time_source})", one.edge, one.seq)

    def close(self) -> None:
        """Note what never came."""
        self._end_log()
        for number, is_seen in enumerate(self._seen):
            if not is_seen and self._made[number]:
                self.lost += self._made[number]
                self._note("lost", edge_of(number), 0)

    def _turn_to(self, one: StoredReading) -> None:
        self._end_log()
        self._log = (one.edge, one.log)
        number = self._numbers.get(one.edge)
        meter = None if number is None else Meter(self._plan, number)
        if number is None or meter is None or meter.log_id != one.log or self._seen[number]:
            return  # nobody's, or it was there before
        self._seen[number] = 1
        self._meter, self._made_here = meter, self._made[number]
        self._bits = bytearray(self._made_here)

    def _end_log(self) -> None:
        if self._meter is not None:
            lost = self._bits.count(0)
            if lost:
                self.lost += lost
                self._note(
                    f"lost, the first being reading {self._bits.index(0)}", *self._log or ()
                )
        self._log, self._meter, self._bits, self._made_here = None, None, bytearray(), 0

    def _index(self, one: StoredReading) -> int | None:
        """Return which of its head's readings it is, None for none: each part has to be right."""
        meter = self._meter
        index = None if meter is None else meter.index_of(one.seq)
        if meter is None or index is None or index >= self._made_here:
            return None
        told = (one.boot, one.server_id, one.uptime_ms, one.sec_index, dict(one.values))
        due = (meter.boot, meter.server_id, meter.uptime_of(index), meter.sec_index(index))
        return index if told == (*due, stored_values(meter, index)) else None

    def _note(self, what: str, edge: str, seq: int) -> None:
        if len(self.examples) < EXAMPLES_MAX:
            self.examples.append(f"{edge}, record {seq}: {what}")


def stored_values(meter: Meter, index: int) -> dict[int, int]:
    """Return the values of a reading as the store has them: in each channel's decimals."""
    values = zip(_FACTORS.items(), meter.values(index), strict=True)
    return {channel: factor * value for (channel, factor), value in values}


_FACTORS = {
    channel.id: 10 ** (channel.decimals - 1)
    for channel in all_channels()
    if channel.id in (IMPORT, EXPORT, POWER)
}
"""Of a tenth of a unit, by channel."""


def look(
    place: Place, plan: Plan, made: Sequence[int], start_epoch_ms: int, tell: Progress
) -> Found:
    """Compare all that is stored with all that was made."""
    books = Books(plan, made, start_epoch_ms)

    def question(connection: sa.Connection) -> tuple[int, int]:
        for count, one in enumerate(lookup.readings(connection)):
            books.take(one)
            if count % TELL_EVERY == 0:
                tell(count)
        letters = connection.execute(sa.select(sa.func.count()).select_from(tables.dead_letter))
        return lookup.losses(connection, 0).records, letters.scalar_one()

    gaps, letters = asked(place, question)
    books.close()
    return Found(
        books.stored, books.lost, books.duplicated, books.invented, books.misplaced, gaps, letters,
        tuple(books.examples),
    )  # fmt: skip


def is_empty(place: Place) -> bool:
    """Tell whether no batch is there; raises ToolError where nothing can be seen."""
    rows = asked(place, lambda one: one.execute(sa.select(tables.batch.c.log_id).limit(1)).all())
    return not rows


def asked(place: Place, question: Callable[[sa.Connection], T]) -> T:
    """Return what a question to the database gives."""
    try:
        reader = Reader(place)
        try:
            return reader.look(question)
        finally:
            reader.close()
    except StoreError as err:
        raise ToolError(str(err)) from err
