"""What goes into the store and what comes out, as the rest of the host sees it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from wattlog_host.wire import Batch
from wattlog_pi.system_clock import Trust

METERS_SHOWN_MAX = 1_000
"""Of so many meters, those that came first, the newest readings are told."""


class StoreError(Exception):
    """The database cannot be used now; str() is one line. Nothing was written."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A batch and when it came, by a clock of such trust."""

    topic: str
    batch: Batch
    received_ms: int
    message: bytes = field(repr=False)
    trust: Trust = Trust.NETWORK


@dataclass(frozen=True, slots=True)
class BatchName:
    """A batch that was answered; count is 0 where it could not be read."""

    edge: str
    log: int
    first_seq: int
    count: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that cannot be used, kept for whoever looks into it.

    name is the batch's that is refused with it, None where nobody is told.
    """

    topic: str
    reason: str
    payload: bytes = field(repr=False)
    received_ms: int
    name: BatchName | None = None


@dataclass(frozen=True, slots=True)
class Floor:
    """An edge's word that of this log nothing below first_seq comes any more.

    base_seq is what was settled before the log had this id; None where the edge does not say.
    """

    edge: str
    log: int
    first_seq: int
    received_ms: int
    base_seq: int | None = None


@dataclass(frozen=True, slots=True)
class Latest:
    """A meter's newest reading; values are channel -> integer in the channel's decimals."""

    server_id: bytes
    label: str
    edge: str
    time_ms: int
    time_source: str
    values: Mapping[int, int]
    boot: int
    uptime_ms: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one batch: reason None is committed, else why it is not stored."""

    incoming: Incoming
    reason: str | None
    is_new: bool = False
    ahead_ms: int | None = None
    """How far the agent's clock is ahead of ours; None is unknown."""
    is_behind: bool = False
    """Whether it is ours that is wrong: the agent's is set from the network, ours is not."""


@dataclass(frozen=True, slots=True)
class LostRun:
    """Records that are lost for good; from_ms and to_ms are the times beside them, where known."""

    edge: str
    log: int
    first_seq: int
    last_seq: int
    reason: str
    noted_ms: int
    from_ms: int | None
    to_ms: int | None

    @property
    def count(self) -> int:
        """How many records."""
        return self.last_seq - self.first_seq + 1


@dataclass(frozen=True, slots=True)
class Losses:
    """All gaps: how many runs and records, and the newest few."""

    runs: int = 0
    records: int = 0
    newest: tuple[LostRun, ...] = ()


@dataclass(frozen=True, slots=True)
class Committed:
    """What one transaction did; losses is None where no gap changed."""

    outcomes: tuple[Outcome, ...] = ()
    latest: tuple[Latest, ...] = ()
    meters_new: tuple[tuple[str, str], ...] = ()
    """(edge, label) of each meter that was seen for the first time."""
    counts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    losses: Losses | None = None
    lost: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """(edge, reason) -> how many records are now known to be lost."""


@dataclass(frozen=True, slots=True)
class StoredReading:
    """One reading as it is stored; values are channel -> integer in the channel's decimals."""

    edge: str
    log: int
    boot: int
    seq: int
    server_id: bytes
    uptime_ms: int
    sec_index: int | None
    time_ms: int
    time_source: str
    values: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Event:
    """Something a person wants to know."""

    time_ms: int
    kind: str
    edge: str | None
    text: str


@dataclass(frozen=True, slots=True)
class PreviousRun:
    """The run of the host before this one; last_data_ms is of any run before."""

    started_ms: int
    last_data_ms: int | None
    ended_ms: int | None
