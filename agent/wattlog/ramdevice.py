"""A block device in memory: the log of a head that has no partition for one.

The log on it is the same as on flash, but for one thing: a power cut loses it.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wattlog.ports import BlockDevice

_COUNT = 4
_SIZE = 5
_ERASE = 6


class RamDevice:
    """Sectors of any size, blank at first; taken from the heap one by one, at the start."""

    def __init__(self, sectors: int, sector_bytes: int) -> None:
        self._blank = b"\xff" * sector_bytes
        self._sectors = [bytearray(self._blank) for _ in range(sectors)]

    def readblocks(self, block: int, buf: "bytearray | memoryview", offset: int) -> None:
        """Fill buf from this place."""
        buf[:] = memoryview(self._sectors[block])[offset : offset + len(buf)]

    def writeblocks(self, block: int, buf: "bytes | bytearray", offset: int) -> None:
        """Write buf to this place."""
        assert offset + len(buf) <= len(self._blank)
        self._sectors[block][offset : offset + len(buf)] = buf

    def ioctl(self, op: int, arg: int) -> int | None:
        """Return the number of sectors (op 4) or their bytes (5), or erase one (6)."""
        if op == _COUNT:
            return len(self._sectors)
        if op == _SIZE:
            return len(self._blank)
        if op == _ERASE:
            self._sectors[arg][:] = self._blank
            return 0
        return None


if TYPE_CHECKING:

    def _is_block_device(device: RamDevice) -> BlockDevice:
        return device
