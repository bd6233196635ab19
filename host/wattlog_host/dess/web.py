"""/api/solar: what the inverters say, what is stored of them, and their settings.

Reading is as open as the page; web_settings.py says who may ask for settings.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from wattlog_host.dess import ledger, web_settings
from wattlog_host.dess.errors import ControlRefused, DessError
from wattlog_host.dess.panel import Panel, Refused
from wattlog_host.dess.shown import as_json
from wattlog_host.history.zone import Zone
from wattlog_host.store.records import StoreError
from wattlog_host.web import solar_schemas
from wattlog_host.web.asking import END, START, BadQuestion, Parameter, parse
from wattlog_host.web.openapi import Described

AUDIT_SHOWN = 100
DAY_MS = 86_400_000
SPAN_MS_MAX = 400 * DAY_MS
POSTS = frozenset((web_settings.PATH,))

_CHANNEL = Parameter(
    "channel", "text", "A channel of /api/solar/latest.", "solar_power", is_required=True
)
_DIAGNOSTICS = Parameter(
    "diagnostics", "choice", "Whether readings for diagnosis come, too; no by default.", "yes",
    choices=("yes", "no"),
)  # fmt: skip

Handler = Callable[[Panel, dict[str, Any]], Awaitable[Any]]


class _Question(NamedTuple):
    """One address: what it is, its parameters, who answers, and the form of the answer."""

    path: str
    about: str
    parameters: tuple[Parameter, ...]
    answer: Handler
    schema: Mapping[str, Any]


def routes(panel: Panel | None, zone: Zone) -> list[Route]:
    """Return the routes; without a panel each says that solar is switched off.

    zone is what times in an address are of, where they do not say it.
    """
    settings = web_settings.Settings()

    def asking(
        handler: Handler, parameters: tuple[Parameter, ...]
    ) -> Callable[[Panel, Request], Awaitable[Any]]:
        async def act(panel: Panel, request: Request) -> Any:
            try:
                of = parse(parameters, request.query_params.multi_items(), zone)
            except BadQuestion as err:
                raise Refused(400, str(err)) from err
            return await handler(panel, of)

        return act

    async def change(panel: Panel, request: Request) -> Any:
        web_settings.require_right(panel, request)
        if request.method == "POST":
            return await settings.change(panel, request)
        return await asking(settings.read, web_settings.PARAMETERS)(panel, request)

    return [
        *(
            Route(one.path, _endpoint(panel, asking(one.answer, one.parameters)))
            for one in _QUESTIONS
        ),
        Route(web_settings.PATH, _endpoint(panel, change), methods=["GET", "POST"]),
    ]


def described() -> list[Described]:
    """Return all of them for the document."""
    return [
        *(
            Described(one.path, one.about, one.parameters, one.schema, statuses=_STATUSES)
            for one in _QUESTIONS
        ),
        Described(
            web_settings.PATH,
            "A device's settings, or with id= the present value of one; each asks the device",
            web_settings.PARAMETERS,
            solar_schemas.SETTINGS,
            statuses=(*_STATUSES, 403, 422, 429),
            is_closed=True,
        ),
        Described(
            web_settings.PATH,
            "Change one setting; sent once, then read back",
            (),
            solar_schemas.CHANGED,
            statuses=(*_STATUSES, 403, 408, 413, 415, 422, 429),
            body=solar_schemas.WISH,
            is_closed=True,
        ),
    ]


def _endpoint(
    panel: Panel | None, act: Callable[[Panel, Request], Awaitable[Any]]
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        if panel is None:
            return _error(404, "solar is switched off; set dessmonitor.enabled in host.toml")
        try:
            return JSONResponse(await act(panel, request))
        except Refused as err:
            return _error(err.status, str(err))
        except DessError as err:
            status = 422 if isinstance(err, ControlRefused) else 502
            return _error(status, panel.worker.client.hide(str(err)))
        except StoreError as err:
            return _error(503, f"database: {err}")

    return endpoint


def _error(status: int, reason: str) -> Response:
    return JSONResponse({"error": reason}, status)


async def _status(panel: Panel, _: dict[str, Any]) -> Any:
    return panel.status()


async def _devices(panel: Panel, _: dict[str, Any]) -> Any:
    return {"devices": [panel.describe(device) for device in panel.known().values()]}


async def _latest(panel: Panel, of: dict[str, Any]) -> Any:
    found = await panel.latest(panel.device(of["device"]))
    if of["diagnostics"] != "yes":
        found["readings"] = [one for one in found["readings"] if not one["diagnostic"]]
    return found


async def _history(panel: Panel, of: dict[str, Any]) -> Any:
    device, channel = panel.device(of["device"]), of["channel"]
    end_ms = panel.now_ms() if of["end"] is None else of["end"]
    start_ms = end_ms - DAY_MS if of["start"] is None else of["start"]
    if not 0 <= end_ms - start_ms <= SPAN_MS_MAX:
        raise Refused(400, "start must be before end, at most 400 days")
    there = panel.readings(device).get(channel)
    if there is None:
        raise Refused(404, "unknown channel")
    series = await panel.ask(
        lambda connection: ledger.series(connection, device.key, channel, start_ms, end_ms)
    )
    return {
        "device": device.key,
        "channel": channel,
        "unit": there[0].unit or None,
        "points": [[time_ms, as_json(value)] for time_ms, value in series],
    }


async def _changes(panel: Panel, _: dict[str, Any]) -> Any:
    return {"changes": await asyncio.to_thread(panel.audit.entries, AUDIT_SHOWN)}


_QUESTIONS = (
    _Question("/api/solar", "Whether the cloud answers, and if not, what to do", (), _status,
              solar_schemas.STATUS),
    _Question("/api/solar/devices", "The inverters: whether each is there, its mode and powers",
              (), _devices, solar_schemas.DEVICES),
    _Question("/api/solar/latest", "One inverter with its readings",
              (web_settings.DEVICE, _DIAGNOSTICS), _latest, solar_schemas.LATEST),
    _Question("/api/solar/history", "One channel over a time, a day by default",
              (web_settings.DEVICE, _CHANNEL, START, END), _history, solar_schemas.HISTORY),
    _Question("/api/solar/changes", "The newest changes of settings, and who made them", (),
              _changes, solar_schemas.CHANGES),
)  # fmt: skip
_STATUSES = (400, 404, 502, 503)
