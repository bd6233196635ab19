"""A head without settings: its own Wi-Fi with the portal's page, and Improv at the serial port.

Loaded in the agent's place, never beside it: the heap holds one of the two.
"""

import gc
import os
import select
import sys
import time

import machine
import micropython
import network

from wattlog import __version__
from wattlog.compat import const
from wattlog.timebase import Uptime
from wattlog_esp32 import improv, partial, settings
from wattlog_esp32.portal import Portal, write_settings, write_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wattlog.ports import Say

# Letters and digits that nobody takes for another one.
KEY_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
KEY_SIZE = const(12)  # 59 bits
_HTTP_PORT = const(80)
_WPA2 = const(3)
_TICKS_PERIOD_MS = const(1 << 30)
_STEP_MS = const(10)
_GC_EVERY_MS = const(1_000)
_WATCHDOG_MS = const(60_000)
_UNUSED_MS_MAX = const(600_000)
_OPEN_MS_MAX = const(3_600_000)  # in use or not
_JOIN_MS_MAX = const(20_000)
_CRASHES_MAX = const(20)  # in a row: then a restart may help
_STDIN_BYTES = const(256)  # per step; 115200 baud bring 115
_UART_RX_BYTES = const(1_024)
_UART_READ_BYTES = const(256)
_FRAME_BYTES_MAX = const(1_024)  # the longest frame seen has 684
# What a form proposes, by a part of the chip's name: firmware/FLASHING.md.
_PINS = (("C3", 4, 5), ("S3", 4, 5), ("", 16, 17))


def run(path: str, say: "Say", known: "dict[str, Any]") -> None:
    """Wait until somebody gives this head its settings, then restart; return if nobody does.

    known  of the settings, which stand in the form for whoever has the key
    """
    Provision(path, say, known).loop()


class Provision:
    """One head that asks for its settings."""

    def __init__(self, path: str, say: "Say", known: "dict[str, Any]") -> None:
        self._path = path
        self._say = say
        self._uptime = Uptime(_TICKS_PERIOD_MS, _ticks_ms())
        self._begin_ms = self._uptime.uptime_ms
        self._key = read_key(path.rpartition("/")[0] + "/setup.key")
        self._ap = network.WLAN(network.AP_IF)
        self._ap.active(True)
        mac = self._ap.config("mac")
        self._name = "wattlog-%02x%02x%02x" % (mac[3], mac[4], mac[5])
        self._ap.config(ssid=self._name, security=_WPA2, key=self._key, max_clients=2)
        if self._ap.config("security") != _WPA2:
            self._ap.active(False)
            raise OSError("the Wi-Fi of this head would be open to everybody")
        self._sta: Any = None
        self._join_ms: int | None = None  # when an attempt began
        self._meter = MeterLook(self._uptime)
        rx, tx = _pins()
        port = 8883 if known.get("mqtt.tls") else 1883
        proposed = {"agent.id": self._name, "mqtt.port": port}
        proposed.update({"meter.rx": rx, "meter.tx": tx, "meter.uart": 1})
        self._portal = Portal(
            _HTTP_PORT,
            self._key,
            self._is_host,
            proposed,
            known,
            self._meter,
            self._save,
            os.urandom,
            self._begin_ms,
        )
        self._improv = improv.Improv(
            self._join, ["wattlog", __version__, sys.platform, self._name], self._scan
        )
        self._poller = select.poll()
        self._poller.register(sys.stdin, select.POLLIN)
        self._gc_due_ms = 0
        self._crashes = 0
        say("no usable settings: join the Wi-Fi %s, password %s" % (self._name, self._key))
        say("then open http://%s/ there" % self._address(self._ap))

    def loop(self) -> None:
        """Serve until settings are kept, then restart; return when nobody has come for long."""
        watchdog = machine.WDT(timeout=_WATCHDOG_MS)
        # The byte of a Ctrl-C is in every packet of Improv; the head looks for it itself.
        micropython.kbd_intr(-1)
        try:
            while self._guarded_step():
                watchdog.feed()
                time.sleep_ms(_STEP_MS)  # type: ignore[attr-defined]
        finally:
            micropython.kbd_intr(3)
            self._portal.close()
            self._meter.close()
            self._ap.active(False)
        if self._portal.is_saved:
            self._say("the settings are kept, restarting")
            machine.reset()

    def _guarded_step(self) -> bool:
        try:
            on = self.step()
            self._crashes = 0
        except Exception as err:  # noqa: BLE001 - the supervisor: a defect must not end us
            sys.print_exception(err)  # type: ignore[attr-defined]
            self._portal.drop()
            self._meter.close()
            self._crashes += 1
            if self._crashes >= _CRASHES_MAX:
                machine.reset()
            return True
        return on

    def step(self) -> bool:
        """Do what is due; return whether to go on."""
        now_ms = self._uptime.update(_ticks_ms())
        self._meter.step(now_ms)
        self._portal.step(now_ms)
        self._listen_to_serial()
        self._watch_join(now_ms)
        if now_ms >= self._gc_due_ms:
            self._gc_due_ms = now_ms + _GC_EVERY_MS
            gc.collect()
        if now_ms - self._portal.used_ms > _UNUSED_MS_MAX or (
            now_ms - self._begin_ms > _OPEN_MS_MAX
        ):
            self._say("nobody has set this head up; switch it off and on to try again")
            return False
        return not self._portal.is_saved

    def _save(self, checked: "dict[str, Any]") -> None:
        write_settings(self._path, checked)

    def _is_host(self, name: bytes) -> bool:
        return name == self._address(self._ap).encode() or (
            self._sta is not None
            and self._sta.isconnected()
            and name == self._address(self._sta).encode()
        )

    @staticmethod
    def _address(wlan: "Any") -> str:
        return str(wlan.ifconfig()[0])

    # -- Improv

    def _listen_to_serial(self) -> None:
        data = b""
        while len(data) < _STDIN_BYTES and self._poller.poll(0):
            byte = sys.stdin.buffer.read(1)
            if not byte:  # the line is closed
                self._poller.unregister(sys.stdin)
                break
            data += byte
        if data:
            self._answer(self._improv.push(data))
            if self._improv.breaks:
                raise KeyboardInterrupt

    @staticmethod
    def _answer(data: bytes) -> None:
        if data:
            sys.stdout.buffer.write(data)

    def _station(self) -> "Any":
        if self._sta is None:
            self._sta = network.WLAN(network.STA_IF)
            self._sta.active(True)
        return self._sta

    def _scan(self) -> "list[tuple[str, int, bool]]":
        found: dict[str, tuple[str, int, bool]] = {}
        try:
            rows = self._station().scan()
        except OSError:
            return []
        for row in rows:
            try:
                name = row[0].decode()
            except ValueError:
                continue
            if name and (name not in found or found[name][1] < row[3]):
                found[name] = (name, row[3], row[4] != 0)
        return sorted(found.values(), key=lambda network_: -network_[1])

    def _join(self, ssid: str, password: str) -> bool:
        given = {"wifi.ssid": ssid, "wifi.password": password}
        for row in settings.KEYS:
            if row[0] in given and partial.mistake(row, given):
                return False
        wlan = self._station()
        try:
            wlan.disconnect()
            wlan.connect(ssid, password)
        except OSError:
            return False
        self._portal.known.update(given)
        self._join_ms = self._uptime.uptime_ms
        return True

    def _watch_join(self, now_ms: int) -> None:
        """Tell the other end of the line how the attempt to join went."""
        if self._join_ms is None:
            return
        is_up = self._sta.isconnected()
        if not is_up and now_ms - self._join_ms < _JOIN_MS_MAX:
            return
        self._join_ms = None
        url = ""
        if is_up:
            # The rest of the settings is asked for there. Whoever reads this line has the key.
            url = "http://%s/?key=%s" % (self._address(self._sta), self._key)
            self._portal.used_ms = now_ms
        self._answer(self._improv.finish(is_up, url))


class MeterLook:
    """The meter's UART while a person looks whether frames come; see portal.Meter."""

    def __init__(self, uptime: Uptime) -> None:
        self._uptime = uptime
        self._uart: Any = None
        self._decoder: Any = None
        self._diagnosis: Any = None
        self._bytes = 0
        self._begin_ms = 0

    def open(self, given: "dict[str, Any]") -> None:
        """Read with these settings from now on; raise ValueError or OSError."""
        self.close()
        # Here, because most of the time nobody looks, and then the heap is free for the page.
        # The transport is enough: a frame whose checksum is right was heard right.
        from wattlog.diagnosis import Diagnosis  # noqa: PLC0415
        from wattlog.framing import FrameDecoder  # noqa: PLC0415

        options = {"rx": given["meter.rx"], "tx": given["meter.tx"]}
        if given["meter.invert"]:
            options["invert"] = machine.UART.INV_RX
        uart = machine.UART(
            given["meter.uart"],
            given.get("meter.baud", 9600),
            rxbuf=_UART_RX_BYTES,
            timeout=0,
            **options,
        )
        self._decoder = FrameDecoder(_FRAME_BYTES_MAX)
        self._diagnosis = Diagnosis()
        self._uart = uart
        self._bytes = 0
        self._begin_ms = self._uptime.uptime_ms

    def close(self) -> None:
        """Read no more."""
        self._uart = self._decoder = self._diagnosis = None
        gc.collect()

    def step(self, now_ms: int) -> None:
        """Take what has arrived."""
        if self._uart is None:
            return
        count = self._uart.any()
        data = self._uart.read(min(count, _UART_READ_BYTES)) or b"" if count else b""
        self._bytes += len(data)
        if data:
            self._decoder.push(data)
        damaged = self._decoder.drops.get("crc", 0)
        elapsed_ms = now_ms - self._begin_ms
        self._diagnosis.feed(data, elapsed_ms, self._decoder.frames, damaged)

    def seen(self, now_ms: int) -> "tuple[int, int, int, str | None] | None":
        """Return bytes, frames, for how many seconds, the diagnosis; None if not open."""
        if self._uart is None:
            return None
        elapsed_s = (now_ms - self._begin_ms) // 1000
        return self._bytes, self._decoder.frames, elapsed_s, self._diagnosis.text


def read_key(path: str) -> str:
    """Return this head's key; draw it where there is none that could be one."""
    try:
        with open(path) as file:
            key = file.read().strip()
    except (OSError, ValueError):
        key = ""
    if len(key) != KEY_SIZE or any(letter not in KEY_LETTERS for letter in key):
        key = ""
        while len(key) < KEY_SIZE:
            number = os.urandom(1)[0]
            # 248 is the last multiple of 31 in a byte: beyond it some letters would come oftener.
            if number < 248:
                key += KEY_LETTERS[number % len(KEY_LETTERS)]
        write_whole(path, key + "\n")
    return key


def _pins() -> "tuple[int, int]":
    chip = getattr(sys.implementation, "_machine", "").upper()
    return next((rx, tx) for part, rx, tx in _PINS if part in chip)


def _ticks_ms() -> int:
    return time.ticks_ms()  # type: ignore[attr-defined, no-any-return]
