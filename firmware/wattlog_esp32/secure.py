"""TLS towards the broker: its certificate is from our CA and for its name, or nothing is sent.

Loaded only where the settings ask for it. There is no way to switch verifying off.
"""

import errno

import tls
from micropython import const

from wattlog.uplink import LinkError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

CA_PATH = "ca.der"
CA_BYTES_MAX = const(2_048)

# What Mbed TLS calls it, and what it is to a person. All the others are told by number.
_WORDS = {
    -0x7200: "does not speak TLS",  # a record that is none
    -0x7280: "the broker closed the connection",
    -0x7780: "the broker refuses our TLS",  # its alert
    -0x6E00: "has no TLS that we have, too",
    errno.ENOMEM: "no memory for TLS",
}


class Tls:
    """What the guard puts on its socket.

    path     of the CA's certificate, one, in DER form
    host     whom the broker's certificate has to be for
    is_sure  is_sure() tells whether the time is known: certificates have dates
    """

    def __init__(self, path: str, host: str, is_sure: "Callable[[], bool]") -> None:
        self._path = path
        self._host = host
        self._is_sure = is_sure
        self._context: Any = None

    def prepare(self) -> None:
        """Have all that a handshake needs; raise LinkError where something is missing."""
        if not self._is_sure():
            raise LinkError("TLS waits for the time server: certificates have dates")
        if self._context is not None:
            return
        try:
            with open(self._path, "rb") as file:
                ca = file.read(CA_BYTES_MAX + 1)
        except OSError:
            ca = b""
        context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
        context.verify_mode = tls.CERT_REQUIRED
        try:
            context.load_verify_locations(ca)
        except ValueError:
            words = "%s is not the certificate of a CA; flash it again, with mqtt.ca_file"
            raise LinkError(words % self._path) from None
        assert context.verify_mode == tls.CERT_REQUIRED
        self._context = context

    def wrap(self, sock: "Any") -> "Any":
        """Return a stream on a connected socket; its handshake goes with the first write."""
        return self._context.wrap_socket(
            sock, server_hostname=self._host, do_handshake_on_connect=False
        )

    def words(self, err: Exception) -> str | None:
        """Return what happened in words for a person; None for what is not of TLS."""
        if isinstance(err, ValueError):
            # Each line is what is wrong with the certificate.
            return "refused: %s" % "; ".join(str(err).strip().split("\n"))
        if isinstance(err, OSError):
            number = err.args[0]
            if number in _WORDS:
                return _WORDS[number]
            # Those of the network are no lower.
            if isinstance(number, int) and number <= -256:
                return "TLS error -0x%x" % -number
        return None
