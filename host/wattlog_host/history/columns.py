"""What the store answers about the past: columns of buckets, and who can be asked for them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

STEPS_S = (60, 900, 3600)
"""The lengths of buckets that are kept; each begins at a multiple of its length since 1970 UTC."""

HOLD_MS = 300_000
"""A reading speaks for the time since the one before, if that is not longer ago than this."""


class Gauges(NamedTuple):
    """A gauge by buckets, rising; those for which nothing speaks are absent. All are integers.

    start_ms    where the bucket begins
    minimum, maximum  of the values that speak within it
    integral    the sum of value times ms over the time that is covered: value * ms, exact
    covered_ms  for how long readings speak within it, at most its length
    readings    how many there are within it; 0 where one from behind it speaks for it
    """

    start_ms: Sequence[int]
    minimum: Sequence[int]
    maximum: Sequence[int]
    integral: Sequence[int]
    covered_ms: Sequence[int]
    readings: Sequence[int]


class Registers(NamedTuple):
    """A counter by buckets, rising; those without a reading are absent. All are integers.

    first_ms, first  the first reading within it; last_ms, last  the last one
    rise        the sum of all rises between readings within it
    falls       how often it fell there: an exchange or a reset; such a step counts as no energy
    covered_ms  as of Gauges
    """

    start_ms: Sequence[int]
    first_ms: Sequence[int]
    first: Sequence[int]
    last_ms: Sequence[int]
    last: Sequence[int]
    rise: Sequence[int]
    falls: Sequence[int]
    covered_ms: Sequence[int]
    readings: Sequence[int]


class Reading(NamedTuple):
    """One reading: values by channel id, stored integers."""

    time_ms: int
    source: str
    values: Mapping[int, int]


class MeterInfo(NamedTuple):
    """A meter with what there is of it; channels are ids of wattlog.channels, rising."""

    id: int
    server_id: bytes
    label: str
    first_ms: int
    last_ms: int
    channels: Sequence[int]

    def is_called(self, name: str) -> bool:
        """Tell whether it has this id, server id in hex, or label."""
        return name.strip().lower() in (str(self.id), self.server_id.hex(), self.label.lower())


class Lost(NamedTuple):
    """A run of records that is lost for good, between two readings of its edge where known."""

    edge: str
    start_ms: int | None
    end_ms: int | None
    records: int
    reason: str


class History(Protocol):
    """The past as the store keeps it. Calls block; all times are ms since 1970 UTC."""

    def meters(self) -> list[MeterInfo]:
        """Return all meters that have readings, in order of their ids."""

    def meter(self, name: str) -> MeterInfo | None:
        """Return the first of them that is called so, without a look at the others."""

    def has_more_meters_than(self, count: int) -> bool:
        """Tell whether more meters have readings; as cheaply for thousands as for two."""

    def gauges(
        self, meter_id: int, channel: int, start_ms: int, end_ms: int, step_s: int
    ) -> Gauges:
        """Return the buckets that overlap start_ms <= t < end_ms; step_s is one of STEPS_S."""

    def registers(
        self, meter_id: int, channel: int, start_ms: int, end_ms: int, step_s: int
    ) -> Registers:
        """Return as gauges() does, and with it the nearest bucket on either side that has any.

        However far away it is: between it and the range the counter is interpolated.
        """

    def readings(self, meter_id: int, start_ms: int, end_ms: int, count_max: int) -> list[Reading]:
        """Return the first readings in start_ms <= t < end_ms, rising, at most so many."""

    def losses(self, start_ms: int, end_ms: int, count_max: int) -> list[Lost]:
        """Return what is lost in this time, newest first."""
