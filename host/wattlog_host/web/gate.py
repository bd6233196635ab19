"""Who may ask the past at once: a few; others wait their turn for a while, and not without end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

ASKING_MAX = 2
WAITING_MAX = 64
WAIT_S_MAX = 5.0


class TooBusy(Exception):
    """Nobody answers now; ask again later."""


class Gate:
    """Lets a few in at a time."""

    def __init__(self) -> None:
        """Make one that nobody is in."""
        self._inside = asyncio.Semaphore(ASKING_MAX)
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
