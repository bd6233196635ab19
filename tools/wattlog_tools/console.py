"""What every tool needs at the edge to its user: one-line errors and a clean Ctrl-C."""

import os
import select
import signal

EXIT_OK = 0
EXIT_USAGE = 2
"""Wrong arguments, wrong configuration, a port in use: starting again will not help."""


class ToolError(Exception):
    """Something the user can put right; its text is the one line shown, the exit status is 2."""


class StopSignal:
    """Turns SIGINT, SIGTERM and SIGHUP into something that can be waited for together with files.

    A handler that raises could strike between any two instructions, for example between opening
    a terminal and noting that it must be closed; this one only counts and wakes up `select`.
    """

    def __init__(self) -> None:
        """Take over the signals for the rest of the process."""
        self.count = 0
        self._wake_fd, wakeup_fd = os.pipe()
        os.set_blocking(self._wake_fd, False)
        os.set_blocking(wakeup_fd, False)
        signal.set_wakeup_fd(wakeup_fd, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # An ignored SIGHUP is the wish of `nohup`; an ignored SIGINT only tells of a `&`.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._count)

    def fileno(self) -> int:
        """Return what becomes readable when a signal came."""
        return self._wake_fd

    def wait(self, timeout_s: float) -> None:
        """Return after `timeout_s`, or sooner when a signal comes."""
        if select.select([self._wake_fd], [], [], max(0.0, timeout_s))[0]:
            self.drain()

    def drain(self) -> None:
        """Make `fileno` unreadable again until the next signal."""
        try:
            os.read(self._wake_fd, 512)
        except BlockingIOError:
            return

    def _count(self, number: int, frame: object) -> None:
        del number, frame
        self.count += 1
