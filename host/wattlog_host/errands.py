"""What the host does beside serving, each for ever: wishes, updates, retention, sizes, backups.

And telling the service manager that all of it gets on.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from wattlog_host.backup.keeper import Keeper
from wattlog_host.clock import monotonic_ms, now_ms
from wattlog_host.forecast import forecast
from wattlog_host.live import LiveView
from wattlog_host.mqtt import MqttLink
from wattlog_host.settings import Settings
from wattlog_host.store.others import Others
from wattlog_host.store.records import METERS_SHOWN_MAX, StoreError
from wattlog_host.store.store import Store
from wattlog_host.stream import Hub
from wattlog_host.updates import UNPROVEN, Updates
from wattlog_host.wire import pack_live_wish, topic_command
from wattlog_host.wishes import WISH_S, LiveWishes
from wattlog_pi.notify import Notifier

LOG = logging.getLogger(__name__)

RESTART_S_MIN = 1.0
RESTART_S_MAX = 30.0
WISH_LOOK_S = 5.0
RETENTION_S = 3_600.0
DAY_MS = 86_400_000
UPDATE_LOOK_S = 5.0
BACKUP_LOOK_S = 300.0
SIZE_LOOK_S = 3_600.0
FOLLOW_S = 2.0


async def supervised(name: str, act: Callable[[], Awaitable[None]]) -> None:
    """Run act for ever; should it fail, say so in one line and start it again, ever later."""
    wait_s = RESTART_S_MIN
    while True:
        started_ms = monotonic_ms()
        try:
            await act()
        except Exception as err:
            trace = LOG.isEnabledFor(logging.DEBUG)
            LOG.error("%s failed and is started again: %r", name, err, exc_info=trace)
        if monotonic_ms() - started_ms > 1000 * RESTART_S_MAX:
            wait_s = RESTART_S_MIN  # it ran well for a while: this is another failure
        await asyncio.sleep(wait_s)
        wait_s = min(2 * wait_s, RESTART_S_MAX)


async def wish(hub: Hub, view: LiveView, link: MqttLink, is_always: bool) -> None:
    """Ask the agents for every reading at once, always or for as long as somebody watches."""
    wishes = LiveWishes()
    while True:
        for edge in wishes.due(
            is_watched=is_always or hub.is_watched(), edges=view.online(), now_ms=monotonic_ms()
        ):
            if await link.publish(topic_command(edge), pack_live_wish(WISH_S)):
                wishes.asked(edge, monotonic_ms())
        await hub.wait_for_watcher(WISH_LOOK_S)


async def let_go(settings: Settings, store: Store) -> None:
    """Let go of single readings that are too old; have a place for those to come."""
    while True:
        await store.make_days(now_ms())
        if settings.store_raw_days:
            count = await store.let_go_before(now_ms() - settings.store_raw_days * DAY_MS)
            if count:
                text = "let go of %d batches older than %d days"
                LOG.info(text, count, settings.store_raw_days)
        await asyncio.sleep(RETENTION_S)


async def follow(store: Store, view: LiveView, changed: Callable[[], None]) -> None:
    """Show what the other writers of a cell have stored; the own part of it is known already."""
    others = Others(METERS_SHOWN_MAX)
    while True:
        news = await store.news_of(others)
        for event in news.events:
            if event not in view.events:
                view.events.appendleft(event)
        view.on_latest(news.latest, now_ms())
        view.losses = news.losses
        changed()
        await asyncio.sleep(FOLLOW_S)


def on_aside(view: LiveView, say: Callable[[str, str], None], count: int) -> None:
    """Show of how many hours not all readings are in the buckets; say so when there are more."""
    before, view.host.hours_aside = view.host.hours_aside or 0, count
    if count > before:
        say("buckets", f"hours with readings that cannot be read: {count}; all others are there")


async def measure(
    settings: Settings, store: Store, view: LiveView, changed: Callable[[], None]
) -> None:
    """Look now and then how large the database is and will be."""
    while True:
        view.host.forecast = forecast(await store.measure(now_ms()), settings.store_raw_days)
        changed()
        await asyncio.sleep(SIZE_LOOK_S)


async def update(
    updates: Updates, answers: asyncio.Queue[tuple[str, bytes]], view: LiveView, link: MqttLink
) -> None:
    """Offer heads what lies there for them, and hand out what they ask for."""
    while True:
        unproven = view.updates_left_for(UNPROVEN)
        for topic, payload in updates.offers(view.releases(), unproven, monotonic_ms()).items():
            await link.publish(topic, payload)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(UPDATE_LOOK_S):
                await link.publish(*await answers.get())


async def back_up(
    keeper: Keeper, store: Store, view: LiveView, say: Callable[[str, str], None]
) -> None:
    """Make a backup every hour; say when there is none, once, and when there is one again."""
    while True:
        view.host.backups = keeper.state
        await asyncio.sleep(min(keeper.wait_ms(now_ms()) / 1000, BACKUP_LOOK_S))
        at_ms = now_ms()
        if keeper.wait_ms(at_ms):
            continue  # so long sleeps would miss that the clock was set
        before = keeper.state.trouble
        try:
            # What was put in the place of our file is not what we have committed to.
            await store.check()
            await asyncio.to_thread(keeper.make, at_ms)
        except StoreError as err:
            keeper.fail(str(err), at_ms)
            if before is None:
                say("backup", f"no backup: {err}")
        else:
            if before is not None:
                say("backup", "there are backups again")


async def beat(notifier: Notifier, store: Store, line: Callable[[], str]) -> None:
    """Tell the service manager now and then that the loop runs and the writer's thread answers.

    A database that refuses is no reason to be silent: another start would not mend it, and the
    page says what is wrong.
    """
    while notifier.beat_ms is not None:
        await store.answer()
        notifier.alive(line())
        await asyncio.sleep(notifier.beat_ms / 1000)
    await asyncio.Event().wait()


def status_line(view: LiveView, address: str) -> str:
    """Return one line for `systemctl status`."""
    at_ms = now_ms()
    fresh = sum(not meter.is_stale(at_ms) for meter in view.meters.values())
    return line_of(view, f"page {address}", f"{fresh} of {len(view.meters)} meters send")


def line_of(view: LiveView, *parts_before: str) -> str:
    """Return these parts, and what is wrong with the database or the broker, in one line."""
    parts = list(parts_before)
    parts += [view.host.store_trouble] if view.host.store_trouble else []
    if view.host.broker_trouble:
        parts.append(f"no broker connection: {view.host.broker_trouble}")
    return "; ".join(parts)
