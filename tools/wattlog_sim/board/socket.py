"""A fake of the ESP32's `socket` over the unix port's own.

One rule differs and has to: setblocking(True) forgets the timeout. On the unix port the timeout
survives, so a program that hangs for ever on the ESP32 passes every test there.
"""

import io
import sys as _sys

_path = _sys.path
_sys.path = ()
try:
    from socket import getaddrinfo as getaddrinfo
    from socket import socket as _socket
finally:
    _sys.path = _path

IPPROTO_TCP = 6
TCP_NODELAY = 1
_POLL_FILENO = 10  # how MicroPython's poll() asks a stream for the descriptor behind it


class socket(io.IOBase):
    """A TCP socket."""

    def __init__(self, _: "_socket | None" = None) -> None:
        real = self._real = _ or _socket()
        self.connect = real.connect
        self.settimeout = real.settimeout
        self.setsockopt = real.setsockopt
        self.readinto = real.readinto
        self.write = real.write
        self.close = real.close

    def setblocking(self, waits: bool) -> None:
        """Wait for ever, or not at all."""
        self._real.settimeout(None if waits else 0)

    def ioctl(self, request: int, _argument: int) -> int:
        """Let poll() wait on the socket."""
        return self._real.fileno() if request == _POLL_FILENO else 0

    def __getattr__(self, name: str) -> object:
        """Bring the rest only where it is used: it takes heap, as every name here does."""
        return lambda *_: getattr(__import__("fakeap"), name)(self, *_)


def __getattr__(name: str) -> object:
    return getattr(__import__("fakeap"), name)
