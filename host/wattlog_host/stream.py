"""Server-sent events: one rendering of the view for all who watch, and a bound for each."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

WATCHERS_MAX = 100
MESSAGES_MAX = 4
INTERVAL_S_MIN = 0.5
KEEPALIVE_S = 15.0

_KEEPALIVE = b": still here\n\n"
_NAMED = b"event: view\n"


class TooManyWatchers(Exception):
    """No further stream is opened."""


class Hub:
    """Hands the newest view to every watcher; one that does not keep up is let go.

    There are two forms: events without a name, each the view; and named ones, "view" and, before
    it, a "reading" for each meter that has a newer one.
    """

    def __init__(
        self,
        render: Callable[[], dict[str, Any]],
        readings: Callable[[], list[dict[str, Any]]] = list,
    ) -> None:
        """Take what makes the view, and the meters' newest readings: {"meter", "t", ...}."""
        self._render, self._readings = render, readings
        self._queues: set[asyncio.Queue[bytes | None]] = set()
        self._named: set[asyncio.Queue[bytes | None]] = set()
        self._told: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._came = asyncio.Event()
        self._closed = False

    def changed(self) -> None:
        """Note that the view is no longer what was last sent."""
        self._changed.set()

    async def run(self) -> None:
        """Send the view when it changed, at most every INTERVAL_S_MIN, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._queues:
                message = self._message()
                named = self._news() + _NAMED + message
                for queue in list(self._queues):
                    self._put(queue, named if queue in self._named else message)
            await asyncio.sleep(INTERVAL_S_MIN)

    def close(self) -> None:
        """End every stream, so that the server need not wait for them."""
        self._closed = True
        for queue in list(self._queues):
            self._let_go(queue)

    def watch(self, *, is_named: bool = False) -> AsyncIterator[bytes]:
        """Return the stream of one watcher, the present view first."""
        if len(self._queues) >= WATCHERS_MAX or self._closed:
            raise TooManyWatchers
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(MESSAGES_MAX)
        queue.put_nowait((_NAMED if is_named else b"") + self._message())
        self._queues.add(queue)
        if is_named:
            self._named.add(queue)
        self._came.set()
        return self._stream(queue)

    def is_watched(self) -> bool:
        """Tell whether anybody has the page open."""
        return bool(self._queues)

    async def wait_for_watcher(self, timeout_s: float) -> None:
        """Return when somebody opens the page, or after so long."""
        self._came.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._came.wait()

    async def _stream(self, queue: asyncio.Queue[bytes | None]) -> AsyncIterator[bytes]:
        try:
            while True:
                try:
                    async with asyncio.timeout(KEEPALIVE_S):
                        message = await queue.get()
                except TimeoutError:
                    message = _KEEPALIVE
                if message is None:
                    return
                yield message
        finally:
            self._queues.discard(queue)
            self._named.discard(queue)

    def _message(self) -> bytes:
        return _data(self._render())

    def _news(self) -> bytes:
        """Return an event for each reading that is newer than the one last told of its meter."""
        news = b""
        for reading in self._readings():
            if reading["t"] > self._told.get(reading["meter"], 0):
                self._told[reading["meter"]] = reading["t"]
                news += b"event: reading\n" + _data(reading)
        return news

    def _put(self, queue: asyncio.Queue[bytes | None], message: bytes) -> None:
        try:
            queue.put_nowait(message)
        except asyncio.QueueFull:
            self._let_go(queue)

    def _let_go(self, queue: asyncio.Queue[bytes | None]) -> None:
        self._queues.discard(queue)
        self._named.discard(queue)
        while not queue.empty():
            queue.get_nowait()
        queue.put_nowait(None)


def _data(content: dict[str, Any]) -> bytes:
    # Compact and without a line break: one data line is one event.
    return f"data: {json.dumps(content, separators=(',', ':'))}\n\n".encode()
