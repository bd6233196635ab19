"""Which meters make the house, and from when to when each is a part of it."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from wattlog_host.history.columns import MeterInfo
from wattlog_host.units import BY_KEY

EVER_MS = 0
NEVER_MS = 1 << 62

IMPORT = "import"
EXPORT = "export"
REGISTERS = {
    IMPORT: (("import_wh",), ("import_t1_wh", "import_t2_wh")),
    EXPORT: (("export_wh",), ("export_t1_wh", "export_t2_wh")),
}
"""The registers that tell an energy: the first set of which a meter has any; they are summed."""


class Member(NamedTuple):
    """A meter and the time in which the house is not known without it."""

    meter: MeterInfo
    start_ms: int
    end_ms: int

    def overlap_ms(self, start_ms: int, end_ms: int) -> int:
        """Return how much of a time it is a part of the house."""
        return max(0, min(end_ms, self.end_ms) - max(start_ms, self.start_ms))

    def channels(self, energy: str) -> tuple[int, ...]:
        """Return the registers that tell this energy, none where the meter has none."""
        for keys in REGISTERS[energy]:
            found = tuple(BY_KEY[key].id for key in keys if BY_KEY[key].id in self.meter.channels)
            if found:
                return found
        return ()


def members(meters: Sequence[MeterInfo]) -> list[Member]:
    """Return the meters with their time in the house.

    The first one belongs to it from ever, a later one from its first reading on. One that fell
    silent before another was first seen was exchanged for it, and belongs to it until then; any
    other that is silent is still a part, and what it would have said is missing.
    """
    firsts = sorted(meter.first_ms for meter in meters)
    # Behind all of them: nobody came after who is still there.
    firsts.append(NEVER_MS)
    return [
        Member(
            meter,
            EVER_MS if meter.first_ms == firsts[0] else meter.first_ms,
            firsts[min(bisect_right(firsts, meter.last_ms), len(meters))],
        )
        for meter in meters
    ]


def exchanged(meters: Sequence[MeterInfo]) -> frozenset[bytes]:
    """Return the server ids of those in whose place another one came: nobody misses them."""
    return frozenset(one.meter.server_id for one in members(meters) if one.end_ms < NEVER_MS)


def alone(meter: MeterInfo) -> list[Member]:
    """Return one meter as if it were the house."""
    return [Member(meter, EVER_MS, NEVER_MS)]
