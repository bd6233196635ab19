"""/api/solar: what the inverters say, what is stored of them, and their settings.

Reading is as open as the page. Settings ask the cloud, and may change a device: they need the
token of `write_token_file`, or who may change what the page shows (web/door.py).
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from wattlog_host.access.secrets import is_same
from wattlog_host.clock import local_iso
from wattlog_host.dess import api, controls, ledger, model
from wattlog_host.dess.config import read_secret
from wattlog_host.dess.controls import Audit, Control
from wattlog_host.dess.counters import Counter
from wattlog_host.dess.errors import ControlRefused, DessError
from wattlog_host.dess.mapping import Reading
from wattlog_host.dess.model import Device
from wattlog_host.dess.parsing import decimal
from wattlog_host.dess.powers import powers_of
from wattlog_host.dess.worker import Worker
from wattlog_host.store.records import StoreError
from wattlog_host.web.door import caller_of

T = TypeVar("T")
BODY_BYTES_MAX = 4_096
BODY_WAIT_S = 10.0
AUDIT_SHOWN = 100
DAY_MS = 86_400_000
SPAN_MS_MAX = 400 * DAY_MS
WRITE_PATH = "/api/solar/settings"
POSTS = frozenset((WRITE_PATH,))


class Readers(Protocol):
    """The store's readers."""

    def consult(self, act: Callable[[sa.Connection], T]) -> Future[T]:
        """Have act read."""


@dataclass(frozen=True, slots=True)
class Panel:
    """What the routes work with."""

    worker: Worker
    store: Readers
    audit: Audit
    writable: frozenset[str]
    write_token_file: Path | None
    wait_s: Callable[[float], None]
    now_ms: Callable[[], int]
    mono_ms: Callable[[], int]


class _Refused(Exception):
    """A request that gets an error; status and what to say."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


Handler = Callable[[Panel, Request], Awaitable[Any]]


def routes(panel: Panel | None) -> list[Route]:
    """Return the routes; without a panel each says that solar is switched off."""
    asking = asyncio.Lock()

    async def settings(panel: Panel, request: Request) -> Any:
        _require_token(panel, request)
        if asking.locked():
            raise _Refused(503, "another question about settings is being asked")
        async with asking:
            if request.method == "POST":
                return await _change(panel, request)
            return await _settings(panel, request)

    table: tuple[tuple[str, Handler, list[str]], ...] = (
        ("/api/solar", _status, ["GET"]),
        ("/api/solar/devices", _devices, ["GET"]),
        ("/api/solar/latest", _latest, ["GET"]),
        ("/api/solar/history", _history, ["GET"]),
        ("/api/solar/changes", _changes, ["GET"]),
        (WRITE_PATH, settings, ["GET", "POST"]),
    )
    return [
        Route(path, _endpoint(panel, handler), methods=methods) for path, handler, methods in table
    ]


def own_tokens(panel: Panel | None) -> dict[str, Callable[[str], bool]]:
    """Return what tells whether a bearer token is the one of `write_token_file`, by path."""
    if panel is None or panel.write_token_file is None:
        return {}
    path = panel.write_token_file

    def is_right(given: str) -> bool:
        token = read_secret(path)
        return token is not None and is_same(given, token)

    return {WRITE_PATH: is_right}


def _endpoint(panel: Panel | None, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        if panel is None:
            return JSONResponse(
                {"error": "solar is switched off; set dessmonitor.enabled in host.toml"}, 404
            )
        try:
            return JSONResponse(await handler(panel, request))
        except _Refused as err:
            return JSONResponse({"error": str(err)}, err.status)
        except ControlRefused as err:
            return JSONResponse({"error": str(err)}, 422)
        except DessError as err:
            return JSONResponse({"error": panel.worker.client.hide(str(err))}, 502)
        except StoreError as err:
            return JSONResponse({"error": f"database: {err}"}, 503)

    return endpoint


# --- reading ------------------------------------------------------------------------------


async def _status(panel: Panel, _: Request) -> Any:
    view, poller, now_ms = panel.worker.view, panel.worker.poller, panel.now_ms()
    with view.lock:
        counts = dict(view.counts)
        state, trouble, since_ms, cycle_ms = view.state, view.trouble, view.since_ms, view.cycle_ms
        calls = view.cycle_calls
    due_ms = poller.due_mono_ms
    return {
        "state": state,
        "trouble": trouble,
        "since": _iso(since_ms),
        "last_cycle": _iso(cycle_ms),
        "last_cycle_calls": calls,
        "next_cycle_in_s": None if due_ms is None else max(0, due_ms - panel.mono_ms()) / 1000,
        "plants": [
            {"pid": plant.pid, "name": plant.name, "status": model.status_word(plant.status)}
            for plant in poller.topology.plants.values()
        ],
        "devices": len(poller.topology.devices),
        "counts": counts,
        "client_counts": dict(panel.worker.client.counts),
        "time": local_iso(now_ms),
    }


async def _devices(panel: Panel, _: Request) -> Any:
    devices = list(panel.worker.poller.topology.devices.values())
    return {"devices": [_device_json(panel, device) for device in devices]}


async def _latest(panel: Panel, request: Request) -> Any:
    device = _device(panel, request.query_params.get("device"))
    show_all = request.query_params.get("diagnostics") in ("1", "true", "yes")
    totals = await asyncio.wrap_future(
        panel.store.consult(lambda connection: ledger.totals(connection, device.key))
    )
    view, now_ms = panel.worker.view, panel.now_ms()
    with view.lock:
        readings = dict(view.readings.get(device.key, {}))
    return {
        **_device_json(panel, device),
        "readings": [
            _reading_json(reading, time_ms, totals.get(reading.key), now_ms)
            for reading, time_ms in readings.values()
            if show_all or not reading.is_diagnostic
        ],
    }


async def _history(panel: Panel, request: Request) -> Any:
    device = _device(panel, request.query_params.get("device"))
    channel = request.query_params.get("channel", "")
    to_ms = _time(request, "to", panel.now_ms())
    from_ms = _time(request, "from", to_ms - DAY_MS)
    if not 0 <= to_ms - from_ms <= SPAN_MS_MAX:
        raise _Refused(400, "from must be before to, at most 400 days")
    with panel.worker.view.lock:
        known = panel.worker.view.readings.get(device.key, {})
        there = known.get(channel)
    if there is None:
        raise _Refused(404, "unknown channel")
    series = await asyncio.wrap_future(
        panel.store.consult(
            lambda connection: ledger.series(connection, device.key, channel, from_ms, to_ms)
        )
    )
    return {
        "device": device.key,
        "channel": channel,
        "unit": there[0].unit or None,
        "points": [[time_ms, _json(value)] for time_ms, value in series],
    }


async def _changes(panel: Panel, _: Request) -> Any:
    return {"changes": await asyncio.to_thread(panel.audit.entries, AUDIT_SHOWN)}


# --- settings -----------------------------------------------------------------------------


async def _settings(panel: Panel, request: Request) -> Any:
    device = _device(panel, request.query_params.get("device"))
    client, wanted = panel.worker.client, request.query_params.get("id")
    if wanted is None:
        rows = await asyncio.to_thread(api.control_fields, client, device)
        return {"settings": [control_json(control) for control in controls.controls_of(rows)]}
    control = await asyncio.to_thread(controls.find, client, device, wanted)
    live = await asyncio.to_thread(api.control_value, client, device, control.id)
    return {**control_json(control), **live_json(control, live)}


async def _change(panel: Panel, request: Request) -> Any:
    wish = await _body(request)
    device = _device(panel, wish["device"])
    client = panel.worker.client
    controls.require_writable(device, panel.writable)

    def act() -> controls.Change:
        control = controls.find(client, device, wish["id"])
        return controls.change(
            client,
            device,
            control,
            wish["value"],
            writable=panel.writable,
            audit=panel.audit,
            wait_s=panel.wait_s,
            by="api",
        )

    made = await asyncio.to_thread(act)
    return {
        "outcome": made.outcome,
        "before": made.before,
        "wanted": made.wanted,
        "after": made.after,
        "text": made.text,
    }


async def _body(request: Request) -> dict[str, str]:
    """Return the wish; a plain form cannot send it."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise _Refused(415, "send application/json")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_WAIT_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > BODY_BYTES_MAX:
                    raise _Refused(413, "too long")
        found = json.loads(body)
    except TimeoutError:
        raise _Refused(408, "too slow") from None
    except (ValueError, RecursionError):
        raise _Refused(400, "not JSON") from None
    names = ("device", "id", "value")
    if not isinstance(found, dict) or not all(isinstance(found.get(name), str) for name in names):
        raise _Refused(400, 'send {"device": "...", "id": "...", "value": "..."}, texts all')
    return {name: found[name][:200] for name in names}


def _require_token(panel: Panel, request: Request) -> None:
    if caller_of(request).may_change:
        return
    if panel.write_token_file is None:
        raise _Refused(403, "settings are switched off here; set dessmonitor.write_token_file")
    raise _Refused(401, "send the token of dessmonitor.write_token_file as a bearer token")


# --- as JSON ------------------------------------------------------------------------------


def control_json(control: Control) -> dict[str, Any]:
    """Return a setting as JSON has it."""
    return {
        "id": control.id,
        "name": control.name,
        "kind": control.kind,
        "unit": control.unit or None,
        "options": dict(control.options),
        "ranges": []
        if control.options
        else [[float(low), float(high)] for low, high in control.ranges()],
        "step": None if control.options else float(control.step),
    }


def live_json(control: Control, live: Any) -> dict[str, Any]:
    """Return a setting's present value, and what it says of the range."""
    shown = control.shown(live)
    out: dict[str, Any] = {"value": shown}
    if control.kind == "number":
        number = None if shown is None else decimal(shown)
        allowed = control.range(number)
        out["range"] = None if allowed is None else [float(allowed[0]), float(allowed[1])]
    else:
        out["options"] = dict(control.options_for(live))
    return out


def _device_json(panel: Panel, device: Device) -> dict[str, Any]:
    poller, now_ms, mono_ms = panel.worker.poller, panel.now_ms(), panel.mono_ms()
    state = poller.state(device)
    collector = poller.topology.collectors.get(device.pn)
    with panel.worker.view.lock:
        shown = dict(panel.worker.view.readings.get(device.key, {}))
    readings = {key: reading for key, (reading, _) in shown.items()}
    powers = powers_of(readings)
    mode = readings.get("operating_mode")
    is_stale = poller.is_stale(device, mono_ms, now_ms)
    return {
        "device": device.key,
        "name": device.label,
        "alias": device.alias or None,
        "plant": device.pid,
        "collector": device.pn,
        "devcode": device.devcode,
        "firmware": collector.firmware or None if collector else None,
        "signal": collector.signal if collector else None,
        "status": model.status_word(state.status),
        "connected": poller.is_connected(device, mono_ms, now_ms),
        "stale": is_stale,
        "record_time": _iso(state.record_ms),
        "age_s": None if state.record_ms is None else (now_ms - state.record_ms) / 1000,
        "time_source": "device" if state.origin_is_device else "arrival",
        "trouble": state.trouble,
        "mode": mode.text if mode else None,
        "mode_class": mode.text_class if mode else None,
        "power_w": {
            "solar": _json(powers.solar),
            "load": _json(powers.load),
            "grid": _json(powers.grid),
            "battery": _json(powers.battery),
        },
        "battery": {"direction": powers.direction, "soc_percent": _json(powers.state_of_charge)},
    }


def _reading_json(
    reading: Reading, time_ms: int, total: Counter | None, now_ms: int
) -> dict[str, Any]:
    out: dict[str, Any] = {
        "channel": reading.key,
        "label": reading.label,
        "value": _json(reading.value) if reading.text is None else reading.text,
        "unit": reading.unit or None,
        "class": reading.text_class,
        "device_class": reading.device_class,
        "state_class": reading.state_class,
        "diagnostic": reading.is_diagnostic,
        "generic": reading.is_generic,
        "time": local_iso(time_ms),
        "age_s": (now_ms - time_ms) / 1000,
    }
    if total is not None:
        out["total"], out["resets"] = _json(total.total), total.resets
    return out


def _json(value: Decimal | str | None) -> float | str | None:
    """Return a value as JSON has it; here numbers become floats, and nowhere else."""
    return float(value) if isinstance(value, Decimal) else value


def _iso(time_ms: int | None) -> str | None:
    return None if time_ms is None else local_iso(time_ms)


def _device(panel: Panel, key: str | None) -> Device:
    devices: Mapping[str, Device] = panel.worker.poller.topology.devices
    if key is None and len(devices) == 1:
        return next(iter(devices.values()))
    if key is None or key not in devices:
        raise _Refused(404, "unknown device; /api/solar/devices lists them")
    return devices[key]


def _time(request: Request, name: str, else_ms: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return else_ms
    if not text.isdecimal() or len(text) > 15:
        raise _Refused(400, f"{name} must be milliseconds since 1970")
    return int(text)
