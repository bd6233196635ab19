"""A house with a grid meter and three inverters of the fake cloud, on a sunny day with export.

The meter counts what the inverters' world leaves for the grid, so that all of it adds up.
"""

from datetime import datetime

from dess_world import Readers, World
from memory_history import EXPORT, IMPORT, POWER, WH, MemoryHistory, W
from wattlog_host.dess import controls
from wattlog_host.dess.panel import Panel
from wattlog_host.history.tariff import Tariffs
from wattlog_host.history.zone import named_zone
from wattlog_host.live import HostView, LiveView
from wattlog_host.snapshot import readings_of, snapshot
from wattlog_host.store.records import Latest, Losses
from wattlog_host.stream import Hub
from wattlog_host.web.app import make_app
from wattlog_host.web.questions import House

BERLIN = named_zone("Europe/Berlin")
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000


def local(text):
    """The instant of a local time in Berlin, ISO without offset."""
    return BERLIN.instant(datetime.fromisoformat(text))


FIRST_MS = local("2026-06-13T00:00")
NOW_MS = local("2026-06-16T13:20")


class SunnyHouse:
    """now_ms is the clock of all of it."""

    def __init__(self, folder, now_ms=NOW_MS, **more):
        self.dess = World(folder, start_ms=FIRST_MS, **more)
        self.dess.cycle()
        # Away for days: what was missed is asked for in the first cycles afterwards.
        self.dess.clock.go(now_ms - 2 * HOUR_MS - self.dess.clock.wall_ms)
        while self.dess.clock.wall_ms < now_ms - 5 * MINUTE_MS:
            self.dess.cycle()
        self.dess.clock.go(now_ms - self.dess.clock.wall_ms)
        self.history = MemoryHistory({1: self._meter(FIRST_MS, now_ms)})
        self.view = LiveView(HostView("0.1.0", now_ms - HOUR_MS, broker_trouble=None), {})
        self._show()
        self.hub = Hub(lambda: snapshot(self.view, self.now_ms()), lambda: readings_of(self.view))
        clock = self.dess.clock
        panel = Panel(
            self.dess.worker, Readers(self.dess.sink),
            controls.Audit(folder / "changes", clock.now_ms), frozenset(), None, clock.wait_s,
            clock.now_ms, clock.monotonic_ms,
        )  # fmt: skip
        house = House("home", BERLIN, "EUR", Tariffs((), BERLIN))
        self.app = make_app(
            self.view, self.hub, self, self.now_ms, ("testserver",), house, panel=panel
        )

    def now_ms(self):
        return self.dess.clock.now_ms()

    def moment(self, time_ms):
        """The physical moments of all inverters."""
        local_s = time_ms // 1000 + self.dess.cloud.offset_s
        return [one.roof.at(local_s)[0] for one in self.dess.cloud.devices[:3]]

    def _meter(self, start_ms, end_ms):
        rows, taken, given = [], 0, 0
        for at_ms in range(start_ms, end_ms + 1, MINUTE_MS):
            watts = round(sum(one.grid_w for one in self.moment(at_ms)))
            rows.append((at_ms, {POWER: watts * W, IMPORT: 10**9 + taken, EXPORT: 10**9 + given}))
            # Until the next minute the same flows: 1 W for a minute is 1/60 Wh.
            taken += max(watts, 0) * WH // 60
            given += max(-watts, 0) * WH // 60
        return rows

    def _show(self):
        for meter in self.history.meters():
            at_ms, values = self.history.all[meter.id][-1]
            self.view.on_latest(
                [Latest(meter.server_id, meter.label, "cellar", at_ms, "sync", values, 17, at_ms)],
                self.now_ms(),
            )

    async def check(self):
        return

    async def losses(self, count_max):
        return Losses()

    async def ask(self, question):
        return question(self.history)

    def close(self):
        self.dess.close()
