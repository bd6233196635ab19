"""The routes: the page, its data as JSON, its events, its health."""

from collections.abc import Callable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from wattlog_host.dess import web as solar
from wattlog_host.history.changes import Notes
from wattlog_host.live import LiveView
from wattlog_host.snapshot import snapshot
from wattlog_host.stream import Hub
from wattlog_host.web.api import Api, Store, healthz
from wattlog_host.web.guard import Guard
from wattlog_host.web.questions import PLAIN_HOUSE, House
from wattlog_host.web.words import FILTERS

_HERE = Path(__file__).parent

GZIP_BYTES_MIN = 500
# Of a year's curve level 9 takes three times as long, for a twentieth less.
GZIP_LEVEL = 5


def make_app(
    view: LiveView,
    hub: Hub,
    store: Store,
    clock_ms: Callable[[], int],
    hostnames: tuple[str, ...],
    house: House = PLAIN_HOUSE,
    changes: Notes | None = None,
    panel: solar.Panel | None = None,
) -> Starlette:
    """Return the web application; panel is that of solar, None where it is switched off."""
    pages = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters.update(FILTERS)

    async def page(_: Request) -> Response:
        text = pages.get_template("page.html").render(view=snapshot(view, clock_ms()))
        return HTMLResponse(text)

    return Starlette(
        routes=[
            Route("/", page),
            # Bookmarks of another dashboard's page for phones.
            Route("/mobile", page),
            Route("/healthz", healthz(view, store)),
            *Api(view, hub, store, clock_ms, house, changes).routes(),
            *solar.routes(panel),
            Mount("/static", StaticFiles(directory=_HERE / "static")),
        ],
        middleware=[
            Middleware(Guard, hostnames=hostnames, posts=solar.POSTS),
            Middleware(GZipMiddleware, minimum_size=GZIP_BYTES_MIN, compresslevel=GZIP_LEVEL),
        ],
    )
