"""What inverters of several protocols say of the same moment, in their own titles and units."""

from collections.abc import Callable, Sequence

from wattlog_sim.dess.solar import Moment, Totals

Row = tuple[str, str, str | None]
"""Title, value as text, unit or None."""


def _signed(moment: Moment) -> str:
    return "%.1f" % (moment.battery_w / 52)


def _mode(moment: Moment, hybrid: str, grid: str, away: str) -> str:
    if moment.solar_w > 50 and abs(moment.grid_w) > 20:
        return hybrid
    return grid if moment.grid_w > 20 else away


def _p2376(moment: Moment, totals: Totals) -> list[Row]:
    return [
        ("Operating mode", _mode(moment, "Hybrid Mode", "Grid Mode", "Off-Grid Mode"), None),
        ("Grid Voltage", "231.4", "V"),
        ("Grid Frequency", "49.98", "Hz"),
        ("Grid Power", "%d" % moment.grid_w, "W"),
        ("Output Voltage", "230.1", "V"),
        ("Output frequency", "50.00", "HZ"),
        ("Output Active Power", "%d" % moment.load_w, "W"),
        ("Output Apparent Power", "%d" % (moment.load_w * 1.05), "VA"),
        ("Battery Voltage", "52.0", "V"),
        ("Battery Current", _signed(moment), "A"),
        ("Battery Power", "%d" % moment.battery_w, "W"),
        ("PV Voltage", "310.5" if moment.solar_w else "0.0", "V"),
        ("PV Power", "%d" % moment.solar_w, "W"),
        ("PV2 Input current", "-", "A"),
        ("Load Percent", "%d" % (moment.load_w / 62), "%"),
        ("INV Module Termperature", "%d" % (28 + moment.load_w / 200), "°C"),
        ("DC Module Termperature", "%d" % (27 + moment.solar_w / 250), "°C"),
        ("Output priority", "SBU", None),
        ("Charger Source Priority", "PV First", None),
        ("Output Voltage Setting", "230", "V"),
    ]


def _p6515(moment: Moment, totals: Totals) -> list[Row]:
    return [
        ("Devise serial number", "AN0011000042", None),
        ("Operating mode", _mode(moment, "Line Mode", "Bypass Mode", "OffgridMode"), None),
        ("Grid Voltage", "230.9", "V"),
        ("Grid Frequency", "50.01", "HZ"),
        ("Grid Power", "%d" % moment.grid_w, "W"),
        ("Output Voltage", "229.8", "V"),
        ("Output Active Power", "%.3f" % (moment.load_w / 1000), "kW"),
        ("Output Aparent Power", "%d" % (moment.load_w * 1.04), "VA"),
        ("Load Percent", "%d" % (moment.load_w / 110), "%"),
        ("Battery Voltage", "51.8", "V"),
        ("Battery Power", "%d" % moment.battery_w, "W"),
        ("SOC", "%d" % moment.soc_percent, "%"),
        ("PV1 Power", "%d" % (0.6 * moment.solar_w), "W"),
        ("PV2 Power", "%d" % (0.4 * moment.solar_w), "W"),
        ("Total PV Power", "%d" % moment.solar_w, "W"),
        ("Daily PV energy generation", "%.2f" % (totals.solar_today_wh / 1000), "kWh"),
        ("Total PV energy generation", "%.1f" % (totals.solar_wh / 1000), "kWh"),
        ("Main Output Priority", "SBU", None),
        ("Current output priority", "SBU", None),
        ("Charger Source Priority", "OSO", None),
        ("Secondary Output Priority Start Time", "00:00", None),
        (" Inverter Time", "12:00", None),
    ]


def _p2452(moment: Moment, totals: Totals) -> list[Row]:
    charge = max(moment.battery_w, 0) / 52
    discharge = max(-moment.battery_w, 0) / 52
    return [
        ("Operating mode", _mode(moment, "Hybrid Mode", "Line", "Battery"), None),
        ("Grid voltage", "232.2", "V"),
        ("AC output voltage", "230.0", "V"),
        ("AC output active power", "%d" % moment.load_w, "W"),
        ("AC output apparent power", "%d" % (1.03 * moment.load_w), "VA"),
        ("Battery Voltage", "52.0", "V"),
        ("Battery Charging Current", "%.1f" % charge, "A"),
        ("Battery Discharging Current", "%.1f" % discharge, "A"),
        ("Battery Capacity", "%d" % moment.soc_percent, "%"),
        ("PV1 Input voltage", "305.0" if moment.solar_w else "0", "V"),
        ("PV1 Input Power", "%d" % moment.solar_w, "W"),
        ("Today generation", "%d" % totals.solar_today_wh, "Wh"),
        ("Total generation", "%.1f" % (totals.solar_wh / 1000), "kWh"),
        ("Output priority", "Solar-Battery-Utility", None),
    ]


def _p518(moment: Moment, totals: Totals) -> list[Row]:
    return [
        ("active power", "%d" % (0.97 * moment.solar_w), "W"),
        ("DC output power", "%d" % moment.solar_w, "W"),
        ("today energy", "%.2f" % (totals.solar_today_wh / 1000), "kWh"),
        ("total energy", "%.1f" % (totals.solar_wh / 1000), "kWh"),
        ("grid frequency", "49.99", "Hz"),
    ]


def _unknown(moment: Moment, totals: Totals) -> list[Row]:
    return [
        ("PV Power", "%d" % moment.solar_w, "W"),
        ("Flux reading", "%.1f" % (moment.solar_w / 7), "kX"),
        ("Curious state", "half asleep", None),
    ]


PROTOCOLS: dict[int, Callable[[Moment, Totals], Sequence[Row]]] = {
    2376: _p2376,
    6515: _p6515,
    2452: _p2452,
    518: _p518,
}


def rows_of(devcode: int, moment: Moment, totals: Totals) -> list[Row]:
    """Return what a device of this protocol says."""
    return list(PROTOCOLS.get(devcode, _unknown)(moment, totals))
