"""A fake of the ESP32's `esp32` over a file of the whole flash, with the habits of NOR flash.

BOARD_FLASH names the file; where its partitions lie, its own binary table says. Programming lets
bits fall only. BOARD_CUT_AFTER=N cuts the power in the middle of the N-th write or erase: half
of it is done, and the process ends with status 78. The `esp32` one folder up knows no table and
is for boards whose every byte of heap is counted.
"""

import errno
import os
import struct

_SECTOR_BYTES = 4096
_TABLE_OFFSET = 0x8000
_TABLE_ROWS_MAX = 95
_BLANK = b"\xff" * 64
_STATUS_CUT = 78
_INVALID_SIZE = -0x104  # as ESP-IDF numbers it

_file = open(os.getenv("BOARD_FLASH"), "r+b")
_operations_left = int(os.getenv("BOARD_CUT_AFTER") or 0)


def _rows() -> "list[tuple[int, int, int, int, str, bool]]":
    _file.seek(_TABLE_OFFSET)
    rows = []
    for _ in range(_TABLE_ROWS_MAX):
        magic, kind, subtype, offset, size, name, flags = struct.unpack(
            "<HBBII16sI", _file.read(32)
        )
        if magic != 0x50AA:
            break
        rows.append((kind, subtype, offset, size, name.rstrip(b"\0").decode(), bool(flags)))
    return rows


def _is_cut() -> bool:
    """Count an operation; tell whether the power goes in its middle."""
    global _operations_left
    _operations_left -= 1
    return _operations_left == 0


def _die() -> None:
    import ffi

    # Nothing is closed and no finaliser runs: the power is gone.
    ffi.open("libc.so.6").func("v", "_exit", "i")(_STATUS_CUT)


class Partition:
    """A run of sectors in the file."""

    TYPE_APP = 0
    TYPE_DATA = 1

    @staticmethod
    def find(
        kind: int = TYPE_APP, subtype: int = 255, label: "str | None" = None
    ) -> "list[Partition]":
        """Return the partitions of this kind, and of this label if one is given."""
        return [
            Partition(row)
            for row in _rows()
            if row[0] == kind
            and (subtype == 255 or row[1] == subtype)
            and (label is None or row[4] == label)
        ]

    def __init__(self, row: "tuple[int, int, int, int, str, bool]") -> None:
        self._row = row
        self._start = row[2]
        self._sectors = row[3] // _SECTOR_BYTES

    def info(self) -> "tuple[int, int, int, int, str, bool]":
        """Return kind, subtype, address, size, label, and whether it is encrypted."""
        return self._row

    def readblocks(self, block: int, buf: "bytearray | memoryview", offset: int = 0) -> None:
        """Fill buf."""
        self._seek(block, offset, len(buf))
        _file.readinto(buf)

    def writeblocks(
        self, block: int, buf: "bytes | bytearray | memoryview", offset: "int | None" = None
    ) -> None:
        """Program buf; without an offset, whole sectors are erased first."""
        if offset is None:
            if len(buf) % _SECTOR_BYTES:
                raise OSError(_INVALID_SIZE)
            for sector in range(len(buf) // _SECTOR_BYTES):
                self._erase(block + sector)
            offset = 0
        cells = bytearray(len(buf))
        self.readblocks(block, cells, offset)
        is_cut = _is_cut()
        for index in range(len(buf) // 2 if is_cut else len(buf)):
            cells[index] &= buf[index]
        self._seek(block, offset, len(buf))
        _file.write(cells)
        if is_cut:
            _die()

    def ioctl(self, operation: int, argument: int) -> "int | None":
        """Tell count (4) and size (5) of the sectors, erase one (6); negative on error."""
        if operation in (1, 2, 3):
            return 0
        if operation == 4:
            return self._sectors
        if operation == 5:
            return _SECTOR_BYTES
        if operation != 6:
            return None
        if not 0 <= argument < self._sectors:
            return -errno.EINVAL
        self._erase(argument)
        return 0

    def _erase(self, sector: int) -> None:
        is_cut = _is_cut()
        self._seek(sector, 0, _SECTOR_BYTES)
        pieces = _SECTOR_BYTES // len(_BLANK)
        for _ in range(pieces // 2 if is_cut else pieces):
            _file.write(_BLANK)
        if is_cut:
            _die()

    def _seek(self, block: int, offset: int, size: int) -> None:
        position = block * _SECTOR_BYTES + offset
        if not 0 <= position <= self._sectors * _SECTOR_BYTES - size:
            raise OSError(_INVALID_SIZE)
        _file.seek(self._start + position)
