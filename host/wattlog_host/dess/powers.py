"""One inverter's readings as the powers of a house: whichever sensors its protocol has.

Signs: battery positive for charging, grid positive for import. What cannot be told is None.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from wattlog_host.dess.mapping import Reading

Direction = Literal["charging", "discharging", "idle"]
Value = Callable[[str], Decimal | None]
"""What a record says under this sensor, None where it says nothing."""
IDLE_W = Decimal(5)
SOLAR_KEYS = (
    "solar_power", "pv_total_charger_power", "pv1_charger_power", "pv2_charger_power",
    "pv_charge_power", "total_pv_power",
)  # fmt: skip
BATTERY_KEYS = (
    "battery_power", "battery_current", "battery_charging_current", "battery_discharge_current",
)  # fmt: skip
"""Who has any of these has panels, or a battery; a voltage alone is none."""


@dataclass(frozen=True, slots=True)
class Powers:
    """Powers of one inverter in W, its state of charge in percent."""

    solar: Decimal | None
    load: Decimal | None
    grid: Decimal | None
    battery: Decimal | None
    state_of_charge: Decimal | None

    @property
    def direction(self) -> Direction | None:
        """Return what the battery does."""
        if self.battery is None:
            return None
        if abs(self.battery) < IDLE_W:
            return "idle"
        return "charging" if self.battery > 0 else "discharging"


def powers_of(readings: Mapping[str, Reading]) -> Powers:
    """Return the powers that the readings of one record tell."""

    def value(key: str) -> Decimal | None:
        reading = readings.get(key)
        return None if reading is None else reading.value

    return Powers(
        solar_of(value),
        _first(value, "output_power", "load_power"),
        _grid(readings.get("grid_power", readings.get("grid_active_power"))),
        battery_of(value),
        value("state_of_charge"),
    )


def solar_of(value: Value) -> Decimal | None:
    """Return the power of the panels in W."""
    solar = _first(value, "solar_power", "pv_total_charger_power")
    strings = [value("pv1_charger_power"), value("pv2_charger_power")]
    there = [power for power in strings if power is not None]
    if solar is None and there:
        solar = sum(there, Decimal(0))
    if solar is None:
        solar = value("pv_charge_power")
    if solar is None and (total_kw := value("total_pv_power")) is not None:
        solar = 1000 * total_kw
    return solar


def battery_of(value: Value) -> Decimal | None:
    """Return the power of the battery in W, positive for charging."""
    if (power := value("battery_power")) is not None:
        return power
    voltage = value("battery_voltage")
    if voltage is None:
        return None
    if (current := value("battery_current")) is not None:
        return voltage * current
    charging, discharging = value("battery_charging_current"), value("battery_discharge_current")
    # Two readings without a sign; where only one of them comes, the other is not known to be 0.
    if charging is None or discharging is None:
        return None
    return voltage * (charging - discharging)


def _grid(reading: Reading | None) -> Decimal | None:
    if reading is None or reading.value is None:
        return None
    if "feed to grid" in reading.source.lower():
        # It counts the other way, and at 0 says nothing about import.
        return -reading.value if reading.value > 0 else None
    return reading.value


def _first(value: Value, *keys: str) -> Decimal | None:
    return next((found for key in keys if (found := value(key)) is not None), None)
