"""The house in one picture: what came from where and went where, from counters and powers.

Pure arithmetic on gross counters (each way of the grid and of the battery has its own), in one
unit of the caller's. What is missing is None and makes None of what needs it; 0 of 0 is None, too.
DESIGN.md of dess/ states the formulas.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

Amount = Decimal | None
Samples = Sequence[tuple[int, Decimal]]
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Energies:
    """What the counters gained in one span of time; of a house without battery both are 0."""

    production: Amount
    imported: Amount
    exported: Amount
    charged: Amount = _ZERO
    discharged: Amount = _ZERO


@dataclass(frozen=True, slots=True)
class Balance:
    """What follows from it; trouble says why there is nothing although all was there."""

    consumption: Amount = None
    self_use: Amount = None
    """Of the production, what stayed here: used at once, or in the battery."""
    own_use: Amount = None
    """Of the consumption, what did not come from the grid."""
    self_consumption: Amount = None
    autarky: Amount = None
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: three pieces of the consumption upwards, export downwards (not positive)."""

    from_solar: Amount = None
    from_battery: Amount = None
    from_grid: Amount = None
    export: Amount = None


@dataclass(frozen=True, slots=True)
class Flows:
    """Power from each source to each sink at one moment; none is negative."""

    solar_to_house: Decimal
    solar_to_battery: Decimal
    solar_to_grid: Decimal
    battery_to_house: Decimal
    battery_to_grid: Decimal
    grid_to_house: Decimal
    grid_to_battery: Decimal

    @property
    def house(self) -> Decimal:
        """Return the power that the house takes."""
        return self.solar_to_house + self.battery_to_house + self.grid_to_house


def balance(energies: Energies) -> Balance:
    """Return consumption, self-consumption and autarky of a span of time."""
    out = energies
    self_use = self_consumption = None
    if out.production is not None and out.exported is not None:
        # What the battery exports beyond the production was not produced in this span.
        self_use = out.production - min(out.production, out.exported)
        self_consumption = _ratio(self_use, out.production)
    consumption = _consumption(out)
    if consumption is None or out.imported is None:
        return Balance(None, self_use, None, self_consumption)
    if consumption < 0:
        return Balance(trouble="the counters contradict each other")
    # What the battery takes from the grid beyond the consumption is used later, or exported.
    own_use = consumption - min(consumption, out.imported)
    autarky = _ratio(own_use, consumption)
    return Balance(consumption, self_use, own_use, self_consumption, autarky)


def bar(energies: Energies) -> Bar:
    """Return the pieces of a bar; the upper three add up to the consumption."""
    consumption = _consumption(energies)
    export = None if energies.exported is None else -energies.exported + 0
    if consumption is None or consumption < 0:
        return Bar(export=export)
    from_grid = min(energies.imported or _ZERO, consumption)
    from_battery = min(energies.discharged or _ZERO, consumption - from_grid)
    return Bar(consumption - from_grid - from_battery, from_battery, from_grid, export)


def flows(solar: Amount, grid: Amount, battery: Amount = _ZERO) -> Flows | None:
    """Return who feeds whom; grid is positive for import, battery for charging.

    None where a power is missing, or where they cannot be of the same moment.
    """
    if solar is None or grid is None or battery is None or solar < 0:
        return None
    house = solar + grid - battery
    if house < 0:
        return None
    imported, exported = max(grid, _ZERO), max(-grid, _ZERO)
    charged, discharged = max(battery, _ZERO), max(-battery, _ZERO)
    solar_to_house = min(solar, house)
    solar_to_battery = min(solar - solar_to_house, charged)
    solar_to_grid = min(solar - solar_to_house - solar_to_battery, exported)
    battery_to_house = min(discharged, house - solar_to_house)
    battery_to_grid = discharged - battery_to_house
    grid_to_house = house - solar_to_house - battery_to_house
    return Flows(
        solar_to_house,
        solar_to_battery,
        solar_to_grid,
        battery_to_house,
        battery_to_grid,
        grid_to_house,
        imported - grid_to_house,
    )


def at(samples: Samples, time_ms: int, gap_ms_max: int) -> Amount:
    """Return a counter at a moment, by the way between the samples around it.

    None before the first and after the last sample, and inside a gap longer than gap_ms_max.
    """
    index = bisect_left(samples, time_ms, key=lambda sample: sample[0])
    if index < len(samples) and samples[index][0] == time_ms:
        return samples[index][1]
    if index in (0, len(samples)):
        return None
    (before_ms, before), (after_ms, after) = samples[index - 1], samples[index]
    if after_ms - before_ms > gap_ms_max:
        return None
    return before + (after - before) * (time_ms - before_ms) / (after_ms - before_ms)


def spans(
    counters: Mapping[str, Samples], edges_ms: Sequence[int], gap_ms_max: int
) -> list[Energies]:
    """Return what each counter gained between neighbouring edges, all on one clock.

    counters has the names of Energies' fields; samples grow with time (dess.counters.gained makes
    them of what begins anew). Without "charged" and "discharged" there is no battery.
    """
    has_battery = "charged" in counters or "discharged" in counters
    columns: dict[str, list[Amount]] = {}
    for name in ("production", "imported", "exported", "charged", "discharged"):
        if name in counters:
            marks = [at(counters[name], edge_ms, gap_ms_max) for edge_ms in edges_ms]
            columns[name] = [
                None if low is None or high is None else high - low
                for low, high in pairwise(marks)
            ]
        else:
            is_none = has_battery or name in ("production", "imported", "exported")
            columns[name] = [None if is_none else _ZERO] * max(0, len(edges_ms) - 1)
    return [Energies(*row) for row in zip(*columns.values(), strict=True)]


def _consumption(out: Energies) -> Amount:
    parts = (out.production, out.imported, out.discharged, out.exported, out.charged)
    if any(part is None for part in parts):
        return None
    production, imported, discharged, exported, charged = (part or _ZERO for part in parts)
    return production + imported + discharged - exported - charged


def _ratio(part: Decimal, whole: Decimal) -> Amount:
    return part / whole if whole > 0 else None
