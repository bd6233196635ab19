"""The host's way from broker to broker with a clock that a test sets: intake, store, announcements."""

import asyncio
import threading

from wattlog_host.announce.announcer import Announcer
from wattlog_host.announce.backfill import Backfill
from wattlog_host.announce.service import LAST_WILL, Announcements
from wattlog_host.intake import Intake
from wattlog_host.live import HostView, LiveView
from wattlog_host.mqtt import MqttLink
from wattlog_host.settings import load
from wattlog_host.store.store import Store
from wattlog_pi.system_clock import Trust

PATIENCE_S = 30


class SimulatedHost:
    """It looks at what there is to say only when it is told to: look()."""

    def __init__(self, folder, mqtt_port, now_ms, more=""):
        """folder holds its database, which another one after it goes on with.

        more are lines of [announce].
        """
        self.now_ms = now_ms
        config = folder / "host.toml"
        config.write_text(
            f'data = "{folder}"\n[mqtt]\nembedded = false\nport = {mqtt_port}\n'
            f"[store]\nraw_days = 0\n[announce]\n{more}"
        )
        settings = load(config, {})
        self._store = Store(settings.database, "1", now_ms)
        self._view = LiveView(HostView("1", now_ms), self._store.counters)
        announcer = Announcer(settings.announce, "1")
        self.told = []
        self._backfill = Backfill(
            settings.announce,
            self._store,
            lambda: self.now_ms,
            lambda kind, text: self.told.append((kind, text)),
        )
        self._announcements = Announcements(
            announcer, settings.announce.prefix, self._view, lambda: self.now_ms, lambda: 0.0
        )
        birth = self._announcements.birth_topic
        self._connected = threading.Event()
        self._link = MqttLink(settings, self._on_change, None, (birth,), LAST_WILL)
        self._intake = Intake(
            self._store,
            self._view,
            self._link.publish,
            lambda: None,
            lambda: self.now_ms,
            lambda: Trust.NETWORK,
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._do(self._start())
        assert self._connected.wait(PATIENCE_S), "no broker"

    def look(self):
        """Say what there is to say."""
        self._do(self._announcements.look(self._link))

    def fill(self):
        """Tell Home Assistant what it missed; return how many hours that were."""
        return self._do(self._roll_and_fill())

    def stop(self):
        """End in order."""
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()

    def _do(self, what):
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(PATIENCE_S)

    async def _start(self):
        self._view.on_latest(await self._store.latest(), self.now_ms)
        acts = (self._intake.run(), self._link.run(self._on_message))
        self._tasks = [asyncio.create_task(act) for act in acts]

    async def _roll_and_fill(self):
        rolled = asyncio.Event()
        rolling = asyncio.create_task(self._store.keep_rolled(lambda _: rolled.set()))
        await rolled.wait()
        rolling.cancel()
        return await self._backfill.look()

    async def _stop(self):
        await self._announcements.say_goodbye(self._link)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._store.close(self.now_ms)

    def _on_change(self, trouble):
        if trouble is None:
            self._announcements.on_connect()
            self._connected.set()

    def _on_message(self, topic, payload):
        if topic == self._announcements.birth_topic:
            self._announcements.on_birth(payload)
        else:
            self._intake.on_message(topic, payload)
