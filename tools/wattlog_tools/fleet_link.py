"""The fleet's connections to the broker: one for each head, or one that many heads share.

paho-mqtt does the protocol; nothing here has a thread, or waits: who owns the selector says when
a socket is ready. On the way through, batches and their acknowledgements are timed.
"""

import contextlib
import selectors
import time
from binascii import crc32
from collections import deque
from typing import Any, NamedTuple

import msgpack
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from wattlog import records
from wattlog.recordreader import split
from wattlog.uplink import LinkError
from wattlog_tools.fleet_head import seqs

KEEPALIVE_S = 30
TEND_EVERY_S = 10.0
CONNECT_S_MAX = 2.0
READS_MAX = 16

_BATCH, _ACK = f"/{records.BATCH}", f"/{records.ACK}"
_LEAVES = (records.ACK, records.STATUS, records.COMMAND)


class Login(NamedTuple):
    """Where the broker is, and as whom we come; the password is the same for all."""

    port: int
    password: str


class Sent(NamedTuple):
    """A batch on its way: when it went first, and its readings."""

    at_s: float
    first_seq: int
    readings: int
    counts: bool
    """Whether its time is of interest: the fleet was still reading when it went."""


class Post:
    """What became of the batches of all links of a process."""

    def __init__(self) -> None:
        """Begin with nothing sent."""
        self.on_way: dict[tuple[str, int], Sent] = {}
        """By edge and checksum, in the order in which they went first."""
        self.resent = 0
        self.settled: list[tuple[str, Sent, float, str | None]] = []
        """Edge, batch, when it was answered and with which reason; whoever reads it empties it."""
        self.is_timed = True

    def sends(self, edge: str, payload: bytes) -> None:
        """Note that this goes out now."""
        key = (edge, crc32(payload))
        if key in self.on_way:
            self.resent += 1
            return
        _, _, _, first_seq, packed = msgpack.unpackb(payload)
        count = len(seqs(first_seq, split(packed)))
        self.on_way[key] = Sent(time.monotonic(), first_seq, count, self.is_timed)

    def hears(self, edge: str, payload: bytes) -> None:
        """Note an acknowledgement; one that came before means nothing."""
        ack = records.unpack_ack(payload)
        if ack is None or ack[3] == records.RENEW:
            return
        sent = self.on_way.pop((edge, ack[2]), None)
        if sent is not None:
            self.settled.append((edge, sent, time.monotonic(), ack[3]))


class Wire:
    """One connection; several heads may use it, and lose it together."""

    def __init__(
        self,
        name: str,
        login: Login,
        selector: selectors.BaseSelector,
        post: Post,
        awake: set["HeadLink"],
    ) -> None:
        """Be closed; name is the broker's user, awake hears which links have news."""
        self.name = name
        self.is_up = False
        self.failure: str | None = None
        self._login = login
        self._selector = selector
        self._post = post
        self._awake = awake
        self._links: dict[str, HeadLink] = {}
        self._asked: dict[int, HeadLink] = {}
        self._client: paho.Client | None = None
        self._socket: Any = None
        self._events = 0
        self._heard = 0
        self._tended_s = 0.0

    def join(self, link: "HeadLink", client_id: str, will: bytes | None) -> None:
        """Have the link use this connection, which is made where there is none."""
        if self._client is None:
            self._open(client_id, None if will is None else (link.topic(records.STATUS), will))
        self._links[link.edge] = link
        if self.is_up:
            self._subscribe(link)

    def leave(self, link: "HeadLink") -> None:
        """Have the link use it no more; the last one closes it."""
        if self._links.get(link.edge) is link:
            del self._links[link.edge]
        if not self._links:
            self._close()

    def tend(self, now_s: float) -> None:
        """Keep a connection alive on which nothing goes."""
        if self._client is not None and now_s - self._tended_s > TEND_EVERY_S:
            self._tended_s = now_s
            self._after(self._client.loop_misc())

    def publish(self, edge: str, topic: str, payload: bytes, retain: bool) -> None:
        """Send one message."""
        if self._client is None:
            raise LinkError(self.failure or "not connected")
        if topic.endswith(_BATCH):
            self._post.sends(edge, payload)
        self._after(self._client.publish(topic, payload, 0, retain).rc)
        if self.failure is not None:
            raise LinkError(self.failure)

    def ready(self, mask: int) -> None:
        """Read and write what the socket lets us."""
        client = self._client
        if client is not None and mask & selectors.EVENT_READ:
            for _ in range(READS_MAX):
                heard = self._heard
                self._after(client.loop_read())
                if self._heard == heard or self._client is not client:
                    break
        if self._client is client and client is not None and client.want_write():
            self._after(client.loop_write())

    def _open(self, client_id: str, will: tuple[str, bytes] | None) -> None:
        self.failure, self.is_up = None, False
        client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id, clean_session=True, reconnect_on_failure=False
        )
        client.connect_timeout = CONNECT_S_MAX
        client.username_pw_set(self.name, self._login.password)
        if will is not None:
            client.will_set(*will, qos=0, retain=True)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        client.on_socket_close = self._on_socket_close
        self._client = client
        self._tended_s = time.monotonic()
        try:
            client.connect("127.0.0.1", self._login.port, KEEPALIVE_S)
        except (OSError, ValueError) as err:
            self._client = None
            raise LinkError(str(err)) from None
        self._socket, self._events = client.socket(), selectors.EVENT_READ
        if self._socket is not None:
            self._selector.register(self._socket, self._events, self)

    def _close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(OSError, ValueError):
                client.disconnect()
            self._end(client)

    def _fail(self, why: str) -> None:
        """Let all links know; each opens it again when it thinks it is time."""
        self.failure = self.failure or why
        client, self._client = self._client, None
        if client is not None:
            self._end(client)
        links, self._links = self._links, {}
        for link in links.values():
            link.fail(why)
            self._awake.add(link)

    def _end(self, client: paho.Client) -> None:
        self.is_up = False
        self._asked.clear()
        sock = client.socket()
        if sock is not None:  # it could not say goodbye
            self._forget(sock)
            sock.close()

    def _after(self, code: int) -> None:
        """Look at what the library says of a call, and whether it could write all there is."""
        if code not in (paho.MQTT_ERR_SUCCESS, paho.MQTT_ERR_AGAIN):
            self._fail(paho.error_string(MQTTErrorCode(code)))
        elif self._client is not None and self._socket is not None:
            events = selectors.EVENT_READ
            if self._client.want_write():
                events |= selectors.EVENT_WRITE
            if events != self._events:
                self._events = events
                self._selector.modify(self._socket, events, self)

    def _subscribe(self, link: "HeadLink") -> None:
        assert self._client is not None
        topics = [(link.topic(leaf), 0) for leaf in _LEAVES]
        code, number = self._client.subscribe(topics)
        if number is not None:
            self._asked[number] = link
        self._after(code)

    def _on_connect(
        self, client: paho.Client, _data: object, _flags: object, code: ReasonCode, _props: object
    ) -> None:
        if client is not self._client:
            return
        if code.is_failure:
            self._fail(f"the broker refuses {self.name}: {str(code).lower()}")
            return
        self.is_up = True
        for link in list(self._links.values()):
            self._subscribe(link)

    def _on_subscribe(
        self, client: paho.Client, _data: object, mid: int, codes: list[ReasonCode], _props: object
    ) -> None:
        link = self._asked.pop(mid, None) if client is self._client else None
        if link is None:
            return
        if any(code.is_failure for code in codes):
            link.fail(f"the broker does not let {self.name} subscribe")
        else:
            link.is_subscribed = True
        self._awake.add(link)

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        self._heard += 1
        topic = message.topic
        link = self._links.get(topic[len(records.TOPIC_ROOT) + 1 : topic.rindex("/")])
        if link is None:
            return
        payload = bytes(message.payload)
        if topic.endswith(_ACK):
            self._post.hears(link.edge, payload)
        link.inbox.append((topic, payload))
        self._awake.add(link)

    def _on_disconnect(
        self, client: paho.Client, _data: object, _flags: object, code: ReasonCode, _props: object
    ) -> None:
        if client is self._client:
            self._fail(f"the connection was lost ({str(code).lower()})")

    def _on_socket_close(self, _client: paho.Client, _data: object, sock: Any) -> None:
        self._forget(sock)

    def _forget(self, sock: Any) -> None:
        if sock is not None and sock is self._socket:
            self._socket = None
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(sock)


class HeadLink:
    """A head's link (ports.Link) over a wire that is its own or not."""

    def __init__(self, edge: str, boot: int, wire: Wire, *, is_own: bool) -> None:
        """Take the wire; with one that is shared there is no last will."""
        self.edge = edge
        self.inbox: deque[tuple[str, bytes]] = deque()
        self.is_subscribed = False
        self.number = -1
        """Whose it is; for whoever is woken by it."""
        self._wire = wire
        self._client_id = f"wattlog-{edge}-{boot:08x}" if is_own else wire.name
        self._is_own = is_own
        self._failure: str | None = None

    def open(self, will: bytes) -> None:
        """Begin to connect."""
        self._failure, self.is_subscribed = None, False
        self.inbox.clear()
        self._wire.join(self, self._client_id, will if self._is_own else None)

    def is_up(self) -> bool:
        """Tell whether the broker hears and tells us."""
        self._wire.tend(time.monotonic())
        if self._failure is not None:
            raise LinkError(self._failure)
        return self.is_subscribed

    def publish(self, topic: str, payload: bytes | memoryview, retain: bool) -> None:
        """Send one message."""
        self._wire.publish(self.edge, topic, bytes(payload), retain)

    def receive(self) -> tuple[str, bytes] | None:
        """Return the next message."""
        if self._failure is not None:
            raise LinkError(self._failure)
        return self.inbox.popleft() if self.inbox else None

    def close(self) -> None:
        """Use the wire no more."""
        self.is_subscribed = False
        self._wire.leave(self)

    def fail(self, why: str) -> None:
        """Hear that the wire is gone."""
        self._failure, self.is_subscribed = why, False

    def topic(self, leaf: str) -> str:
        """Return one of the head's topics."""
        return records.topic(self.edge, leaf)
