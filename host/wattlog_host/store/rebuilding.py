"""All buckets anew from the batches, while no host runs; one that is ended goes on at the next."""

from collections.abc import Callable

import wattlog
from wattlog_host.store.kinds import Place
from wattlog_host.store.writer import Writer


class Rebuilding:
    """Holds the database's lock; a host that starts meanwhile says that it is in use."""

    def __init__(self, place: Place, now_ms: int) -> None:
        """Open the database, which may bring it up to date; raise StoreError where it cannot."""
        self._writer = Writer(place, wattlog.__version__, now_ms)
        self._now_ms = now_ms

    def run(self, progress: Callable[[int, int], None]) -> int:
        """Make the buckets of every hour that has readings; return how many hours."""
        total = self._writer.rebuild_begin()
        done = 0
        while count := self._writer.roll():
            done += count
            progress(done, max(total, done))
        return total

    def close(self) -> None:
        """Let go of the database."""
        self._writer.close(self._now_ms)
