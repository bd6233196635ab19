"""What goes into the store and what comes out, as the rest of the host sees it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from wattlog_host.wire import Batch


class StoreError(Exception):
    """The database cannot be used now; str() is one line. Nothing was written."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A batch and when it came."""

    topic: str
    batch: Batch
    received_ms: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that cannot be used, kept for whoever looks into it."""

    topic: str
    reason: str
    payload: bytes
    received_ms: int


@dataclass(frozen=True, slots=True)
class Latest:
    """A meter's newest reading; values are channel -> integer in the channel's decimals."""

    server_id: bytes
    label: str
    edge: str
    time_ms: int
    time_source: str
    values: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one batch: reason None is committed, else refused for ever."""

    incoming: Incoming
    reason: str | None
    is_new: bool = False
    ahead_ms: int | None = None
    """How far the agent's clock is ahead of ours; None is unknown."""


@dataclass(frozen=True, slots=True)
class Committed:
    """What one transaction did."""

    outcomes: tuple[Outcome, ...]
    latest: tuple[Latest, ...] = ()
    meters_new: tuple[tuple[str, str], ...] = ()
    """(edge, label) of each meter that was seen for the first time."""
    counts: Mapping[tuple[str, str], int] = field(default_factory=dict)


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
