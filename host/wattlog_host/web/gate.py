"""Who may ask the past: one at a time; others wait their turn, and not without end.

Two at once take as long, for they share an interpreter, and keep a commit waiting twice as long.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

WAITING_MAX = 64
WAIT_S_MAX = 5.0


class TooBusy(Exception):
    """Nobody answers now; ask again later."""


class Gate:
    """Lets one in at a time."""

    def __init__(self) -> None:
        """Make one that nobody is in."""
        self._inside = asyncio.Lock()
        self._waiting = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn and hold it; raise TooBusy where it does not come in time."""
        if self._waiting >= WAITING_MAX:
            raise TooBusy
        self._waiting += 1
        try:
            async with asyncio.timeout(WAIT_S_MAX):
                await self._inside.acquire()
        except TimeoutError:
            raise TooBusy from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._inside.release()
