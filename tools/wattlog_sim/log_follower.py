"""Follows a log whose flash wavers or fails, where not one answer but several would be right.

What stays true whatever the cells read: a number never stands for two records, what was promised
is there unless it was released or erased, and the next number is a new one. Runs on MicroPython
and CPython.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wattlog_sim.flash import FakeFlash


class Follower:
    """What is known of one log, over mounts and failures.

    Its methods return what is wrong, or None.
    """

    def __init__(self, wanted: "Any") -> None:
        """Begin with what a mount must say, see log_oracle."""
        self._given = {row.seq: row.payload for row in wanted.rows if row.payload is not None}
        self._blocks = {row.seq: row.block for row in wanted.rows}
        self._doubtful = [] if wanted.doubtful is None else [wanted.doubtful]
        self._may_miss = {row.seq for row in wanted.rows if row.block == wanted.fading}
        self._released = wanted.released
        self._asked = wanted.asked
        self._next_seq: int = wanted.next_seq

    def look(self, log: "Any") -> str | None:
        """Judge what the log yields now."""
        got = list(log.read_after(0))
        last = 0
        for seq, payload in got:
            if seq <= last:
                return "invented: seq %d comes after %d" % (seq, last)
            last = seq
            if seq not in self._given and (seq, payload) in self._doubtful:
                self._given[seq] = payload  # from now on this number is taken
                self._may_miss.add(seq)
            if self._given.get(seq) != payload:
                return "invented: seq %d reads %s" % (seq, payload.hex())
        # A release that was not promised may hold or not, but not in part.
        is_kept = bool(got) and got[0][0] <= self._asked
        cursor = self._released if is_kept else self._asked
        yielded = {record[0] for record in got}
        if got and got[0][0] <= self._released:
            return "lost: the cursor is back at %d" % got[0][0]
        lost = [
            seq
            for seq in self._given
            if seq > cursor and seq not in yielded and seq not in self._may_miss
        ]
        if lost:
            return "lost: %d seqs, %d and others" % (len(lost), min(lost))
        next_seq = log.stats().next_seq
        self._next_seq = max(self._next_seq, last + 1)
        if next_seq < self._next_seq:
            return "invented: seq %d will be given again" % next_seq
        return None

    def append(self, log: "Any", flash: "FakeFlash", payload: bytes) -> str | None:
        """Append, which must succeed, and note what was erased for it."""
        flash.journal = []
        return self.appended(flash, log.append(payload), payload)

    def appended(self, flash: "FakeFlash", seq: int, payload: bytes) -> str | None:
        """Note that an append returned."""
        assert flash.journal is not None
        if seq in self._given or seq < self._next_seq:
            return "invented: seq %d was given again" % seq
        self._note_erases(flash)
        self._given[seq] = payload
        self._blocks[seq] = flash.journal[-1][0] // flash.sector_bytes
        self._next_seq = seq + 1
        return None

    def failed_append(self, flash: "FakeFlash", payload: bytes) -> None:
        """Note that an append failed; its record may be there or not."""
        self._doubtful.append((self._next_seq, payload))
        self._note_erases(flash)

    def failed_release(self, flash: "FakeFlash", asked: int) -> None:
        """Note that a release failed; it may hold or not."""
        self._asked = max(self._asked, asked)
        self._note_erases(flash)

    def released(self, flash: "FakeFlash", asked: int) -> None:
        """Note that a release returned."""
        self._released = max(self._released, asked)
        self._asked = max(self._asked, asked)
        self._note_erases(flash)

    def renewed(self, flash: "FakeFlash") -> None:
        """Note that the log has another id, or that this failed."""
        self._note_erases(flash)

    def _note_erases(self, flash: "FakeFlash") -> None:
        assert flash.journal is not None
        for seq, where in self._blocks.items():
            if where == flash.failed_erase:
                self._may_miss.add(seq)
        for position, _, data in flash.journal:
            if data is None:
                block = position // flash.sector_bytes
                for seq in [seq for seq, where in self._blocks.items() if where == block]:
                    del self._blocks[seq]
                    self._given.pop(seq, None)
