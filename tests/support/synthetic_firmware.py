"""A stand-in for MicroPython's firmware file: built like one, with nothing in it to run."""

import hashlib
import struct

from wattlog_tools import partitions

BANNER = b"MicroPython v1.26.1 on 2025-09-11; Generic ESP32 module with ESP32"
# As ESP-IDF marks what describes a program.
_DESCRIPTION_MAGIC = 0xABCD5432
_DESCRIPTION_BYTES = 256
_DATA_ADDRESS = {"esp32": 0x3F400020, "esp32c3": 0x3C000020, "esp32s3": 0x3C000020}
_LOADER_ADDRESS = {"esp32": 0x3FFF0018, "esp32c3": 0x3FCD5820, "esp32s3": 0x3FCE2820}


FLASH_4_MB = 0x20  # as a header has it; the low half is the clock
FLASH_8_MB = 0x30


def program(chip, address, content, flash=FLASH_4_MB):
    """A program with one segment: header, checksum and digest are right."""
    head = struct.pack("<4BI", 0xE9, 1, 2, flash, address)
    head += struct.pack("<4xHBHH4xB", chip.image_id, 0, 0, 0xFFFF, 1)
    content += b"\0" * (-len(content) % 4)
    out = head + struct.pack("<II", address, len(content)) + content
    checksum = 0xEF
    for byte in content:
        checksum ^= byte
    out += b"\0" * (15 - len(out) % 16) + bytes([checksum])
    return out + hashlib.sha256(out).digest()


def app(chip, banner=BANNER, size=3000):
    description = struct.pack("<II8x32s32s", _DESCRIPTION_MAGIC, 0, b"v1.26.1", b"micropython")
    content = description.ljust(_DESCRIPTION_BYTES, b"\0") + banner + b"\0" * size
    return program(chip, _DATA_ADDRESS[chip.name], content)


def table(name="factory", subtype=0):
    """The table of MicroPython itself, since 1.26 without a row for its file system."""
    rows = [row for row in partitions.TABLE if row.offset < 0x10000]
    rows.append(partitions.Partition(name, partitions.APP, subtype, 0x10000, 0x1F0000))
    return partitions.pack(rows)


def firmware(chip, flash=FLASH_4_MB, **more):
    """A whole firmware file, as of MicroPython's download page."""
    loader = program(chip, _LOADER_ADDRESS[chip.name], b"the loader" * 20, flash)
    start = chip.firmware_offset
    out = loader.ljust(partitions.TABLE_OFFSET - start, b"\xff") + table()
    return out.ljust(0x10000 - start, b"\xff") + app(chip, **more)
