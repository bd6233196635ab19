"""A house whose troubles a test makes, with clocks of its own, and alerts that look at it."""

import re

from wattlog_host.alerts.config import AlertSettings, Target
from wattlog_host.alerts.rules import KINDS
from wattlog_host.alerts.service import Alerts, exchanged_of
from wattlog_host.alerts.words import BEGUN, HAPPENED, OVER, UNLESS_KNOWN
from wattlog_host.dess.mapping import Reading
from wattlog_host.dess.shown import Inverter, Standing
from wattlog_host.history.zone import named_zone
from wattlog_host.live import EdgeView, HostView, LiveView
from wattlog_host.status import LogStatus, MeterStatus, Status
from wattlog_host.store.records import Latest, Losses, LostRun
from wattlog_host.web.languages import words

BERLIN = named_zone("Europe/Berlin")
START_MS = 1_792_404_000_000  # 2026-10-19 12:00 in Berlin: a clock change lies in the month
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
FAST = bytes.fromhex("0a0149534b0003382939")
SLOW = bytes.fromhex("0a01454d480000a1b2c3")
LABELS = {FAST: "1 ISK00 53946681", SLOW: "1 EMH00 10597059"}
EDGES = {FAST: "cellar", SLOW: "attic"}
TARGET = Target(1, 1, "json://127.0.0.1:1/canary")


def _pattern(text):
    return re.compile(re.sub(r"\\\{\w+\\\}", "(.+?)", re.escape(text)) + "$")


_SAID = [
    (_pattern(words("en")[key]), phase, kind)
    for phase, table in (("on", BEGUN), ("off", OVER), ("news", HAPPENED))
    for kind, usual in table.items()
    for key in (usual, *(other for (one, _), other in UNLESS_KNOWN.items() if one == usual))
]


def said(body):
    """The lines of a message as (phase, kind, first value)."""
    found = []
    for line in body.split("\n"):
        rest = re.sub(r"^\w{3} \d+ \w{3}, \d\d:\d\d: ", "", line)
        matches = [(m, phase, kind) for one, phase, kind in _SAID if (m := one.match(rest))]
        assert len(matches) == 1, rest
        match, phase, kind = matches[0]
        found.append((phase, kind, match[1]))
    return found


def status(edge, boot=1, fill=10, glitches=0, ports=1):
    meters = tuple(
        MeterStatus(f"/dev/ttyUSB{i}", "open", None, None, 1, {}, 1, 1, None, None,
                    {"held": 0, "glitch": glitches}) for i in range(ports)
    )  # fmt: skip
    log = LogStatus({"bytes": fill, "bytes_max": 100})
    return Status(edge, "online", boot, 1, "1", "pi", log, {}, meters)


def inverter(time_ms, is_fresh=True, mode="Hybrid", kind="hybrid"):
    reading = Reading("operating_mode", "Mode", "", None, "mode", text=mode, text_class=kind)
    return Inverter("Q1", "Barn (P1)", 2376, None, time_ms, is_fresh, (reading,))


class World:
    """now_ms is the wall clock and may be set; mono_ms never steps.

    silent   meters that tell nothing
    every    how often each meter tells
    known    the meters of the store; solar, how cloud and inverters are
    sent     (mono_ms, body) of each message that a target took; failing, whether it takes none
    """

    def __init__(self, folder, look_ms=MINUTE_MS, **settings):
        self.folder, self.look_ms = folder, look_ms
        self.now_ms, self.mono_ms = START_MS, 0
        self.silent = set()
        self.every = {FAST: 10_000, SLOW: HOUR_MS}
        self.sent, self.told, self.tries = [], [], 0
        self.failing = None
        self.nights, self.known = [], []
        self.solar = Standing("ok", None, None, [inverter(self.now_ms)])
        self._due = {FAST: 0, SLOW: 0}
        of = {"targets": (TARGET,), "urgent": frozenset(("database",)), **settings}
        of["kinds"] = frozenset(KINDS) - of.pop("off", frozenset())
        self.settings = AlertSettings(**of)
        self.view = None
        self.start()

    def start(self):
        """Start the host: what was in memory only is forgotten."""
        old = self.view
        self.view = LiveView(HostView("1", self.now_ms, broker_trouble=None), {})
        if old is not None:
            self.view.losses, self.view.host.backups = old.losses, old.host.backups
            self.view.host.forecast = old.host.forecast
            self.view.counters = old.counters
            self.view.on_latest([m.latest for m in old.meters.values()], self.now_ms)
            # Their status is kept by the broker.
            self.view.edges.update(old.edges)
        else:
            for edge in EDGES.values():
                self.view.edges[edge] = EdgeView(edge, "online", 1, status(edge), self.now_ms)
            self._tell()
        self.alerts = Alerts(
            self.settings, "", BERLIN, self.folder, self.view, self._ask, self._send,
            lambda _, text: self.told.append(text), lambda: None,
            lambda: self.now_ms, lambda: self.mono_ms, lambda: self.solar,
        )  # fmt: skip

    async def run(self, ms, until=None):
        """Let so much time pass; with until, only up to where it is true, which is returned."""
        end_ms = self.mono_ms + ms
        while self.mono_ms < end_ms:
            self.mono_ms += self.look_ms
            self.now_ms += self.look_ms
            self._tell()
            await self.alerts.look()
            await self.alerts.send_due()
            if until is not None and until():
                return True
        return until is None

    def lines(self):
        """All that was told, in order."""
        return [line for _, body in self.sent for line in said(body)]

    def edge(self, name, state="online", **more):
        """Have an agent say this of itself."""
        edge = self.view.edges[name]
        edge.state, edge.status_ms = state, self.now_ms
        if state == "online":
            edge.status = status(name, **more)
        elif state == "offline":
            self.silent |= {one for one, at in EDGES.items() if at == name}
        if state == "online":
            self.silent -= {one for one, at in EDGES.items() if at == name}

    def lose(self, count):
        """Have so many readings be lost."""
        total = self.view.losses.records + count
        run = LostRun("attic", 1, 1, total, "evicted", self.now_ms, None, None)
        self.view.losses = Losses(1, total, (run,))

    def _tell(self):
        for server_id, due_ms in self._due.items():
            if self.mono_ms < due_ms:
                continue
            every = self.every[server_id]
            self._due[server_id] = self.mono_ms + every - self.mono_ms % every
            if server_id in self.silent:
                continue
            latest = Latest(server_id, LABELS[server_id], EDGES[server_id], self.now_ms, "sync",
                            {}, 1, self.mono_ms)  # fmt: skip
            self.view.on_latest([latest], self.now_ms)

    def meters(self):
        """As the store knows them."""
        return self.known

    async def _ask(self, question):
        if question is exchanged_of:
            return question(self)
        return [one for one in self.nights if one.day <= BERLIN.day(self.now_ms)]

    async def _send(self, target, title, body, mood):
        self.tries += 1
        assert (target, title) == (TARGET, "wattlog")
        assert mood in ("info", "warning", "success", "failure")
        if self.failing is None:
            self.sent.append((self.mono_ms, body))
        return self.failing
