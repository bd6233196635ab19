"""Every quantity that an inverter in the cloud may have: the table, and how titles find it.

Titles that mean the same on every device stand here; what one protocol calls otherwise is in its
file below devcodes/.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Period = Literal["", "day", "month", "year", "life"]

_CLASSES = {
    "W": "power", "kW": "power", "VA": "apparent_power", "V": "voltage", "A": "current",
    "Hz": "frequency", "°C": "temperature", "kWh": "energy",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sensor:
    """One quantity; period says when its counter begins anew, "" for what is no counter."""

    id: str
    label: str
    unit: str
    titles: tuple[str, ...]
    period: Period = ""
    is_text: bool = False
    is_diagnostic: bool = False

    @property
    def device_class(self) -> str | None:
        """Return what Home Assistant calls the quantity."""
        if self.is_text:
            return None if self.id == "software_version" else "enum"
        return _CLASSES.get(self.unit)

    @property
    def state_class(self) -> str | None:
        """Return how Home Assistant adds it up."""
        if self.is_text:
            return None
        # Real ones step back, which a total must not.
        steps_back = self.id.startswith("battery_energy_total")
        return "total_increasing" if self.period and not steps_back else "measurement"


# id | label | unit, or "text" | when a counter begins anew, if ever | other titles, ";" between.
# An id with "*" is for diagnosis and not shown unless asked for. The label is a title, too.
_TABLE = """
output_power | Output Power | W | | Output Active Power
battery_power | Battery Power | W | | batt power
solar_power | Solar Power | W | | PV Power
grid_power | Grid Power | W
output_voltage | Output Voltage | V
battery_voltage | Battery Voltage | V
output_current | Output Current | A
battery_current | Battery Current | A | | Batt Current
battery_charging_current | Battery Charging Current | A
battery_discharge_current | Battery Discharge Current | A
inverter_current | Inverter Current | A
bms_battery_current | BMS Battery Current | A
bms_battery_voltage | BMS Battery Voltage | V
solar_current | Solar Current | A | | PV Current
pv1_charger_current | PV1 Charger Current | A
pv2_charger_current | PV2 Charger Current | A
grid_current | Grid Current | A
load_current | Load Current | A
output_frequency | Output Frequency | Hz
inverter_frequency | Inverter Frequency | Hz
grid_frequency | Grid Frequency | Hz
second_output_frequency | Second Output Frequency | Hz
second_output_voltage | Second Output Voltage | V
load_percentage | Load Percentage | % | | Load Percent
state_of_charge | State of Charge | % | | SOC
inverter_temperature | Inverter Temperature | °C | | INV Module Termperature
dc_module_temperature | DC Module Temperature | °C | | DC Module Termperature
ac_radiator_temperature | AC Radiator Temperature | °C
dc_radiator_temperature | DC Radiator Temperature | °C
pv_radiator_temperature | PV Radiator Temperature | °C
pv_temperature | PV Temperature | °C
inverter_heat_sink_temperature | Inverter Heat Sink Temperature | °C
inverter_radiator_temperature | Inverter Radiator Temperature | °C
transformer_temperature | Transformer Temperature | °C
bms_battery_temperature | BMS Battery Temperature | °C
operating_mode | Operating Mode | text | | work state
grid_voltage | Grid Voltage | V
inverter_voltage | Inverter Voltage | V
solar_voltage | Solar Voltage | V | | PV Voltage
pv1_voltage | PV1 Voltage | V
pv2_voltage | PV2 Voltage | V
ac_charging_power | AC Charging Power | W
output_apparent_power | Output Apparent Power | VA
load_apparent_power | Load Apparent Power | VA
pv_charge_power | PV Charge Power | W
pv_total_charger_power | PV Total Charger Power | W
pv1_charger_power | PV1 Charger Power | W
pv2_charger_power | PV2 Charger Power | W
grid_active_power | Grid Active Power | W | | PGrid
load_power | Load Power | W | | PLoad
inverter_power | Inverter Power | W | | PInverter
ac_charging_current | AC Charging Current | A
pv_charging_current | PV Charging Current | A
output_voltage_setting* | Output Voltage Setting | V
total_pv_power | Total PV Power | kW | | outpower
energy_today | Energy Today | kWh | day | energyToday
energy_total | Energy Total | kWh | | energyTotal
energy_month | Energy Month | kWh | month
energy_year | Energy Year | kWh | year
battery_energy_today_charge | Battery Energy Today (Charge) | kWh | day
battery_energy_today_discharge | Battery Energy Today (Discharge) | kWh | day
battery_energy_total_charge | Battery Energy Total (Charge) | kWh
battery_energy_total_discharge | Battery Energy Total (Discharge) | kWh
pv_cumulative_energy | PV Cumulative Energy | kWh | | PV Cumulative Power Generation
accumulated_load_energy | Accumulated Load Energy | kWh | | Accumulated Load Power
accumulated_mains_load_energy | Accumulated Mains Load Energy | kWh
accumulated_self_use_energy | Accumulated Self-Use Energy | kWh | | Accumulated Self_Use Power
accumulated_sell_energy | Accumulated Sell Energy | kWh | | Accumulated Sell Power
accumulated_buy_energy | Accumulated Buy Energy | kWh | | accumulated buy power
accumulated_charge_energy | Accumulated Charge Energy | kWh | | accumulated charger power
accumulated_discharge_energy | Accumulated Discharge Energy | kWh | | accumulated discharger power
accumulated_battery_charge_ah | Accumulated Battery Charge Ah | Ah
accumulated_battery_discharge_ah | Accumulated Battery Discharge Ah | Ah
daily_battery_charge_ah | Daily Battery Charge Ah | Ah | day
daily_battery_discharge_ah | Daily Battery Discharge Ah | Ah | day
software_version* | Software Version | text
rated_power* | Rated Power | W
charger_work_enable* | Charger Work Enable | text
output_priority* | Output Priority | text
charger_source_priority* | Charger Source Priority | text
"""


def _read(line: str) -> Sensor:
    name, label, unit, word, titles, *_ = [*map(str.strip, line.split("|")), "", ""]
    periods: dict[str, Period] = {"day": "day", "month": "month", "year": "year"}
    return Sensor(
        name.rstrip("*"),
        label,
        "" if unit == "text" else unit,
        tuple(title.strip() for title in titles.split(";") if title.strip()),
        periods.get(word, "life") if unit in ("kWh", "Ah") else "",
        is_text=unit == "text",
        is_diagnostic=name.endswith("*"),
    )


SENSORS = tuple(_read(line) for line in _TABLE.strip().splitlines())
BY_ID: Mapping[str, Sensor] = {sensor.id: sensor for sensor in SENSORS}
BY_TITLE = {
    title.lower(): sensor.id for sensor in SENSORS for title in (*sensor.titles, sensor.label)
}
SUMMARY = (("outpower", "kW"), ("energyToday", "kWh"), ("energyTotal", "kWh"))
"""What webQueryDeviceEs tells of each device, and its units."""
NEVER = frozenset(("id", "timestamp"))

# --- texts that mean the same on every device ---------------------------------------------

MODE_CLASSES = (
    "grid", "battery", "offgrid", "hybrid", "solar", "standby", "starting", "shutdown", "fault",
    "unknown",
)  # fmt: skip
_MODES = (
    (
        "grid",
        "bypass mode; grid mode; grid-tie; grid-tied operation; line; line mode; mains; "
        "mains mode; mains operation",
    ),
    ("battery", "battery; battery mode; battery operation"),
    (
        "offgrid",
        "inverter mode; inverter operation; inverting operation; off-grid mode; off-grid "
        "operation; offgrid; offgridmode",
    ),
    ("hybrid", "hybrid mode; hybrid operation"),
    ("solar", "pv operation; solar mode"),
    ("standby", "standby; standby mode"),
    ("starting", "power on; starting up"),
    ("shutdown", "shutdown approaching"),
    ("fault", "fault; fault condition; inverter fault"),
)
MODES = {text: name for name, texts in _MODES for text in texts.split("; ")}
PRIORITIES = {
    "sbu": "solar_battery_utility",
    "sub": "solar_utility_battery",
    "uti": "utility_first",
    "sol": "solar_first",
    "utility first": "utility_first",
    "solar first": "solar_first",
    "pv first": "solar_first",
    "pv is at the same level as utility": "solar_and_utility",
    "only pv": "solar_only",
    "only pv charging is allowed": "solar_only",
}
