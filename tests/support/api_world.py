"""An API over a past in memory, without a network."""

from datetime import date, datetime
from decimal import Decimal

from starlette.testclient import TestClient

from memory_history import EXPORT, IMPORT, POWER, WH, MemoryHistory, W
from wattlog_host.history.changes import Changes
from wattlog_host.history.tariff import Tariff, Tariffs, Window
from wattlog_host.history.zone import named_zone
from wattlog_host.live import HostView, LiveView
from wattlog_host.snapshot import readings_of, snapshot
from wattlog_host.store.records import Latest, Losses, StoreError
from wattlog_host.stream import Hub
from wattlog_host.web.app import make_app
from wattlog_host.web.questions import House

BERLIN = named_zone("Europe/Berlin")
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
NIGHT = Window(frozenset(range(7)), 22 * 4, 6 * 4, Decimal(20))
TARIFFS = (
    Tariff(date(2026, 1, 1), None, Decimal(30), Decimal(8), Decimal(0)),
    Tariff(date(2026, 11, 1), None, Decimal(40), Decimal(8), Decimal("182.5"), (NIGHT,)),
)


def local(text):
    """The instant of a local time in Berlin, ISO without offset."""
    return BERLIN.instant(datetime.fromisoformat(text))


def steady(start_ms, end_ms, step_ms=MINUTE_MS, watts=600, value_wh=10_000, export_wh=None):
    """Readings of one meter that draws the same all the time."""
    rows = []
    for at_ms in range(start_ms, end_ms + 1, step_ms):
        drawn = watts * (at_ms - start_ms) * WH // HOUR_MS
        values = {POWER: watts * W, IMPORT: value_wh * WH + drawn}
        if export_wh is not None:
            values[EXPORT] = export_wh * WH + drawn // 4
        rows.append((at_ms, values))
    return rows


class ApiWorld:
    """A host's web application; store_trouble makes its store fail."""

    def __init__(
        self, readings, now_ms, zone=BERLIN, tariffs=TARIFFS, currency="EUR", changes=None
    ):
        self.history = MemoryHistory(readings)
        self.now_ms = now_ms
        self.changes = changes or Changes()
        self.store_trouble = None
        self.lost = Losses()
        self.questions = 0
        self.view = LiveView(HostView("0.1.0", now_ms - 5000, broker_trouble=None), {})
        for meter in self.history.meters():
            at_ms, values = self.history.all[meter.id][-1]
            self.view.on_latest(
                [Latest(meter.server_id, meter.label, "cellar", at_ms, "sync", values, 17, at_ms)],
                now_ms,
            )
        self.hub = Hub(lambda: snapshot(self.view, self.now_ms), lambda: readings_of(self.view))
        house = House("home", zone, currency, Tariffs(tariffs, zone))
        self.app = make_app(
            self.view, self.hub, self, lambda: self.now_ms, ("testserver",), house, self.changes
        )
        self.client = TestClient(self.app, base_url="http://127.0.0.1:8080")

    async def check(self):
        if self.store_trouble:
            raise StoreError(self.store_trouble)

    async def losses(self, count_max):
        await self.check()
        return self.lost

    async def ask(self, question):
        await self.check()
        self.questions += 1
        return question(self.history)

    def get(self, path, **parameters):
        return self.client.get(path, params=parameters or None)

    def json(self, path, **parameters):
        answer = self.get(path, **parameters)
        assert answer.status_code == 200, (path, parameters, answer.text)
        return answer.json()

    def error(self, path, **parameters):
        answer = self.get(path, **parameters)
        assert answer.headers["content-type"] == "application/json", answer.text
        return answer.status_code, answer.json()["error"]


START, NOW = local("2026-10-20T12:00"), local("2026-11-27T09:30")


def house():
    """Five weeks of a house that draws 600 W all the time, and sends 150 W."""
    return ApiWorld({1: steady(START, NOW - 3_000, 2 * MINUTE_MS, export_wh=5)}, NOW)


def two():
    """Two meters, of which the second came a week later."""
    other = steady(START + 7 * DAY_MS, NOW, 2 * MINUTE_MS, watts=400, value_wh=0)
    return ApiWorld({1: steady(START, NOW, 2 * MINUTE_MS), 2: other}, NOW)
