"""A DessMonitor cloud of our own: plants, devices with a physical day, and faults to order.

No clock and no socket in here: `answer` takes a request's raw path and says what to send, and how
(at once, never, drop by drop). server.py is the rim. The signature is checked over the bytes
as they came, as the real one does.
"""

import calendar
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from wattlog_sim.dess.points import rows_of
from wattlog_sim.dess.solar import Roof, roof

LIFE_S = 604_800
PATH = "/public/"
UPLOAD_S = 12
"""From a device's clock to its record in the cloud."""
BIG_BYTES = 100_000_000

FAULTS = (
    "http", "err", "hang", "drip", "drip-head", "garbage", "html", "cut", "empty", "redirect",
    "big", "deep", "limit", "jsonp", "null", "object", "nan", "err-text", "echo", "double",
    "offline", "freeze", "skew", "ignore",
)  # fmt: skip


@dataclass(slots=True)
class Fault:
    """One fault: for this action and device (or any), so many times, with a value where needed."""

    kind: str
    value: Any = None
    action: str | None = None
    sn: str | None = None
    count: int | None = None


@dataclass(slots=True)
class FakeDevice:
    """One inverter of the fake cloud, and its settings by id: keys as the cloud has them."""

    pn: str
    devcode: int
    devaddr: int
    sn: str
    alias: str
    roof: Roof
    settings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What to send: how is "", "hang", "drip", "drip-head" or "big"."""

    body: bytes
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    how: str = ""


MENU: list[dict[str, Any]] = [
    {
        "id": "bse_eybond_ctrl_49",
        "name": "Output priority",
        "item": [
            {"key": "0", "val": "UTI"}, {"key": "1", "val": "SOL"}, {"key": "2", "val": "SBU"},
        ],
    },
    {
        "id": "bat_eybond_ctrl_68",
        "name": "Bulk Charging Voltage",
        "unit": "V",
        "hint": "25.0~31.5V 48.0~61.0V",
    },
    {"id": "bat_eybond_ctrl_70", "name": "Max Charging Current", "unit": "A"},
    {"id": "sys_eybond_ctrl_75", "name": "Clear Record", "item": [{"key": "1", "val": "Clear"}]},
]  # fmt: skip
# Powers come in kW, and the cloud names no unit.
_SERIES = {
    "PV_OUTPUT_POWER": ("solar_w", 1000.0),
    "LOAD_ACTIVE_POWER": ("load_w", 1000.0),
    "BT_BATTERY_CAPACITY": ("soc_percent", 1.0),
}
_SETTINGS = {
    "bse_eybond_ctrl_49": "2",
    "bat_eybond_ctrl_68": "56.4",
    "bat_eybond_ctrl_70": "60",
    "sys_eybond_ctrl_75": "--",
}


class Cloud:
    """The whole cloud; now_ms is its clock, users is name to password."""

    def __init__(
        self,
        now_ms: Callable[[], int],
        users: dict[str, str],
        *,
        devices: list[FakeDevice] | None = None,
        offset_s: int = 7_200,
        fetch_s: int = 300,
        life_s: int = LIFE_S,
        company_key: str = "bnrl_frRFjEz8Mkn",
    ) -> None:
        """Take what it is to be; without devices there are three, of three protocols."""
        self.now_ms = now_ms
        self.users = users
        self.devices = demo_devices() if devices is None else devices
        self.offset_s = offset_s
        self.fetch_s = fetch_s
        self.life_s = life_s
        self.company_key = company_key
        self.faults: list[Fault] = []
        self.calls: Counter[str] = Counter()
        self.writes: list[tuple[str, str, str]] = []
        self.sent: dict[tuple[str, str], list[tuple[str, str, str | None]]] = {}
        """Of each device and local time, what was told: the truth for tests."""
        self._tokens: dict[str, tuple[str, int]] = {}
        self._number = 0

    def order(self, kind: str, value: Any = None, **more: Any) -> Fault:
        """Add a fault; return it, so that it can be taken away again."""
        assert kind in FAULTS, kind
        fault = Fault(kind, value, **more)
        self.faults.append(fault)
        return fault

    def revoke(self) -> None:
        """Forget all tokens, as in maintenance."""
        self._tokens.clear()

    def answer(self, raw_path: str) -> Answer:
        """Return what to send for a request."""
        path, _, query = raw_path.partition("?")
        values = {name: found[0] for name, found in parse_qs(query, True).items()}
        action = values.get("action", "")
        self.calls[action] += 1
        fault = self._fault(action, values.get("sn"))
        if path != PATH:
            return Answer(b"<html>404</html>", 404, (("Content-Type", "text/html"),))
        if fault is not None and (early := _instead(fault)) is not None:
            return early
        err, dat = self._checked(query, values, action)
        if fault is not None and fault.kind == "err":
            err, dat = int(fault.value), None
        envelope: dict[str, Any] = {"err": err, "desc": "ERR_NONE" if err == 0 else "ERR_SIM"}
        if err == 0:
            envelope["dat"] = dat
        if fault is not None:
            return _bent(fault, envelope, values)
        return Answer(_json(envelope))

    # --- who asks ---------------------------------------------------------------------------

    def _checked(self, query: str, values: dict[str, str], action: str) -> tuple[int, Any]:
        sign, salt = values.get("sign", ""), values.get("salt", "")
        at = query.find("&action=")
        if at < 0 or len(salt) < 8:
            return 5, None
        signed = query[at:]
        if action in ("authSource", "auth"):
            return self._login(values, sign, salt, signed)
        secret, until_ms = self._tokens.get(values.get("token", ""), ("", 0))
        if not secret or self.now_ms() >= until_ms:
            return 10, None
        if _sha1(salt + secret + values["token"] + signed) != sign:
            return 4, None
        return self._act(action, values)

    def _login(self, values: dict[str, str], sign: str, salt: str, signed: str) -> tuple[int, Any]:
        password = self.users.get(values.get("usr", ""))
        if values.get("company-key") != self.company_key:
            return 15, None
        if password is None:
            return 261, None
        if _sha1(salt + _sha1(password) + signed) != sign:
            return 16, None
        self._number += 1
        name = f"{values['usr']} {self._number} {self.now_ms()}"
        secret, token = _sha1("secret " + name), hashlib.sha256(name.encode()).hexdigest()
        self._tokens[token] = (secret, self.now_ms() + 1000 * self.life_s)
        return 0, {
            "secret": secret, "expire": self.life_s, "token": token, "role": 0,
            "usr": values["usr"], "uid": 4_300_001,
        }  # fmt: skip

    # --- what is asked ----------------------------------------------------------------------

    def _act(self, action: str, values: dict[str, str]) -> tuple[int, Any]:
        handler = getattr(self, f"_do_{action}", None)
        if handler is None:
            return 8, None
        found = [one for one in self.devices if one.sn == values.get("sn")]
        if "sn" in values and not found:
            return 258, None
        answer: tuple[int, Any] = handler(values, *found)
        return answer

    def _do_queryPlants(self, values: dict[str, str]) -> tuple[int, Any]:
        if not self.devices:
            return 260, None
        plant = {
            "pid": 512_001, "uid": 4_300_001, "name": "Hillside", "status": 0,
            "address": {"country": "..", "timezone": self.offset_s}, "nominalPower": "24.4000",
        }  # fmt: skip
        return 0, _paged("plant", [plant], values)

    def _do_webQueryCollectorsEs(self, values: dict[str, str]) -> tuple[int, Any]:
        rows = [
            {"alias": "House", "pn": pn, "status": 0, "fireware": "8.50.12.3", "pid": 512_001,
             "signal": "68", "load": 2, "timeZone": self.offset_s}
            for pn in self._collectors()
        ]  # fmt: skip
        return 0, _paged("collector", rows, values)

    def _do_queryCollectorInfo(self, values: dict[str, str]) -> tuple[int, Any]:
        rows = [
            {"pn": pn, "datFetch": str(self.fetch_s), "timezone": self.offset_s, "status": 0}
            for pn in values["pn"].split(",")
            if pn in self._collectors()
        ]
        return (0, {"collector": rows}) if rows else (257, None)

    def _do_queryCollectorDevices(self, values: dict[str, str]) -> tuple[int, Any]:
        rows = [
            {"devcode": one.devcode, "devaddr": one.devaddr, "sn": one.sn, "alias": one.alias}
            for one in self.devices
            if one.pn == values["pn"]
        ]
        return 0, {"pn": values["pn"], "dev": rows}

    def _do_webQueryDeviceEs(self, values: dict[str, str]) -> tuple[int, Any]:
        rows = []
        for one in self.devices:
            moment, totals = one.roof.at(self._record_s(one))
            rows.append({
                "devalias": one.alias, "sn": one.sn, "pn": one.pn,
                "status": 1 if self._is(one, "offline") else 0,
                "devaddr": one.devaddr, "devcode": one.devcode, "pid": 512_001,
                "outpower": "%.4f" % (moment.solar_w / 1000),
                "energyToday": "%.4f" % (totals.solar_today_wh / 1000),
                "energyTotal": "%.4f" % (totals.solar_wh / 1000),
            })  # fmt: skip
        return 0, _paged("device", rows, values)

    def _do_queryDeviceLastData(self, _: dict[str, str], one: FakeDevice) -> tuple[int, Any]:
        local_s = self._record_s(one)
        rows = self._rows(one, local_s)
        points = [_point(*row) for row in rows]
        # One protocol's list comes in an object.
        return 0, ({"title": points} if one.devcode == 518 else points)

    def _do_queryDeviceParsEs(self, _: dict[str, str], one: FakeDevice) -> tuple[int, Any]:
        moment, _totals = one.roof.at(self._record_s(one))
        return 0, {
            "parameter": [
                {"par": "bt_battery_capacity", "name": "Battery percentage",
                 "val": "%.4f" % moment.soc_percent, "unit": "%"},
                {"par": "bc_load_active_power", "name": "Output Active Power",
                 "val": "%.4f" % (moment.load_w / 1000), "unit": "kW"},
            ]
        }  # fmt: skip

    def _do_queryDeviceDataOneDayPaging(
        self, values: dict[str, str], one: FakeDevice
    ) -> tuple[int, Any]:
        first_s = calendar.timegm(time.strptime(values["date"], "%Y-%m-%d"))
        last_s = min(first_s + 86_399, self._record_s(one))
        records = [
            self._rows(one, at_s)
            for at_s in range(last_s - (last_s - 18) % self.fetch_s, first_s - 1, -self.fetch_s)
        ]
        titles = [{"title": row[0], "unit": row[2] or ""} for row in records[0]] if records else []
        rows = [{"realtime": True, "field": [row[1] for row in record]} for record in records]
        return 0, {**_paged("row", rows, values), "title": titles}

    def _do_querySPKeyParameters(self, _: dict[str, str], one: FakeDevice) -> tuple[int, Any]:
        return 0, {"keys": list(_SERIES)}

    def _do_querySPDeviceKeyParameterOneDay(
        self, values: dict[str, str], one: FakeDevice
    ) -> tuple[int, Any]:
        first_s = calendar.timegm(time.strptime(values["date"], "%Y-%m-%d"))
        last_s = min(first_s + 86_399, self._record_s(one))
        name, scale = _SERIES.get(values["parameter"], ("", 1.0))
        if not name:
            return 12, None
        return 0, {
            "option": [
                {"ts": _text(at_s), "val": "%.4f" % (getattr(one.roof.at(at_s)[0], name) / scale)}
                for at_s in range(first_s + 18, last_s + 1, self.fetch_s)
            ]
        }

    def _do_queryDeviceCtrlField(self, _: dict[str, str], one: FakeDevice) -> tuple[int, Any]:
        return (0, {"field": MENU}) if one.devcode == 2376 else (12, None)

    def _do_queryDeviceCtrlValue(self, values: dict[str, str], one: FakeDevice) -> tuple[int, Any]:
        if self._is(one, "offline"):
            return 262, None
        found = {**_SETTINGS, **one.settings}.get(values["id"])
        if found is None:
            return 12, None
        shown = f"{found}V" if values["id"] == "bat_eybond_ctrl_68" else found
        return 0, {"id": values["id"], "name": "x", "val": shown}

    def _do_ctrlDevice(self, values: dict[str, str], one: FakeDevice) -> tuple[int, Any]:
        self.writes.append((one.sn, values["id"], values["val"]))
        if self._is(one, "offline"):
            return 262, None
        if not self._is(one, "ignore"):
            one.settings[values["id"]] = values["val"]
        return 0, {"dat": "E0 33 E2 F5", "status": 0}

    # --- helpers ----------------------------------------------------------------------------

    def _collectors(self) -> list[str]:
        return list(dict.fromkeys(one.pn for one in self.devices))

    def _record_s(self, one: FakeDevice) -> int:
        """Return the local time, by the device's clock, of its newest record in the cloud."""
        frozen = next(
            (f.value for f in self.faults if f.kind == "freeze" and f.sn == one.sn), None
        )
        now_s = int(frozen if frozen is not None else self.now_ms() // 1000)
        local_s = now_s - UPLOAD_S + self.offset_s
        return local_s - (local_s - 18) % self.fetch_s

    def _rows(self, one: FakeDevice, local_s: int) -> list[tuple[str, str, str | None]]:
        moment, totals = one.roof.at(local_s)
        skew_s = sum(f.value for f in self.faults if f.kind == "skew" and f.sn == one.sn)
        stamp = _text(local_s + skew_s)
        rows = rows_of(one.devcode, moment, totals)
        self.sent[one.sn, stamp] = rows
        name = hashlib.md5(f"{one.sn} {local_s}".encode(), usedforsecurity=False).hexdigest()
        return [("id", name, None), ("Timestamp", stamp, None), *rows]

    def _is(self, one: FakeDevice, kind: str) -> bool:
        return any(f.kind == kind and f.sn in (None, one.sn) for f in self.faults)

    def _fault(self, action: str, sn: str | None) -> Fault | None:
        for fault in self.faults:
            if fault.kind in ("offline", "freeze", "skew", "ignore"):
                continue
            if fault.action not in (None, action) or fault.sn not in (None, sn):
                continue
            if fault.count is not None:
                fault.count -= 1
                if fault.count <= 0:
                    self.faults.remove(fault)
            return fault
        return None


def demo_devices() -> list[FakeDevice]:
    """Return three inverters of three protocols behind two collectors."""
    first, second = "Q0045000100101", "W0042000200202"
    return [
        FakeDevice(first, 2376, 1, first + "094801", "Garage", roof(1)),
        FakeDevice(first, 6515, 2, first + "651502", "Barn", roof(2, 8_000.0)),
        FakeDevice(second, 2452, 1, second + "245201", "Shed", roof(3, 4_000.0)),
    ]


def _instead(fault: Fault) -> Answer | None:
    """Return the answer of a fault that does not look at the question."""
    page = (("Content-Type", "text/html"),)
    table: dict[str, Answer] = {
        "hang": Answer(b"", how="hang"),
        "drip": Answer(b'{"err":0,"desc":"' + b"x" * 100_000, how="drip"),
        "drip-head": Answer(b"", how="drip-head"),
        "big": Answer(b"", how="big"),
        "garbage": Answer(b'\x00\xff{"err":[}'),
        "html": Answer(b"<!doctype html><h1>maintenance</h1>", 200, page),
        "empty": Answer(b""),
        "deep": Answer(b'{"err":0,"dat":' + b"[" * 200_000 + b"]" * 200_000 + b"}"),
    }
    if fault.kind == "http":
        return Answer(b"<html>proxy</html>", int(fault.value), page)
    if fault.kind == "limit":
        return Answer(b"{}", 429, (("Retry-After", str(fault.value or 120)),))
    if fault.kind == "redirect":
        return Answer(b"", 302, (("Location", str(fault.value)),))
    return table.get(fault.kind)


def _bent(fault: Fault, envelope: dict[str, Any], values: dict[str, str]) -> Answer:
    """Return a right answer in a shape that clients stumble over."""
    if fault.kind == "jsonp":
        return Answer(b"null(" + _json(envelope) + b");")
    if fault.kind == "cut":
        body = _json(envelope)
        return Answer(body[: len(body) // 2])
    if fault.kind == "null":
        envelope["dat"] = None
    elif fault.kind == "object":
        envelope["dat"] = {"a": {"b": envelope.get("dat")}}
    elif fault.kind == "err-text":
        envelope["err"] = str(envelope["err"])
    elif fault.kind == "echo":
        envelope = {"err": 1, "desc": f"ERR_FAIL({values.get('token')})"}
    elif fault.kind == "double" and isinstance(envelope.get("dat"), list):
        envelope["dat"] = [*envelope["dat"], {"title": "PV Power", "val": "99999", "unit": "W"}]
    body = _json(envelope)
    if fault.kind == "nan":
        body = json.dumps(_nan(envelope)).encode()
    return Answer(body)


def _nan(value: Any) -> Any:
    """Return the same with NaN for every reading but the first two."""
    if isinstance(value, dict):
        is_name = value.get("title") in ("id", "Timestamp")
        return {
            key: float("nan") if key == "val" and not is_name else _nan(one)
            for key, one in value.items()
        }
    return [_nan(one) for one in value] if isinstance(value, list) else value


def _point(title: str, value: str, unit: str | None) -> dict[str, str]:
    return {"title": title, "val": value} | ({"unit": unit} if unit is not None else {})


def _paged(name: str, rows: list[Any], values: dict[str, str]) -> dict[str, Any]:
    page, size = int(values.get("page", 0)), min(50, int(values.get("pagesize", 1)))
    part = rows[page * size : (page + 1) * size]
    return {"total": len(rows), "page": page, "pagesize": size, name: part}


def _text(local_s: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(local_s))


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _sha1(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
