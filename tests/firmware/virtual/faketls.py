"""A fake of `tls` in virtual time: a handshake of two answers, each of which takes CPU_MS.

So long an ESP32's processor takes for a certificate and a key exchange, and nothing else runs
meanwhile. What the broker is like is up to the fake `socket` below. Of another name, since no file
takes the place of the `tls` that is built in: whoever wants it puts it into sys.modules.
"""

import time

PROTOCOL_TLS_CLIENT = 0
CERT_REQUIRED = 2
CPU_MS = [1_500]
_ANSWERS = 2  # the broker's certificate and key, and the end of the handshake


class SSLContext:
    """Believes everybody."""

    def __init__(self, _protocol: int) -> None:
        self.verify_mode = 0

    def load_verify_locations(self, ca: bytes) -> None:
        """Take a certificate, which may be any."""
        if not ca:
            raise ValueError("invalid cert")

    def wrap_socket(
        self, sock: object, server_hostname: str, do_handshake_on_connect: bool
    ) -> "_Stream":
        """Put TLS on a socket."""
        assert self.verify_mode == CERT_REQUIRED
        assert server_hostname and not do_handshake_on_connect
        return _Stream(sock)


class _Stream:
    def __init__(self, sock: object) -> None:
        self._sock = sock
        self._left = _ANSWERS
        self._is_asked = False
        self.readinto = sock.readinto
        self.close = sock.close

    def write(self, view: memoryview) -> "int | None":
        """Take it when the handshake is over; each call does as much of that as it can."""
        if self._is_asked and self._sock.readinto(memoryview(bytearray(1))):
            self._is_asked = False
            self._left -= 1
            time.advance(CPU_MS[0])
        if not self._left:
            return self._sock.write(view)
        if not self._is_asked:
            self._is_asked = self._sock.greet() is not None
        return None  # an answer takes its time, be it as short as it may
