"""Alerts as they run: looks every few seconds, writes down what it knows, and sends.

Two loops: one looks and decides, the other sends, so that a target that hangs hides nothing.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar

from wattlog_host.alerts import kept
from wattlog_host.alerts.config import AlertSettings, Target
from wattlog_host.alerts.nights import NIGHTS_MAX, Night, compared, nights_of
from wattlog_host.alerts.outbox import Account
from wattlog_host.alerts.rhythm import Rhythm
from wattlog_host.alerts.rules import (
    DISMISSABLE,
    SOLAR_KINDS,
    Facts,
    findings,
    is_audible,
    key_of,
    tallies,
)
from wattlog_host.alerts.words import (
    BEGUN,
    message_text,
    mood,
    speech_of,
    title_of,
    trouble_text,
)
from wattlog_host.dess.shown import Standing
from wattlog_host.history import gauge
from wattlog_host.history.columns import History
from wattlog_host.history.house import exchanged, members
from wattlog_host.history.zone import Zone
from wattlog_host.live import LiveView
from wattlog_host.store.records import StoreError
from wattlog_host.web.languages import Speech

LOG = logging.getLogger(__name__)

LOOK_S = 5.0
KEEP_MS = 6 * 3_600_000
"""So often at most the rhythms alone are written down: an SD card has its limits."""
RESTLESS_MS = 60_000
"""And so often what is not told yet: of a thousand meters that come and go, each look has news."""
NIGHTS_MS = 3_600_000
HOUSE_METERS_MAX = 200
"""Of more no house is made up: to read all their nights takes minutes, and says nothing."""
TEST_MS_MIN = 30_000
TEST_PATIENCE_S = 15.0

MISSED_MS = 5 * 60_000
"""So often it is asked whether a meter that is missed was exchanged for another; else hourly."""

T = TypeVar("T")
Send = Callable[[Target, str, str, str], Awaitable[str | None]]


class TooSoon(Exception):
    """A test was asked for right after another; wait_s is how long to wait."""

    def __init__(self, wait_s: int) -> None:
        """Take how long to wait."""
        super().__init__(f"one test in {TEST_MS_MIN // 1000} s; wait {wait_s} s")
        self.wait_s = wait_s


class Ask(Protocol):
    """Asks the past a question; raises StoreError."""

    async def __call__(self, question: Callable[[History], T]) -> T:
        """Return what it finds out."""


def exchanged_of(history: History) -> frozenset[bytes]:
    """Return the meters in whose place another one came."""
    return exchanged(history.meters())


class Alerts:
    """Everything about alerts of one host."""

    def __init__(
        self,
        settings: AlertSettings,
        house: str,
        zone: Zone,
        folder: Path,
        view: LiveView,
        ask: Ask,
        send: Send,
        say: Callable[[str, str], None],
        changed: Callable[[], None],
        clock_ms: Callable[[], int],
        mono_ms: Callable[[], int],
        solar: Callable[[], Standing] | None = None,
    ) -> None:
        """Take what is set, the present, the past, how to send, whom to tell, and two clocks.

        house is its name; say tells the person at the page; mono_ms never steps; solar tells how
        the inverters are, None where they are not asked for.
        """
        self._settings, self._house, self._zone, self._view = settings, house, zone, view
        self._path = folder / kept.FILE_NAME
        self._ask, self._send, self._say, self._changed = ask, send, say, changed
        self._clock_ms, self._mono_ms = clock_ms, mono_ms
        self._memory = kept.load(self._path)
        self._solar = solar
        has_solar = solar is not None
        self._memory.ledger.keep_only(settings.kinds - (frozenset() if has_solar else SOLAR_KINDS))
        known = self._memory.accounts
        self._memory.accounts = {
            one.name: known.get(one.name, Account()) for one in settings.targets
        }
        self._looked_ms: int | None = None
        self._seen: dict[bytes, tuple[str, int, int]] = {}
        self._nights: list[Night] = []
        self._asked_ms: int | None = None
        self._exchanged: frozenset[bytes] = frozenset()
        self._compared_ms: int | None = None
        self._kept: tuple[int, int] | None = None
        self._shown: tuple[int, int] | None = None
        self._kept_ms = mono_ms()
        self._is_kept = True
        self._keeping = asyncio.Lock()
        self._tries = 0
        self._has_owed = asyncio.Event()
        self._test: asyncio.Task[None] | None = None
        self._tested_ms: int | None = None
        self._view.alerts = {"standing": len(self._memory.ledger.standing()), "mark": 0}

    # --- what goes on ------------------------------------------------------------------------

    async def run(self) -> None:
        """Look, and look again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def deliver(self) -> None:
        """Send what is owed, until cancelled."""
        while True:
            await self.send_due()
            self._has_owed.clear()
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._has_owed.wait()
            except TimeoutError:
                continue

    async def look(self) -> None:
        """Look once: decide what is to be told, and write that down before it is sent."""
        mono_ms, now_ms = self._mono_ms(), self._clock_ms()
        passed_ms = 0 if self._looked_ms is None else mono_ms - self._looked_ms
        self._looked_ms = mono_ms
        self._listen(passed_ms)
        await self._look_at_nights(now_ms, mono_ms)
        await self._look_at_meters(mono_ms)
        of, ledger = self._settings, self._memory.ledger
        today = self._zone.day(now_ms)
        facts = Facts(
            self._view,
            self._memory.rhythms,
            self._exchanged,
            compared(self._nights, today, of.base_percent),
            None if self._solar is None else self._solar(),
            self._zone.local(now_ms).hour,
            of.limits,
            ledger.stands,
        )
        ledger.look(
            findings(facts, of.kinds),
            tallies(self._view, of.kinds),
            of.urgent,
            now_ms,
            passed_ms,
        )
        is_quiet = of.quiet is not None and of.quiet.holds(self._zone.local(now_ms))
        message = ledger.message(now_ms, of.digest_min * 60_000, is_quiet=is_quiet)
        for account in self._memory.accounts.values():
            account.pass_by(passed_ms)
            if message is not None:
                account.owe(message)
        await self._keep(mono_ms, may_wait=message is None)
        if message is not None:
            text = message_text(Speech("en", self._zone.local), message)
            LOG.info("alert: %s", text.replace("\n", "; "))
            self._has_owed.set()

    async def send_due(self) -> None:
        """Send to each target what is due."""
        for target in self._settings.targets:
            account = self._memory.accounts[target.name]
            message = account.due()
            if message is None:
                continue
            say = speech_of(self._settings, self._zone)
            why = await self._try(target, message_text(say, message), mood(message))
            if why is None:
                account.on_sent(message.number, self._clock_ms())
            else:
                account.on_failed(why, self._clock_ms())
            await self._keep(self._mono_ms())

    # --- what is asked -----------------------------------------------------------------------

    def shown(self, say: Speech) -> dict[str, Any]:
        """Return what page and API show, in words of this speech."""
        of, ledger = self._settings, self._memory.ledger
        return {
            "standing": [
                {
                    "key": key_of(one.kind, one.subject),
                    "kind": one.kind,
                    "subject": one.subject,
                    "since_ms": one.since_ms,
                    "is_urgent": one.kind in of.urgent,
                    "is_dismissable": one.kind in DISMISSABLE,
                    "text": trouble_text(say, one),
                }
                for one in ledger.standing()
            ],
            "messages": [
                {"made_ms": one.made_ms, "text": message_text(say, one)} for one in ledger.messages
            ],
            "targets": [
                {
                    "name": target.name,
                    "sent_ms": account.sent_ms,
                    "sent": account.sent,
                    "failed": account.failed,
                    "given_up": account.given_up,
                    "owed": len(account.owed),
                    "trouble": account.trouble,
                }
                for target, account in self._accounts()
            ],
            "waiting": len(ledger.waiting),
            "is_quiet": self.is_quiet(),
        }

    def is_quiet(self) -> bool:
        """Tell whether only what is urgent is told now."""
        quiet = self._settings.quiet
        return quiet is not None and quiet.holds(self._zone.local(self._clock_ms()))

    def counts(self) -> tuple[dict[str, int], dict[str, tuple[int, int]]]:
        """Return how many conditions stand, by kind; messages sent and failed, by target."""
        standing = dict.fromkeys((kind for kind in BEGUN if kind in self._settings.kinds), 0)
        for one in self._memory.ledger.standing():
            standing[one.kind] = standing.get(one.kind, 0) + 1
        sent = {target.name: (one.sent, one.failed) for target, one in self._accounts()}
        return standing, sent

    async def test(self) -> None:
        """Send a message to each target; return once that is done, or takes long.

        Raises TooSoon.
        """
        mono_ms = self._mono_ms()
        if self._tested_ms is not None and mono_ms - self._tested_ms < TEST_MS_MIN:
            raise TooSoon(-(-(self._tested_ms + TEST_MS_MIN - mono_ms) // 1000))
        self._tested_ms = mono_ms
        if self._test is not None:
            self._test.cancel()
        self._test = asyncio.create_task(self._send_test())
        await asyncio.wait((self._test,), timeout=TEST_PATIENCE_S)

    async def dismiss(self, key: str) -> bool:
        """Have a condition told no more until it is over; tell whether there was one."""
        is_done = self._memory.ledger.dismiss(key)
        if is_done:
            await self._keep(self._mono_ms())
        return is_done

    # --- helpers -----------------------------------------------------------------------------

    def _accounts(self) -> list[tuple[Target, Account]]:
        return [(one, self._memory.accounts[one.name]) for one in self._settings.targets]

    async def _send_test(self) -> None:
        text = speech_of(self._settings, self._zone).text("alert.test")
        for target, account in self._accounts():
            account.note(await self._try(target, text, "info"), self._clock_ms())
        await self._keep(self._mono_ms())

    async def _try(self, target: Target, body: str, mood_: str) -> str | None:
        account = self._memory.accounts[target.name]
        before = account.trouble
        why = await self._send(target, title_of(self._house), body, mood_)
        self._tries += 1
        if why is not None and before is None:
            self._say("alerts", f"a message could not be sent to {target.name}: {why}")
        elif why is None and before is not None:
            self._say("alerts", f"messages reach {target.name} again")
        return why

    def _listen(self, passed_ms: int) -> None:
        rhythms = self._memory.rhythms
        for server_id, meter in self._view.meters.items():
            latest = meter.latest
            name = (latest.edge, latest.boot, latest.uptime_ms)
            rhythm = rhythms.setdefault(server_id, Rhythm())
            if is_audible(self._view, meter):
                rhythm.listen(passed_ms)
            if self._seen.setdefault(server_id, name) != name:
                self._seen[server_id] = name
                was_unknown = rhythm.usual_ms() is None
                rhythm.hear()
                if was_unknown and rhythm.usual_ms() is not None:
                    self._memory.ledger.changes += 1  # the one thing that must not be forgotten
        for server_id in rhythms.keys() - self._view.meters.keys():
            del rhythms[server_id]

    async def _look_at_nights(self, now_ms: int, mono_ms: int) -> None:
        """Ask for the base load of the last nights, unless that of this one is known."""
        if "base" not in self._settings.kinds or not self._is_house():
            return
        if self._asked_ms is not None and mono_ms - self._asked_ms < NIGHTS_MS:
            return
        self._asked_ms = mono_ms
        zone, today = self._zone, self._zone.day(now_ms)
        is_over = self._zone.local(now_ms).hour >= gauge.NIGHT_HOURS.stop
        if not is_over or (self._nights and self._nights[-1].day == today):
            return
        start_ms = zone.day_start(today - timedelta(days=NIGHTS_MAX))

        def question(history: History) -> list[Night]:
            chosen = members(history.meters())
            if not chosen:
                return []
            span = (start_ms, now_ms)
            found = gauge.gauges_of(history, chosen, gauge.POWER_KEY, span, gauge.QUARTER_S)
            return nights_of(gauge.quarters(found), zone)

        try:
            self._nights = await self._ask(question)
        except StoreError:
            return  # which the page and another rule tell

    def _is_house(self) -> bool:
        """Tell whether there are so few meters that they may be one house's."""
        return len(self._view.meters) <= HOUSE_METERS_MAX

    async def _look_at_meters(self, mono_ms: int) -> None:
        """Ask which meters were exchanged, sooner where one is missed."""
        if "silent" not in self._settings.kinds or not self._is_house():
            return
        is_missed = any(one.kind == "silent" for one in self._memory.ledger.troubles.values())
        wait_ms = MISSED_MS if is_missed else NIGHTS_MS
        if self._compared_ms is not None and mono_ms - self._compared_ms < wait_ms:
            return
        self._compared_ms = mono_ms
        try:
            self._exchanged = await self._ask(exchanged_of)
        except StoreError:
            return  # which the page and another rule tell

    async def _keep(self, mono_ms: int, *, may_wait: bool = False) -> None:
        """Write down what is new, and say that it is; what may wait is written with the next."""
        state = (self._memory.ledger.changes, self._tries)
        if self._shown not in (None, state):
            self._show()
        self._shown = state
        wait_ms = KEEP_MS if state == self._kept else RESTLESS_MS if may_wait else 0
        if self._kept is not None and mono_ms - self._kept_ms < wait_ms:
            return
        self._kept, self._kept_ms = state, mono_ms
        try:
            async with self._keeping:
                await asyncio.to_thread(kept.save, self._path, self._memory.text())
        except OSError as err:
            if self._is_kept:
                LOG.warning("%s cannot be written: %s", self._path, err.strerror)
            self._is_kept = False
            self._kept_ms = mono_ms - KEEP_MS  # tried again at the next look
        else:
            self._is_kept = True

    def _show(self) -> None:
        standing = len(self._memory.ledger.standing())
        self._view.alerts = {"standing": standing, "mark": self._view.alerts["mark"] + 1}
        self._changed()
