"""The link to the broker: connects for ever, hands messages on, publishes acknowledgements."""

import asyncio
import logging
import ssl
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import aiomqtt

from wattlog_host.access.topics import HOST
from wattlog_host.settings import Settings

LOG = logging.getLogger(__name__)

BATCHES = "b"
WAIT_S_MIN = 1.0
WAIT_S_MAX = 30.0
KEEPALIVE_S = 20
TIMEOUT_S = 10.0
# Messages that come before all topics are subscribed.
QUEUE_MESSAGES_MAX = 1_024

_NEVER = "not connected yet"
_CREDENTIALS = ("Not authorized", "Bad user name or password", "Bad username or password")


class MqttLink:
    """One connection at a time, for as long as run() runs."""

    def __init__(
        self,
        settings: Settings,
        on_change: Callable[[str | None], None],
        login: tuple[str, str] | None = None,
        more_topics: tuple[str, ...] = (),
        will: tuple[str, bytes] | None = None,
        reads: Sequence[str] = HOST.reads,
    ) -> None:
        """Take whom to tell of a change: None is connected, else why not.

        reads are the last levels of the topics to read.

        login is the name and the password of the embedded broker; another's are in the settings.
        more_topics are read, too, where the broker lets us; will is the (topic, payload) that the
        broker keeps for all when we vanish.
        """
        self._settings = settings
        self._login = login or (settings.mqtt_username, settings.mqtt_password)
        self._on_change = on_change
        self._topics = topics_of(reads, settings.cell_share)
        self._more_topics = more_topics
        self._will = None if will is None else aiomqtt.Will(*will, qos=0, retain=True)
        self._client: aiomqtt.Client | None = None
        self.trouble: str | None = _NEVER

    async def run(self, on_message: Callable[[str, bytes], None]) -> None:
        """Stay connected and hand on (topic, payload) until cancelled; tell each outage once."""
        wait_s = WAIT_S_MIN
        while True:
            try:
                inbox = _Inbox(QUEUE_MESSAGES_MAX)
                async with self._make_client(inbox) as client:
                    for topic in self._topics:
                        granted = await client.subscribe(topic)
                        if any(_is_failure(code) for code in granted):
                            raise aiomqtt.MqttError(f"the broker refuses to let us read {topic}")
                    for topic in self._more_topics:
                        await client.subscribe(topic)
                    self._client = client
                    wait_s = WAIT_S_MIN
                    self._tell(None)
                    inbox.hand_to(partial(_take, on_message))
                    async for _ in client.messages:
                        continue  # none is left for it: it ends with the connection
            except (aiomqtt.MqttError, OSError, ValueError) as err:
                self._tell(self._explain(err))
            finally:
                self._client = None
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, WAIT_S_MAX)

    async def publish(self, topic: str, payload: bytes, *, is_kept: bool = False) -> bool:
        """Send if connected; tell whether it was handed to the network. is_kept is retain."""
        if self._client is None:
            return False
        try:
            await self._client.publish(topic, payload, retain=is_kept, timeout=TIMEOUT_S)
        except (aiomqtt.MqttError, OSError, ValueError):
            return False
        return True

    def _make_client(self, inbox: "_Inbox") -> aiomqtt.Client:
        settings = self._settings
        # The library's own lines tell of every discarded message; ours tell of the outage.
        quiet = logging.getLogger("wattlog_host.paho")
        quiet.setLevel(logging.CRITICAL + 1)
        return aiomqtt.Client(
            settings.mqtt_host,
            settings.mqtt_port,
            username=self._login[0],
            password=self._login[1],
            logger=quiet,
            timeout=TIMEOUT_S,
            keepalive=KEEPALIVE_S,
            will=self._will,
            queue_type=cast(Any, lambda **_: inbox),
            tls_context=_trust(settings),
        )

    def _tell(self, trouble: str | None) -> None:
        """Pass on a change; the same outage may find new words, and is still the same."""
        changed = (trouble is None) != (self.trouble is None) or self.trouble == _NEVER
        self.trouble = trouble
        if changed:
            self._on_change(trouble)

    def _explain(self, err: Exception) -> str:
        where = f"{self._settings.mqtt_host}:{self._settings.mqtt_port}"
        if any(word in str(err) for word in _CREDENTIALS):
            return f"the broker at {where} refuses mqtt.username or its password"
        if str(err).startswith("Disconnected"):
            return f"the broker at {where} closed the connection"
        return f"the broker at {where}: {err}"


def topics_of(leaves: Sequence[str], share: str | None = None) -> list[str]:
    """Return what to subscribe to; of a cell each batch goes to one, whichever that is."""
    return [
        f"$share/{share}/{topic}" if share is not None and leaf == BATCHES else topic
        for leaf, topic in zip(leaves, HOST.filters(leaves, HOST.name), strict=True)
    ]


class _Inbox(asyncio.Queue[aiomqtt.Message]):
    """Messages that wait until somebody takes them; what comes later is handed to him at once.

    The library's own way is a task for each message, which takes as long as all else that is done
    with it.
    """

    def __init__(self, count_max: int) -> None:
        super().__init__(count_max)
        self._take: Callable[[aiomqtt.Message], None] | None = None

    def put_nowait(self, item: aiomqtt.Message) -> None:
        if self._take is None:
            super().put_nowait(item)
        else:
            self._take(item)

    def hand_to(self, take: Callable[[aiomqtt.Message], None]) -> None:
        """Hand on what waits, and all that comes."""
        self._take = take
        while not self.empty():
            take(self.get_nowait())


def _take(on_message: Callable[[str, bytes], None], message: aiomqtt.Message) -> None:
    # What was kept of an update is of an earlier one, or of nobody's.
    is_stale = message.retain and message.topic.matches("wattlog/1/+/u")
    if isinstance(message.payload, bytes) and not is_stale:
        on_message(str(message.topic), message.payload)


def _trust(settings: Settings) -> ssl.SSLContext | None:
    """Return what the broker has to show; there is no "insecure"."""
    if settings.mqtt_own_tls is not None:
        return settings.mqtt_own_tls.only_this()
    if not settings.mqtt_tls:
        return None
    # The system's authorities, or only the given one.
    return ssl.create_default_context(cafile=settings.mqtt_ca_file)


def _is_failure(code: object) -> bool:
    return int(getattr(code, "value", code)) >= 0x80  # type: ignore[call-overload,no-any-return]
