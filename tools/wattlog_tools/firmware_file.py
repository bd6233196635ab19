"""MicroPython's firmware file: is it the right one, is it whole; and our partitions in it."""

import hashlib
import re
import struct
from pathlib import Path

from wattlog_tools import partitions
from wattlog_tools.chips import Chip, title_of
from wattlog_tools.console import ToolError

VERSION_MIN = (1, 25)
"""The oldest MicroPython that the tests run with."""
FILE_BYTES_MAX = 16 << 20

_FACTORY = partitions.find("factory")
_MAGIC = 0xE9
_HEAD_BYTES = 24
_SEGMENT_HEAD_BYTES = 8
_CHECKSUM_START = 0xEF
_DIGEST_BYTES = 32
_SEGMENTS_MAX = 16
# What people take for the firmware, by how it begins.
_OTHERS = (
    (b"UF2\n", "a .uf2 file, which only a board with a disk of its own takes"),
    (b"\x7fELF", "the .elf file, which is for a debugger"),
    (b"<", "a web page: save the file itself, not the page"),
    (b"PK", "a .zip file: unpack it first"),
)
_VERSION = re.compile(rb"MicroPython v(\d+)\.(\d+)[^ \0]{0,40} on ")


def where_from(chip: Chip) -> str:
    """Return which file to get, and where."""
    return (
        f"get {chip.board}-….bin (the .bin of a release, not the .app-bin) from the download "
        f"page of the board {chip.board} at micropython.org"
    )


def read(path: Path, chip: Chip) -> bytes:
    """Return the firmware with our partition table in it; raises ToolError."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ToolError(f"{path}: much larger than any firmware; {where_from(chip)}")
        data = path.read_bytes()
    except FileNotFoundError:
        raise ToolError(f"{path}: there is no such file; {where_from(chip)}") from None
    except OSError as err:
        raise ToolError(f"{path}: {(err.strerror or str(err)).lower()}") from None
    trouble = trouble_of(data, chip)
    if trouble:
        raise ToolError(f"{path}: {trouble}")
    return with_table(data, chip)


def with_table(data: bytes, chip: Chip) -> bytes:
    """Return the firmware file with our partition table in the place of its own."""
    start = partitions.TABLE_OFFSET - chip.firmware_offset
    end = start + partitions.TABLE_BYTES
    return data[:start] + partitions.pack(partitions.TABLE) + data[end:]


def trouble_of(data: bytes, chip: Chip) -> str | None:
    """Return why this file cannot be flashed on this chip, None if it can."""
    for start, what in _OTHERS:
        if data.startswith(start):
            return f"this is {what}; {where_from(chip)}"
    if len(data) < _HEAD_BYTES or data[0] != _MAGIC:
        return f"this is no firmware; {where_from(chip)}"
    image_id = _image_id(data, 0)
    if image_id != chip.image_id:
        return f"this is for {title_of(image_id)}, not for {chip.title}; {where_from(chip)}"
    table_start = partitions.TABLE_OFFSET - chip.firmware_offset
    app_start = _FACTORY.offset - chip.firmware_offset
    table = partitions.unpack(data[table_start:])
    if not any(row.kind == partitions.APP and row.offset == _FACTORY.offset for row in table):
        if len(data) <= table_start:
            return f"this is cut off; {where_from(chip)}"
        return (
            f"this holds no partition table, so it is not the whole firmware; {where_from(chip)}"
        )
    return _app_trouble(data, app_start, chip) or _version_trouble(data, chip)


def _app_trouble(data: bytes, start: int, chip: Chip) -> str | None:
    """Return what is wrong with the program in the file."""
    size = len(data) - start
    if size > _FACTORY.size:
        return (
            f"its program has {size} bytes, and its partition {_FACTORY.size}: this is for "
            f"another board; {where_from(chip)}"
        )
    if size < _HEAD_BYTES:
        return f"this is cut off; {where_from(chip)}"
    if data[start] != _MAGIC or _image_id(data, start) != chip.image_id:
        return f"this holds no program for {chip.title}; {where_from(chip)}"
    count = data[start + 1]
    if not 0 < count <= _SEGMENTS_MAX:
        return f"this is damaged; {where_from(chip)}"
    checksum = _CHECKSUM_START
    position = start + _HEAD_BYTES
    for _ in range(count):
        if position + _SEGMENT_HEAD_BYTES > len(data):
            return f"this is cut off; {where_from(chip)}"
        (length,) = struct.unpack_from("<I", data, position + 4)
        position += _SEGMENT_HEAD_BYTES
        checksum ^= _xor(data[position : position + length])
        position += length
    position += 16 - (position - start) % 16
    end = position + (_DIGEST_BYTES if data[start + 23] else 0)
    if end > len(data):
        return f"this is cut off; {where_from(chip)}"
    digest = hashlib.sha256(data[start:position]).digest()
    if data[position - 1] != checksum or (end > position and data[position:end] != digest):
        return f"this is damaged: its checksum is wrong; {where_from(chip)}"
    return None


def _version_trouble(data: bytes, chip: Chip) -> str | None:
    """Return why this version is refused; a firmware that does not tell is taken."""
    found = _VERSION.search(data)
    if found is None or (int(found[1]), int(found[2])) >= VERSION_MIN:
        return None
    wanted = ".".join(map(str, VERSION_MIN))
    return f"this is MicroPython {int(found[1])}.{int(found[2])}, {wanted} is needed; " + (
        where_from(chip)
    )


def _image_id(data: bytes, start: int) -> int:
    return data[start + 12] | data[start + 13] << 8


def _xor(data: bytes) -> int:
    """Return all bytes, each xor the next."""
    value = int.from_bytes(data, "little")
    size = len(data)
    while size > 1:
        half = (size + 1) // 2
        value = (value & (1 << 8 * half) - 1) ^ (value >> 8 * half)
        size = half
    return value
