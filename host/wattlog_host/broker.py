"""The broker inside the process: amqtt, with its gaps closed at our rim.

What amqtt 0.12 leaves open, and what is done about it here (host/DESIGN.md says more):
who connects takes over the session of its client id before it is asked for a password; a last
will goes to any topic; sessions of those who were refused stay for ever; a client that vanished
is never noticed; a peer that never says CONNECT is waited for without end; a claimed size of
256 MB is waited for in memory; a second connection of a client id leaves the first one open;
whoever connects is sent the retained messages of everyone's subscriptions; one that stops
reading stops its messages in memory.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from amqtt.adapters import ReaderAdapter, StreamWriterAdapter
from amqtt.broker import Broker
from amqtt.contexts import Action
from amqtt.errors import BrokerError, MQTTError
from amqtt.mqtt.connack import NOT_AUTHORIZED, ConnackPacket
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.utils import gen_client_id
from prometheus_client import Counter

from wattlog_host.access.devices import Peer, Rights
from wattlog_host.bounds import is_edge
from wattlog_host.certificate import Certificate

LOG = logging.getLogger(__name__)

CONNECTIONS_MAX = 256
# A message of ours has 16 384 bytes at most; the topic and the header come on top.
PACKET_BYTES_MAX = 20_000
RETAINED_MAX = 1_000
CONNECT_TIMEOUT_S = 10.0
# Whoever asks for more, or for none, is still let go after one and a half of this: otherwise
# silent peers could hold all connections for a day. Our agents ask for 30 s.
KEEPALIVE_S_MAX = 120
WRITE_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 5.0
# Of so many names it is said once what they may not do; a stranger cannot fill the log.
NAMES_SAID_MAX = 50
_PEER = "wattlog.peer"


class BrokerUnusable(Exception):
    """The broker cannot listen; str() is one line."""


class _Reader(ReaderAdapter):  # type: ignore[misc]
    """A reader that waits only so long and takes only so much; then the peer is gone."""

    def __init__(self, reader: asyncio.StreamReader, abort: Callable[[], None]) -> None:
        self._source = reader
        self._abort = abort
        self._ended = False
        self.timeout_s = CONNECT_TIMEOUT_S

    async def read(self, n: int = -1) -> bytes:
        """Return n bytes, or none: amqtt takes that for a lost connection, and ends it."""
        if self._ended or not 0 <= n <= PACKET_BYTES_MAX:
            self._end()
            return b""
        try:
            async with asyncio.timeout(self.timeout_s):
                return await self._source.readexactly(n)
        except (TimeoutError, asyncio.IncompleteReadError, OSError):
            self._end()
            return b""

    def feed_eof(self) -> None:
        """End the stream."""
        self._end()

    def _end(self) -> None:
        # A packet is lost in the middle; whatever follows would be read as another one.
        self._ended = True
        self._abort()


class _Writer(StreamWriterAdapter):  # type: ignore[misc]
    """A writer that gives a peer who does not read only so long."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        super().__init__(writer)
        self.abort = writer.transport.abort
        self.is_admitted = False

    async def drain(self) -> None:
        try:
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await super().drain()
        except TimeoutError:
            self.abort()
            raise ConnectionResetError("peer does not read") from None

    async def close(self) -> None:
        try:
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await super().close()
        except (TimeoutError, OSError):
            self.abort()


class _Broker(Broker):  # type: ignore[misc]
    """amqtt's broker with the rim described above; the overridden names are tested."""

    def __init__(
        self, config: dict[str, Any], rights: Rights, certificate: Certificate | None
    ) -> None:
        super().__init__(config)
        self._rights = rights
        self._certificate = certificate
        self._said: set[str] = set()
        self.tell: Callable[[str], None] = partial(LOG.warning, "broker: %s")
        self.refused = Counter(
            "wattlog_broker_refused",
            "What devices wanted of the embedded broker and may not, by what it was.",
            ["reason"],
            registry=None,
        )
        # By age: the first is the oldest.
        self.writers: dict[_Writer, None] = {}

    async def stream_connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listener_name: str
    ) -> None:
        """Serve one connection to its end; a peer's mistakes end here."""
        ours = _Writer(writer)
        if len(self.writers) >= CONNECTIONS_MAX:
            # Who has not said yet who it is makes room; otherwise the new one goes.
            strangers = (one for one in self.writers if not one.is_admitted)
            leaves = next(strangers, ours)
            self.writers.pop(leaves, None)
            leaves.abort()
            if leaves is ours:
                return
        self.writers[ours] = None
        try:
            await self._client_connected(listener_name, _Reader(reader, ours.abort), ours)
        except Exception as err:  # noqa: BLE001 - whatever a peer provokes must not end us
            LOG.debug("a peer of the broker was dropped: %r", err)
        finally:
            self.writers.pop(ours, None)
            ours.abort()

    async def _create_server_instance(
        self, listener_name: str, listener_type: Any, address: str | None, port: int, _: Any
    ) -> asyncio.Server:
        context = None if self._certificate is None else self._certificate.context()
        host = (address or "").strip("[]")
        return await asyncio.start_server(
            partial(self.stream_connected, listener_name=listener_name),
            # As the page's: every address, of either kind. asyncio takes "::" for IPv6 alone.
            None if host == "::" else host,
            port,
            reuse_address=True,
            ssl=context,
            # A peer that begins TLS and says nothing more is none of the connections counted.
            ssl_handshake_timeout=None if context is None else CONNECT_TIMEOUT_S,
        )

    async def _initialize_client_session(
        self, reader: Any, writer: Any, remote_address: str, remote_port: int
    ) -> Any:
        """Let in who may come in, before anything that is there is touched."""
        del remote_address, remote_port
        handler, session = await BrokerProtocolHandler.init_from_connect(
            reader, writer, self.plugins_manager
        )
        peer = self._rights.admitted(session.username, session.password)
        session.password = None
        if peer is None:
            self.refused.labels("password").inc()
            await self._refuse(writer, session.username, "with a wrong name or password")
        elif session.will_flag and not peer.may_write(session.will_topic):
            self.refused.labels("will").inc()
            await self._refuse(
                writer, peer.name, f"with a last will on {session.will_topic[:100]!r}"
            )
        writer.is_admitted = True
        session.attributes[_PEER] = peer
        # Nothing is kept for who is away: our messages are repeated. So no session of one can
        # be taken over by another, and a client id is one's own.
        session.clean_session = True
        session.client_id = f"{peer.name}/{session.client_id or gen_client_id()}"
        session.parent = 0
        await self._delete_session(session.client_id)
        # MQTT 3.1.2.10: gone after one and a half keep-alive. amqtt's own timer would only
        # log, and would tear a packet apart that arrives slowly: ours replaces it.
        reader.timeout_s = 1.5 * min(session.keep_alive or KEEPALIVE_S_MAX, KEEPALIVE_S_MAX)
        session.keep_alive = 0
        return handler, session

    async def _refuse(self, writer: Any, name: str | None, what: str) -> NoReturn:
        self._say_once(name, f"wants to connect {what}: refused")
        await ConnackPacket.build(0, NOT_AUTHORIZED).to_stream(writer)
        await writer.close()
        raise MQTTError(what)

    async def _authenticate(self, session: Any, _: Any) -> bool:
        return _PEER in session.attributes

    async def _topic_filtering(self, session: Any, topic: str, action: Action) -> bool:
        peer: Peer = session.attributes[_PEER]
        if not self._rights.holds(peer):
            # It was let in by what is no more in force.
            _, handler = self.sessions.get(session.client_id, (None, None))
            if handler is not None and handler.writer is not None:
                handler.writer.abort()
            return False
        may = peer.may_write(topic) if action == Action.PUBLISH else peer.may_read(topic)
        if not may and action != Action.RECEIVE:
            self.refused.labels(str(action)).inc()
            self._say_once(peer.name, f"wants to {action} {topic[:100]!r}, not its own: refused")
        return may

    def _say_once(self, name: str | None, what: str) -> None:
        shown = name if name is not None and is_edge(name) else "without a name of ours"
        if shown not in self._said and len(self._said) < NAMES_SAID_MAX:
            self._said.add(shown)
            self.tell(f"device {shown} {what} (said once)")

    async def _delete_session(self, client_id: str) -> None:
        # MQTT 3.1.4: a second connection of a client id ends the first one, last will and all.
        _, handler = self.sessions.get(client_id, (None, None))
        if handler is not None and handler.writer is not None:
            await handler.handle_connection_closed()
            await handler.stop()
        await super()._delete_session(client_id)

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Any
    ) -> None:
        subscribers = self.subscriptions.get(subscription[0], ())
        if any(one.client_id == session.client_id for one, _ in subscribers):
            await super()._publish_retained_messages_for_subscription(subscription, session)

    async def retain_message(
        self, source_session: Any, topic_name: Any, data: Any, qos: int | None = None
    ) -> None:
        """Retain a message unless that would be one topic too many."""
        if topic_name in self.retained_messages or len(self.retained_messages) < RETAINED_MAX:
            await super().retain_message(source_session, topic_name, data, qos)


class EmbeddedBroker:
    """A broker for our agents; it keeps nothing when it stops.

    login  the host's own name and password there
    """

    def __init__(
        self, host: str, port: int, rights: Rights, certificate: Certificate | None = None
    ) -> None:
        """Prepare; nothing listens before start(). With a certificate it speaks TLS only."""
        self.login = rights.HOST_NAME, rights.host_password
        # amqtt logs peers' mistakes with tracebacks; the host says what matters.
        for name in ("amqtt", "transitions"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        bind = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._broker = _Broker(
            {
                "listeners": {"default": {"type": "tcp", "bind": bind}},
                # It is asked by nobody, for ours decides; without one the library brings more.
                "plugins": {
                    "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": False}
                },
            },
            rights,
            certificate,
        )

    @property
    def refused(self) -> Counter:
        """How often somebody wanted what is not theirs, by reason, since the start."""
        return self._broker.refused

    def tell_to(self, say: Callable[[str], None]) -> None:
        """Say there what is refused, once for each name; until then the log has it."""
        self._broker.tell = say

    async def start(self) -> None:
        """Listen; raise BrokerUnusable where the address cannot be had."""
        try:
            await self._broker.start()
        except BrokerError as err:
            cause = err.__cause__
            text = cause.strerror if isinstance(cause, OSError) else str(err)
            raise BrokerUnusable(text or str(err)) from err

    async def stop(self) -> None:
        """Drop every client and stop listening."""
        for writer in list(self._broker.writers):
            writer.abort()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._broker.shutdown()
