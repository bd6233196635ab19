"""The partition table of a head: which part of the flash holds what, as the chip reads it."""

import hashlib
import struct
from collections.abc import Sequence
from typing import NamedTuple

FLASH_BYTES = 0x400000
TABLE_OFFSET = 0x8000
TABLE_BYTES = 0xC00
"""What the chip's loader reads; a signature and then nvs begin in the sector behind it."""

APP = 0
DATA = 1

_ROW = struct.Struct("<2sBBII16sI")
_ROW_MAGIC = b"\xaa\x50"
_MD5_MAGIC = b"\xeb\xeb" + b"\xff" * 14


class Partition(NamedTuple):
    """One row; offset and size are in bytes from the start of the flash."""

    name: str
    kind: int
    subtype: int
    offset: int
    size: int


# The first three are MicroPython's own. Its file system would take all that is left, and how
# much that is would depend on the chip; so it has a row, and the log has one behind it.
# The log's subtype is that of a FAT file system: there is no better one that every tool for
# these tables knows, and MicroPython goes by the name.
TABLE = (
    Partition("nvs", DATA, 0x02, 0x9000, 0x6000),
    Partition("phy_init", DATA, 0x01, 0xF000, 0x1000),
    Partition("factory", APP, 0x00, 0x10000, 0x1F0000),
    Partition("vfs", DATA, 0x81, 0x200000, 0x100000),
    Partition("ringlog", DATA, 0x81, 0x300000, 0x100000),
)
assert TABLE[-1].offset + TABLE[-1].size == FLASH_BYTES


def find(name: str) -> Partition:
    """Return the row of ours with this name."""
    return next(row for row in TABLE if row.name == name)


def pack(table: Sequence[Partition]) -> bytes:
    """Return the table as it lies in the flash, with its checksum, padded to TABLE_BYTES."""
    rows = b""
    for row in table:
        name = row.name.encode()
        rows += _ROW.pack(_ROW_MAGIC, row.kind, row.subtype, row.offset, row.size, name, 0)
    packed = rows + _MD5_MAGIC + hashlib.md5(rows, usedforsecurity=False).digest()
    return packed.ljust(TABLE_BYTES, b"\xff")


def unpack(data: bytes) -> list[Partition]:
    """Return the rows of a table in the flash; none where there is no table."""
    table = []
    for position in range(0, min(len(data), TABLE_BYTES) - _ROW.size + 1, _ROW.size):
        magic, kind, subtype, offset, size, name, _ = _ROW.unpack_from(data, position)
        if magic != _ROW_MAGIC:
            break
        text = name.rstrip(b"\0").decode(errors="replace")
        table.append(Partition(text, kind, subtype, offset, size))
    return table
