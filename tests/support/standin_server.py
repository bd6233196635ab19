"""The stand-in over HTTP, in a thread of the test: pages, API and stream, and how to spoil them."""

import asyncio
import contextlib
import json
import socket
import threading

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route

import standin as house
from wattlog_host.forecast import Forecast
from wattlog_host.live import EdgeView, HostView, LiveView
from wattlog_host.snapshot import snapshot
from wattlog_host.store.records import Latest
from wattlog_host.web.alarms import NO_ALARMS, alarm_routes
from wattlog_host.web.alarms import POSTS as ALARM_POSTS
from wattlog_host.web.door import Door
from wattlog_host.web.guard import Guard
from wattlog_host.web.login import POSTS
from wattlog_host.web.pages import NO_FIGURES, Figures, page_routes

METERS = {
    bytes.fromhex("0a0149534b0003382939"): "1 ISK00 53946681",
    bytes.fromhex("0a01454d480000a1b2c3"): "1 EMH00 10597059",
}
MANY = {
    bytes((10, 1, 69, 77, 72, 0, 0, 0, index)): f"1 EMH00 0000{index:04d}" for index in range(14)
}
STEP_MS = 10_000


class StandIn:
    """A server with a house behind it.

    meters   which there are
    broken   while True, the API answers 503
    held     paths that are not answered before release()
    now_ms   the clock of all of it; moves only by tick()
    door     who is let in
    alarms   what is told of
    """

    local = staticmethod(house.local)
    tariff = staticmethod(lambda: house.TARIFF)

    def __init__(self, meters=None):
        self.meters = dict(list(METERS.items())[:1]) if meters is None else meters
        self.now_ms = house.NOW_MS
        self.door = Door()
        self.alarms = NO_ALARMS
        self.broken = False
        self.empty_before_ms = 0
        self.has_figures = True
        self.held: set[str] = set()
        self.asked: list[str] = []
        self.watchers: set[asyncio.Queue] = set()
        self._released = asyncio.Event()
        host = HostView("0.1.0", house.NOW_MS - 7_200_000, broker_trouble=None, hours_aside=0)
        host.forecast = Forecast(300 * 1024, 120 * 2**20, 314, 50_000, 75 * 2**30, 6 * 365 + 9)
        self.view = LiveView(host, {})
        edge = EdgeView("cellar", "online", 17)
        edge.batch_ms = edge.status_ms = self.now_ms - 12_000
        if self.meters:
            self.view.edges["cellar"] = edge
        self._show()

    # -- what tests do ---------------------------------------------------------------------

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def tick(self, steps=1):
        """Let time pass and readings come."""
        self.now_ms += steps * STEP_MS
        self._show()
        self._loop.call_soon_threadsafe(self._send_reading)

    def grow_old(self, seconds):
        """Let time pass without a reading."""
        self.now_ms += 1000 * seconds
        self._loop.call_soon_threadsafe(self._send_view)

    def release(self):
        """Answer what is held, and hold nothing more."""
        self.held.clear()
        self._loop.call_soon_threadsafe(self._released.set)

    def hang_up(self):
        """End all streams."""
        self._loop.call_soon_threadsafe(
            lambda: [queue.put_nowait(None) for queue in self.watchers]
        )

    def start(self):
        sock = socket.create_server(("127.0.0.1", 0))
        self.port = sock.getsockname()[1]
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._app(), lifespan="off", log_config=None, log_level="error", access_log=False,
                timeout_graceful_shutdown=1,
            )
        )  # fmt: skip
        ready = threading.Event()

        async def serve():
            self._loop = asyncio.get_running_loop()
            ready.set()
            with contextlib.suppress(asyncio.CancelledError):
                await self._server.serve(sockets=[sock])

        self._server.capture_signals = contextlib.nullcontext
        self._thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
        self._thread.start()
        ready.wait()

    def stop(self):
        self.release()
        self.hang_up()
        self._server.should_exit = True
        self._thread.join()

    # -- what the page asks -----------------------------------------------------------------

    async def figures(self, days):
        if not self.meters or not self.has_figures:
            return NO_FIGURES
        rows = house.day_rows(house.local(self.now_ms).strftime("%Y-%m"), None, self.now_ms)
        return Figures(house.summary(self.now_ms), rows[: -days - 1 : -1], house.CURRENCY)

    def _show(self):
        latest = []
        for index, (server_id, label) in enumerate(self.meters.items()):
            watts = house.power_w(self.now_ms - index * 3_600_000)
            imported, exported = house.counters(self.now_ms)
            values = {
                1: round(imported * 1e8), 4: round(exported * 1e8), 10: round(watts * 1000),
                11: round(watts * 500), 12: round(watts * 300), 13: round(watts * 200),
                21: 231_400, 22: 229_900, 23: 232_100, 41: 49_980,
            }  # fmt: skip
            latest.append(
                Latest(server_id, label, "cellar", self.now_ms, "sync", values, 17, self.now_ms)
            )
        self.view.on_latest(latest, self.now_ms)

    def _message(self, event, data):
        return f"event: {event}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()

    def _send_view(self):
        for queue in self.watchers:
            queue.put_nowait(self._message("view", snapshot(self.view, self.now_ms)))

    def _send_reading(self):
        self._send_view()
        for index, server_id in enumerate(self.meters):
            watts = house.power_w(self.now_ms - index * 3_600_000)
            data = {"meter": server_id.hex(), "t": self.now_ms, "p": watts, "values": {}}
            for queue in self.watchers:
                queue.put_nowait(self._message("reading", data))

    # -- routes ----------------------------------------------------------------------------

    def _app(self):
        answers = {
            "meters": self._meters,
            "readings": self._readings,
            "energy": lambda q: self._energy(q),
            "stats": lambda q: house.stats(*self._span(q), self.now_ms),
            "summary": lambda _: house.summary(self.now_ms),
            "energy_summary": lambda q: house.energy_summary(*self._span(q), self.now_ms),
            "days": lambda q: {
                "rows": house.day_rows(q.get("month"), q.get("year"), self.now_ms),
                "currency": house.CURRENCY,
            },
            "compare": self._compare,
        }

        def route(name, answer):
            async def endpoint(request):
                self.asked.append(f"{request.url.path}?{request.url.query}")
                if name in self.held:
                    await self._released.wait()
                if self.broken:
                    return JSONResponse({"error": "database: disk gone"}, 503)
                return JSONResponse(answer(request.query_params))

            return Route(f"/api/{name}", endpoint)

        async def csv(request):
            self.asked.append(f"{request.url.path}?{request.url.query}")
            return PlainTextResponse("date,import_kwh\n", media_type="text/csv")

        async def status(_):
            return JSONResponse(snapshot(self.view, self.now_ms))

        return Starlette(
            routes=[
                *page_routes(
                    self.view, self, lambda: self.now_ms, door=self.door, alarms=self.alarms
                ),
                *alarm_routes(self.alarms),
                *(route(name, answer) for name, answer in answers.items()),
                Route("/api/stream", self._stream),
                Route("/events", self._stream),
                Route("/api/days.csv", csv),
                Route("/status", status),
            ],
            middleware=[
                Middleware(Guard, hostnames=(), posts=POSTS | ALARM_POSTS, door=self.door),
                Middleware(GZipMiddleware),
            ],
        )

    async def _stream(self, _):
        if self.broken:
            return JSONResponse({"error": "broken"}, 503)
        queue = asyncio.Queue()
        queue.put_nowait(self._message("view", snapshot(self.view, self.now_ms)))
        # The state page knows only messages without a name.
        queue.put_nowait(self._message("message", snapshot(self.view, self.now_ms)))
        self.watchers.add(queue)

        async def messages():
            try:
                while (message := await queue.get()) is not None:
                    yield message
            finally:
                self.watchers.discard(queue)

        return StreamingResponse(messages(), media_type="text/event-stream")

    def _meters(self, _):
        return {
            "zone": "Europe/Berlin",
            "now_ms": self.now_ms,
            "meters": [
                {
                    "id": index + 1, "server_id": server_id.hex(), "label": label, "name": None,
                    "first_ms": house.FIRST_MS, "last_ms": self.now_ms,
                    "channels": [
                        {"key": key, "label": label, "unit": unit, "kind": kind, "obis": ""}
                        for key, (label, unit, kind) in house.CHANNELS.items()
                    ],
                }
                for index, (server_id, label) in enumerate(self.meters.items())
            ],
        }  # fmt: skip

    def _span(self, query):
        return int(query["start"]), int(query["end"])

    def _readings(self, query):
        start, end = self._span(query)
        after = int(query.get("after", -1))
        now_ms = 0 if end <= self.empty_before_ms else self.now_ms
        if "points" not in query:
            return house.raw(start, end, after, now_ms)
        points = int(query["points"])
        channel = query.get("channel", "power_w")
        return house.columns(start, end, points, after, now_ms, channel)

    def _energy(self, query):
        start, end = self._span(query)
        found = house.buckets(start, end, query["per"], self.now_ms)
        if end <= self.empty_before_ms:
            found = []
        return {
            "buckets": found,
            "total": house.energy(start, end, self.now_ms),
            "currency": house.CURRENCY,
        }

    def _compare(self, query):
        if "preset" in query:
            a, b = house.preset(query["preset"], self.now_ms)
        else:
            a, b = (
                tuple(
                    house.midnight(house.date.fromisoformat(query[f"{side}_{edge}"]))
                    for edge in ("start", "end")
                )
                for side in "ab"
            )
        return house.compare(a, b, self.now_ms)


@contextlib.contextmanager
def running(meters=None, **state):
    """Run a stand-in for as long as the block lasts."""
    server = StandIn(meters)
    for name, value in state.items():
        setattr(server, name, value)
    server.start()
    try:
        yield server
    finally:
        server.stop()
