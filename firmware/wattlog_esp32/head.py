"""The head: wires one agent to the board and steps it for ever."""

import gc
import os
import sys
import time

import machine
from micropython import const

from wattlog import __version__
from wattlog.agent import Agent
from wattlog.records import BATCH_BYTES
from wattlog.timebase import Uptime
from wattlog_esp32.board import NtpClock, Wifi
from wattlog_esp32.link import UmqttLink
from wattlog_esp32.pulse import Pulse
from wattlog_esp32.start import forget, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from wattlog.ports import Randrange
    from wattlog.ringlog import RingLog
    from wattlog_esp32.filedevice import FileDevice
    from wattlog_esp32.led import Led
    from wattlog_esp32.secure import Tls
    from wattlog_esp32.uart import UartSource

_CRASH_FILE = "crash.txt"
_TICKS_PERIOD_MS = const(1 << 30)  # 12.4 days, then ticks_ms() starts again
_FRAME_BYTES_MAX = const(1_536)
_FRAME_BYTES_MAX_EACH = const(1_024)  # of several meters: the longest frame seen has 684
_WINDOW = const(2)
_SLEEP_MS_MAX = const(50)
_GC_EVERY_MS = const(1_000)
_HEAP_STEP_BYTES = const(1_024)  # the heap's low is said once per so much
# A step takes some seconds at worst, but a broken name server holds the chip longer, and both
# who ask it may do so in one step.
_WATCHDOG_MS = const(120_000)
_CRASH_WAIT_MS = const(1_000)
# What the host may ask for: a command's name, and the module whose Job does it.
_JOBS = (
    (b"raw", "eyes"),
    (b"restart", "eyes"),
    (b"pin", "light"),
    (b"update", "update"),
    (b"chunk", "update"),
)
_NAME_AT = const(3)  # behind the array, the format, and the name's length
_CRASHES_MAX = const(20)  # in a row: then a restart may help


def make(
    config: "dict[str, Any]",
    sources: "list[UartSource]",
    folder: str,
    boot: int,
    randrange: "Randrange",
) -> "Head":
    """Return a head with settings that settings.read() has checked.

    folder  where it keeps what it has to, with a slash at its end
    boot, randrange  see Agent
    """
    cause, crash = _read_crash(folder + _CRASH_FILE)
    forget("crashlog")
    say("%s, boot %08x, after %s" % (__version__, boot, cause))
    if crash is not None:
        say("an earlier start crashed: %s" % crash["text"])
    return Head(config, sources, folder, boot, randrange, cause, crash)


class Head:
    """One board with its meters."""

    def __init__(
        self,
        config: "dict[str, Any]",
        sources: "list[UartSource]",
        folder: str,
        boot: int,
        randrange: "Randrange",
        cause: str,
        crash: "dict[str, object] | None",
    ) -> None:
        edge = config["agent.id"]
        self._uptime = Uptime(_TICKS_PERIOD_MS, _ticks_ms())
        self._wifi = Wifi(config["wifi.ssid"], config["wifi.password"], edge, randrange, say)
        self._clock = NtpClock(config["ntp.host"], self._uptime, randrange, say)
        # Of the link while it receives, of the agent while it sends: never both.
        buffer = bytearray(BATCH_BYTES)
        self._link = UmqttLink(
            config["mqtt.host"],
            config["mqtt.port"],
            config["mqtt.username"],
            config["mqtt.password"],
            edge,
            boot,
            self._wifi.is_up,
            buffer,
            _open_tls(config, folder, self._clock) if config["mqtt.tls"] else None,
        )
        log, kind, trouble, self._file = _open_log(folder)
        forget("storage")
        self._agent = Agent(
            edge,
            boot,
            "esp32",
            sources,  # type: ignore[arg-type]
            log,
            self._link,
            self._clock,
            randrange,
            say,
            _FRAME_BYTES_MAX if len(sources) == 1 else _FRAME_BYTES_MAX_EACH,
            buffer,
            _WINDOW,
            config["uplink.batch_s"] * 1000,
            kind,
            trouble,
            self._describe,
        )
        self._agent.uplink.on_command = self._on_command
        self._who = (sources, edge, boot, self._link)
        self._jobs: dict[str, Any] = {}  # what was asked for, by module
        self._release, self._left = self._start_trial(folder)
        self._led = _open_led(config)
        self._pulses = [Pulse(meter) for meter in self._agent.meters]
        self._stalled: str | None = None
        self._cause = cause
        self._crash_path = folder + _CRASH_FILE
        self._crash = crash  # of an earlier start, until the host has it
        self._told_acked: int | None = None  # the batches that were settled when it was told first
        self._is_noted = False
        self._gc_due_ms = 0
        self._free_bytes_min = self._free_bytes_said = 1 << 30

    def loop(self) -> None:
        """Step for ever; the watchdog restarts the chip when a step does not end, or in vain."""
        watchdog = machine.WDT(timeout=_WATCHDOG_MS)
        self._tidy(0)
        crashes = 0
        while crashes < _CRASHES_MAX:
            try:
                wait_ms = self.step()
                crashes = 0
                if self._stalled is None:
                    watchdog.feed()
            except Exception as err:  # noqa: BLE001 - the supervisor: a defect must not end us
                sys.print_exception(err)  # type: ignore[attr-defined]
                gc.collect()
                self._note_crash(self._uptime.uptime_ms, err)
                crashes += 1
                wait_ms = _CRASH_WAIT_MS
            time.sleep_ms(wait_ms)  # type: ignore[attr-defined]
        self._reset()

    def step(self) -> int:
        """Do everything that is due; return how many ms nothing will be."""
        now_ms = self._uptime.update(_ticks_ms())
        self._wifi.step(now_ms)
        if self._wifi.is_up():
            self._clock.step(now_ms)
        self._link.arm()
        due_ms = self._agent.step(now_ms)
        self._watch(now_ms)
        self._work(now_ms)
        if now_ms >= self._gc_due_ms:
            self._tidy(now_ms)
        # What the step took has to come off the wait.
        past_ms = self._uptime.update(_ticks_ms()) - now_ms
        wait_ms: int = min(due_ms - now_ms, _SLEEP_MS_MAX) - past_ms
        return max(0, wait_ms)

    def _watch(self, now_ms: int) -> None:
        """Look whether we get on, and show it."""
        stalled = None
        has_frames = True
        for pulse in self._pulses:
            stalled = pulse.trouble(now_ms) or stalled
            has_frames = has_frames and pulse.has_frames(now_ms)
        if stalled != self._stalled:
            self._stalled = stalled
            if stalled:
                say(stalled + "; the watchdog will restart the board")
                self._note_crash(now_ms, stalled)
            self._agent.uplink.announce()
        if self._led:
            self._led.step(now_ms, has_frames, self._wifi.is_up(), self._agent.is_connected())
        if self._file:
            self._file.step(now_ms)

    def _work(self, now_ms: int) -> None:
        """Go on with what was asked for from afar."""
        for name in list(self._jobs):
            job = self._jobs[name]
            try:
                is_over = not job.step(now_ms)
            except MemoryError:
                if name == "trial":
                    raise  # what cannot even be judged is left in the end: see loader.py
                say("no memory for what the host asks")
                is_over = True
            if is_over:
                del self._jobs[name]
                job = None
                forget(name)
            elif job.wants_restart:
                self._restart()

    def _on_command(self, payload: bytes, now_ms: int) -> None:
        """Give it to the module that knows it; most commands are for somebody else."""
        for word, name in _JOBS:
            if payload[_NAME_AT : _NAME_AT + len(word)] == word:
                try:
                    self._ask(name, payload, now_ms)
                except MemoryError:
                    say("no memory for what the host asks")

    def _ask(self, name: str, payload: bytes, now_ms: int) -> None:
        """Have the command done by a job, which stays as long as it has something to do."""
        job = self._jobs.get(name)
        if job is None:
            job = self._jobs[name] = _job_of(name)(*self._who)
        job.on_command(payload, now_ms)
        if job.wants_restart:
            self._restart()

    def _start_trial(self, folder: str) -> "tuple[str, str | None]":
        """Return what release this is, and why an update was left; watch one that is on trial."""
        from wattlog_esp32 import slots  # noqa: PLC0415

        release = slots.read_release(folder + slots.running())
        is_trial, left = slots.read_state(folder + "slot")
        if is_trial:
            from wattlog_esp32.trial import Job  # noqa: PLC0415

            self._jobs["trial"] = Job(self._agent, folder + "slot")
        else:
            forget("slots")
        return release, left

    def _note_crash(self, now_ms: int, what: "Exception | str") -> None:
        """Keep it for the next start: the first one only, and while none waits for the host."""
        if self._is_noted:
            return
        self._is_noted = True
        try:
            from wattlog_esp32.crashlog import write  # noqa: PLC0415

            write(self._crash_path, self._who[2], now_ms, what)
            forget("crashlog")
        except (MemoryError, OSError) as err:
            say("this crash cannot be kept for the next start: %s" % err)

    def _restart(self) -> None:
        say("restarting, as it was asked to")
        self._agent.stop()
        self._reset()

    def _reset(self) -> None:
        try:
            if self._file:
                self._file.save()
        except OSError:
            pass  # a power cut would have done the same
        machine.reset()

    def _describe(self, now_ms: int) -> "dict[str, object]":
        """Return what the status says of the board."""
        return {
            "heap_free": gc.mem_free(),  # type: ignore[attr-defined]
            "heap_min": self._free_bytes_min,
            "rssi_dbm": self._wifi.rssi_dbm(),
            "wifi_reconnects": max(0, self._wifi.connects - 1),
            "reset_cause": self._cause,
            "crash": self._tell_crash(),
            "wdt": self._stalled,
            "release": self._release,
            "update": "trial" if "trial" in self._jobs else self._left,
        }

    def _tell_crash(self) -> "dict[str, object] | None":
        """Return the crash of an earlier start, until the host has had a status with it.

        Of the batches that were on their way when it was told first there are as many as the
        window holds; when one more is settled, that one was sent after it, and so both came.
        """
        if self._crash is not None:
            acked = self._agent.uplink.acked
            if self._told_acked is None:
                self._told_acked = acked
            elif acked - self._told_acked > _WINDOW:
                self._crash = None
                try:
                    os.remove(self._crash_path)
                except OSError:
                    say("the note of a crash cannot be removed")  # the next start tells it again
        return self._crash

    def _tidy(self, now_ms: int) -> None:
        """Collect now, at rest and often, so that the heap stays whole."""
        self._gc_due_ms = now_ms + _GC_EVERY_MS
        gc.collect()
        free_bytes = gc.mem_free()  # type: ignore[attr-defined]
        self._free_bytes_min = min(self._free_bytes_min, free_bytes)
        if free_bytes <= self._free_bytes_said - _HEAP_STEP_BYTES:
            self._free_bytes_said = free_bytes
            say("%d bytes of heap free" % free_bytes)


def _job_of(name: str) -> "Callable[..., Any]":
    # Written out: whoever builds the image goes by what is imported.
    if name == "eyes":
        from wattlog_esp32.eyes import Job  # noqa: PLC0415
    elif name == "light":
        from wattlog_esp32.light import Job  # type: ignore[assignment]  # noqa: PLC0415
    else:
        from wattlog_esp32.update import Job  # type: ignore[assignment]  # noqa: PLC0415
    return Job


def _read_crash(path: str) -> "tuple[str, dict[str, object] | None]":
    """Return why the chip started, and how an earlier start crashed."""
    # Needed at a start, at a crash, and not in between.
    from wattlog_esp32.crashlog import cause_words, read  # noqa: PLC0415

    return cause_words(machine.reset_cause()), read(path)


def _open_log(folder: str) -> "tuple[RingLog, str, str | None, FileDevice | None]":
    # Like the settings it is needed once.
    from wattlog_esp32.storage import open_log  # noqa: PLC0415

    return open_log(folder, say)


def _open_led(config: "dict[str, Any]") -> "Led | None":
    if config["led.pin"] is None:
        return None
    from wattlog_esp32.led import Led  # noqa: PLC0415

    return Led(machine.Pin(config["led.pin"], machine.Pin.OUT), config["led.active_low"])


def _open_tls(config: "dict[str, Any]", folder: str, clock: NtpClock) -> "Tls":
    # Here, because a head without it has no heap to spare for it.
    from wattlog_esp32.secure import CA_PATH, Tls  # noqa: PLC0415

    return Tls(folder + CA_PATH, config["mqtt.host"], clock.is_sure)


def _ticks_ms() -> int:
    return time.ticks_ms()  # type: ignore[attr-defined, no-any-return]
