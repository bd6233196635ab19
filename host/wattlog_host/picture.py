"""Grid meters and inverters on one clock: the energies of times, and who feeds whom now.

Everything is counted in the quarters of an hour of which all have spoken, the meters and every
inverter: what a part of them did not tell would look like consumption, or hide it. How much of a
time is known goes with each answer.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from operator import add
from typing import NamedTuple

from wattlog_host.dess.mapping import Reading
from wattlog_host.dess.powers import BATTERY_KEYS, SOLAR_KEYS, powers_of
from wattlog_host.dess.quarters import QUARTER_MS, ROLES, Member, Sums
from wattlog_host.history.answers import Answers
from wattlog_host.history.columns import Registers
from wattlog_host.history.energy import points
from wattlog_host.history.gauge import POWER_KEY, channel_of
from wattlog_host.history.house import EXPORT, IMPORT, NEVER_MS
from wattlog_host.history.house import Member as MeterMember
from wattlog_host.house import Energies, Flows, flows, total
from wattlog_host.units import BY_KEY

E5_PER_WH_E3 = 100
SAME_MS = 600_000
"""Records of inverters that are further apart are not of one moment."""
NEAR_MS = 60_000
"""A meter's power is of the moment of a record if it was read so near to it."""
_READINGS_MAX = 500
_NOTHING = Energies(None, None, None, None, None)


@dataclass(frozen=True, slots=True)
class Solar:
    """The ledger's quarters, the devices that have any, and those that are in the account now."""

    sums: Sequence[Sums]
    members: Sequence[Member]
    present: frozenset[str]

    def has(self, role: str) -> bool:
        """Tell whether any device has this role."""
        return any(role in one.roles for one in self.members)

    def whole(self) -> Iterator[Sums]:
        """Yield the quarters in which every device that was there has told all that it tells."""
        changes = sorted(
            {at_ms for one in self.members for at_ms in (one.first_ms, self._end(one))}
        )
        wanted: dict[int, tuple[int, ...]] = {}
        for one in self.sums:
            era = bisect_right(changes, one.start_ms)
            if era not in wanted:
                wanted[era] = self._expected(one.start_ms)
            if one.tellers == wanted[era]:
                yield one

    def _expected(self, start_ms: int) -> tuple[int, ...]:
        there = [one for one in self.members if one.first_ms <= start_ms < self._end(one)]
        return tuple(sum(role.name in one.roles for one in there) for role in ROLES)

    def _end(self, member: Member) -> int:
        # One that is gone from the account was taken away after what it said last.
        return NEVER_MS if member.key in self.present else member.last_ms + 1


class Row(NamedTuple):
    """One time, energies in Wh * 10^5, and for how long of it they are known."""

    start_ms: int
    end_ms: int
    known_ms: int
    energies: Energies


class _Run(NamedTuple):
    """Known quarters that follow each other, and what the devices told there, by ROLES."""

    start_ms: int
    end_ms: int
    wh_e3: tuple[int, ...]


def rows(answers: Answers, solar: Solar, bounds: Sequence[int]) -> list[Row]:
    """Return the times between neighbours of rising bounds."""
    meters = answers.chosen(None)
    known = [
        one
        for one in solar.whole()
        if bounds[0] <= one.start_ms < bounds[-1]
        and all(_is_read(meter, one.start_ms) for meter in meters)
    ]
    runs = _runs(known, frozenset(bounds))
    edges = sorted({edge for run in runs for edge in (run.start_ms, run.end_ms)})
    read = {energy: _until(answers, meters, energy, edges) for energy in (IMPORT, EXPORT)}
    out, at = [], 0
    for start_ms, end_ms in pairwise(bounds):
        first = at
        while at < len(runs) and runs[at].start_ms < end_ms:
            at += 1
        within = runs[first:at]
        known_ms = sum(run.end_ms - run.start_ms for run in within)
        of = total(_energies(solar, run, read) for run in within) if within else _NOTHING
        out.append(Row(start_ms, end_ms, known_ms, of))
    return out


def joined(several: Sequence[Row]) -> Row:
    """Return times that follow each other as one; of those without anything nothing is added."""
    known = [row for row in several if row.known_ms]
    of = total(row.energies for row in known) if known else _NOTHING
    return Row(several[0].start_ms, several[-1].end_ms, sum(row.known_ms for row in known), of)


def _is_read(meter: MeterMember, start_ms: int) -> bool:
    """Tell whether a quarter is within what a meter read, or not of its time in the house."""
    end_ms = start_ms + QUARTER_MS
    if not meter.overlap_ms(start_ms, end_ms):
        return True
    return meter.meter.first_ms <= start_ms and end_ms <= meter.meter.last_ms


def _runs(known: Iterable[Sums], bounds: frozenset[int]) -> list[_Run]:
    out: list[_Run] = []
    for one in known:
        end_ms = one.start_ms + QUARTER_MS
        if out and out[-1].end_ms == one.start_ms and one.start_ms not in bounds:
            last = out.pop()
            out.append(_Run(last.start_ms, end_ms, tuple(map(add, last.wh_e3, one.wh_e3))))
        else:
            out.append(_Run(one.start_ms, end_ms, one.wh_e3))
    return out


def _until(
    answers: Answers, meters: Sequence[MeterMember], energy: str, edges: Sequence[int]
) -> dict[int, int] | None:
    """Return what the meters' registers climbed by each edge; None where none counts this."""
    out: dict[int, int] | None = None
    for meter in meters:
        for channel in meter.channels(energy):

            def load(
                start_ms: int,
                end_ms: int,
                step_s: int,
                of: tuple[int, int] = (meter.meter.id, channel),
            ) -> Registers:
                return answers.history.registers(*of, start_ms, end_ms, step_s)

            out = out or dict.fromkeys(edges, 0)
            for edge, point in zip(edges, points(load, edges), strict=True):
                out[edge] += point.climb
    return out


def _energies(solar: Solar, run: _Run, read: Mapping[str, dict[int, int] | None]) -> Energies:
    def grid(energy: str) -> int | None:
        climb = read[energy]
        return None if climb is None else climb[run.end_ms] - climb[run.start_ms]

    production, charged, discharged = (E5_PER_WH_E3 * amount for amount in run.wh_e3)
    # A house without a battery puts nothing into it; one without panels is not asked about.
    return Energies(
        production if solar.has("production") else None,
        grid(IMPORT),
        grid(EXPORT),
        charged,
        discharged,
    )


# --- now ----------------------------------------------------------------------------------


class Told(NamedTuple):
    """What one device said last, and when."""

    key: str
    time_ms: int | None
    readings: Mapping[str, Reading]


@dataclass(frozen=True, slots=True)
class Now:
    """Powers in W at the moment of the newest record; None for what is not known.

    missing has the keys of devices that said nothing then; grid is of the meters.
    """

    time_ms: int | None
    solar: Decimal | None
    battery: Decimal | None
    has_battery: bool
    state_of_charge: Decimal | None
    grid: Decimal | None
    missing: tuple[str, ...]

    @property
    def flows(self) -> Flows | None:
        """Return who feeds whom."""
        return flows(self.solar, self.grid, self.battery)

    @property
    def house(self) -> Decimal | None:
        """Return the power that the house takes."""
        found = self.flows
        return None if found is None else found.house


def moment_of(told: Sequence[Told]) -> int | None:
    """Return the moment of the newest record."""
    return max((one.time_ms for one in told if one.time_ms is not None), default=None)


def now(told: Sequence[Told], grid: Decimal | None) -> Now:
    """Return the powers of one moment; grid is that of the meters then, positive for import."""
    time_ms = moment_of(told)
    solar: list[Decimal | None] = []
    battery: list[Decimal | None] = []
    charges: list[Decimal] = []
    missing = []
    for one in told:
        is_late = one.time_ms is None or time_ms is None or time_ms - one.time_ms > SAME_MS
        powers = powers_of(one.readings)
        if is_late:
            missing.append(one.key)
        if one.readings.keys() & set(SOLAR_KEYS):
            solar.append(None if is_late else powers.solar)
        if one.readings.keys() & set(BATTERY_KEYS):
            battery.append(None if is_late else powers.battery)
            if powers.state_of_charge is not None and not is_late:
                charges.append(powers.state_of_charge)
    return Now(
        time_ms,
        _sum(solar) if solar else None,
        _sum(battery),
        bool(battery),
        # Of several batteries nobody knows which is how large.
        charges[0] if len(battery) == len(charges) == 1 else None,
        grid,
        tuple(missing),
    )


def grid_at(answers: Answers, time_ms: int) -> Decimal | None:
    """Return the power of the house's meters at a moment in W; None where one is not known."""
    powers: list[Decimal | None] = []
    for meter in answers.chosen(None):
        if not meter.start_ms <= time_ms < meter.end_ms:
            continue
        channel = channel_of(meter, POWER_KEY)
        read = answers.history.readings(
            meter.meter.id, time_ms - NEAR_MS, time_ms + NEAR_MS + 1, _READINGS_MAX
        )
        near = [
            (abs(one.time_ms - time_ms), one.values[channel])
            for one in read
            if channel is not None and channel in one.values
        ]
        decimals = BY_KEY[POWER_KEY].decimals
        powers.append(Decimal(min(near)[1]).scaleb(-decimals) if near else None)
    return _sum(powers) if powers else None


def _sum(parts: Sequence[Decimal | None]) -> Decimal | None:
    return None if None in parts else sum((one or Decimal(0) for one in parts), Decimal(0))
