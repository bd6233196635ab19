"""The IR head: wires one agent to the board and steps it for ever."""

import gc
import os
import random
import sys
import time

import esp32
import machine
from micropython import const

from wattlog import __version__
from wattlog.agent import Agent
from wattlog.records import BATCH_BYTES
from wattlog.ringlog import LogError, RingLog
from wattlog.timebase import Uptime
from wattlog_esp32 import settings
from wattlog_esp32.board import NtpClock, UartSource, Wifi
from wattlog_esp32.link import UmqttLink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CONFIG_PATH = "/wattlog.json"
_TICKS_PERIOD_MS = const(1 << 30)  # 12.4 days, then ticks_ms() starts again
_PARTITION = "ringlog"
_MEMORY_SECTORS = const(8)  # of a log where there is no such partition
_MEMORY_SECTOR_BYTES = const(512)
_FRAME_BYTES_MAX = const(2_048)
_WINDOW = const(2)
_SLEEP_MS_MAX = const(50)
_GC_EVERY_MS = const(1_000)
_HEAP_STEP_BYTES = const(1_024)  # the heap's low is said once per so much
# A step takes some seconds at worst, but a broken name server holds the chip longer.
_WATCHDOG_MS = const(60_000)
_CRASH_WAIT_MS = const(1_000)
_CRASHES_MAX = const(20)  # in a row: then a restart may help


def say(text: str) -> None:
    """Tell a person at the serial console."""
    print("wattlog: " + text)  # noqa: T201 - the console is all there is


def run(path: str = CONFIG_PATH) -> None:
    """Read the settings and run for ever; ask for them where they cannot be used."""
    try:
        config = settings.read(path)
    except settings.ConfigError as err:
        say(str(err))
        # Here, because a head that is set up never needs it.
        from wattlog_esp32 import unset  # noqa: PLC0415

        unset.run(path)
        return
    main(config)


def main(config: "dict[str, Any]") -> None:
    """Run for ever with settings that settings.read() has checked."""
    boot = int.from_bytes(os.urandom(4), "big") or 1
    random.seed(boot)
    say("%s, boot %08x, reset cause %d" % (__version__, boot, machine.reset_cause()))
    Head(config, boot).loop()


class Head:
    """One board with one meter."""

    def __init__(self, config: "dict[str, Any]", boot: int) -> None:
        edge = config["agent.id"]
        self._uptime = Uptime(_TICKS_PERIOD_MS, _ticks_ms())
        self._wifi = Wifi(
            config["wifi.ssid"], config["wifi.password"], edge, random.randrange, say
        )
        self._clock = NtpClock(config["ntp.host"], self._uptime, random.randrange, say)
        source = UartSource(
            config["meter.uart"], config["meter.baud"], config["meter.rx"], config["meter.tx"]
        )
        link = UmqttLink(
            config["mqtt.host"],
            config["mqtt.port"],
            config["mqtt.username"],
            config["mqtt.password"],
            edge,
            boot,
            self._wifi.is_up,
        )
        log, kind, trouble = _open_log()
        self._agent = Agent(
            edge,
            boot,
            "esp32",
            [source],
            log,
            link,
            self._clock,
            random.randrange,
            say,
            _FRAME_BYTES_MAX,
            bytearray(BATCH_BYTES),
            _WINDOW,
            config["uplink.batch_s"] * 1000,
            kind,
            trouble,
        )
        self._gc_due_ms = 0
        self._free_bytes_said = 1 << 30

    def loop(self) -> None:
        """Step for ever; the watchdog restarts the chip when a step does not end."""
        watchdog = machine.WDT(timeout=_WATCHDOG_MS)
        crashes = 0
        while crashes < _CRASHES_MAX:
            try:
                wait_ms = self.step()
                crashes = 0
            except Exception as err:  # noqa: BLE001 - the supervisor: a defect must not end us
                sys.print_exception(err)  # type: ignore[attr-defined]
                gc.collect()
                crashes += 1
                wait_ms = _CRASH_WAIT_MS
            watchdog.feed()
            time.sleep_ms(wait_ms)  # type: ignore[attr-defined]
        machine.reset()

    def step(self) -> int:
        """Do everything that is due; return how many ms nothing will be."""
        now_ms = self._uptime.update(_ticks_ms())
        self._wifi.step(now_ms)
        if self._wifi.is_up():
            self._clock.step(now_ms)
        due_ms = self._agent.step(now_ms)
        if now_ms >= self._gc_due_ms:
            self._tidy(now_ms)
        # What the step took has to come off the wait.
        past_ms = self._uptime.update(_ticks_ms()) - now_ms
        wait_ms: int = min(due_ms - now_ms, _SLEEP_MS_MAX) - past_ms
        return max(0, wait_ms)

    def _tidy(self, now_ms: int) -> None:
        """Collect now, at rest and often, so that the heap stays whole."""
        self._gc_due_ms = now_ms + _GC_EVERY_MS
        gc.collect()
        free_bytes = gc.mem_free()  # type: ignore[attr-defined]
        if free_bytes <= self._free_bytes_said - _HEAP_STEP_BYTES:
            self._free_bytes_said = free_bytes
            say("%d bytes of heap free" % free_bytes)


def _open_log() -> "tuple[RingLog, str, str | None]":
    """Return the log in flash, or else one in memory; its kind, and why it is not in flash."""
    found = esp32.Partition.find(esp32.Partition.TYPE_DATA, label=_PARTITION)
    trouble = "there is no partition %s" % _PARTITION
    if found:
        try:
            log = RingLog(found[0], _new_id)
        except LogError as err:
            trouble = str(err)
        else:
            say("%d records wait in flash" % log.stats().records)
            return log, "flash", None
    # Here, because a head with a partition has no room to spare for it.
    from wattlog.ramdevice import RamDevice  # noqa: PLC0415

    say("%s: readings wait in memory only, and a power cut loses them" % trouble)
    return RingLog(RamDevice(_MEMORY_SECTORS, _MEMORY_SECTOR_BYTES), _new_id), "memory", trouble


def _new_id() -> int:
    return int.from_bytes(os.urandom(4), "big")


def _ticks_ms() -> int:
    return time.ticks_ms()  # type: ignore[attr-defined, no-any-return]
