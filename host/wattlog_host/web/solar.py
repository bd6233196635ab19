"""The house in one picture, as JSON and for pages: its bars, its shares, and its flows now."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from wattlog_host import picture
from wattlog_host.dess import quarters
from wattlog_host.dess.panel import Panel, Refused
from wattlog_host.history.answers import Answers, Unanswerable
from wattlog_host.history.zone import UNITS, Zone
from wattlog_host.house import balance, bar
from wattlog_host.picture import Now, Row, Solar, Told
from wattlog_host.store.records import StoreError
from wattlog_host.web import solar_schemas
from wattlog_host.web.api import Api
from wattlog_host.web.asking import END, START, BadQuestion, Parameter
from wattlog_host.web.gate import TooBusy
from wattlog_host.web.openapi import Described
from wattlog_host.web.pages import FIRST_NUMBERS_S_MAX

ROWS_MAX = 800
KWH = 10**8
"""Wh * 10^5 in a kWh."""
PERIODS = ("day", "week", "month", "year")
_SHOWN_DAYS = {"hour": 1, "day": 31, "week": 7 * 12, "month": 365, "year": 3650}
_PER = Parameter(
    "per", "choice", "The unit of the calendar; hour by default.", "day", choices=UNITS
)


_STATUSES = (400, 503)
DESCRIBED = (
    Described(
        "/api/solar/house", "What came from where and went where, by units of the calendar",
        (START, END, _PER), solar_schemas.HOUSE, statuses=_STATUSES,
    ),
    Described(
        "/api/solar/periods", "The same of today, this week, this month and this year", (),
        solar_schemas.PERIODS, statuses=_STATUSES,
    ),
    Described(
        "/api/solar/flow", "The powers of one moment, and who feeds whom", (),
        solar_schemas.FLOW, statuses=_STATUSES,
    ),
)  # fmt: skip
"""What is answered here, where there are inverters."""


class SolarHouse:
    """Answers what meters and inverters tell together."""

    def __init__(self, panel: Panel, api: Api, zone: Zone) -> None:
        """Take who answers for the inverters, who for the meters, and the calendar's zone."""
        self.panel = panel
        self._api = api
        self._zone = zone

    def routes(self) -> list[Route]:
        """Return the routes."""

        async def house(of: dict[str, Any]) -> Any:
            return await self.house(of["per"] or "hour", of["start"], of["end"])

        async def periods(_: dict[str, Any]) -> Any:
            return {"periods": await self.periods()}

        async def flow(_: dict[str, Any]) -> Any:
            return await self.flow()

        acts = {"house": house, "periods": periods, "flow": flow}
        return [
            self._route(one.path, one.parameters, acts[one.path.rpartition("/")[2]])
            for one in DESCRIBED
        ]

    def _route(
        self,
        path: str,
        parameters: Sequence[Parameter],
        answer: Callable[[dict[str, Any]], Awaitable[Any]],
    ) -> Route:
        async def act(of: dict[str, Any]) -> Response:
            return JSONResponse(await answer(of))

        async def endpoint(request: Request) -> Response:
            return await self._api.answered(request, parameters, act)

        return Route(path, endpoint)

    async def house(self, per: str, start_ms: int | None, end_ms: int | None) -> dict[str, Any]:
        """Return the whole units of the calendar that a time touches; raise BadQuestion."""
        now_ms = self.panel.now_ms()
        end_ms = now_ms if end_ms is None else end_ms
        if start_ms is None:
            start_ms = self._zone.shifted(end_ms, -_SHOWN_DAYS[per])
        if start_ms >= end_ms:
            raise BadQuestion("start must lie before end")
        start_ms, end_ms = self._zone.start(per, start_ms), self._zone.next(per, end_ms - 1)
        bounds = self._zone.cuts(per, start_ms, end_ms, ROWS_MAX + 2)
        if len(bounds) > ROWS_MAX + 1:
            raise BadQuestion(f"more than {ROWS_MAX} rows: ask for less time, or a longer per")
        found = await self._rows(bounds)
        return {
            "per": per,
            "rows": [_row_json(row, now_ms) for row in found],
            "total": _row_json(picture.joined(found), now_ms),
        }

    async def periods(self) -> dict[str, Any]:
        """Return today, this week, this month and this year up to now."""
        now_ms, zone = self.panel.now_ms(), self._zone
        starts = {period: zone.start(period, now_ms) for period in PERIODS}
        end_ms = zone.next("day", now_ms)
        found = await self._rows(zone.cuts("day", min(starts.values()), end_ms, ROWS_MAX))
        return {
            period: _row_json(
                picture.joined([row for row in found if row.start_ms >= start_ms]), now_ms
            )
            for period, start_ms in starts.items()
        }

    async def _rows(self, bounds: list[int]) -> list[Row]:
        sums, members = await self.panel.ask(
            lambda connection: (
                quarters.sums(connection, bounds[0], bounds[-1]),
                quarters.members(connection),
            )
        )
        solar = Solar(sums, members, frozenset(self.panel.known()))
        return await self._api.ask(lambda answers: picture.rows(answers, solar, bounds))

    async def flow(self) -> dict[str, Any]:
        """Return the powers of one moment, and who feeds whom."""
        panel = self.panel
        told, stale = [], []
        for key, device in panel.known().items():
            readings = {name: one for name, (one, _) in panel.readings(device).items()}
            told.append(Told(key, panel.worker.poller.state(device).record_ms, readings))
            stale.append(panel.is_stale(device))
        time_ms = picture.moment_of(told)

        def grid(answers: Answers) -> Any:
            return None if time_ms is None else picture.grid_at(answers, time_ms)

        return _now_json(
            picture.now(told, await self._api.ask(grid)), panel.now_ms(), is_stale=any(stale)
        )

    async def flow_in_time(self) -> dict[str, Any]:
        """Return the same for the first numbers of a page; what is not in time is not known."""
        try:
            async with asyncio.timeout(FIRST_NUMBERS_S_MAX):
                return await self.flow()
        except (TimeoutError, StoreError, TooBusy, Unanswerable):
            return _now_json(picture.now([], None), 0, is_stale=True)

    async def page(self) -> dict[str, Any]:
        """Return the first numbers of the page, None for what the store does not tell in time."""
        flow, periods = await self.flow_in_time(), None
        try:
            async with asyncio.timeout(FIRST_NUMBERS_S_MAX):
                periods = await self.periods()
        except (TimeoutError, StoreError, TooBusy, Unanswerable):
            pass
        devices = [self.panel.describe(device) for device in self.panel.known().values()]
        return {
            "flow": flow, "periods": periods, "devices": devices, "solar": self.panel.status(),
            "zone": self._zone.name,
        }  # fmt: skip

    async def device(self, key: str) -> dict[str, Any] | None:
        """Return one device with all readings, None where there is none of this key."""
        try:
            found = await self.panel.latest(self.panel.device(key))
        except (Refused, StoreError):
            return None
        return {"device": found, "zone": self._zone.name}


def _row_json(row: Row, now_ms: int) -> dict[str, Any]:
    of, found, pieces = row.energies, balance(row.energies), bar(row.energies)
    length_ms = min(row.end_ms, max(now_ms, row.start_ms)) - row.start_ms
    return {
        "t": row.start_ms,
        "end": row.end_ms,
        "known": min(1.0, row.known_ms / length_ms) if length_ms > 0 else None,
        "production_kwh": _kwh(of.production),
        "consumption_kwh": _kwh(found.consumption),
        "import_kwh": _kwh(of.imported),
        "export_kwh": _kwh(of.exported),
        "charged_kwh": _kwh(of.charged),
        "discharged_kwh": _kwh(of.discharged),
        "self_consumption": found.self_consumption,
        "autarky": found.autarky,
        "trouble": found.trouble,
        "to_house_kwh": _kwh(pieces.to_house),
        "to_battery_kwh": _kwh(pieces.to_battery),
        "from_solar_kwh": _kwh(pieces.from_solar),
        "from_battery_kwh": _kwh(pieces.from_battery),
        "from_grid_kwh": _kwh(pieces.from_grid),
    }


def _now_json(now: Now, now_ms: int, *, is_stale: bool) -> dict[str, Any]:
    flows = now.flows
    return {
        "now": now_ms,
        "t": now.time_ms,
        "age_s": None if now.time_ms is None else round((now_ms - now.time_ms) / 1000, 1),
        "stale": is_stale or now.time_ms is None,
        "missing": list(now.missing),
        "has_battery": now.has_battery,
        "power_w": {
            "solar": _watts(now.solar),
            "house": _watts(now.house),
            "grid": _watts(now.grid),
            "battery": _watts(now.battery),
        },
        "soc_percent": _watts(now.state_of_charge),
        "flows_w": None
        if flows is None
        else {name: _watts(getattr(flows, name)) for name in type(flows).__slots__},
    }


def _kwh(amount: int | None) -> float | None:
    return None if amount is None else amount / KWH


def _watts(value: Any) -> float | None:
    return None if value is None else float(value)
