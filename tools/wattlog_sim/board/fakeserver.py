"""What the fake `socket` does for a server. Port 80 becomes the one that BOARD_HTTP_PORT names."""

import errno
import os
import socket

SOL_SOCKET = 1
SO_REUSEADDR = 2
_SO_SNDBUF = 7
_SEND_BYTES = 2_880  # which the kernel doubles: an ESP32's 5 760


def bind(fake: "socket.socket", address: bytes) -> None:
    """Take an address as the unix port has it: the family, then the port, high byte first."""
    if address[2] << 8 | address[3] == 80:
        address = socket.getaddrinfo("0.0.0.0", int(os.getenv("BOARD_HTTP_PORT")))[0][-1]
    fake._real.bind(address)


def listen(fake: "socket.socket", backlog: int) -> None:
    """Begin to listen."""
    fake._real.listen(backlog)


def recv(fake: "socket.socket", count: int) -> bytes:
    """Return what has come, count bytes at most."""
    return fake._real.recv(count)


def accept(fake: "socket.socket") -> "tuple[socket.socket, object]":
    """Return the next connection and its address."""
    real, address = fake._real.accept()
    real.setsockopt(SOL_SOCKET, _SO_SNDBUF, _SEND_BYTES)
    return socket.socket(real), address


def send(fake: "socket.socket", data: bytes) -> int:
    """Send what goes; an ESP32 says of a full connection that must not wait that it timed out."""
    try:
        return fake._real.send(data)
    except OSError as err:
        code = errno.ETIMEDOUT if err.args[0] == errno.EAGAIN else err.args[0]
        raise OSError(code) from None
