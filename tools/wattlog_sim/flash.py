"""A fake NOR flash that obeys the data sheet where a program does, and tells where it does not.

The face is MicroPython's extended block protocol, as of esp32.Partition. Programming lets bits
fall and never rise; only an erase, of a whole sector, raises them. The power can be cut in the
middle of either, cells may waver or refuse, single bits rot, calls fail. Runs on MicroPython and
CPython.
"""

from wattlog_sim.lcg import Lcg

TYPE_CHECKING = False
if TYPE_CHECKING:
    Buffer = bytes | bytearray | memoryview
    Entry = tuple[int, int, bytes | None]

OP_BLOCK_COUNT = 4
OP_BLOCK_BYTES = 5
OP_BLOCK_ERASE = 6

TORN_ERASES = 8
"""Ways in which an erase may end in the middle, see tear_erase."""
_EINVAL = 22
_HEAD_BYTES = 32


class PowerCut(BaseException):
    """The power is gone; not an Exception, so that nothing goes on without power."""


class NorViolation(BaseException):
    """What no NOR flash can do, or what its data sheet forbids; a defect of who called."""


class FakeFlash:
    """Sectors of cells, all in `image`; blank when made.

    erases            how often each sector was erased
    programmed_bytes  sum of all writes; read_bytes, reads and calls likewise
    journal           None, or a list that gets (position, 0, bytes programmed) and
                      (position of the sector, its size, None) for an erase
    unstable          dict position -> mask of bits that read differently each time, until they
                      are programmed to 0 or erased
    stuck             dict position -> mask of bits that programming leaves at 1
    failed_erase      the sector whose erase failed, see fail_at
    calls_max         after so many calls it raises NorViolation: somebody goes round in circles
    """

    def __init__(self, sectors: int, sector_bytes: int, image: "bytearray | None" = None) -> None:
        """Take image, without a copy, as what the cells hold; None for a blank one."""
        self.sectors = sectors
        self.sector_bytes = sector_bytes
        self.image = bytearray(b"\xff" * (sectors * sector_bytes)) if image is None else image
        assert len(self.image) == sectors * sector_bytes
        self.erases = [0] * sectors
        self.programmed_bytes = 0
        self.read_bytes = 0
        self.reads = 0
        self.calls = 0
        self.journal: list[Entry] | None = None
        self.unstable: dict[int, int] = {}
        self.stuck: dict[int, int] = {}
        self.failed_erase: int | None = None
        self.is_dead = False
        self.calls_max: int | None = None
        self._rng = Lcg(0, 0)
        self._cut_bytes: int | None = None
        self._cut_mask = 0
        self._cut_erases: int | None = None
        self._cut_pattern = 0
        self._fault_call: int | None = None
        self._fault_errno = 0
        self._fault_effect = 0
        self._fault_returns = False

    # -- the block protocol ---------------------------------------------------------------------

    def readblocks(self, block: int, buf: "bytearray | memoryview", offset: int = 0) -> None:
        """Fill buf from this place."""
        size = len(buf)
        position = self._position(block, offset, size)
        if self._may_fail():
            raise OSError(self._fault_errno)
        self.reads += 1
        self.read_bytes += size
        buf[:] = self.image[position : position + size]
        if self.unstable:
            for at, mask in self.unstable.items():
                if position <= at < position + size:
                    # Often all of a byte's bits at once: half written reads as all or nothing.
                    chance = self._rng.below(3)
                    flips = self._rng.below(256) if chance == 2 else 0xFF * chance
                    buf[at - position] ^= flips & mask

    def writeblocks(self, block: int, buf: "Buffer", offset: int) -> None:
        """Program buf to this place; raises NorViolation where a bit would have to rise."""
        position = self._position(block, offset, len(buf))
        data = bytes(buf)
        size = len(data)
        if self._may_fail():
            # The program had got so far when the device failed.
            self._program(position, data[: size * self._fault_effect // 2])
            raise OSError(self._fault_errno)
        if not allows_program(self.image, position, data):
            raise NorViolation("a bit would rise: block %d offset %d" % (block, offset))
        if self.journal is not None:
            self.journal.append((position, 0, data))
        if self._cut_bytes is not None:
            if size > self._cut_bytes:
                tear_program(self.image, position, data, self._cut_bytes, self._cut_mask)
                self.is_dead = True
                raise PowerCut
            self._cut_bytes -= size
        self.programmed_bytes += size
        self._program(position, data)

    def ioctl(self, op: int, arg: int) -> int:
        """Answer the three questions that a log asks; erase for one of them."""
        if op == OP_BLOCK_COUNT:
            return self.sectors
        if op == OP_BLOCK_BYTES:
            return self.sector_bytes
        return self._erase(arg) if op == OP_BLOCK_ERASE else -_EINVAL

    # -- what goes wrong ------------------------------------------------------------------------

    def seed(self, seed: int, index: int) -> None:
        """Begin the random numbers behind unstable bits and torn erases anew."""
        self._rng = Lcg(seed, index)

    def power_on(self) -> None:
        """Come back as the cut has left it; no cut or failure waits any more."""
        self.is_dead = False
        self._cut_bytes = self._cut_erases = self._fault_call = None

    def cut_now(self) -> None:
        """Cut the power while nothing is being written; every call raises PowerCut."""
        self.is_dead = True

    def cut_at_byte(self, count: int, mask: int = 0) -> None:
        """Cut the power after so many more programmed bytes; of the next, bits in mask fall."""
        self._cut_bytes = count
        self._cut_mask = mask

    def cut_at_erase(self, count: int, pattern: int) -> None:
        """Cut the power in the erase after so many more; see tear_erase."""
        self._cut_erases = count
        self._cut_pattern = pattern

    def fail_at(self, call: int, errno: int, effect: int = 0, returns: bool = False) -> None:
        """Let the read, write or erase after so many more raise OSError(errno), once.

        What was asked for has had no effect (0), half of it (1), or all of it (2). With `returns`
        an erase says so by a negative number instead, as on the ESP32.
        """
        self._fault_call = call
        self._fault_errno = errno
        self._fault_effect = effect
        self._fault_returns = returns

    def fail_never(self) -> None:
        """Take back what fail_at has announced."""
        self._fault_call = None

    def _position(self, block: int, offset: int, size: int) -> int:
        if self.is_dead:
            raise PowerCut
        if not 0 <= block < self.sectors or not 0 <= offset <= self.sector_bytes - size:
            raise NorViolation("block %d offset %d size %d" % (block, offset, size))
        return block * self.sector_bytes + offset

    def _may_fail(self) -> bool:
        """Count a call; tell whether it is to fail once its effect, if any, is done."""
        self.calls += 1
        if self.calls_max is not None and self.calls > self.calls_max:
            raise NorViolation("%d calls" % self.calls)
        if self._fault_call is None:
            return False
        self._fault_call -= 1
        if self._fault_call >= 0:
            return False
        self._fault_call = None
        return True

    def _erase(self, block: int) -> int:
        size = self.sector_bytes
        position = self._position(block, 0, size)
        if self._may_fail():
            # Nothing was erased, half, or all of it.
            erase(self.image, position, size * self._fault_effect // 2)
            self.failed_erase = block
            if self._fault_returns:
                return -_EINVAL
            raise OSError(self._fault_errno)
        if self.journal is not None:
            self.journal.append((position, size, None))
        if self._cut_erases is not None:
            if self._cut_erases == 0:
                tear_erase(self.image, position, size, self._cut_pattern, self._rng)
                self.is_dead = True
                raise PowerCut
            self._cut_erases -= 1
        self.erases[block] += 1
        erase(self.image, position, size)
        for at in list(self.unstable):
            if position <= at < position + size:
                del self.unstable[at]
        return 0

    def _program(self, position: int, data: bytes) -> None:
        if self.stuck:
            data = bytes([byte | self.stuck.get(position + i, 0) for i, byte in enumerate(data)])
        program(self.image, position, data)
        if self.unstable:
            for at in list(self.unstable):
                if position <= at < position + len(data):
                    # Programming a 0 settles a cell; whoever programs a 1 leaves it as it was.
                    self.unstable[at] &= data[at - position]


def allows_program(image: bytearray, position: int, data: bytes) -> bool:
    """Tell whether no bit would have to rise."""
    old = image[position : position + len(data)]
    if old == b"\xff" * len(data):
        return True
    # MicroPython's zip() has no strict.
    return not [1 for is_byte, byte in zip(old, data) if byte & ~is_byte]  # noqa: B905


def program(image: bytearray, position: int, data: bytes) -> None:
    """Let bits fall."""
    for i in range(len(data)):
        image[position + i] &= data[i]


def erase(image: bytearray, position: int, size: int) -> None:
    """Raise all bits of a sector."""
    image[position : position + size] = b"\xff" * size


def tear_program(image: bytearray, position: int, data: bytes, count: int, mask: int) -> None:
    """Program the first `count` bytes, and of the next one the bits in mask."""
    program(image, position, data[:count])
    if count < len(data):
        image[position + count] &= data[count] | ~mask & 0xFF


def smear_program(image: bytearray, position: int, data: bytes, rng: Lcg) -> None:
    """Program each bit of all bytes or not, by chance: a page is programmed all at once."""
    for i in range(len(data)):
        image[position + i] &= data[i] | rng.below(256)


def tear_erase(image: bytearray, position: int, size: int, pattern: int, rng: Lcg) -> None:
    """End an erase in the middle, in one of TORN_ERASES ways.

    0 every bit by chance         1 every byte by chance
    2 the first half was done     3 the second half was done
    4 all was done                5 as 0, but the first 32 bytes are old
    6 one bit in eight has risen  7 the first 32 bytes were done
    """
    half = size // 2
    first = (0, 0, 0, half, 0, _HEAD_BYTES, 0, 0)[pattern]
    last = (size, size, half, size, size, size, size, _HEAD_BYTES)[pattern]
    for i in range(position + first, position + last):
        risen = 0xFF
        if pattern in (0, 5):
            risen = rng.below(256)
        elif pattern == 1:
            risen = 0xFF * rng.below(2)
        elif pattern == 6:
            risen = rng.below(256) & rng.below(256) & rng.below(256)
        image[i] |= risen
