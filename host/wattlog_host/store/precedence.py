"""The present goes before the past: who asks the past waits while a commit is under way."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

LET_PASS_S_MAX = 0.02
"""For so long at each block: who meets commit after commit is answered slowly, but answered."""


class Precedence:
    """Between the thread that commits and those that ask.

    They share one interpreter, and a commit lets go of it at each statement: without this it gets
    it back behind everybody who is working out an answer, a dozen times.
    """

    def __init__(self) -> None:
        """Nobody commits yet."""
        self._is_free = threading.Event()
        self._is_free.set()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Go first for as long."""
        self._is_free.clear()
        try:
            yield
        finally:
            self._is_free.set()

    def let_pass(self) -> None:
        """Wait for who goes first, but not for ever."""
        self._is_free.wait(LET_PASS_S_MAX)
