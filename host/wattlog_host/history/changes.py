"""From when on the past is no longer what it was: whoever writes tells, whoever remembers asks."""

import threading
from typing import Protocol

NOTES_MAX = 1_000


class Notes(Protocol):
    """Who knows from when on a meter's past is no longer what it was."""

    def mark(self) -> int:
        """Return a mark for all that has changed up to now; the same where nothing did."""

    def since(self, mark: int, meter_id: int) -> int | None:
        """Return the earliest time that changed after the mark, None where nothing did."""


class Unwatched:
    """For a store that tells nothing: after every look all may have changed."""

    def __init__(self) -> None:
        """Make one that knows nothing."""
        self._mark = 0

    def mark(self) -> int:
        """Return a mark that no other is equal to."""
        self._mark += 1
        return self._mark

    def since(self, mark: int, meter_id: int) -> int | None:
        """Return that everything may have changed."""
        return 0


class Changes:
    """Notes of changes, of each meter only those that still matter; from any thread."""

    def __init__(self) -> None:
        """Make one that knows of none."""
        self._lock = threading.Lock()
        self._mark = 1
        self._notes: dict[int, list[tuple[int, int]]] = {}

    def note(self, meter_id: int, from_ms: int) -> None:
        """Note, after the commit, that a meter's past changed from this time on."""
        with self._lock:
            self._mark += 1
            notes = self._notes.setdefault(meter_id, [])
            # An older note of a later time adds nothing: so times rise with the marks.
            while notes and notes[-1][1] >= from_ms:
                notes.pop()
            notes.append((self._mark, from_ms))
            if len(notes) > NOTES_MAX:
                half = NOTES_MAX // 2
                # The last of the older half, with the earliest time of them all.
                notes[:half] = [(notes[half - 1][0], notes[0][1])]

    def mark(self) -> int:
        """Return a mark for all that has changed up to now."""
        with self._lock:
            return self._mark

    def since(self, mark: int, meter_id: int) -> int | None:
        """Return the earliest time that changed after the mark, None where nothing did."""
        with self._lock:
            return next(
                (at_ms for noted, at_ms in self._notes.get(meter_id, ()) if noted > mark), None
            )
