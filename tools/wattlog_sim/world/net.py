"""A broker and its connections in virtual time: messages get lost, repeated, reordered, late.

MQTT 3.1.1 with QoS 0 as the uplink uses it: retained messages, last wills, and no promise about
anything else. A broker that crashes forgets what it had accepted, its sessions and what it
retained.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from wattlog.uplink import LinkError

if TYPE_CHECKING:
    from wattlog_sim.world.clock import Rng, World

LOST_LINK_MS = 15_000  # until the broker notices that a connection is dead

Deliver = Callable[[str, bytes], None]


class Weather(NamedTuple):
    """How bad the network is: permille of messages, and ms."""

    lost: int = 0
    repeated: int = 0
    delay_ms_max: int = 20
    queue_max: int = 1_000  # messages that wait for one receiver; the newest give way


FAIR = Weather()


class Client:
    """One connection, of an edge or of the host."""

    def __init__(
        self, name: str, topics: tuple[str, ...], deliver: Deliver, dropped: Callable[[], None]
    ):
        """Take what it subscribes, and whom to tell of messages and of the connection's end."""
        self.name = name
        self.topics = topics
        self.deliver = deliver
        self.dropped = dropped
        self.will: tuple[str, bytes] | None = None
        self.waiting = 0


class Broker:
    """Routes messages between clients through the weather."""

    def __init__(self, world: "World", rng: "Rng") -> None:
        """Start empty, in fair weather."""
        self.world = world
        self.rng = rng
        self.weather = FAIR
        self.is_up = True
        self.clients: list[Client] = []
        self.retained: dict[str, bytes] = {}
        self.counts = {"published": 0, "lost": 0, "repeated": 0, "overflow": 0}
        self._crash_number = 0

    def connect(self, client: Client) -> bool:
        """Take a client in; it gets what is retained. False while the broker is away."""
        if not self.is_up:
            return False
        self.clients.append(client)
        for topic, payload in sorted(self.retained.items()):
            if _matches(client.topics, topic):
                self._send(client, topic, payload)
        return True

    def leave(self, client: Client, said_goodbye: bool) -> None:
        """Forget a client; one that did not say goodbye is spoken for by its will."""
        if client not in self.clients:
            return
        self.clients.remove(client)
        if client.will is not None and not said_goodbye:
            self.publish(*client.will, retain=True)

    def publish(self, topic: str, payload: bytes, retain: bool) -> None:
        """Accept a message for everybody who subscribes; what becomes of it is the weather's."""
        if not self.is_up:
            return
        self.counts["published"] += 1
        self.world.trace(b"P", topic.encode(), payload)
        if retain:
            self.retained[topic] = payload
        for client in list(self.clients):
            if _matches(client.topics, topic):
                self._send(client, topic, payload)

    def crash(self) -> None:
        """Die, with everything that was accepted and not yet delivered."""
        self.is_up = False
        self._crash_number += 1
        self.retained.clear()
        clients, self.clients = self.clients, []
        for client in clients:
            client.dropped()

    def restart(self) -> None:
        """Come back, empty."""
        self.is_up = True

    def _send(self, client: Client, topic: str, payload: bytes) -> None:
        rng, weather = self.rng, self.weather
        copies = 1
        if rng.randrange(1000) < weather.lost:
            self.counts["lost"] += 1
            copies = 0
        elif rng.randrange(1000) < weather.repeated:
            self.counts["repeated"] += 1
            copies = 2
        for _ in range(copies):
            if client.waiting >= weather.queue_max:
                self.counts["overflow"] += 1
                return
            client.waiting += 1
            late_ms = 1 + rng.randrange(weather.delay_ms_max)
            self.world.after(late_ms, self._arrive, client, topic, payload, self._crash_number)

    def _arrive(self, client: Client, topic: str, payload: bytes, crash_number: int) -> None:
        client.waiting -= 1
        if crash_number == self._crash_number and client in self.clients:
            client.deliver(topic, payload)


class EdgeLink:
    """The agent's link (ports.Link) to the simulated broker."""

    def __init__(
        self,
        world: "World",
        broker: Broker,
        edge: str,
        is_wifi_up: Callable[[], bool],
        wake: Callable[[], None],
    ) -> None:
        """Take the broker, the edge's id, its Wi-Fi, and whom to wake when something arrives."""
        self._world = world
        self._broker = broker
        self._edge = edge
        self._is_wifi_up = is_wifi_up
        self._wake = wake
        self._client: Client | None = None
        self._inbox: list[tuple[str, bytes]] = []
        self._trouble = ""

    def open(self, will: bytes) -> None:
        """Connect at once, or fail at once."""
        if not self._is_wifi_up():
            raise LinkError("no Wi-Fi")
        root = f"wattlog/1/{self._edge}/"
        client = Client(
            self._edge, (root + "a", root + "s", root + "c"), self._deliver, self._drop
        )
        client.will = (root + "s", will)
        if not self._broker.connect(client):
            raise LinkError("connection refused")
        self._client = client
        self._inbox.clear()
        self._trouble = ""

    def is_up(self) -> bool:
        """Tell whether we are connected; raise LinkError when that was lost."""
        if self._trouble:
            raise LinkError(self._trouble)
        return self._client is not None

    def publish(self, topic: str, payload: bytes | memoryview, retain: bool) -> None:
        """Send; into the void when the Wi-Fi went a moment ago."""
        if self._client is None:
            raise LinkError(self._trouble or "not connected")
        if self._is_wifi_up():
            self._broker.publish(topic, bytes(payload), retain)

    def receive(self) -> tuple[str, bytes] | None:
        """Return the next message that has arrived."""
        if self._trouble:
            raise LinkError(self._trouble)
        return self._inbox.pop(0) if self._inbox else None

    def close(self) -> None:
        """Say goodbye where that is possible."""
        if self._client is not None:
            self._broker.leave(self._client, said_goodbye=self._is_wifi_up())
        self._client = None
        self._inbox.clear()

    def cut(self) -> None:
        """The power went: the broker notices by itself, later."""
        client, self._client = self._client, None
        if client is not None:
            self._world.after(LOST_LINK_MS, self._broker.leave, client, False)

    def lose(self) -> None:
        """The Wi-Fi went: both sides notice, each by itself."""
        if self._client is not None:
            self._world.after(LOST_LINK_MS, self._broker.leave, self._client, False)
            self._drop()

    def waiting(self) -> int:
        """Return how many messages have arrived and are not looked at."""
        return len(self._inbox)

    def _deliver(self, topic: str, payload: bytes) -> None:
        if self._is_wifi_up():
            self._inbox.append((topic, payload))
            self._wake()

    def _drop(self) -> None:
        self._client = None
        self._trouble = "connection lost"
        self._wake()


def _matches(topics: tuple[str, ...], topic: str) -> bool:
    if topic in topics:
        return True
    leaf = topic.rpartition("/")[2]
    return any(pattern.startswith("wattlog/1/+/") and pattern.endswith(leaf) for pattern in topics)
