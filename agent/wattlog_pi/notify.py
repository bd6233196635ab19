"""Tells the service manager how we are: sd_notify(3), one datagram for each message."""

import contextlib
import os
import socket
from collections.abc import Mapping
from typing import Final

SOCKET_VARIABLE = "NOTIFY_SOCKET"
PERIOD_VARIABLE = "WATCHDOG_USEC"
PID_VARIABLE = "WATCHDOG_PID"
SEND_S_MAX = 0.5  # the manager reads fast, and nobody may wait for it for long
STATUS_CHARACTERS_MAX = 400
BEATS_A_PERIOD: Final = 4
STATUS_MS: Final = 30_000  # where nobody waits for a beat, the status is still told


class Notifier:
    """The way to the service manager; without one everything here does nothing.

    What cannot be sent is not sent: whoever waits for it sees that it does not come.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = _address(environ.get(SOCKET_VARIABLE, ""))
        self._status: str | None = None
        self.beat_ms = _beat_ms(environ) if self._address is not None else None
        """How often alive() is to be called, None where nobody listens."""

    def ready(self, status: str) -> None:
        """Tell that we serve from now on."""
        self._tell("READY=1", status)

    def alive(self, status: str) -> None:
        """Tell that we got on; where this does not come for long, we are started again."""
        self._tell("WATCHDOG=1", status)

    def stopping(self, status: str) -> None:
        """Tell that we are about to end."""
        self._tell("STOPPING=1", status)

    def _tell(self, what: str, status: str) -> None:
        if self._address is None:
            return
        lines = [what]
        if status != self._status:
            # One line, whatever others put into it: a second one would be an order of theirs.
            text = " ".join(status.split())
            lines.append(f"STATUS={text[:STATUS_CHARACTERS_MAX]}")
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as way:
            way.settimeout(SEND_S_MAX)
            way.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)
            self._status = status


def _address(text: str) -> bytes | None:
    """Return the socket's address; other kinds than these two are no service on this machine."""
    if text.startswith("/"):
        return os.fsencode(text)
    if text.startswith("@") and len(text) > 1:
        return b"\0" + os.fsencode(text[1:])
    return None


def _beat_ms(environ: Mapping[str, str]) -> int | None:
    period, pid = environ.get(PERIOD_VARIABLE, ""), environ.get(PID_VARIABLE)
    if not period.isdecimal() or not int(period):
        return STATUS_MS
    if pid is not None and pid != str(os.getpid()):
        return None  # meant for the one that started us
    return max(1, int(period) // 1000 // BEATS_A_PERIOD)
