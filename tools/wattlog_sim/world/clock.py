"""Time, and what happens in it: the event queue of one simulated house.

Everything that happens is an event at a virtual millisecond; two of the same millisecond happen in
the order in which they were set. All chance comes from the seed, so the same seed gives the same
events, which `digest` shows: two runs that differ in one byte anywhere have different digests.
"""

import hashlib
import heapq
import random
from collections.abc import Callable
from typing import Any

Action = Callable[..., object]
Rng = random.Random


class World:
    """The clock and the queue of events of one run."""

    def __init__(self, seed: int, epoch_ms: int) -> None:
        """Begin at uptime 0, which is this time of day."""
        self.seed = seed
        self.now_ms = 0
        self.epoch_ms_start = epoch_ms
        self._queue: list[tuple[int, int, Action, tuple[Any, ...]]] = []
        self._number = 0
        self._digest = hashlib.blake2b(digest_size=8)

    def rng(self, purpose: str) -> Rng:
        """Return chance of its own for one purpose: drawing more for one moves no other."""
        return Rng(f"{self.seed}:{purpose}")

    @property
    def epoch_ms(self) -> int:
        """The true time of day."""
        return self.epoch_ms_start + self.now_ms

    def after(self, delay_ms: int, action: Action, *arguments: object) -> None:
        """Have something happen in so many ms."""
        self.at(self.now_ms + delay_ms, action, *arguments)

    def at(self, time_ms: int, action: Action, *arguments: object) -> None:
        """Have something happen at that uptime, now at the earliest."""
        self._number += 1
        heapq.heappush(self._queue, (max(time_ms, self.now_ms), self._number, action, arguments))

    def run(self, until_ms: int) -> None:
        """Let everything happen up to that uptime."""
        queue = self._queue
        while queue and queue[0][0] <= until_ms:
            self.now_ms, _, action, arguments = heapq.heappop(queue)
            action(*arguments)
        self.now_ms = until_ms

    def trace(self, *parts: bytes) -> None:
        """Add to the digest of what happened."""
        self._digest.update(self.now_ms.to_bytes(6, "big"))
        for part in parts:
            self._digest.update(part)

    def digest(self) -> str:
        """Return the digest of all that happened so far."""
        return self._digest.hexdigest()
