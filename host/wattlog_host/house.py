"""The house in one picture: what came from where and went where, from counters and powers.

Pure arithmetic on gross counters (each way of the grid and of the battery has its own), in whole
numbers of one unit of the caller's, and on powers in W. What is missing is None and makes None of
what needs it; 0 of 0 is None, too. DESIGN.md of dess/ states the formulas.
"""

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from decimal import Decimal

Amount = int | None
Watts = Decimal | None
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Energies:
    """What the counters gained in one span of time; of a house without battery both are 0."""

    production: Amount
    imported: Amount
    exported: Amount
    charged: Amount = 0
    discharged: Amount = 0


@dataclass(frozen=True, slots=True)
class Balance:
    """What follows from it; trouble says why there is nothing although all was there."""

    consumption: Amount = None
    self_use: Amount = None
    """Of the production, what stayed here: used at once, or in the battery."""
    own_use: Amount = None
    """Of the consumption, what did not come from the grid."""
    self_consumption: float | None = None
    autarky: float | None = None
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of each kind: where the production went, and where the consumption came from.

    What was exported is not positive: it is drawn downwards.
    """

    to_house: Amount = None
    to_battery: Amount = None
    export: Amount = None
    from_solar: Amount = None
    from_battery: Amount = None
    from_grid: Amount = None


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
    """Return the pieces of the bars; those of the consumption add up to it."""
    of = energies
    to_house = to_battery = from_solar = from_battery = from_grid = None
    if of.production is not None and of.exported is not None and of.charged is not None:
        stayed = of.production - min(of.production, of.exported)
        to_battery = min(of.charged, stayed)
        to_house = stayed - to_battery
    consumption = _consumption(of)
    if consumption is not None and consumption >= 0:
        from_grid = min(of.imported or 0, consumption)
        from_battery = min(of.discharged or 0, consumption - from_grid)
        from_solar = consumption - from_grid - from_battery
    export = None if of.exported is None else -of.exported
    return Bar(to_house, to_battery, export, from_solar, from_battery, from_grid)


def total(several: Iterable[Energies]) -> Energies:
    """Return several spans of time as one; what is missing in any of them is missing."""
    out = Energies(0, 0, 0)
    for one in several:
        pairs = zip(astuple(out), astuple(one), strict=True)
        out = Energies(*(None if None in pair else sum(pair) for pair in pairs))
    return out


def flows(solar: Watts, grid: Watts, battery: Watts = _ZERO) -> Flows | None:
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


def _consumption(out: Energies) -> Amount:
    if out.production is None or out.imported is None or out.exported is None:
        return None
    if out.charged is None or out.discharged is None:
        return None
    return out.production + out.imported + out.discharged - out.exported - out.charged


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole > 0 else None
