"""The Pi daemon: wires an agent to ports, broker and clock, and steps it until told to stop."""

import logging
import os
import random
import signal
import threading
import time
from collections.abc import Callable

from wattlog import records
from wattlog.agent import Agent
from wattlog_pi.heart import Heart
from wattlog_pi.log import OpenLog, open_log
from wattlog_pi.mqtt_link import MqttLink
from wattlog_pi.notify import Notifier
from wattlog_pi.serial_source import SerialSource
from wattlog_pi.settings import Settings
from wattlog_pi.system_clock import SystemClock

FRAME_BYTES_MAX = 8192
CRASH_WAIT_S = 1.0
GOODBYE_S_MAX = 2.5  # how long a stop waits for the host to take what would be lost
WINDOW = 8

log = logging.getLogger("wattlog-agent")


def run(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; return the exit status. Raises ConfigError."""
    opened = open_log(settings.log_path, settings.log_bytes, log.info)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    boot = int.from_bytes(os.urandom(4), "big") or 1
    rng = random.Random(boot)
    sources = [SerialSource(meter.port, meter.baud, rng.randrange) for meter in settings.meters]
    agent = Agent(
        settings.edge,
        boot,
        "linux",
        list(sources),
        opened.log,
        MqttLink(settings.mqtt, settings.edge, boot),
        SystemClock(),
        rng.randrange,
        log.info,
        FRAME_BYTES_MAX,
        bytearray(records.BATCH_BYTES),
        WINDOW,
        settings.batch_ms,
        opened.kind,
        opened.trouble,
    )
    log.info("agent %s started: %s", settings.edge, ", ".join(s.name for s in sources))
    heart = Heart(agent, Notifier(os.environ), log.info)
    start_ns = time.monotonic_ns()
    _loop(agent, opened, start_ns, stopping.wait, stopping.is_set, heart.beat)
    heart.stop()
    opened.secure()
    if not opened.is_durable:
        _deliver(agent, opened, start_ns)
    agent.stop()
    for source in sources:
        source.close()
    left = agent.waiting()
    opened.close()
    fate = "wait in the log for the next start" if opened.is_durable else "are lost"
    log.info("agent %s stopped%s", settings.edge, f"; {left} records {fate}" if left else "")
    return 0


def _loop(
    agent: Agent,
    opened: OpenLog,
    start_ns: int,
    wait: Callable[[float], object],
    is_done: Callable[[], bool],
    on_step: Callable[[int], None] = lambda _: None,
) -> None:
    """Step the agent until it is done; on_step hears the uptime of each step that went well."""
    while not is_done():
        now_ms = (time.monotonic_ns() - start_ns) // 1_000_000
        try:
            opened.watch(now_ms)
            agent.tell_log_trouble(opened.trouble)
            due_ms = agent.step(now_ms)
            on_step(now_ms)
        except Exception:  # the supervisor: a defect of ours must not cost the meter's data
            log.exception("internal error; going on")
            wait(CRASH_WAIT_S)
        else:
            wait(max(0, due_ms - now_ms) / 1000)


def _deliver(agent: Agent, opened: OpenLog, start_ns: int) -> None:
    """Give the host a moment to take what it has not yet; only where it is there to."""
    agent.stop_reading()
    deadline_ns = time.monotonic_ns() + int(GOODBYE_S_MAX * 1e9)

    def is_done() -> bool:
        is_late = time.monotonic_ns() > deadline_ns
        return is_late or not agent.is_connected() or not agent.waiting()

    _loop(agent, opened, start_ns, time.sleep, is_done)
