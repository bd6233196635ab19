"""A worker of a cell: stores its share of the batches and makes buckets, and nothing else.

What a worker takes is what the shared subscription gives it; the lead of the cell, an ordinary
host with the same settings, does all the rest. They may come and go: whatever one had taken
and not stored, the agents send again.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable

import wattlog
from wattlog.config import ConfigError
from wattlog_host import errands
from wattlog_host.app import SWITCH_S
from wattlog_host.clock import now_ms
from wattlog_host.intake import Intake
from wattlog_host.live import HostView, LiveView
from wattlog_host.mqtt import BATCHES, MqttLink
from wattlog_host.settings import Settings
from wattlog_host.store.records import StoreError
from wattlog_host.store.role import Role
from wattlog_host.store.store import Store
from wattlog_pi.notify import Notifier
from wattlog_pi.system_clock import LastingTrust

LOG = logging.getLogger(__name__)


async def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT; raise StoreError or ConfigError where it cannot start."""
    if settings.cell_share is None:
        raise ConfigError(f"{settings.name}: a worker is of a cell: set cell.share")
    sys.setswitchinterval(SWITCH_S)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    store = await asyncio.to_thread(
        Store, settings.database, wattlog.__version__, now_ms(), Role.WORKER
    )
    view = LiveView(HostView(wattlog.__version__, now_ms()), store.counters)

    def on_change(trouble: str | None) -> None:
        view.host.broker_trouble = trouble
        LOG.info("%s", "broker: connected" if trouble is None else f"no broker: {trouble}")

    link = MqttLink(settings, on_change, reads=(BATCHES,))
    intake = Intake(store, view, link.publish, lambda: None, now_ms, LastingTrust())

    def line() -> str:
        return errands.line_of(view, f"worker of {settings.cell_share}")

    notifier = Notifier(os.environ)
    acts: dict[str, Callable[[], Awaitable[None]]] = {
        "heart": lambda: errands.beat(notifier, store, line),
        "intake": intake.run,
        "mqtt": lambda: link.run(intake.on_message),
        "buckets": lambda: store.keep_rolled(lambda _: None),
    }
    tasks = [asyncio.create_task(errands.supervised(name, act)) for name, act in acts.items()]
    LOG.info("%s", line())
    notifier.ready(line())
    await stop.wait()
    notifier.stopping("writing what was taken")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await intake.flush()
    with contextlib.suppress(StoreError):
        await store.close(now_ms())
