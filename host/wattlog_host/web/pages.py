"""The pages: the dashboard and the state page, whole as the server sends them."""

import asyncio
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from wattlog_host.live import LiveView
from wattlog_host.snapshot import snapshot
from wattlog_host.web.alarms import NO_ALARMS, Alarms
from wattlog_host.web.assets import Assets
from wattlog_host.web.door import Door, caller_of
from wattlog_host.web.guard import CSP, WITH_FORM
from wattlog_host.web.languages import COOKIE, LANGUAGES, Speech, chosen
from wattlog_host.web.login import LOGIN, login_routes

_HERE = Path(__file__).parent

PERIODS = ("today", "this_week", "this_month", "this_year", "total")
ROLLING = ("last_24h", "last_7d", "last_30d")
DAYS_SHOWN = 7
ICONS = (
    ("icon.svg", "any", "any"),
    ("icon-192.png", "192x192", "any"),
    ("icon-512.png", "512x512", "any"),
    ("icon-maskable.svg", "any", "maskable"),
    ("icon-maskable-512.png", "512x512", "maskable"),
)
"""Of an installed page: file, size and purpose. `wattlog-tools icons` draws them."""
_MEDIA = {".svg": "image/svg+xml", ".png": "image/png"}

# A phone says how much of a period was measured where it is less; numbers.js has the same.
COMPLETE = 0.99
# The page comes without what the store takes longer for; its script asks again.
FIRST_NUMBERS_S_MAX = 2.0


class Figures(NamedTuple):
    """The first numbers of the page, in the shapes of /api/summary and /api/days."""

    summary: dict[str, Any] | None
    days: list[dict[str, Any]]
    currency: str


NO_FIGURES = Figures(None, [], "EUR")


class Past(Protocol):
    """What the page asks about the past before it is sent."""

    def local(self, time_ms: int) -> datetime:
        """Return this moment by the clock of the house."""

    def tariff(self) -> dict[str, Any] | None:
        """Return the tariff in effect, as of /api/tariffs, and its currency; None without."""

    async def figures(self, days: int) -> Figures:
        """Return the summary and the last so many days; NO_FIGURES where there is nothing."""


class Solar(Protocol):
    """What the pages of solar ask; each comes anyway, with what can be had in time."""

    async def page(self) -> dict[str, Any]:
        """Return what house.html shows."""

    async def flow_in_time(self) -> dict[str, Any]:
        """Return the powers of one moment, and who feeds whom, as of /api/solar/flow."""

    async def device(self, key: str) -> dict[str, Any] | None:
        """Return what device.html shows, None where there is no such device."""


def page_routes(
    view: LiveView,
    past: Past,
    clock_ms: Callable[[], int],
    solar: Solar | None = None,
    door: Door | None = None,
    alarms: Alarms = NO_ALARMS,
) -> list[BaseRoute]:
    """Return the routes of all pages and of what they load; those of solar where there is any.

    Without a door all may read.
    """
    door = door or Door()
    templates = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    assets = Assets(_HERE / "static")

    def render(request: Request, name: str, status: int = 200, **more: Any) -> Response:
        csrf = caller_of(request).csrf
        language = chosen(
            request.query_params.get("lang"),
            request.cookies.get(COOKIE),
            request.headers.get("accept-language", ""),
        )
        speech = Speech(language, past.local)
        text = templates.get_template(name).render(
            view=snapshot(view, clock_ms()),
            now_ms=clock_ms(),
            say=speech,
            t=speech.text,
            languages=LANGUAGES,
            static=f"/static/{assets.version}",
            has_chart=assets.has_chart,
            has_solar=solar is not None,
            path=request.url.path,
            csrf=csrf,
            is_guest=csrf is None and door.is_closed,
            **more,
        )
        headers = {"vary": "accept-language, cookie", "content-language": language}
        if csrf is not None or request.url.path == LOGIN:
            headers[CSP] = WITH_FORM
        return HTMLResponse(text, status, headers)

    async def dashboard(request: Request) -> Response:
        try:
            async with asyncio.timeout(FIRST_NUMBERS_S_MAX):
                figures = await past.figures(DAYS_SHOWN)
        except TimeoutError:
            figures = NO_FIGURES
        flow = None if solar is None else await solar.flow_in_time()
        return render(
            request,
            "dashboard.html",
            figures=figures,
            days=[{**row, "day": date.fromisoformat(row["date"])} for row in figures.days],
            periods=PERIODS,
            complete=COMPLETE,
            tariff=past.tariff(),
            rolling=ROLLING,
            flow=flow,
        )

    async def state(request: Request) -> Response:
        return render(request, "state.html", alarms=alarms)

    async def house(request: Request) -> Response:
        assert solar is not None, "routed only where there is solar"
        return render(request, "house.html", **await solar.page())

    async def device(request: Request) -> Response:
        assert solar is not None, "routed only where there is solar"
        found = await solar.device(request.path_params["key"])
        if found is None:
            return PlainTextResponse("no such device; /house lists them\n", 404)
        return render(request, "device.html", **found)

    async def manifest(_: Request) -> Response:
        return JSONResponse(_manifest(assets.version), media_type="application/manifest+json")

    return [
        Route("/", dashboard),
        # Bookmarks of another dashboard; the layout follows the width, not the address.
        Route("/mobile", dashboard),
        Route("/state", state),
        *(
            [Route("/house", house), Route("/house/{key:path}", device)]
            if solar is not None
            else []
        ),
        Route("/manifest.webmanifest", manifest),
        Mount("/static", assets),
        *login_routes(door, render),
    ]


def _manifest(version: str) -> dict[str, Any]:
    return {
        "id": "/",
        "name": "wattlog",
        "short_name": "wattlog",
        "start_url": "/",
        "scope": "/",
        "display": "standalone",
        "background_color": "#10151a",
        "theme_color": "#0f4c5c",
        "icons": [
            {
                "src": f"/static/{version}/{name}",
                "sizes": sizes,
                "type": _MEDIA[Path(name).suffix],
                "purpose": purpose,
            }
            for name, sizes, purpose in ICONS
        ],
    }
