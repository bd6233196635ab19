"""A head that was not set up, but knows its meter: the readings wait in the log.

Nothing is sent: without good settings nobody knows under which name, and to whom.
"""

import os
import random  # noqa: TID251 - a rim
import time

import esp32
import machine

from wattlog.agent import Agent
from wattlog.compat import const
from wattlog.records import BATCH_BYTES
from wattlog.ringlog import LogError, RingLog
from wattlog.timebase import Uptime
from wattlog.uplink import LinkError
from wattlog_esp32.uart import UartSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wattlog.ports import Say

_TICKS_PERIOD_MS = const(1 << 30)
_FRAME_BYTES_MAX = const(2_048)
_WINDOW = const(2)
_WATCHDOG_MS = const(60_000)


class NoLink:
    """A Link to nowhere."""

    def open(self, _will: bytes) -> None:
        """Raise LinkError."""
        raise LinkError("this head is not set up")

    def is_up(self) -> bool:
        """Return False."""
        return False

    def publish(self, _topic: str, _payload: "bytes | memoryview", _retain: bool) -> None:
        """Raise LinkError."""
        raise LinkError("this head is not set up")

    def receive(self) -> None:
        """Return None."""

    def close(self) -> None:
        """Do nothing."""


class NoClock:
    """A Clock that nobody sets."""

    def epoch_ms(self) -> None:
        """Return None."""

    def is_sure(self) -> bool:
        """Return False."""
        return False


def run(known: "dict[str, Any]", say: "Say") -> None:
    """Log readings until the power goes; return where there is no meter or nothing to log in."""
    found = esp32.Partition.find(esp32.Partition.TYPE_DATA, label="ringlog")
    if not found:
        return
    try:
        log = RingLog(found[0], _new_id)
        source = UartSource(
            known.get("meter.uart", 1),
            known.get("meter.baud", 9600),
            known["meter.rx"],
            known["meter.tx"],
            known.get("meter.invert", False),
        )
    except (LogError, ValueError, OSError) as err:
        say(str(err))
        return
    say("metering goes on; readings wait in flash until this head is set up")
    uptime = Uptime(_TICKS_PERIOD_MS, _ticks_ms())
    agent = Agent(
        "offline",
        _new_id() or 1,
        "esp32",
        [source],
        log,
        NoLink(),
        NoClock(),
        random.randrange,
        say,
        _FRAME_BYTES_MAX,
        bytearray(BATCH_BYTES),
        _WINDOW,
        30_000,
        "flash",
    )
    watchdog = machine.WDT(timeout=_WATCHDOG_MS)
    while True:
        now_ms = uptime.update(_ticks_ms())
        due_ms = agent.step(now_ms)
        watchdog.feed()
        time.sleep_ms(max(0, due_ms - now_ms))  # type: ignore[attr-defined]


def _new_id() -> int:
    return int.from_bytes(os.urandom(4), "big")


def _ticks_ms() -> int:
    return time.ticks_ms()  # type: ignore[attr-defined, no-any-return]
