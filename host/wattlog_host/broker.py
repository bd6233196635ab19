"""The broker inside the process: amqtt on the loopback, with its gaps closed at our rim.

What amqtt 0.12 leaves open, and what is done about it here (host/DESIGN.md says more):
a client that vanished is never noticed; a peer that never says CONNECT is waited for without
end; a claimed size of 256 MB is waited for in memory; a second connection of a client id
leaves the first one open; whoever connects is sent the retained messages of everyone's
subscriptions; one that stops reading stops its messages in memory.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from amqtt.adapters import ReaderAdapter, StreamWriterAdapter
from amqtt.broker import Broker
from amqtt.errors import BrokerError

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

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self.writers: set[_Writer] = set()

    async def stream_connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listener_name: str
    ) -> None:
        """Serve one connection to its end; a peer's mistakes end here."""
        ours = _Writer(writer)
        if len(self.writers) >= CONNECTIONS_MAX:
            ours.abort()
            return
        self.writers.add(ours)
        try:
            await self._client_connected(listener_name, _Reader(reader, ours.abort), ours)
        except Exception as err:  # noqa: BLE001 - whatever a peer provokes must not end us
            logging.getLogger(__name__).debug("a peer of the broker was dropped: %r", err)
        finally:
            self.writers.discard(ours)
            ours.abort()

    async def _initialize_client_session(
        self, reader: Any, writer: Any, remote_address: str, remote_port: int
    ) -> Any:
        handler, session = await super()._initialize_client_session(
            reader, writer, remote_address, remote_port
        )
        # MQTT 3.1.2.10: gone after one and a half keep-alive. amqtt's own timer would only
        # log, and would tear a packet apart that arrives slowly: ours replaces it.
        reader.timeout_s = 1.5 * min(session.keep_alive or KEEPALIVE_S_MAX, KEEPALIVE_S_MAX)
        session.keep_alive = 0
        return handler, session

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
    """A broker for the agents of this machine; it keeps nothing when it stops."""

    def __init__(self, host: str, port: int) -> None:
        """Prepare; nothing listens before start()."""
        # amqtt logs peers' mistakes with tracebacks; the host counts and says what matters.
        for name in ("amqtt", "transitions"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        bind = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._broker = _Broker(
            {
                "listeners": {"default": {"type": "tcp", "bind": bind}},
                "plugins": {
                    "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}
                },
            }
        )

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
