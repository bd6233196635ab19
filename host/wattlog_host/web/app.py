"""The routes: the page, its data as JSON, its events, its health."""

from collections.abc import Callable, Iterable

from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Route

from wattlog_host.dess import web as dess
from wattlog_host.dess import web_settings
from wattlog_host.dess.panel import Panel
from wattlog_host.history.changes import Notes
from wattlog_host.live import LiveView
from wattlog_host.stream import Hub
from wattlog_host.web.alarms import NO_ALARMS, Alarms, alarm_routes
from wattlog_host.web.alarms import POSTS as ALARM_POSTS
from wattlog_host.web.api import Api, Store, healthz
from wattlog_host.web.door import Door
from wattlog_host.web.first import FirstNumbers
from wattlog_host.web.guard import Guard
from wattlog_host.web.login import POSTS
from wattlog_host.web.metrics import metrics
from wattlog_host.web.pages import page_routes
from wattlog_host.web.questions import PLAIN_HOUSE, House
from wattlog_host.web.solar import DESCRIBED, SolarHouse

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
    panel: Panel | None = None,
    door: Door | None = None,
    collectors: Iterable[Collector] = (),
    alarms: Alarms = NO_ALARMS,
) -> Starlette:
    """Return the web application.

    panel is that of solar, None where it is switched off; without a door all may read; the
    collectors have more for /metrics.
    """
    door = door or Door()
    door.own_tokens = web_settings.own_tokens(panel)
    api = Api(view, hub, store, clock_ms, house, changes, alarms)
    solar = None if panel is None else SolarHouse(panel, api, house.zone)
    return Starlette(
        routes=[
            *page_routes(view, FirstNumbers(api, house, clock_ms), clock_ms, solar, door, alarms),
            *alarm_routes(alarms),
            Route("/healthz", healthz(view, store)),
            Route("/metrics", metrics(view, clock_ms, alarms.counts, collectors)),
            *api.routes([*dess.described(), *(() if solar is None else DESCRIBED)]),
            *dess.routes(panel, house.zone),
            *(solar.routes() if solar is not None else ()),
        ],
        middleware=[
            Middleware(
                Guard, hostnames=hostnames, posts=dess.POSTS | POSTS | ALARM_POSTS, door=door
            ),
            Middleware(GZipMiddleware, minimum_size=GZIP_BYTES_MIN, compresslevel=GZIP_LEVEL),
        ],
    )
