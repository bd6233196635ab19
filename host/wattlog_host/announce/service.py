"""Says over MQTT what there is to say, for as long as the host runs."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from wattlog_host.announce import topics
from wattlog_host.announce.announcer import Announcer
from wattlog_host.dess.shown import Inverter
from wattlog_host.live import LiveView

LOOK_S = 1.0
PAUSES = 19
"""After a look there is a pause of so many times its length: a thousand agents take a while."""
LOOKS_MAX = 10
"""Home Assistant hears from all that it knows when it starts; not all have to speak at once."""


def pause_s(took_s: float) -> float:
    """Return how long to wait after a look that took so long."""
    return max(LOOK_S, PAUSES * took_s)


class Link(Protocol):
    """What is needed of the link to the broker."""

    async def publish(self, topic: str, payload: bytes, *, is_kept: bool = False) -> bool:
        """Send if connected; tell whether it was handed to the network."""


class Announcements:
    """Runs an announcer."""

    def __init__(
        self,
        announcer: Announcer,
        prefix: str,
        view: LiveView,
        clock_ms: Callable[[], int],
        chance: Callable[[], float],
        solar: Callable[[], Sequence[Inverter]] = tuple,
    ) -> None:
        """Take what decides, Home Assistant's prefix, the present, the clock, a number below 1.

        solar() is what is known of the inverters now.
        """
        self.birth_topic = f"{prefix}/status"
        self._announcer = announcer
        self._view = view
        self._clock_ms = clock_ms
        self._chance = chance
        self._solar = solar
        self._looks_left: int | None = None

    def on_connect(self) -> None:
        """Note a new connection: the broker may have lost what it kept."""
        self._announcer.forget()

    def on_birth(self, payload: bytes) -> None:
        """Take what Home Assistant says of itself."""
        if payload == topics.ONLINE:
            self._looks_left = int(LOOKS_MAX * self._chance())

    async def run(self, link: Link) -> None:
        """Publish what is due, again and again, until cancelled."""
        clock_s = asyncio.get_running_loop().time
        while True:
            began_s = clock_s()
            await self.look(link)
            await asyncio.sleep(pause_s(clock_s() - began_s))

    async def look(self, link: Link) -> None:
        """Publish what is due now."""
        if self._looks_left is not None:
            self._looks_left -= 1
            if self._looks_left < 0:
                self._looks_left = None
                self._announcer.forget_devices()
        for message in self._announcer.due(self._view, self._clock_ms(), self._solar()):
            if not await link.publish(message.topic, message.payload, is_kept=message.is_kept):
                break
            self._announcer.told(message)

    async def say_goodbye(self, link: Link) -> None:
        """Say that the host goes; where it just vanishes, its last will does."""
        await link.publish(topics.HOST, topics.OFFLINE, is_kept=True)


LAST_WILL = (topics.HOST, topics.OFFLINE)
"""Topic and payload."""
