"""The Pi daemon: wires an agent to ports, broker and clock, and steps it until told to stop."""

import logging
import os
import random
import signal
import threading
import time

from wattlog import records
from wattlog.agent import Agent
from wattlog.memlog import MemoryLog
from wattlog_pi.mqtt_link import MqttLink
from wattlog_pi.serial_source import SerialSource
from wattlog_pi.settings import Settings

FRAME_BYTES_MAX = 8192
EPOCH_MS_MIN = 1_767_225_600_000  # 2026-01-01: a clock before that has not been set
CRASH_WAIT_S = 1.0

log = logging.getLogger("wattlog-agent")


class SystemClock:
    """The system's clock; a Pi without a battery starts in the past and does not know the time."""

    def epoch_ms(self) -> int | None:
        """Return ms since 1970 UTC, None while the clock is obviously not set."""
        now_ms = time.time_ns() // 1_000_000
        return now_ms if now_ms >= EPOCH_MS_MIN else None


def run(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; return the exit status."""
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
        MemoryLog(settings.log_bytes_max),
        MqttLink(settings.mqtt, settings.edge, boot),
        SystemClock(),
        rng.randrange,
        log.info,
        FRAME_BYTES_MAX,
        bytearray(records.BATCH_BYTES_MAX),
    )
    log.info("agent %s started: %s", settings.edge, ", ".join(s.name for s in sources))
    _loop(agent, stopping)
    agent.stop()
    for source in sources:
        source.close()
    log.info("agent %s stopped", settings.edge)
    return 0


def _loop(agent: Agent, stopping: threading.Event) -> None:
    start_ns = time.monotonic_ns()
    while not stopping.is_set():
        now_ms = (time.monotonic_ns() - start_ns) // 1_000_000
        try:
            due_ms = agent.step(now_ms)
        except Exception:  # the supervisor: a defect of ours must not cost the meter's data
            log.exception("internal error; going on")
            stopping.wait(CRASH_WAIT_S)
        else:
            stopping.wait(max(0, due_ms - now_ms) / 1000)
