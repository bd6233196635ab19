"""What the rims hand to the core. For readers and the type checker; never imported on a device."""

from collections.abc import Callable, Iterator
from typing import Protocol

Randrange = Callable[[int], int]
Say = Callable[[str], None]
Describe = Callable[[int], dict[str, object]]


class ByteSource(Protocol):
    """One meter's serial line."""

    name: str  # the port, as the person knows it

    def read(self, now_ms: int) -> bytes:
        """Return the bytes that are there, b"" for none; never block, never raise.

        A port that is gone is opened again from here, with a back-off.
        """

    def trouble(self) -> str | None:
        """Return what is wrong with the port in words for a person, None while it is open."""


class Clock(Protocol):
    """The wall clock."""

    def epoch_ms(self) -> int | None:
        """Return ms since 1970 UTC, or None while the time is not known."""


class Log(Protocol):
    """Where records wait for the host; see memlog.MemoryLog."""

    def append(self, payload: bytes) -> int:
        """Keep payload; return its sequence number."""

    def read_after(self, seq: int) -> Iterator[tuple[int, bytes]]:
        """Yield what is kept with a greater number, oldest first."""

    def release(self, seq: int) -> None:
        """Free everything up to and including seq."""


class Link(Protocol):
    """One MQTT connection, subscribed to the edge's acknowledgements and status."""

    def open(self, will: bytes) -> None:
        """Begin to connect, with this last will; raise LinkError where it cannot work."""

    def is_up(self) -> bool:
        """Tell whether we are connected and subscribed; raise LinkError when that failed."""

    def publish(self, topic: str, payload: bytes | memoryview, retain: bool) -> None:
        """Send one message, QoS 0; raise LinkError. The payload is the caller's again after."""

    def receive(self) -> tuple[str, bytes] | None:
        """Return the next (topic, payload) that has arrived, or None; raise LinkError."""

    def close(self) -> None:
        """Close, whatever the state; never raise."""
