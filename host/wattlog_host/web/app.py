"""The routes: the page, its data as JSON, its events, its health."""

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Route

from wattlog_host.dess import web as solar
from wattlog_host.history.changes import Notes
from wattlog_host.live import LiveView
from wattlog_host.stream import Hub
from wattlog_host.web.api import Api, Store, healthz
from wattlog_host.web.door import Door
from wattlog_host.web.first import FirstNumbers
from wattlog_host.web.guard import Guard
from wattlog_host.web.login import POSTS
from wattlog_host.web.pages import page_routes
from wattlog_host.web.questions import PLAIN_HOUSE, House

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
    door: Door | None = None,
) -> Starlette:
    """Return the web application.

    panel is that of solar, None where it is switched off; without a door all may read.
    """
    door = door or Door()
    door.own_tokens = solar.own_tokens(panel)
    api = Api(view, hub, store, clock_ms, house, changes)
    return Starlette(
        routes=[
            *page_routes(view, FirstNumbers(api, house, clock_ms), clock_ms, door),
            Route("/healthz", healthz(view, store)),
            *api.routes(),
            *solar.routes(panel),
        ],
        middleware=[
            Middleware(Guard, hostnames=hostnames, posts=solar.POSTS | POSTS, door=door),
            Middleware(GZipMiddleware, minimum_size=GZIP_BYTES_MIN, compresslevel=GZIP_LEVEL),
        ],
    )
