"""A fake of the ESP32's `socket` over the unix port's own.

Two rules differ and have to. setblocking(True) forgets the timeout: on the unix port it survives,
so a program that hangs for ever on the ESP32 passes every test there. And send() on a full
connection that must not wait says that it timed out.

Port 80 is the one that BOARD_HTTP_PORT names.
"""

import errno
import io
import os
import sys as _sys

_path = _sys.path
_sys.path = ()
try:
    from socket import getaddrinfo as _getaddrinfo
    from socket import socket as _socket
finally:
    _sys.path = _path

SOL_SOCKET = 1
SO_REUSEADDR = 2
_SO_SNDBUF = 7
_SEND_BYTES = 2_880  # which the kernel doubles: an ESP32's 5 760
IPPROTO_TCP = 6
TCP_NODELAY = 1
_POLL_FILENO = 10  # how MicroPython's poll() asks a stream for the descriptor behind it


def getaddrinfo(host: str, port: int) -> "list[tuple[object, ...]]":
    """Look a name up."""
    return _getaddrinfo(host, int(os.getenv("BOARD_HTTP_PORT")) if port == 80 else port)


class socket(io.IOBase):
    """A TCP socket."""

    def __init__(self, real: "_socket | None" = None) -> None:
        real = self._real = _socket() if real is None else real
        self.bind = real.bind
        self.listen = real.listen
        self.recv = real.recv
        self.connect = real.connect
        self.settimeout = real.settimeout
        self.setsockopt = real.setsockopt
        self.read = real.read
        self.write = real.write
        self.close = real.close

    def accept(self) -> "tuple[socket, object]":
        """Return the next connection and its address."""
        real, address = self._real.accept()
        real.setsockopt(SOL_SOCKET, _SO_SNDBUF, _SEND_BYTES)
        return socket(real), address

    def send(self, data: bytes) -> int:
        """Send what goes."""
        try:
            return self._real.send(data)
        except OSError as err:
            code = errno.ETIMEDOUT if err.args[0] == errno.EAGAIN else err.args[0]
            raise OSError(code) from None

    def setblocking(self, waits: bool) -> None:
        """Wait for ever, or not at all."""
        self._real.settimeout(None if waits else 0)

    def ioctl(self, request: int, _argument: int) -> int:
        """Let poll() wait on the socket."""
        return self._real.fileno() if request == _POLL_FILENO else 0
