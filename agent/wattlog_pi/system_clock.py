"""The system's clock, and how far it can be believed. Linux only, without any rights.

A Raspberry Pi has no battery for its clock: it goes on where it stopped, hours or days behind,
until a time server is reached. What it says until then looks like any other time. The host asks,
too.
"""

import ctypes
import enum
import platform
import time
from collections.abc import Callable
from pathlib import Path

EPOCH_MS_MIN = 1_767_225_600_000  # 2026-01-01: a clock before that has not been set
_TIME_ERROR = 5  # adjtimex(2): not synchronised
_TIMEX_BYTES = 512  # more than struct timex has anywhere

RTC_FOLDER = Path("/sys/class/rtc")
TIMESYNC_FILE = Path("/run/systemd/timesync/synchronized")
# Each of these has a clock that runs on, or is given the time as a virtual machine.
MACHINES_WITH_CHIP = ("x86_64", "i686", "i586", "s390x", "ppc64le")


# Once: to open it takes ten times as long as to ask.
_LIBRARY = ctypes.CDLL(None)


class Trust(enum.IntEnum):
    """Who has set the clock since the system's start."""

    NOBODY = 0
    CHIP = 1
    """A clock chip with a battery, which may be off, but goes on while the power is away."""
    NETWORK = 2
    """A time daemon (NTP, PTP, GPS)."""


def trust(
    rtc_folder: Path = RTC_FOLDER,
    timesync_file: Path = TIMESYNC_FILE,
    machine: str | None = None,
) -> Trust:
    """Return who has set the system's clock."""
    # Nine hours after the last answer the kernel calls its clock unsynchronised again. The file
    # of systemd-timesyncd stays: the clock is still right to a second or two.
    if _is_synchronised() or _is_there(timesync_file):
        return Trust.NETWORK
    has_chip = (machine or platform.machine()) in MACHINES_WITH_CHIP
    return Trust.CHIP if has_chip or _has_set_clock(rtc_folder) else Trust.NOBODY


def _is_synchronised() -> bool:
    """Tell whether a time daemon steers the kernel's clock just now."""
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)  # modes 0: read only
    try:
        state = int(_LIBRARY.adjtimex(timex))
    except (OSError, AttributeError):
        return False  # no such call here: nobody vouches for the clock
    return 0 <= state != _TIME_ERROR


def _is_there(file: Path) -> bool:
    try:
        return file.exists()
    except OSError:
        return False  # a folder that is closed to us says nothing


def _has_set_clock(rtc_folder: Path) -> bool:
    """Tell whether a clock chip has set the system's clock at its start."""
    for file in sorted(rtc_folder.glob("*/hctosys")):
        try:
            if file.read_text().strip() == "1":
                return True
        except OSError:
            continue  # this one says nothing
    return False


class LastingTrust:
    """Who has set the clock; once it was the network, that is final for this process."""

    def __init__(self, trust: Callable[[], Trust] = trust) -> None:
        """Take who is asked."""
        self._trust = trust
        self._found = Trust.NOBODY

    def __call__(self) -> Trust:
        """Return who has set it."""
        if self._found is not Trust.NETWORK:
            self._found = self._trust()
        return self._found


class SystemClock:
    """The clock of the agent (ports.Clock)."""

    def __init__(self, trust: Callable[[], Trust] | None = None) -> None:
        """Take who is asked for the trust."""
        self._trust = LastingTrust(trust) if trust else LastingTrust()

    def epoch_ms(self) -> int | None:
        """Return ms since 1970 UTC, None while the clock is obviously not set."""
        now_ms = time.time_ns() // 1_000_000
        return now_ms if now_ms >= EPOCH_MS_MIN else None

    def is_sure(self) -> bool:
        """Tell whether it has been set from the network since the start."""
        return self._trust() is Trust.NETWORK
