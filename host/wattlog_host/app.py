"""The supervisor: wires lock, store, broker, link, intake and page, and stops them in order."""

import asyncio
import contextlib
import gc
import logging
import os
import random
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from prometheus_client.registry import Collector

import wattlog
from wattlog_host import errands
from wattlog_host.access.devices import Rights, devices_in
from wattlog_host.access.kept import AccessRefused, KeptBroken
from wattlog_host.alerts import sending
from wattlog_host.alerts.service import Alerts
from wattlog_host.announce.announcer import Announcer
from wattlog_host.announce.backfill import Backfill
from wattlog_host.announce.service import LAST_WILL, Announcements
from wattlog_host.backup.keeper import Keeper
from wattlog_host.broker import BrokerUnusable, EmbeddedBroker
from wattlog_host.clock import local_text, monotonic_ms, now_ms, show_times_of
from wattlog_host.dess.panel import Panel
from wattlog_host.dess.parts import solar_of
from wattlog_host.dess.service import Service
from wattlog_host.dess.shown import Inverter
from wattlog_host.intake import Intake
from wattlog_host.live import EVENTS_SHOWN, HostView, LiveView
from wattlog_host.mqtt import MqttLink
from wattlog_host.settings import Settings, is_loopback
from wattlog_host.snapshot import readings_of, snapshot
from wattlog_host.store.lookup import LOSSES_SHOWN
from wattlog_host.store.records import StoreError
from wattlog_host.store.role import Role
from wattlog_host.store.store import Store
from wattlog_host.stream import Hub
from wattlog_host.updates import Updates
from wattlog_host.web.app import make_app
from wattlog_host.web.connection import Connection
from wattlog_host.web.door import Door
from wattlog_host.web.entrance import door_of
from wattlog_host.web.questions import House
from wattlog_pi.notify import Notifier
from wattlog_pi.system_clock import LastingTrust

LOG = logging.getLogger(__name__)

STOP_HTTP_S = 2
UPDATE_ANSWERS_MAX = 100
SWITCH_S = 0.0005
"""So long a thread that works keeps the others waiting.

A commit lets go of the interpreter at each statement, and gets it back behind those who answer
questions: at Python's own 5 ms an acknowledgement took up to three times as long as with this,
beside ten browsers that load years.
"""


class StartError(Exception):
    """The host cannot start; str() is one line that says what to change."""


class _Server(uvicorn.Server):
    """uvicorn without its own idea of signals: the supervisor decides the order of the end."""

    def __init__(self, config: uvicorn.Config, on_serving: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_serving = on_serving

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_serving()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


async def run(settings: Settings) -> None:
    """Run the host until SIGTERM or SIGINT; raise StartError where it cannot start.

    ConfigError where a setting is wrong, so that another start would not help.
    """
    sys.setswitchinterval(SWITCH_S)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_log_stray)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    http = _listen(settings)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(http.close)
        await _check_targets(settings)
        door = _door(settings)
        store = await _open_store(settings)
        stack.push_async_callback(_close_store, store)
        embedded = None
        if settings.mqtt_embedded:
            embedded = await stack.enter_async_context(_embedded_broker(settings))
        keeper = None
        if settings.backup.enabled and isinstance(settings.database, Path):
            keeper = Keeper(settings.database, settings.backup)
            stack.callback(keeper.stop)
        await _serve(settings, store, http, door, embedded, keeper, stop)


async def _check_targets(settings: Settings) -> None:
    try:
        await asyncio.to_thread(sending.check, settings.alerts)
    except sending.SenderBroken as err:
        LOG.warning("%s", err)  # readings are worth more than messages


async def _serve(
    settings: Settings,
    store: Store,
    http: socket.socket,
    door: Door,
    embedded: EmbeddedBroker | None,
    keeper: Keeper | None,
    stop: asyncio.Event,
) -> None:
    show_times_of(settings.house.zone.info)
    view = await _view(store)
    announcements = _announcements(
        settings, view, lambda: () if panel is None else panel.inverters()
    )
    hub = Hub(lambda: snapshot(view, now_ms()), lambda: readings_of(view))
    outage = _Outage(view, lambda text: intake.say("broker", text), announcements.on_connect)
    link = MqttLink(
        settings,
        outage.on_change,
        None if embedded is None else embedded.login,
        (announcements.birth_topic,),
        LAST_WILL,
    )
    intake = Intake(store, view, link.publish, hub.changed, now_ms, LastingTrust())
    collectors: list[Collector] = [store.commit_seconds]
    if embedded is not None:
        embedded.tell_to(partial(intake.say, "broker"))
        collectors.append(embedded.refused)
    intake.say("host", _start_text(store, view.host.started_ms))
    updates = Updates(settings.data / "updates", intake.say)
    view.updates = updates.progress
    inbox = _Inbox(intake, updates, announcements, hub.changed)
    solar, panel = _solar(settings, store, intake)
    notifier = Notifier(os.environ)
    address = _address(settings)
    alerts = _alerts(settings, store, view, intake, hub, panel)
    server = _Server(
        uvicorn.Config(
            make_app(
                view,
                hub,
                store,
                now_ms,
                settings.http_hostnames,
                house_of(settings),
                store.changes,
                panel,
                door,
                collectors,
                alerts,
            ),
            http=Connection,
            ssl_context_factory=_tls(settings),
            log_config=None,
            # Its warnings are a line for each visitor's mistake: anyone could fill the log.
            log_level="error",
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=STOP_HTTP_S,
        ),
        lambda: notifier.ready(errands.status_line(view, address)),
    )
    acts: dict[str, Callable[[], Awaitable[None]]] = {
        "heart": lambda: errands.beat(
            notifier, store, partial(errands.status_line, view, address)
        ),
        "intake": intake.run,
        "mqtt": lambda: link.run(inbox.on_message),
        "events": hub.run,
        "buckets": lambda: store.keep_rolled(partial(errands.on_aside, view, intake.say)),
        "retention": lambda: errands.let_go(settings, store),
        "sizes": lambda: errands.measure(settings, store, view, hub.changed),
        "wishes": lambda: errands.wish(hub, view, link, settings.announce.wants_all_live()),
        "announcements": lambda: announcements.run(link),
        "updates": lambda: errands.update(updates, inbox.answers, view, link),
        "alerts": alerts.run,
        "alert messages": alerts.deliver,
    }
    acts |= _acts_if_wished(settings, store, view, intake, solar, keeper, hub.changed)
    # All that was imported stays for ever; the collector need not look at it again and again,
    # which took a third of the time of storing a reading.
    gc.collect()
    gc.freeze()
    tasks = [asyncio.create_task(errands.supervised(name, act)) for name, act in acts.items()]
    serving = asyncio.create_task(server.serve(sockets=[http]))
    LOG.info("page: %s", address)
    waiting = asyncio.create_task(stop.wait())
    await asyncio.wait((waiting, serving), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    notifier.stopping("writing what was taken")
    hub.close()
    server.should_exit = True
    await serving
    await announcements.say_goodbye(link)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    # What was taken from the broker is still written; its agents are not answered any more.
    await intake.flush()


def _acts_if_wished(
    settings: Settings,
    store: Store,
    view: LiveView,
    intake: Intake,
    solar: Service | None,
    keeper: Keeper | None,
    changed: Callable[[], None],
) -> dict[str, Callable[[], Awaitable[None]]]:
    """Return what goes on only where the settings want it."""
    acts: dict[str, Callable[[], Awaitable[None]]] = {}
    if solar is not None:
        acts["solar"] = solar.run
    if settings.announce.backfill_url:
        acts["backfill"] = Backfill(settings.announce, store, now_ms, intake.say).run
    if settings.cell_share is not None:
        acts["others"] = lambda: errands.follow(store, view, changed)
    if keeper is not None:
        acts["backup"] = lambda: errands.back_up(keeper, store, view, intake.say)
    return acts


async def _view(store: Store) -> LiveView:
    """Return the present as it was left."""
    view = LiveView(HostView(wattlog.__version__, now_ms()), store.counters)
    view.events.extend(await store.events(EVENTS_SHOWN))
    view.on_latest(await store.latest(), now_ms())
    view.losses = await store.losses(LOSSES_SHOWN)
    view.host.database_bytes = store.size_bytes()
    return view


def _solar(
    settings: Settings, store: Store, intake: Intake
) -> tuple[Service | None, Panel | None]:
    """Return the poller of the solar cloud and its pages, None for both where it is off."""
    if not settings.dess.is_enabled:
        return None, None
    loop = asyncio.get_running_loop()

    def say(text: str) -> None:
        # It speaks from a thread of its own.
        loop.call_soon_threadsafe(intake.say, "solar", text)

    return solar_of(settings.dess, settings.data, store, os.environ, say, random.random)


def _alerts(
    settings: Settings,
    store: Store,
    view: LiveView,
    intake: Intake,
    hub: Hub,
    panel: Panel | None,
) -> Alerts:
    return Alerts(
        settings.alerts,
        settings.house.name,
        settings.house.zone,
        settings.data,
        view,
        store.ask,
        sending.send,
        intake.say,
        hub.changed,
        now_ms,
        monotonic_ms,
        None if panel is None else panel.standing,
    )


def _door(settings: Settings) -> Door:
    try:
        return door_of(settings, now_ms, monotonic_ms)
    except (AccessRefused, KeptBroken) as err:
        raise StartError(str(err)) from err


def _tls(settings: Settings) -> Callable[..., ssl.SSLContext] | None:
    certificate = settings.http_tls
    return None if certificate is None else lambda *_: certificate.context()


def house_of(settings: Settings) -> House:
    """Return what the API is to know of the house."""
    house = settings.house
    return House(house.name, house.zone, house.currency, house.prices())


def _announcements(
    settings: Settings, view: LiveView, solar: Callable[[], Sequence[Inverter]]
) -> Announcements:
    announcer, prefix = Announcer(settings.announce, wattlog.__version__), settings.announce.prefix
    return Announcements(announcer, prefix, view, now_ms, random.random, solar)


class _Inbox:
    """Hands what comes from the broker to whom it is for."""

    def __init__(
        self,
        intake: Intake,
        updates: Updates,
        announcements: Announcements,
        changed: Callable[[], None],
    ) -> None:
        self.answers: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(UPDATE_ANSWERS_MAX)
        self._intake = intake
        self._updates = updates
        self._announcements = announcements
        self._changed = changed

    def on_message(self, topic: str, payload: bytes) -> None:
        """Take one message; never waits."""
        if topic == self._announcements.birth_topic:
            self._announcements.on_birth(payload)
        elif topic.endswith("/u"):
            answer = self._updates.on_message(topic, payload, monotonic_ms())
            # Who gets none asks again.
            if answer is not None and not self.answers.full():
                self.answers.put_nowait(answer)
            self._changed()
        else:
            self._intake.on_message(topic, payload)


class _Outage:
    """Turns the link's changes into events: nothing at the first connect, then both ways."""

    def __init__(
        self, view: LiveView, say: Callable[[str], None], on_connect: Callable[[], None]
    ) -> None:
        self._view = view
        self._say = say
        self._on_connect = on_connect
        self._was_lost = False

    def on_change(self, trouble: str | None) -> None:
        """Note that the connection is lost (why) or there (None)."""
        self._view.host.broker_trouble = trouble
        if trouble is not None:
            self._say(f"no broker connection: {trouble}")
        elif self._was_lost:
            self._say("broker connection is back")
        if trouble is None:
            self._on_connect()
        self._was_lost = trouble is not None


def _listen(settings: Settings) -> socket.socket:
    """Return the page's listening socket."""
    host, port = settings.http_listen, settings.http_port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as err:
        why = err.strerror if isinstance(err, OSError) else "is no name of a machine"
        raise StartError(f"http.listen: {host}: {why}") from err
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(128)
    except OSError as err:
        made.close()
        raise StartError(
            f"cannot serve the page at {host}:{port}: {err.strerror}; set another http.port"
        ) from err
    made.setblocking(False)
    if not is_loopback(host) and settings.http_tls is None:
        LOG.warning(
            "passwords and readings cross the network as they are: set http.cert_file, or have a "
            "proxy speak TLS"
        )
    return made


@contextlib.asynccontextmanager
async def _embedded_broker(settings: Settings) -> AsyncIterator[EmbeddedBroker]:
    """Run the broker."""
    host, port = settings.mqtt_listen, settings.mqtt_port
    try:
        rights = Rights(devices_in(settings.data), is_exposed=not is_loopback(host))
        broker = EmbeddedBroker(host, port, rights, settings.mqtt_own_tls)
        await broker.start()
    except KeptBroken as err:
        raise StartError(str(err)) from err
    except BrokerUnusable as err:
        raise StartError(
            f"cannot run the embedded broker at {host}:{port}: {err}; set another mqtt.port, "
            "or embedded = false to use the broker that is there"
        ) from err
    try:
        yield broker
    finally:
        await broker.stop()


async def _open_store(settings: Settings) -> Store:
    try:
        role = Role.ALONE if settings.cell_share is None else Role.LEAD
        return await asyncio.to_thread(
            Store, settings.database, wattlog.__version__, now_ms(), role
        )
    except StoreError as err:
        raise StartError(str(err)) from err


async def _close_store(store: Store) -> None:
    try:
        await store.close(now_ms())
    except StoreError as err:
        LOG.warning("the end of this run could not be noted: %s", err)


def _start_text(store: Store, started_ms: int) -> str:
    previous = store.previous
    if previous is None:
        return "host started for the first time"
    if previous.ended_ms is not None:
        return "host started"
    if previous.last_data_ms is None:
        return "host stopped unexpectedly before any data came; started again"
    last = local_text(previous.last_data_ms, started_ms)
    gap_s = max(0, started_ms - previous.last_data_ms) // 1000
    return f"host stopped unexpectedly; last data {last}; back after {gap_s} s"


def _address(settings: Settings) -> str:
    host = settings.http_listen
    scheme = "http" if settings.http_tls is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.http_port}/"


def _log_stray(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log in one line what no task waits for; a library's leftovers are no traceback."""
    LOG.debug("stray: %s: %r", context.get("message"), context.get("exception"))
