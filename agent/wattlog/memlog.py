"""A log of records in memory: what a head keeps until the host says *committed*.

It has the face of the power-safe ring log (append, read_after, release, stats) but not its
promise: a power cut loses it. Its size is capped; the oldest records give way and are counted.
"""

from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

RECORD_OVERHEAD_BYTES = 32  # what a list slot and a bytes object cost beside the payload

Stats = namedtuple("Stats", ("records", "bytes", "bytes_max", "evicted"))
# records    waiting to be released
# bytes      they take, with overhead; bytes_max is the cap
# evicted    records lost to the cap since the start


class MemoryLog:
    """Records numbered from 1, strictly rising within one boot."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._records: list[bytes] = []
        self._first_seq = 1
        self._bytes = 0
        self._evicted = 0

    def append(self, payload: bytes) -> int:
        """Keep payload and return its sequence number; the oldest give way to the cap."""
        size = len(payload) + RECORD_OVERHEAD_BYTES
        assert size <= self._bytes_max
        while self._bytes + size > self._bytes_max:
            self._forget_first()
            self._evicted += 1
        self._records.append(payload)
        self._bytes += size
        return self._first_seq + len(self._records) - 1

    def read_after(self, seq: int) -> "Iterator[tuple[int, bytes]]":
        """Yield (seq, payload) of every record kept with a greater seq, oldest first."""
        for index in range(max(0, seq - self._first_seq + 1), len(self._records)):
            yield self._first_seq + index, self._records[index]

    def release(self, seq: int) -> None:
        """Free every record up to and including seq."""
        while self._records and self._first_seq <= seq:
            self._forget_first()

    def stats(self) -> Stats:
        """Return the fill and the losses."""
        return Stats(len(self._records), self._bytes, self._bytes_max, self._evicted)

    def _forget_first(self) -> None:
        self._bytes -= len(self._records.pop(0)) + RECORD_OVERHEAD_BYTES
        self._first_seq += 1
