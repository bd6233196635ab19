"""A host's web application with a folder for who may use it, and visitors of it."""

import re

from starlette.testclient import TestClient

from memory_history import MemoryHistory
from wattlog_host.access import sessions
from wattlog_host.access.accounts import accounts_in
from wattlog_host.access.sessions import Sessions
from wattlog_host.live import HostView, LiveView
from wattlog_host.snapshot import snapshot
from wattlog_host.store.records import Losses, StoreError
from wattlog_host.stream import Hub
from wattlog_host.web.alarms import NO_ALARMS
from wattlog_host.web.app import make_app
from wattlog_host.web.door import Door

NOW_MS = 1_795_000_000_000
PASSWORD = "canary-pässword-1"
HERE = "http://127.0.0.1:8080"
OURS = {"origin": HERE}


class House:
    """Closed as soon as there is a password; more is for the door."""

    def __init__(self, folder, alarms=NO_ALARMS, **door):
        self.alarms = alarms
        self.now_ms = NOW_MS
        self.folder = folder
        self.kept = accounts_in(folder)
        self.trouble = None
        self.more = door
        self.view = LiveView(HostView("0.1.0", NOW_MS - 5000, broker_trouble=None), {})
        self.hub = Hub(lambda: snapshot(self.view, self.now_ms))
        self.start()

    def start(self):
        """As after a restart: only what is in the folder is known."""
        self.door = Door(
            self.kept.now, Sessions(self.folder / sessions.FILE_NAME),
            now_ms=lambda: self.now_ms, mono_ms=lambda: self.now_ms, **self.more,
        )  # fmt: skip
        self.app = make_app(
            self.view, self.hub, self, lambda: self.now_ms, (), door=self.door, alarms=self.alarms
        )
        self.visitor = self.another()

    def another(self, address="192.0.2.1"):
        return TestClient(
            self.app, base_url=HERE, follow_redirects=False, client=(address, 50_000)
        )

    async def check(self):
        if self.trouble:
            raise StoreError(self.trouble)

    async def losses(self, count_max):
        return Losses()

    async def ask(self, question):
        return question(MemoryHistory({}))

    def login(self, password=PASSWORD, visitor=None, headers=OURS, **more):
        form = {"password": password, **more}
        return (visitor or self.visitor).post("/login", data=form, headers=headers)

    def leave(self, visitor=None, headers=OURS, **form):
        return (visitor or self.visitor).post("/logout", data=form, headers=headers)

    def csrf(self, visitor=None):
        page = (visitor or self.visitor).get("/state").text
        return re.search('name="csrf" value="([0-9a-f]{64})"', page)[1]
