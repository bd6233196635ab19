"""One visitor's connection: bounds for its number, its silence and its deafness.

uvicorn waits without end for a first request, and takes any byte as a sign of life; a visitor
who sends half a request, or does not read, would keep its place until the page has none left.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTIONS_MAX = 200
REQUEST_TIMEOUT_S = 10.0
"""From the connection, or the end of an answer, to the end of the next request."""
READ_TIMEOUT_S = 30.0
"""So long a visitor may leave unread what is sent."""


class Connection(H11Protocol):
    """uvicorn's connection with deadlines, and a place that goes to who comes later."""

    _since_s = 0.0
    _deadline: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin; where there is no room, the one that waits longest for a request goes."""
        super().connection_made(transport)
        self._expect_request()
        if len(self.connections) > CONNECTIONS_MAX:
            waiting = [
                one for one in self.connections if isinstance(one, Connection) and one.is_waiting()
            ]
            oldest = min(waiting, key=lambda one: one._since_s)
            self.connections.discard(oldest)
            oldest.transport.abort()

    def is_waiting(self) -> bool:
        """Tell whether there is no request that is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def on_response_complete(self) -> None:
        """Give so long for another request; called by uvicorn after each answer."""
        self._expect_request()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Give so long for reading; called by the transport when its buffer is full."""
        super().pause_writing()
        self._unread = self.loop.call_later(READ_TIMEOUT_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Forget that nothing was read."""
        super().resume_writing()
        _cancel(self._unread)

    def connection_lost(self, exc: Exception | None) -> None:
        """End, timers and all."""
        super().connection_lost(exc)
        _cancel(self._deadline)
        _cancel(self._unread)

    def _expect_request(self) -> None:
        _cancel(self._deadline)
        self._since_s = self.loop.time()
        self._deadline = self.loop.call_later(REQUEST_TIMEOUT_S, self._end_if_waiting)

    def _end_if_waiting(self) -> None:
        if self.is_waiting():
            self.transport.abort()


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
