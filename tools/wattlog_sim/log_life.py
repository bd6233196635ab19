"""Lives of a log: seeded workloads, and every image that a power cut could leave of them.

A life runs once, on a device that keeps a journal. The images of all cuts come from the journal,
a byte further each time, so that nothing is run again from the start. Runs on MicroPython and
CPython.
"""

from collections import namedtuple

from wattlog.ringsector import PAYLOAD_BYTES_MAX
from wattlog_sim.flash import TORN_ERASES, FakeFlash, erase, smear_program, tear_erase
from wattlog_sim.lcg import Lcg
from wattlog_sim.log_oracle import Ledger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from wattlog_sim.flash import Entry

    Mount = Callable[[FakeFlash, int], Any]
    Cut = tuple[tuple[int, int, int], bytearray, Any, int]

MOUNT = 0
APPEND = 1
RELEASE = 2
RENEW = 3

SMEARED = 256
"""Stands for a mask: each bit of the whole program fell or not, by chance."""

SECTOR_OVERHEAD_BYTES = 32 + 5  # a header, and what the longest record has beside its payload
_SMEARED_BURNS_MAX = 4
_CALLS_MAX = 1_000_000

Op = namedtuple("Op", ("kind", "payload", "distance"))
# kind      MOUNT, APPEND, RELEASE or RENEW
# payload   to append
# distance  release this many seqs below the newest

_SIZES = (
    ("short", (1, 1, 2, 3, 5)),
    ("delta", (7, 8, 8, 9)),
    ("forty", (40,)),
    ("mixed", (1, 2, 7, 8, 9, 40, 120, 200, -1)),
    ("long", (-1, -2, -3, 100)),
    ("around a length's second byte", (0xEE, 0xEF, 0xF0, 0xF1)),
)
"""Sizes below 0 count from the longest that a sector takes."""
_RELEASES = ((0, 1), (1, 12), (3, 40), (10, 10), (30, 3))
"""Of a hundred operations how many release, and how far behind the newest at most."""


class Workload:
    """Operations of one seed on one geometry."""

    def __init__(self, seed: int, index: int, sector_bytes: int, sizes: str) -> None:
        """Prepare the operations; `sizes` is a name of _SIZES."""
        self.rng = Lcg(seed, index)
        self._payload_bytes_max = min(PAYLOAD_BYTES_MAX, sector_bytes - SECTOR_OVERHEAD_BYTES)
        self._sizes = dict(_SIZES)[sizes]
        self._release_percent, self._release_distance = _RELEASES[self.rng.below(len(_RELEASES))]

    def op(self) -> "Any":
        """Return what to do next."""
        rng = self.rng
        chance = rng.below(100)
        if chance == 0:
            return Op((MOUNT, MOUNT, RENEW)[rng.below(3)], None, 0)
        if chance <= self._release_percent:
            return Op(RELEASE, None, rng.below(self._release_distance + 1))
        size = self._sizes[rng.below(len(self._sizes))]
        if size < 0:
            size += self._payload_bytes_max + 1
        return Op(APPEND, self.payload(min(size, self._payload_bytes_max)), 0)

    def payload(self, size: int) -> bytes:
        """Return so many bytes: any, or such as look like nothing, or like something else."""
        kind = self.rng.below(6)
        if kind == 0:
            return b"\xff" * size
        if kind == 1:
            return b"\x00" * size
        low = (0, 0, 0, 0, 0xF0, 0xFC)[kind]
        return bytes([low + self.rng.below(256 - low) for _ in range(size)])


class Life:
    """One log on one device, an operation at a time.

    flash    the device; ledger, the state before the last operation that was not settled
    entries  what the last operation wrote and erased
    """

    def __init__(
        self,
        mount: "Mount",
        log_id: int,
        sectors: int,
        sector_bytes: int,
        image: "bytearray | None" = None,
    ) -> None:
        """Begin with a device of this content, a blank one for None; log_id is for a new log."""
        self._mount = mount
        self._log_id = log_id
        self.flash = FakeFlash(sectors, sector_bytes, image)
        self.flash.calls_max = _CALLS_MAX
        self.before = bytearray(self.flash.image)
        self.ledger = Ledger()
        self.entries: list[Entry] = []
        self.log: Any = None
        self._seq = 0
        self._asked: int | None = None
        self._doubtful: tuple[int, bytes] | None = None

    def run(self, op: "Any") -> None:
        """Do it; the ledger still tells of before."""
        ledger = self.ledger
        self.entries = []
        self.flash.journal = self.entries
        self._asked = None
        self._doubtful = None
        ledger.is_renewing = op.kind == RENEW
        if op.kind == MOUNT:
            self.log = self._mount(self.flash, self._log_id)
        elif op.kind == APPEND:
            self._doubtful = (ledger.next_seq, op.payload)
            self._seq = self.log.append(op.payload)
            if self._seq != ledger.next_seq:
                raise AssertionError(
                    "invented: append returned %d, not %d" % (self._seq, ledger.next_seq)
                )
        elif op.kind == RENEW:
            self.log.renew()
        else:
            self._asked = max(0, ledger.next_seq - 1 - op.distance)
            self.log.release(self._asked)

    def cuts(self, marks: int) -> "Iterator[Cut]":
        """Yield ((entry, at, mask), image, what a mount of it must say, block) for all cuts.

        A cut of a program happens before byte `at`, of which the bits in mask have fallen
        nevertheless (`marks` ways besides none of them); of an erase, `at` is the way. The block
        is the one that was being programmed. What was erased entirely is in the ledger after.
        """
        image = self.before
        size = self.flash.sector_bytes
        state = self.ledger.copy()
        for index, (position, erased_bytes, data) in enumerate(self.entries):
            block = position // size
            if data is None:
                wanted = state.wanted(self._doubtful, self._asked, block)
                for pattern in range(TORN_ERASES):
                    torn = bytearray(image)
                    tear_erase(torn, position, erased_bytes, pattern, Lcg(position, pattern))
                    yield (index, pattern, 0), torn, wanted, block
                erase(image, position, erased_bytes)
                state.erased(block)
                continue
            wanted = state.wanted(self._doubtful, self._asked)
            if marks > 1 and len(data) > 1:
                torn = bytearray(image)
                smear_program(torn, position, data, Lcg(position, len(data)))
                # What has lost some of its bits may look like a record that was, or like a few.
                may_burn = state.wanted(self._doubtful, self._asked, None, _SMEARED_BURNS_MAX)
                yield (index, 0, SMEARED), torn, may_burn, block
            for at in range(len(data)):
                falling = image[position + at] & ~data[at] & 0xFF
                if not falling:
                    continue  # the image is the one before
                yield (index, at, 0), bytearray(image), wanted, block
                for mask in _masks(falling, Lcg(position + at, index), marks):
                    torn = bytearray(image)
                    torn[position + at] &= ~mask & 0xFF
                    yield (index, at, mask), torn, wanted, block
                image[position + at] &= data[at]
            yield (index, len(data), 0), bytearray(image), wanted, block

    def settle(self, op: "Any") -> None:
        """Bring the ledger up to now; call it when all cuts are taken."""
        ledger = self.ledger
        size = self.flash.sector_bytes
        before = ledger.evicted
        for position, _, data in self.entries:
            if data is None and op.kind != MOUNT:
                ledger.erased(position // size)
        if op.kind == APPEND:
            ledger.appended(self._seq, op.payload, self.entries, size)
        elif op.kind == RELEASE and self._asked is not None:
            self._settle_release(self._asked, before)
        else:
            ledger.log_id = self.log.id
        ledger.is_renewing = False
        self.before = bytearray(self.flash.image)

    def _settle_release(self, asked: int, evicted_before: int) -> None:
        """Whether what was erased while it was being released counts is the log's choice."""
        ledger = self.ledger
        if asked > ledger.released:
            ledger.released = asked
            evicted = self.log.stats().evicted
            if evicted_before <= evicted < ledger.evicted:
                ledger.evicted = evicted


def _masks(falling: int, rng: Lcg, count: int) -> "list[int]":
    """Return up to so many sets of falling bits, neither none nor all of them."""
    bits = [1 << bit for bit in range(8) if falling >> bit & 1]
    if len(bits) < 2:
        return []
    masks = [falling & ~bits[rng.below(len(bits))]]
    while len(masks) < count:
        mask = falling & rng.below(256)
        if mask in (0, falling):
            mask = bits[rng.below(len(bits))]
        if mask in masks:
            break
        masks.append(mask)
    return masks
