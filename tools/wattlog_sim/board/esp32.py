"""A fake of the ESP32's `esp32`: the flash partition `ringlog`, where BOARD_RINGLOG names a file.

The file's size is the partition's. Programming lets bits fall only, as NOR flash does.
"""

import errno
import os

_SECTOR_BYTES = 4096
_BLANK = b"\xff" * 64


class Partition:
    """A run of sectors in the file."""

    TYPE_DATA = 1

    @staticmethod
    def find(_kind: int, subtype: int = 255, label: "str | None" = None) -> "list[Partition]":
        """Return the partition of this label, if there is one."""
        del subtype
        path = os.getenv("BOARD_RINGLOG")
        return [Partition(path)] if path and label == "ringlog" else []

    def __init__(self, path: str) -> None:
        self._file = open(path, "r+b")
        self._sectors = self._file.seek(0, 2) // _SECTOR_BYTES

    def readblocks(self, block: int, buf: "bytearray | memoryview", offset: int = 0) -> None:
        """Fill buf."""
        self._file.seek(block * _SECTOR_BYTES + offset)
        self._file.readinto(buf)

    def writeblocks(self, block: int, buf: "bytes | bytearray | memoryview", offset: int) -> None:
        """Program buf; without an offset the real one would erase first, so it must be given."""
        cells = bytearray(len(buf))
        self.readblocks(block, cells, offset)
        for index in range(len(buf)):
            cells[index] &= buf[index]
        self._file.seek(block * _SECTOR_BYTES + offset)
        self._file.write(cells)

    def ioctl(self, operation: int, argument: int) -> int:
        """Tell count (4) and size (5) of the sectors, erase one (6); negative on error."""
        if operation == 4:
            return self._sectors
        if operation == 5:
            return _SECTOR_BYTES
        if operation != 6 or not 0 <= argument < self._sectors:
            return -errno.EINVAL
        self._file.seek(argument * _SECTOR_BYTES)
        for _ in range(_SECTOR_BYTES // len(_BLANK)):
            self._file.write(_BLANK)
        return 0
