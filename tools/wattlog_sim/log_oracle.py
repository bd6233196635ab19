"""What a ring log must yield, known from outside: from what it promised and what was erased.

The ledger follows a log's life by its answers and by the writes and erases of its device; it
knows where a record lies because it saw it written, not because it can read the format. From it
comes, for any moment at which the power fails, what the log must say when it is mounted again.
Runs on MicroPython and CPython.
"""

from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wattlog_sim.flash import Entry

    Record = tuple[int, bytes]

Row = namedtuple("Row", ("seq", "payload", "block", "position", "size"))
# payload   None for a number that was given away without a record that can be read
# position, size   where the record was programmed, None where that is not known any more

Wanted = namedtuple(
    "Wanted",
    (
        "rows",
        "records",
        "doubtful",
        "fading",
        "released",
        "asked",
        "evicted",
        "next_seq",
        "log_ids",
        "burns",
        "erased",
    ),
)
# rows       what lies on the flash, released or not
# records    (seq, payload) of all that must be yielded if the cursor stands at `released`
# doubtful   (seq, payload) that was being written: may be yielded; or None
# fading     the block that was being erased: its records may be gone; or None
# released   the cursor that was promised; asked: the one that was asked for, not lower
# evicted    so many unreleased records were erased
# next_seq   what the next append must return, or more if numbers are given up
# log_ids    what its id may be; none while the device is not formatted
# erased     which of the evicted were erased by what is going on
# burns      so many numbers may be given up, as what was being written may have been a record


class Ledger:
    """The life of one log up to now, while no operation is going on."""

    def __init__(self) -> None:
        """Begin with a blank device."""
        self.rows: list[Any] = []
        self.released = 0
        self.evicted = 0
        self.next_seq = 1
        self.log_id: int | None = None
        self.is_renewing = False
        self._erased: list[int] = []

    def copy(self) -> "Ledger":
        """Return one of the same state."""
        twin = Ledger()
        twin.rows = list(self.rows)
        twin.released = self.released
        twin.evicted = self.evicted
        twin.next_seq = self.next_seq
        twin.log_id = self.log_id
        twin.is_renewing = self.is_renewing
        return twin

    def erased(self, block: int) -> None:
        """Note that an erase of this block went through."""
        if [row for row in self.rows if row.block == block]:
            lost = [row.seq for row in self.rows if row.block == block and row.seq > self.released]
            self._erased += lost
            self.evicted += len(lost)
            self.rows = [row for row in self.rows if row.block != block]

    def appended(self, seq: int, payload: bytes, entries: "list[Entry]", block_bytes: int) -> None:
        """Note that append returned; entries are what it wrote, the record last."""
        position, _, data = entries[-1]
        assert data is not None
        self.rows.append(Row(seq, payload, position // block_bytes, position, len(data)))
        self.next_seq = seq + 1

    def wanted(
        self,
        doubtful: "Record | None" = None,
        asked: int | None = None,
        fading: int | None = None,
        burns: int = 0,
    ) -> "Any":
        """Return what a mount must say now."""
        records = [
            (row.seq, row.payload)
            for row in self.rows
            if row.seq > self.released and row.payload is not None
        ]
        asked = self.released if asked is None else max(self.released, asked)
        log_ids = [] if self.log_id is None else [self.log_id]
        if self.is_renewing and self.log_id is not None:
            log_ids.append(self.log_id + 1)
        return Wanted(
            self.rows,
            records,
            doubtful,
            fading,
            self.released,
            asked,
            self.evicted,
            self.next_seq,
            log_ids,
            burns if doubtful is None else max(burns, 1),
            list(self._erased),
        )

    def settle(self, wanted: "Any", log: "Any", block: int) -> None:
        """Take for the truth what this log, which was judged to be right, says after a cut.

        A record that was being written was written to this block.
        """
        got = dict(log.read_after(0))
        stats = log.stats()
        # Up to here nothing is yielded any more; whether it was released or evicted is known.
        self.released = wanted.released
        if wanted.asked > wanted.released and not [seq for seq in got if seq <= wanted.asked]:
            self.released = wanted.asked
        self.rows = [
            Row(row.seq, got.get(row.seq), row.block, row.position, row.size)
            for row in wanted.rows
            if row.seq > self.released and row.seq >= stats.first_seq
        ]
        for seq in range(wanted.next_seq, stats.next_seq):
            self.rows.append(Row(seq, got.get(seq), block, None, None))
        self.evicted = stats.evicted
        self.next_seq = stats.next_seq
        self.log_id = log.id


def judge(log: "Any", wanted: "Any") -> str | None:
    """Return what is wrong with a log that was just mounted, or None.

    It starts with "lost", "invented" or "miscounted".
    """
    if wanted.log_ids and log.id not in wanted.log_ids:
        return "lost: the log has another id, so it was formatted"
    got = list(log.read_after(0))
    stats = log.stats()
    failure = _against(got, stats, wanted, wanted.released)
    if wanted.asked == wanted.released or not failure:
        return failure
    return _against(got, stats, wanted, wanted.asked) and failure


def judge_rot(log: "Any", wanted: "Any", position: int) -> str | None:
    """Return what is wrong with a log that was mounted with one rotten bit, or None.

    The record that was hit may be missing, and is then counted. If it was none, nothing may be
    missing; a rotten cursor may let some be read again that were released.
    """
    # A renewal that rots is a renewal less; the next clash makes up for it.
    if log.id not in wanted.log_ids and log.id + 1 not in wanted.log_ids:
        return "lost: the log has another id, so it was formatted"
    hit = [row for row in wanted.rows if 0 <= position - row.position < row.size]
    got = list(log.read_after(0))
    stats = log.stats()
    known = {row.seq: row.payload for row in wanted.rows}
    last = 0
    for seq, payload in got:
        if seq <= last or known.get(seq) != payload:
            return "invented: seq %d after %d, %s" % (seq, last, payload.hex())
        last = seq
    yielded = {record[0] for record in got}
    missing = [record[0] for record in wanted.records if record[0] not in yielded]
    if [seq for seq in missing if not hit or seq != hit[0].seq]:
        return "lost: %s, hit was %s" % (_numbers(missing), hit[0].seq if hit else "no record")
    if hit and not missing and hit[0].seq <= wanted.released and stats.damaged <= 1:
        pass  # it was released; whether it still counts is the log's choice
    elif stats.damaged != len(missing):
        return "miscounted: %d damaged, not %d" % (stats.damaged, len(missing))
    if stats.next_seq != wanted.next_seq or stats.evicted != wanted.evicted:
        return "miscounted: %r, not next %d, evicted %d" % (
            stats,
            wanted.next_seq,
            wanted.evicted,
        )
    return None


def _against(got: "list[Record]", stats: "Any", wanted: "Any", cursor: int) -> str | None:
    """Judge under the assumption that the cursor stands here."""
    records = got
    if wanted.doubtful is not None and got[-1:] == [wanted.doubtful]:
        records = got[:-1]
    musts = wanted.records
    if cursor > wanted.released:
        musts = [record for record in musts if record[0] > cursor]
    if records != musts:
        failure = _difference(records, musts, wanted)
        if failure:
            return failure
    return _miscount(got, stats, wanted, cursor)


def _difference(records: "list[Record]", musts: "list[Record]", wanted: "Any") -> str | None:
    """Compare in detail; what was fading may be missing."""
    may_miss = {row.seq for row in wanted.rows if row.block == wanted.fading}
    known = dict(musts)
    last = 0
    for seq, payload in records:
        if seq <= last:
            return "invented: seq %d comes after %d" % (seq, last)
        last = seq
        if seq not in known:
            return "invented: seq %d, %s" % (seq, payload.hex())
        if known.pop(seq) != payload:
            return "invented: seq %d reads %s" % (seq, payload.hex())
    lost = [seq for seq in sorted(known) if seq not in may_miss]
    return "lost: %s" % _numbers(lost) if lost else None


def _miscount(got: "list[Record]", stats: "Any", wanted: "Any", cursor: int) -> str | None:
    next_seq = max(wanted.next_seq, got[-1][0] + 1 if got else 0)
    given_up = stats.next_seq - next_seq
    if given_up and not 0 < given_up <= wanted.burns - (next_seq - wanted.next_seq):
        return "miscounted: next seq %d is not %d" % (stats.next_seq, next_seq)
    if stats.first_seq > (got[0][0] if got else stats.next_seq):
        return "miscounted: first seq %d, next %d, yet %d records from %d" % (
            stats.first_seq,
            stats.next_seq,
            len(got),
            got[0][0] if got else 0,
        )
    yielded = {record[0] for record in got}
    open_rows = [row.seq for row in wanted.rows if row.seq > cursor]
    evicted = wanted.evicted + len([seq for seq in open_rows if seq < stats.first_seq])
    either = 0
    if cursor > wanted.released:
        # Erased while it was being released: either word for it is right.
        seqs = wanted.erased + [row.seq for row in wanted.rows if row.seq > wanted.released]
        either = len([seq for seq in seqs if seq <= cursor])
        evicted -= len([seq for seq in wanted.erased if seq <= cursor])
    if not evicted <= stats.evicted <= evicted + either:
        return "miscounted: %d evicted, not %d" % (stats.evicted, evicted)
    missing = [seq for seq in open_rows if seq >= stats.first_seq and seq not in yielded]
    if stats.damaged != len(missing) + given_up:
        return "miscounted: %d damaged, not %d (%s), %d given up" % (
            stats.damaged,
            len(missing) + given_up,
            _numbers(missing),
            given_up,
        )
    if not missing and not given_up and stats.records != len(got):
        return "miscounted: %d records, not %d" % (stats.records, len(got))
    return None


def _numbers(seqs: "list[int]") -> str:
    if len(seqs) > 6:
        return "%d seqs from %d to %d" % (len(seqs), seqs[0], seqs[-1])
    return "seq " + ", ".join([str(seq) for seq in seqs])
