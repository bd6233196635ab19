"""A fake of `select` in virtual time, for one socket of the fake `socket`."""

import time

POLLIN = 1
POLLOUT = 4
_LOOK_EVERY_MS = 10


class poll:
    """Waits for the one socket."""

    def register(self, sock: object, event: int) -> None:
        """Wait for this socket."""
        self._sock = sock
        self._event = event

    modify = register

    def poll(self, wait_ms: int) -> "list[object]":
        """Let time pass until the socket is ready, or for wait_ms."""
        ends_ms = time.now_ms() + wait_ms
        while not self._sock.is_ready(self._event):
            left_ms = ends_ms - time.now_ms()
            if left_ms <= 0:
                return []
            time.advance(min(left_ms, _LOOK_EVERY_MS))
        return [self._sock]
