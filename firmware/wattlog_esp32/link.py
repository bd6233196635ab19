"""The MQTT connection of an IR head: the firmware's own umqtt.simple, made safe.

Left to itself, umqtt.simple waits for ever on a peer that says nothing, sends one packet in five
pieces, and never notices that a connection is dead. The Guard below takes the place of the
module `socket` inside it; umqtt.simple itself stays as it is in the firmware.
"""

import errno
import select
import socket
import time

from micropython import const
from umqtt import simple

from wattlog import records
from wattlog.uplink import LinkError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from wattlog_esp32.secure import Tls

    Address = tuple[Any, ...]
    Buffer = bytes | bytearray | memoryview

# A silent broker costs at most this; the UART's buffer holds 4.2 s.
_DEADLINE_MS = const(3_000)
_KEEPALIVE_S = const(30)
_PING_AFTER_MS = const(15_000)  # half a keepalive, so that the second ping of three may be lost
_SILENT_MS_MAX = const(45_000)  # the broker's own rule for us: one and a half keepalives
_WAITING_MAX = const(8)  # messages that came while we subscribed
_READ_BYTES_MAX = const(128)  # acknowledgements and commands are below; a status is not
_COLLECT_BYTES_MAX = const(256)  # a larger piece is sent as it is: no second copy of a batch
_PUBLISH = const(0x30)
# A handshake of TLS: the connection is there, and our part of this step is done; it is our turn to
# begin; the broker's answer is waited for.
_DIALED = const(1)
_GREETING = const(2)
_SHAKING = const(3)

_WORDS = {
    errno.ECONNREFUSED: "nobody listens there",
    errno.ECONNRESET: "the connection was lost",
    errno.EHOSTUNREACH: "there is no way to it",
    errno.EINPROGRESS: "no answer",  # how Linux says that connect() took too long
    errno.ETIMEDOUT: "no answer",
    -2: "no such name",  # the name server's answer on Linux
    -202: "no such name",  # and on an ESP32
}


class _NotYet(Exception):
    """The handshake goes on at the next step; no failure."""


class Guard:
    """What umqtt.simple takes for the module `socket`, and for the one socket it opens there.

    Every call that the link makes between two arm() ends within the deadline. Small writes are
    collected until the packet is whole: at the next read, or at flush().

    With TLS the broker takes seconds of the chip's time to verify. So while goes_on() says so,
    umqtt begins anew with the same connection at each step, and gets further once it is verified:
    the first byte that TLS takes from us is CONNECT's, behind the handshake.

    buffer  where what is large is received: after months a small heap has no piece of that size
    tls     puts TLS on the socket; None for plain text
    """

    def __init__(self, deadline_ms: int, buffer: bytearray, tls: "Tls | None" = None) -> None:
        self._buffer = buffer
        self._tls = tls
        self._stream: Any = None  # the socket, or TLS on it
        self._handshake = 0
        self.received_ticks = 0  # when the last byte came
        self._deadline_ms = deadline_ms
        self._deadline_ticks = 0
        self._sock: Any = None
        self._poller: Any = None
        self._out = bytearray()
        self._waits = True

    def arm(self) -> None:
        """Start the deadline of the next call."""
        if self._handshake == _DIALED:
            self._handshake = _GREETING
        self._deadline_ticks = time.ticks_add(  # type: ignore[attr-defined]
            _now_ticks(), self._deadline_ms
        )

    def flush(self) -> None:
        """Send what was collected."""
        if self._out:
            out = self._out
            self._out = bytearray()
            self._send(out)

    def goes_on(self) -> bool:
        """Tell whether a handshake waits for us; while it waits for the broker it does not."""
        is_due: bool = self._handshake == _GREETING
        return is_due or (self._handshake == _SHAKING and bool(self._poller.poll(0)))

    def hang_up(self) -> None:
        """Close without a word; what was collected is thrown away."""
        self._out = bytearray()
        self._handshake = 0
        sock, stream = self._sock, self._stream
        self._sock = self._stream = self._poller = None
        if sock is not None:
            if stream is not sock:
                stream.close()  # frees its memory; one that has failed has let go of the socket
            sock.close()

    # -- what umqtt.simple calls on the module

    def socket(self, *_: object) -> "Guard":
        """Open the socket; an earlier one is closed, but for one whose handshake goes on."""
        self._waits = True
        if self._handshake:
            self._out = bytearray()
            return self
        self.hang_up()
        self._sock = self._stream = socket.socket()
        self._poller = select.poll()
        self._poller.register(self._sock, select.POLLIN)
        return self

    def getaddrinfo(self, host: str, port: int, *_: object) -> "list[Any]":
        """Look the name up; the time this takes is not the broker's."""
        if self._handshake:
            return [[None]]  # there is a connection already
        found = socket.getaddrinfo(host, port)
        self.arm()
        return found

    # -- what umqtt.simple calls on the socket

    def connect(self, address: "Address") -> None:
        """Connect within the deadline; with TLS, that is all of this step."""
        if self._handshake:
            return
        self._sock.settimeout(self._left_ms() / 1000)
        self._sock.connect(address)
        # From here on nothing blocks in C, so no port can forget the deadline.
        self._sock.settimeout(0)
        no_delay = getattr(socket, "TCP_NODELAY", None)
        if no_delay is not None:
            self._sock.setsockopt(socket.IPPROTO_TCP, no_delay, 1)
        self.received_ticks = _now_ticks()
        if self._tls is not None:
            self._stream = self._tls.wrap(self._sock)
            self._handshake = _DIALED
            raise _NotYet

    def settimeout(self, _: object) -> None:
        """Leave the time to the deadline."""

    def setblocking(self, waits: bool) -> None:
        """Say whether read() waits for its first byte; it always waits for the rest."""
        self._waits = waits

    def read(self, count: int) -> "bytes | memoryview | None":
        """Return exactly count bytes; None where none are there and nobody waits.

        More than _READ_BYTES_MAX stand in the buffer until the next call. What does not fit
        there is read and given back as b"": a retained monster on our topic then is one message
        that we cannot read, and not a connection that never comes up.
        """
        self.flush()
        if count < 0:
            raise LinkError("does not speak MQTT")
        view = memoryview(self._buffer)
        size = len(view)
        left = count
        while left:
            self._left_ms()  # a flood of bytes never lets us wait, but has to end too
            at = count - left if count <= size else 0
            got = self._stream.readinto(view[at : at + min(left, size)])
            if got is None:
                if left == count and not self._waits:
                    return None
                self._wait(select.POLLIN)
            elif not got:
                raise LinkError("the broker closed the connection")
            else:
                self.received_ticks = _now_ticks()
                left -= got
        if count > size:
            return b""
        return bytes(view[:count]) if count <= _READ_BYTES_MAX else view[:count]

    def write(self, data: "Buffer", count: int | None = None) -> None:
        """Collect the first count bytes of data, or send them where they are many."""
        view = memoryview(data) if count is None else memoryview(data)[:count]
        if len(view) <= _COLLECT_BYTES_MAX:
            self._out.extend(view)
        else:
            self.flush()
            self._send(view)

    def close(self) -> None:
        """Send what was collected and close."""
        self.flush()
        self.hang_up()

    def _send(self, data: "Buffer") -> None:
        view = memoryview(data)
        sent = 0
        while sent < len(view):
            count = self._stream.write(view[sent:])
            if count:
                sent += count
                self._handshake = 0
            elif self._handshake:
                self._handshake = _SHAKING
                raise _NotYet
            else:
                self._wait(select.POLLOUT)

    def _wait(self, event: int) -> None:
        self._poller.modify(self._sock, event)
        self._poller.poll(self._left_ms())

    def _left_ms(self) -> int:
        """Return how much of the deadline is left, more than 0; raise LinkError if nothing is."""
        left_ms = _past_ms(self._deadline_ticks, _now_ticks())
        if left_ms <= 0:
            raise LinkError("no answer")
        return left_ms


class UmqttLink:
    """A Link for wattlog.uplink.

    host, port      of the broker; username and password are None where it asks for none
    edge, boot      who we are
    is_online       is_online() tells whether there is a network at all
    buffer          used while something is received; between two calls it is anybody's
    tls             what verifies the broker; None for plain text
    """

    def __init__(
        self,
        host: str,
        port: int,
        username: str | None,
        password: str | None,
        edge: str,
        boot: int,
        is_online: "Callable[[], bool]",
        buffer: bytearray,
        tls: "Tls | None" = None,
        deadline_ms: int = _DEADLINE_MS,
    ) -> None:
        # Bytes only: umqtt counts the characters of a str where the wire wants bytes.
        self._arguments = (
            b"wattlog-%s-%08x" % (edge.encode(), boot),
            host,
            port,
            None if username is None else username.encode(),
            (password or "").encode(),
            _KEEPALIVE_S,
        )
        self._topics = [
            records.topic(edge, leaf).encode()
            for leaf in (records.STATUS, records.ACK, records.COMMAND)
        ]
        self._is_online = is_online
        self._client: Any = None
        self._received: list[tuple[bytes, bytes]] = []
        self._pinged_ticks = 0
        self._buffer = buffer
        self._own = records.boot_mark(boot)
        self._tls = tls
        self._will = b""
        self._guard = Guard(deadline_ms, buffer, tls)
        simple.socket = self._guard

    def arm(self) -> None:
        """Begin a step: all calls until the next one end within one deadline."""
        self._guard.arm()

    def open(self, will: bytes) -> None:
        """Connect and subscribe, in what is left of the deadline and the name server's time.

        With TLS only the connection is made here; is_up() does the rest, step by step.
        """
        self.close()
        if not self._is_online():
            raise LinkError("no Wi-Fi")
        if self._tls is not None:
            self._guarded(self._tls.prepare)
        self._will = will
        self._guarded(self._open)

    def is_up(self) -> bool:
        """Tell whether we are connected and subscribed; go on with a handshake."""
        if self._guard.goes_on():
            self._guarded(self._open)
        return self._client is not None

    def publish(self, topic: str, payload: "bytes | memoryview", retain: bool) -> None:
        """Send one message, QoS 0."""
        if self._client is None:
            raise LinkError("not connected")
        self._guarded(self._publish, topic.encode(), payload, retain)

    def receive(self) -> tuple[str, bytes] | None:
        """Return the next message, or None; keeps the connection alive on the side."""
        if self._client is not None and not self._received:
            self._guarded(self._poll)
        if not self._received:
            return None
        topic, payload = self._received.pop(0)
        # Only our own topics come; anything else becomes a name that is none of them.
        return (topic.decode() if topic in self._topics else ""), payload

    def close(self) -> None:
        """Say goodbye where somebody listens, and close; never raises."""
        if self._client is not None:
            try:
                self._guarded(self._client.disconnect)
            except LinkError:
                pass  # closed all the same
        self._drop()

    def _guarded(self, act: "Callable[..., None]", *arguments: object) -> None:
        """Call act within the deadline; whatever goes wrong is the end of this connection."""
        try:
            act(*arguments)
        except _NotYet:
            pass
        except Exception as err:  # noqa: BLE001 - umqtt fails with six kinds, all mean the same
            self._drop()
            why = None if self._tls is None else self._tls.words(err)
            raise LinkError("%s:%d: %s" % (self._arguments[1:3] + (why or _words(err),))) from None

    def _drop(self) -> None:
        self._client = None
        self._received = []
        self._guard.hang_up()

    def _open(self) -> None:
        client = simple.MQTTClient(*self._arguments)
        client.set_last_will(self._topics[0], self._will, True)
        client.set_callback(self._on_message)
        client.connect()
        for topic in self._topics:
            client.subscribe(topic)
        self._client = client

    def _on_message(self, topic: bytes, payload: "bytes | memoryview") -> None:
        # No sending here: umqtt would read the answer from inside its own reading.
        if not isinstance(payload, bytes):
            # It stands in the buffer, and is a status: what is kept from before we asked tells us
            # nothing, and our own, which comes back every time, must not cost memory.
            if self._client is None or self._buffer.find(self._own, 0, len(payload)) >= 0:
                return
            payload = bytes(payload)
        if len(self._received) < _WAITING_MAX:
            self._received.append((topic, payload))

    def _publish(self, topic: bytes, payload: "bytes | memoryview", retain: bool) -> None:
        self._client.publish(topic, payload, retain)
        self._guard.flush()

    def _poll(self) -> None:
        packet = self._client.check_msg()
        if packet is not None and packet & 0xF0 != _PUBLISH:
            raise LinkError("the broker sent what nobody asked for")
        # A ping's answer and nothing look the same to umqtt, so silence is measured in bytes.
        now_ticks = _now_ticks()
        silent_ms = _past_ms(now_ticks, self._guard.received_ticks)
        if silent_ms > _SILENT_MS_MAX:
            raise LinkError("silent for %d s" % (silent_ms // 1000))
        if silent_ms > _PING_AFTER_MS and _past_ms(now_ticks, self._pinged_ticks) > _PING_AFTER_MS:
            self._pinged_ticks = now_ticks
            self._client.ping()
            self._guard.flush()


def _now_ticks() -> int:
    return time.ticks_ms()  # type: ignore[attr-defined, no-any-return]


def _past_ms(now_ticks: int, then_ticks: int) -> int:
    return time.ticks_diff(now_ticks, then_ticks)  # type: ignore[attr-defined, no-any-return]


def _words(err: Exception) -> str:
    """Return what happened in words for a person."""
    if isinstance(err, LinkError):
        return str(err)
    if isinstance(err, simple.MQTTException):
        code = err.args[0]
        if code in (4, 5):
            return "refuses us: check user name and password"
        return "refuses us (code %s)" % code
    if isinstance(err, OSError):
        return _WORDS.get(err.args[0], "error %s" % err.args[0])
    if isinstance(err, MemoryError):
        return "out of memory"
    # What is left (IndexError, TypeError, AssertionError) is how umqtt takes bad bytes.
    return "does not speak MQTT"
