"""What the rims hand to the core. For readers and the type checker; never imported on a device."""

from collections.abc import Callable, Iterator
from typing import Protocol

from wattlog.ringlog import Stats

Randrange = Callable[[int], int]
Say = Callable[[str], None]
Describe = Callable[[int], dict[str, object]]
OnCommand = Callable[[bytes, int], None]


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

    def is_sure(self) -> bool:
        """Tell whether it has been set from the network since the start.

        Any other may have gone on where it stopped, and be days behind.
        """


class BlockDevice(Protocol):
    """MicroPython's extended block protocol, as of esp32.Partition. Each may raise OSError.

    Offsets and sizes are any, but stay within a block.
    """

    def readblocks(self, block: int, buf: bytearray | memoryview, offset: int) -> None:
        """Fill buf from this place."""

    def writeblocks(self, block: int, buf: bytes | bytearray, offset: int) -> None:
        """Write buf to this place, for good on return; never erase."""

    def ioctl(self, op: int, arg: int) -> int | None:
        """Return the number of blocks (op 4) or their size (5), or erase one (6).

        An erase that failed may say so by a negative number.
        """


class LogEnd(Protocol):
    """The end of a log where records are added; each method may raise ringlog.LogError."""

    def append(self, payload: bytes | bytearray) -> int:
        """Keep payload for good; return its sequence number."""

    def fits(self, size: int) -> bool:
        """Tell whether so many bytes would go where the last record went."""


class Log(LogEnd, Protocol):
    """Where records wait for the host; see ringlog.RingLog."""

    id: int
    base_seq: int

    def read_after(self, seq: int) -> Iterator[tuple[int, bytes]]:
        """Yield what is kept with a greater number, oldest first."""

    def release(self, seq: int) -> None:
        """Free everything up to and including seq."""

    def renew(self) -> bool:
        """Go on under the next id, with all that is kept; False where that cannot be.

        May raise ringlog.LogError.
        """

    def stats(self) -> Stats:
        """Return the fill and the losses."""


class Link(Protocol):
    """One MQTT connection, subscribed to the edge's acknowledgements, status and commands."""

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
