"""What the cloud can be asked, one function each: the parameters' order, and typed results.

A row that cannot be used is passed over; what is not there at all is an empty result.
"""

from collections.abc import Callable, Iterator
from typing import Any

from wattlog_host.dess import model, parsing
from wattlog_host.dess.client import Client
from wattlog_host.dess.errors import NO_PLANT, NothingThere
from wattlog_host.dess.model import Collector, Device, Plant, Record
from wattlog_host.dess.parsing import Point, integer, text_of

PAGE_SIZE = 50
PAGES_MAX = 20
HISTORY_PAGES_MAX = 10
HISTORY_TIMEOUT_S = 60.0
INFO_PNS_MAX = 100

_LANGUAGE = ("i18n", "en_US")
Row = dict[str, Any]


def plants(client: Client) -> list[Plant]:
    """Return all plants; none where the account has none."""
    try:
        found = list(_pages(client, (("action", "queryPlants"),), "plant"))
    except NothingThere as err:
        if err.code != NO_PLANT:
            raise
        return []
    return [plant for row in found if (plant := model.plant_of(row)) is not None]


def collectors(client: Client, pid: str) -> list[Collector]:
    """Return the collectors of a plant."""
    pairs = (("action", "webQueryCollectorsEs"), ("pid", pid))
    found = _pages_or_none(client, pairs, "collector")
    return [one for row in found if (one := model.collector_of(row, pid)) is not None]


def collector_info(client: Client, pns: list[str]) -> dict[str, Row]:
    """Return what else is known of collectors, above all datFetch and timezone, by number."""
    out = {}
    for at in range(0, len(pns), INFO_PNS_MAX):
        part = ",".join(pns[at : at + INFO_PNS_MAX])
        dat = client.call(("action", "queryCollectorInfo"), ("pn", part))
        for row in parsing.rows(dat, "collector"):
            pn = text_of(row.get("pn"), 40)
            # One that was asked for alone may come without its own number.
            if pn is not None or len(pns) == 1:
                out[pn or pns[0]] = row
    return out


def devices(client: Client, pn: str, pid: str) -> list[Device]:
    """Return the devices behind a collector."""
    try:
        dat = client.call(("action", "queryCollectorDevices"), ("pn", pn))
    except NothingThere:
        return []
    found = parsing.rows(dat, "dev")
    return [one for row in found if (one := model.device_of(row, pn, pid)) is not None]


def summary(client: Client, pid: str) -> list[Row]:
    """Return every device of a plant with status, output and energy, one call for fifty."""
    pairs = (("action", "webQueryDeviceEs"), ("pid", pid))
    return _pages_or_none(client, pairs, "device")


def last_data(client: Client, device: Device) -> Record:
    """Return the newest record of a device."""
    dat = client.call(("action", "queryDeviceLastData"), *device.pairs(), ("i18n", "en"))
    return model.record_of(parsing.points(dat))


def parameters(client: Client, device: Device) -> list[Point]:
    """Return what some devices tell nowhere else; powers come in kW."""
    dat = client.call(
        ("action", "queryDeviceParsEs"),
        _LANGUAGE,
        ("source", client.source),
        *device.pairs(),
    )
    return parsing.points(dat)


def control_fields(client: Client, device: Device) -> list[Row]:
    """Return the menu of settings as it comes; none where the cloud has none for the device."""
    try:
        dat = client.call(
            ("action", "queryDeviceCtrlField"),
            _LANGUAGE,
            ("source", client.source),
            *device.pairs(),
        )
    except NothingThere:
        return []
    return parsing.rows(dat, "field")


def control_value(client: Client, device: Device, field_id: str) -> Any:
    """Return a setting's value as the device says it now; takes seconds."""
    dat = client.call(
        ("action", "queryDeviceCtrlValue"),
        *device.pairs(),
        ("id", field_id),
        _LANGUAGE,
        ("source", client.source),
    )
    return dat.get("val") if isinstance(dat, dict) else None


def control_write(client: Client, device: Device, field_id: str, value: str) -> None:
    """Change a setting, once; returning means that the collector took it, not that it holds."""
    client.write(
        ("action", "ctrlDevice"),
        *device.pairs(),
        ("id", field_id),
        ("val", value),
        _LANGUAGE,
        ("source", client.source),
    )


def key_parameters(client: Client, device: Device) -> list[str]:
    """Return the names of the series that the cloud keeps for a device."""
    dat = client.call(
        ("action", "querySPKeyParameters"),
        *device.pairs(),
        _LANGUAGE,
        ("source", client.source),
    )
    found = dat.get("keys", dat.get("key")) if isinstance(dat, dict) else dat
    names = []
    for row in found if isinstance(found, list) else ():
        inner = row
        if isinstance(row, dict):
            inner = row.get("key", row.get("par", row.get("name", row.get("optional"))))
        if (name := text_of(inner, 60)) is not None:
            names.append(name)
    return names[: parsing.ROWS_MAX]


def series_of_day(client: Client, device: Device, parameter: str, date: str) -> list[Row]:
    """Return one series of one day on the spot: rows of ts (local) and val, without a unit."""
    dat = client.call(
        ("action", "querySPDeviceKeyParameterOneDay"),
        *device.pairs(),
        ("parameter", parameter),
        ("date", date),
        ("i18n", "en_US"),
        total_s=HISTORY_TIMEOUT_S,
    )
    return parsing.rows(dat, "option")


def records_of_day(
    client: Client, device: Device, date: str, may_go_on: Callable[[], bool] = lambda: True
) -> list[Record]:
    """Return the records of one day on the spot; slow, and not every device has them."""
    out: list[Record] = []
    for page in range(HISTORY_PAGES_MAX):
        dat = client.call(
            ("action", "queryDeviceDataOneDayPaging"),
            *device.pairs(),
            ("date", date),
            ("page", str(page)),
            ("pagesize", str(PAGE_SIZE)),
            _LANGUAGE,
            total_s=HISTORY_TIMEOUT_S,
        )
        found = _table(dat)
        out += found
        total = integer(dat.get("total")) if isinstance(dat, dict) else None
        if not found or len(out) >= (total or 0) or not may_go_on():
            break
    return out


def _table(dat: Any) -> list[Record]:
    """Return the records of a table: its head of titles, rows with a field for each."""
    if not isinstance(dat, dict) or not isinstance(dat.get("title"), list):
        return []
    heads: list[tuple[str, str | None]] = []
    for head in dat["title"][: parsing.POINTS_MAX]:
        if isinstance(head, dict):
            heads.append((text_of(head.get("title")) or "", text_of(head.get("unit"), 10)))
        else:
            heads.append((text_of(head) or "", None))
    out = []
    for row in parsing.rows(dat, "row"):
        fields = row.get("field")
        if not isinstance(fields, list):
            continue
        points = [
            Point(title, value, unit)
            for (title, unit), value in zip(heads, fields, strict=False)
            if title
        ]
        out.append(model.record_of(points))
    return out


def _pages_or_none(client: Client, pairs: tuple[tuple[str, str], ...], name: str) -> list[Row]:
    """Return all rows; none where the cloud calls that an error."""
    try:
        return list(_pages(client, pairs, name))
    except NothingThere:
        return []


def _pages(client: Client, pairs: tuple[tuple[str, str], ...], name: str) -> Iterator[Row]:
    """Go through all pages; a cloud that repeats one for ever does not keep us for ever."""
    count, last = 0, None
    for page in range(PAGES_MAX):
        dat = client.call(*pairs, ("page", str(page)), ("pagesize", str(PAGE_SIZE)))
        found = parsing.rows(dat, name)
        if not found or found == last:
            return
        yield from found
        last = found
        count += len(found)
        total = integer(dat.get("total")) if isinstance(dat, dict) else None
        if count >= (total if total is not None else 0):
            return
