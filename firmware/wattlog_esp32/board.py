"""What the network gives: the Wi-Fi, the time. Nothing here waits for long."""

import time

import network
import ntptime
from micropython import const

from wattlog.uplink import Backoff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wattlog.ports import Randrange, Say
    from wattlog.timebase import Uptime

_WIFI_MS_MIN = const(10_000)  # an attempt takes some seconds; a new one would cut it short
_WIFI_MS_MAX = const(60_000)
_NTP_MS_MIN = const(5_000)
_NTP_MS_MAX = const(600_000)
_NTP_EVERY_MS = const(3_600_000)
_EPOCH_2000_S = const(
    946_684_800
)  # 2000-01-01 in seconds since 1970, where an ESP32's clock begins
_EPOCH_S_MIN = const(1_767_225_600)  # 2026-01-01: no answer from before this firmware is true


class Wifi:
    """Keeps the board in its network."""

    def __init__(
        self, ssid: str, password: str, name: str, randrange: "Randrange", say: "Say"
    ) -> None:
        network.hostname(name)
        self._wlan = network.WLAN(network.STA_IF)
        self._wlan.active(True)
        self._login = (ssid, password)
        self._backoff = Backoff(_WIFI_MS_MIN, _WIFI_MS_MAX, randrange)
        self._due_ms = 0  # 0: no attempt since the last change
        self._is_up = False
        self._say = say
        self.connects = 0

    def rssi_dbm(self) -> int | None:
        """Return how strong the network is, None without one."""
        if not self._is_up:
            return None
        try:
            rssi_dbm: int = self._wlan.status("rssi")
        except (OSError, ValueError, RuntimeError):  # it went just now
            return None
        return rssi_dbm

    def is_up(self) -> bool:
        """Tell whether there was a network at the last step."""
        return self._is_up

    def step(self, now_ms: int) -> None:
        """Look whether we are connected, and try again where that is due."""
        is_up = self._wlan.isconnected()
        if is_up != self._is_up:
            self._is_up = is_up
            self.connects += is_up
            self._say("Wi-Fi %s: %s" % (self._login[0], "connected" if is_up else "lost"))
            self._backoff.reset()
            self._due_ms = 0
        if is_up or now_ms < self._due_ms:
            return
        if self._due_ms:
            self._say("Wi-Fi %s: not there (status %s)" % (self._login[0], self._wlan.status()))
        self._due_ms = now_ms + self._backoff.next_ms()
        try:
            self._wlan.disconnect()  # connect() refuses while the last attempt goes on
            self._wlan.connect(*self._login)
        except OSError as err:
            self._say("Wi-Fi: %s" % err)


class NtpClock:
    """The wall clock, from the network; as good as half a second."""

    def __init__(self, host: str, uptime: "Uptime", randrange: "Randrange", say: "Say") -> None:
        ntptime.host = host
        ntptime.timeout = 1
        self._uptime = uptime
        self._offset_ms: int | None = None  # epoch less uptime
        self._backoff = Backoff(_NTP_MS_MIN, _NTP_MS_MAX, randrange)
        self._due_ms = 0
        self._say = say
        # ntptime and time() count from 1970 or from 2000, as the port was built.
        self._base_s = _EPOCH_2000_S if time.gmtime(0)[0] == 2000 else 0

    def epoch_ms(self) -> int | None:
        """Return ms since 1970 UTC, None before the first answer."""
        if self._offset_ms is None:
            return None
        return self._offset_ms + self._uptime.uptime_ms

    def is_sure(self) -> bool:
        """Tell that it has been set from the network: no other way knows it the time."""
        return self._offset_ms is not None

    def step(self, now_ms: int) -> None:
        """Ask for the time where that is due; waits a second for the answer at most."""
        if now_ms < self._due_ms:
            return
        try:
            ntptime.settime()
        except (OSError, IndexError, ValueError, OverflowError):
            self._failed(now_ms, "does not answer")
            return
        epoch_s = int(time.time()) + self._base_s  # noqa: TID251 - the rim reads the clock
        if epoch_s < _EPOCH_S_MIN:
            self._failed(now_ms, "says a time of the past")
            return
        if self._offset_ms is None:
            self._say("the time is known")
        # ntptime throws the fraction of the second away; half of it is the best guess.
        # The answer may have taken a second, so now_ms is of the past.
        uptime_ms = self._uptime.update(time.ticks_ms())  # type: ignore[attr-defined]
        self._offset_ms = epoch_s * 1000 + 500 - uptime_ms
        self._backoff.reset()
        self._due_ms = now_ms + _NTP_EVERY_MS

    def _failed(self, now_ms: int, why: str) -> None:
        self._due_ms = now_ms + self._backoff.next_ms()
        if self._offset_ms is None:
            self._say("time server %s %s" % (ntptime.host, why))
