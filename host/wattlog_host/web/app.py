"""The routes: the page, its data as JSON, its events, its health."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from wattlog_host.clock import local_iso
from wattlog_host.live import LiveView, MeterView
from wattlog_host.snapshot import lost_json, snapshot
from wattlog_host.store.records import Losses, StoreError
from wattlog_host.stream import Hub, TooManyWatchers
from wattlog_host.units import by_obis, kwh, watts
from wattlog_host.web.guard import Guard
from wattlog_host.web.pages import NoPast, Past, page_routes

# Each costs a look at the batches beside it.
LOSSES_MAX = 100


class Store(Protocol):
    """What the page asks the store."""

    async def check(self) -> None:
        """Raise StoreError where something is wrong."""

    async def losses(self, count_max: int) -> Losses:
        """Return what is lost, and the newest runs of it."""


def make_app(
    view: LiveView,
    hub: Hub,
    store: Store,
    clock_ms: Callable[[], int],
    hostnames: tuple[str, ...],
    past: Past | None = None,
) -> Starlette:
    """Return the web application; without a past the page has no numbers of it."""

    async def status(_: Request) -> Response:
        return JSONResponse(snapshot(view, clock_ms()))

    async def latest_reading(request: Request) -> Response:
        name = request.query_params.get("meter")
        meter = view.meter_of(name)
        if meter is None:
            reason = "no reading yet" if name is None or not view.meters else "unknown meter"
            return JSONResponse({"error": reason}, 404)
        return JSONResponse(_latest(meter, clock_ms()))

    async def events(request: Request) -> Response:
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        try:
            stream = hub.watch()
        except TooManyWatchers:
            return PlainTextResponse("too many watchers\n", 503)
        return StreamingResponse(stream, media_type="text/event-stream")

    return Starlette(
        routes=[
            *page_routes(view, past or NoPast(), clock_ms),
            Route("/status", status),
            Route("/healthz", _healthz(view, store)),
            Route("/api/latest_reading", latest_reading),
            Route("/api/gaps", _gaps(view, store, clock_ms)),
            Route("/events", events),
        ],
        middleware=[Middleware(Guard, hostnames=hostnames)],
    )


def _healthz(view: LiveView, store: Store) -> Callable[[Request], Awaitable[Response]]:
    async def healthz(_: Request) -> Response:
        troubles = [view.host.broker_trouble, view.host.store_trouble]
        try:
            await store.check()
        except StoreError as err:
            troubles.append(f"database: {err}")
        reasons = [text for text in troubles if text is not None]
        if reasons:
            return PlainTextResponse("\n".join(dict.fromkeys(reasons)) + "\n", 503)
        return PlainTextResponse("ok\n")

    return healthz


def _gaps(
    view: LiveView, store: Store, clock_ms: Callable[[], int]
) -> Callable[[Request], Awaitable[Response]]:
    async def gaps(_: Request) -> Response:
        try:
            losses = await store.losses(LOSSES_MAX)
        except StoreError as err:
            return JSONResponse({"error": f"database: {err}"}, 503)
        now_ms = clock_ms()
        return JSONResponse(
            {
                "runs": losses.runs,
                "records": losses.records,
                "newest": [
                    {"meters": view.labels_of(lost.edge), **lost_json(lost, now_ms)}
                    for lost in losses.newest
                ],
            }
        )

    return gaps


def _latest(meter: MeterView, now_ms: int) -> dict[str, Any]:
    latest = meter.latest
    values = latest.values
    return {
        "timestamp": local_iso(latest.time_ms),
        "meter_id": latest.label,
        "power_watts": watts(values, "power_w"),
        "energy_in_kwh": kwh(values, "import_wh"),
        "energy_out_kwh": kwh(values, "export_wh"),
        "power_phase_1_watts": watts(values, "power_l1_w"),
        "power_phase_2_watts": watts(values, "power_l2_w"),
        "power_phase_3_watts": watts(values, "power_l3_w"),
        "raw_payload": by_obis(values),
        "age_s": meter.age_ms(now_ms) / 1000,
        "time_source": latest.time_source,
    }
