"""The power-cut laboratory: what it does to a log, and what must hold of it afterwards.

Five experiments, each a generator of (name, check): the name, with the seed, replays the case;
check() does it and returns what is wrong or None. What is wrong starts with "lost", "invented",
"miscounted" or "raised". Runs on MicroPython and CPython.
"""

from errno import EIO

from wattlog.ringlog import LogError
from wattlog_sim.flash import FakeFlash, NorViolation
from wattlog_sim.lcg import Lcg
from wattlog_sim.log_follower import Follower
from wattlog_sim.log_life import APPEND, MOUNT, RELEASE, RENEW, SMEARED, Life, Op, Workload
from wattlog_sim.log_oracle import judge, judge_rot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from wattlog_sim.flash import Entry
    from wattlog_sim.log_life import Mount

    Check = Callable[[], str | None]
    Cases = Iterator[tuple[tuple[int, ...], Check]]

WRAPS = 3
CALLS_MAX = 200_000
PROBE = b"after the cut"

_SMALL = (
    (3, 256, "delta"),
    (4, 256, "mixed"),
    (3, 256, "forty"),
    (2, 256, "mixed"),
    (5, 256, "short"),
    (3, 512, "around a length's second byte"),
    (3, 256, "long"),
)
_LARGE = (
    (8, 256, "mixed"),
    (6, 512, "forty"),
    (7, 256, "delta"),
    (4, 512, "mixed"),
    (5, 512, "long"),
    (3, 4096, "forty"),
    (8, 512, "around a length's second byte"),
    (5, 4096, "mixed"),
    (8, 256, "short"),
    (8, 4096, "long"),
    (6, 256, "forty"),
)
"""Sectors, their bytes, sizes of payloads: cut everywhere, and at samples."""
EVERYWHERE_OF = 8
"""One workload of so many is small and cut at every byte."""
_SAMPLED_BYTES = 250
_FIRST_ID, _SECOND_ID, _OTHER_ID = 0x1D1D_1D1D, 0x2D2D_2D2D, 0xEEEE_EEEE
_SECOND_OF = 400
"""Of so many first cuts one is gone on from, and cut everywhere again."""
_SECOND_LIFE_OPS = 4
_WAVER_TURNS = 6
_WAVER_TIMES = 2
_FAULT_CALLS_MAX = 12
_FAULTS = ((EIO, 0, False), (EIO, 1, False), (EIO, 2, False), (EIO, 1, True))
"""Number, how much of it was done, and whether an erase says so by what it returns."""


class Lab:
    """All experiments with one seed and one way to mount a log."""

    def __init__(self, mount: "Mount", seed: int) -> None:
        """Take mount(device, id of a new log) -> log, and a seed below 2**32.

        error is what was raised last inside of a check.
        """
        self.error: BaseException | None = None
        self._mount_as = mount
        self._seed = seed

    def cuts(self, index: int) -> "Cases":
        """Cut the power at every byte and every erase of a workload, or at samples of them."""
        everywhere = index % EVERYWHERE_OF == 0
        row = _SMALL[index // EVERYWHERE_OF % len(_SMALL)]
        life, workload = self._start(index, row if everywhere else _LARGE[index % len(_LARGE)])
        pick = Lcg(self._seed ^ 0x5EED, index)
        total_bytes = len(life.flash.image) * WRAPS
        number = 0
        while life.flash.programmed_bytes < total_bytes:
            op = workload.op() if number else Op(MOUNT, None, 0)
            life.run(op)
            is_picked = everywhere or pick.below(total_bytes >> 2) < _SAMPLED_BYTES >> 2
            if is_picked or [entry for entry in life.entries if entry[2] is None]:
                for cut, image, wanted, _ in life.cuts(2):
                    # All erases are cut; of the programs around them, those of the sample.
                    if is_picked or life.entries[cut[0]][2] is None:
                        yield (number,) + cut, self._check(life, image, wanted)
            life.settle(op)
            number += 1

    def doubles(self, index: int) -> "Cases":
        """Cut the power, and again while the log recovers or in the first steps after it."""
        life, workload = self._start(index, _SMALL[index % len(_SMALL)])
        pick = Lcg(self._seed ^ 0xD0B1E, index)
        total_bytes = len(life.flash.image) * 2
        number = 0
        while life.flash.programmed_bytes < total_bytes:
            op = workload.op() if number else Op(MOUNT, None, 0)
            life.run(op)
            has_erase = [entry for entry in life.entries if entry[2] is None]
            if has_erase or pick.below(8) == 0:
                for cut, image, wanted, block in life.cuts(2):
                    if pick.below(_SECOND_OF) == 0:
                        for second, check in self._second(life, image, wanted, block, cut):
                            yield (number,) + cut + second, check
            life.settle(op)
            number += 1

    def rots(self, index: int) -> "Cases":
        """Flip every bit of what the flash holds after some wraps, each alone."""
        life, workload = self._start(index, _SMALL[index % len(_SMALL)])
        total_bytes = len(life.flash.image) * 2 + workload.rng.below(len(life.flash.image))
        number = 0
        while life.flash.programmed_bytes < total_bytes:
            op = workload.op() if number else Op(MOUNT, None, 0)
            life.run(op)
            life.settle(op)
            number += 1
        wanted = life.ledger.wanted()
        for position in range(len(life.flash.image)):
            for bit in range(8):
                image = bytearray(life.flash.image)
                image[position] ^= 1 << bit
                yield (position, bit), self._check_rot(life, image, wanted, position)

    def wavers(self, index: int) -> "Cases":
        """Cut the power and leave cells behind that read differently each time."""
        life, workload = self._start(index, _SMALL[index % len(_SMALL)])
        pick = Lcg(self._seed ^ 0xF1EE, index)
        total_bytes = len(life.flash.image) * 2
        number = 0
        while life.flash.programmed_bytes < total_bytes:
            op = workload.op() if number else Op(MOUNT, None, 0)
            life.run(op)
            if [entry for entry in life.entries if entry[2] is None] or pick.below(8) == 0:
                for cut, image, wanted, _ in life.cuts(2):
                    unstable = _unstable(life.entries[cut[0]], cut, image, pick)
                    for turn in range(_WAVER_TIMES if unstable else 0):
                        check = self._check_waver(life, image, wanted, unstable, turn)
                        yield (number,) + cut + (turn,), check
            life.settle(op)
            number += 1

    def faults(self, index: int) -> "Cases":
        """Let each call of the device fail, in every operation of a workload, and go on."""
        life, workload = self._start(index, _SMALL[index % len(_SMALL)])
        total_bytes = len(life.flash.image) * 2
        number = 0
        while life.flash.programmed_bytes < total_bytes:
            op = workload.op() if number else Op(MOUNT, None, 0)
            before = bytearray(life.before)
            wanted = life.ledger.wanted()
            calls = life.flash.calls
            life.run(op)
            calls = life.flash.calls - calls
            # A release names a seq; a life that went on knows only of the distance.
            asked = max(0, life.ledger.next_seq - 1 - op.distance)
            for call in range(min(calls, _FAULT_CALLS_MAX)):
                for way in range(len(_FAULTS)):
                    yield (
                        (number, call, way),
                        self._check_fault(life, before, wanted, op, asked, (call, way)),
                    )
            life.settle(op)
            number += 1

    def _start(self, index: int, row: "tuple[int, int, str]") -> "tuple[Life, Workload]":
        sectors, sector_bytes, sizes = row
        life = Life(self._mount_as, _FIRST_ID, sectors, sector_bytes)
        return life, Workload(self._seed, index, sector_bytes, sizes)

    def _second(
        self, life: Life, image: bytearray, wanted: "Any", block: int, cut: "tuple[int, ...]"
    ) -> "Cases":
        """Mount after a first cut, take some steps, and cut each of them."""
        again = Life(
            self._mount_as, _SECOND_ID, life.flash.sectors, life.flash.sector_bytes, image
        )
        workload = Workload(
            self._seed + cut[1], cut[0] + 7 * block, life.flash.sector_bytes, "mixed"
        )
        try:
            again.run(Op(MOUNT, None, 0))
        except Exception as error:  # noqa: BLE001 - whatever is raised is a finding
            raised = words(error)
            yield (-1, 0, 0, 0), lambda: raised
            return
        for second, torn, _, _ in again.cuts(1):
            yield (0,) + second, self._check(life, torn, wanted)
        failed = judge(again.log, wanted)
        if failed:
            yield (-1, 0, 0, 0), lambda: failed
            return
        again.ledger.settle(wanted, again.log, block)
        again.before = bytearray(again.flash.image)
        for number in range(1, _SECOND_LIFE_OPS + 1):
            op = workload.op()
            try:
                again.run(op)
            except Exception as error:  # noqa: BLE001 - whatever is raised is a finding
                said = words(error)
                yield (-1, number, 0, 0), lambda said=said: said  # type: ignore[misc]
                return
            for second, torn, then, _ in again.cuts(1):
                yield (number,) + second, self._check(life, torn, then)
            again.settle(op)

    def _check(self, life: Life, image: bytearray, wanted: "Any") -> "Check":
        def check() -> str | None:
            flash = _device(life, image)
            log = self._mount(flash)
            return judge(log, wanted) or self._go_on(flash, log)

        return self._guarded(check)

    def _check_rot(self, life: Life, image: bytearray, wanted: "Any", position: int) -> "Check":
        def check() -> str | None:
            flash = _device(life, image)
            log = self._mount(flash)
            return judge_rot(log, wanted, position) or self._go_on(flash, log)

        return self._guarded(check)

    def _check_waver(
        self,
        life: Life,
        image: bytearray,
        wanted: "Any",
        unstable: "dict[int, int]",
        first_turn: int,
    ) -> "Check":
        def check() -> str | None:
            flash = _device(life, image)
            flash.unstable = dict(unstable)
            flash.seed(self._seed + first_turn, min(unstable))
            follower = Follower(wanted)
            failure = None
            for turn in range(first_turn, first_turn + _WAVER_TURNS):
                log = self._mount(flash)
                failure = follower.look(log) or follower.look(log)
                if not failure and turn % 2:
                    failure = follower.append(log, flash, PROBE[:turn])
                if failure:
                    break
            return failure

        return self._guarded(check)

    def _check_fault(
        self,
        life: Life,
        image: bytearray,
        wanted: "Any",
        op: "Any",
        asked: int,
        fault: "tuple[int, int]",
    ) -> "Check":
        def check() -> str | None:
            flash = _device(life, image)
            flash.journal = []
            follower = Follower(wanted)
            call, way = fault
            if op.kind == MOUNT:
                flash.fail_at(call, *_FAULTS[way])
                _may_fail(lambda: self._mount(flash))
                flash.fail_never()
            log = self._mount(flash)
            flash.fail_at(call, *_FAULTS[way])
            failure = _do(log, flash, follower, op, asked)
            flash.fail_never()
            return (
                failure
                or follower.look(log)
                or follower.append(log, flash, PROBE)
                or follower.look(log)
                or follower.look(self._mount(flash))
                or follower.append(log, flash, PROBE)
                or follower.look(self._mount(flash))
            )

        return self._guarded(check)

    def _mount(self, flash: FakeFlash) -> "Any":
        return self._mount_as(flash, _OTHER_ID)

    def _guarded(self, check: "Check") -> "Check":
        """Return the check such that what is raised in it is a finding like others."""

        def guarded() -> str | None:
            try:
                return check()
            except (Exception, NorViolation) as error:  # noqa: BLE001
                self.error = error
                return words(error)

        return guarded

    def _go_on(self, flash: FakeFlash, log: "Any") -> str | None:
        """Append to a log that was right, and mount it again."""
        before = log.stats()
        seq = log.append(PROBE)
        if seq != before.next_seq:
            return "invented: append returned %d, not %d" % (seq, before.next_seq)
        first_seq = log.stats().first_seq
        wanted = [record for record in log.read_after(0) if record[0] >= first_seq]
        if wanted[-1] != (seq, PROBE):
            return "lost: seq %d, which was just appended" % seq
        again = self._mount(flash)
        got = list(again.read_after(0))
        if got != wanted:
            return "lost: %d records after another mount, not %d" % (len(got), len(wanted))
        after = again.stats()
        if after.next_seq != seq + 1 or after.evicted != log.stats().evicted:
            return "miscounted: %r after another mount, not %r" % (after, log.stats())
        return None


def _device(life: Life, image: bytearray) -> FakeFlash:
    flash = FakeFlash(life.flash.sectors, life.flash.sector_bytes, bytearray(image))
    flash.calls_max = CALLS_MAX
    return flash


def words(error: BaseException) -> str:
    """Return what is wrong where something was raised."""
    text = str(error)
    if text.startswith(("lost:", "invented:")):
        return text
    return "raised %s: %s" % (type(error).__name__, text)


def _unstable(
    entry: "Entry", cut: "tuple[int, int, int]", image: bytearray, pick: Lcg
) -> "dict[int, int]":
    """Return cells that a cut leaves between 0 and 1; none where that is not worth a look."""
    position, erased_bytes, data = entry
    _, at, mask = cut
    if data is None:
        return {position + i: pick.below(256) for i in range(erased_bytes) if pick.below(8) == 0}
    # The end of a record tells whether it was written: no cut of it is left out.
    if mask == SMEARED or at == len(data) or (at < len(data) - 3 and pick.below(6)):
        return {}
    falling = (image[position + at] | mask) & ~data[at] & 0xFF
    return {position + at: mask or falling}


def _do(log: "Any", flash: FakeFlash, follower: Follower, op: "Any", asked: int) -> str | None:
    """Do what may fail by LogError and in no other way, and tell the follower."""
    if op.kind == APPEND:
        try:
            seq = log.append(op.payload)
        except LogError:
            follower.failed_append(flash, op.payload)
        else:
            return follower.appended(flash, seq, op.payload)
    elif op.kind == RELEASE:
        try:
            log.release(asked)
        except LogError:
            follower.failed_release(flash, asked)
        else:
            follower.released(flash, asked)
    elif op.kind == RENEW:
        _may_fail(log.renew)
        follower.renewed(flash)
    else:
        _may_fail(lambda: list(log.read_after(0)))
    return None


def _may_fail(act: "Callable[[], object]") -> None:
    """Act, which may raise LogError and nothing else."""
    try:
        act()
    except LogError:
        pass  # said in words to whoever waits
