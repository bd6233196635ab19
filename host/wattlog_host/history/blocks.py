"""A block: the buckets of one channel over a fixed time, as columns of integers in few bytes.

A row of the database for each bucket would take ten times the room, and years of them seconds to
read. A column has 32- or 64-bit little-endian integers, whose octets are sorted by their place and
deflated. What a meter tells in tenths of a watt we keep in thousandths, and times are mostly whole
seconds: the places that are 0 in all of a column are left out, and their number is written.
"""

import struct
import sys
import zlib
from array import array
from collections.abc import Iterable, Sequence
from math import gcd
from operator import add, mul, sub

BUCKETS = {60: 60, 900: 96, 3600: 168}
"""Length of a bucket in s -> how many of them are one block: an hour, a day, a week."""

# Typecodes of array: i has 32 bits, q 64. A gauge has at most 10**9, by the channel's range.
_OCTETS = {"i": 4, "q": 8}
GAUGE_COLUMNS = {
    "minimum": "i",
    "maximum": "i",
    "integral": "q",
    "covered_ms": "i",
    "readings": "i",
}
COUNTER_COLUMNS = {
    "first_ms": "i",
    "first": "q",
    "last_ms": "i",
    "last": "q",
    "rise": "q",
    "falls": "i",
    "covered_ms": "i",
    "readings": "i",
}

_FORMAT = 2
_FORMAT_OF_BEFORE = 1
"""It has all places."""
_PLACES_MAX = 18
_HEAD = struct.Struct("<BBqq")
_LEVEL = 6


class BlockError(Exception):
    """A stored block is of another format, or rotten."""


class Block:
    """Buckets of one channel, by column; one without readings and coverage has zeros.

    Times in the columns are relative to their bucket. Of a block that is being filled:
    tail_ms  when the newest reading was that has been taken in, 0 for none
    high     what the counter stood at then
    """

    def __init__(self, size: int, is_counter: bool) -> None:
        """Make an empty one with so many buckets."""
        self.is_counter = is_counter
        self.tail_ms = 0
        self.high = 0
        self.columns = {
            name: array(code, bytes(size * _OCTETS[code]))
            for name, code in _columns(is_counter).items()
        }

    def is_used(self, at: int) -> bool:
        """Tell whether this bucket holds anything."""
        return bool(self.columns["readings"][at] or self.columns["covered_ms"][at])

    def used(self) -> list[int]:
        """Return the buckets that hold anything."""
        pairs = zip(self.columns["readings"], self.columns["covered_ms"], strict=True)
        return [at for at, (count, covered_ms) in enumerate(pairs) if count or covered_ms]

    def counted(self) -> list[int]:
        """Return the buckets that have a reading."""
        return [at for at, count in enumerate(self.columns["readings"]) if count]

    def put(self, at: int, bucket: Sequence[int]) -> None:
        """Set one bucket: its values in the order of the columns."""
        for column, value in zip(self.columns.values(), bucket, strict=True):
            column[at] = value

    def clear(self, at: int) -> None:
        """Empty one bucket."""
        for column in self.columns.values():
            column[at] = 0

    def pack(self) -> bytes:
        """Return the block as it is stored."""
        head = _HEAD.pack(_FORMAT, self.is_counter, self.tail_ms, self.high)
        columns = (self.columns | self._small(-1)).values()
        # Not of longer buckets: they are a fourteenth of all bytes, and read by the thousand.
        is_short = len(self.columns["readings"]) == BUCKETS[60]
        places = bytes(map(_zero_places, columns) if is_short else len(columns))
        short = (
            array(column.typecode, [value // 10**count for value in column]) if count else column
            for column, count in zip(columns, places, strict=True)
        )
        raw = b"".join(_by_octet(_little(column)) for column in short)
        return head + places + zlib.compress(raw, _LEVEL)

    @classmethod
    def unpack(cls, packed: bytes, size: int) -> "Block":
        """Return the block that was packed; raise BlockError where it cannot be read."""
        if len(packed) < _HEAD.size or packed[0] not in (_FORMAT, _FORMAT_OF_BEFORE):
            raise BlockError("a block of another format")
        _, is_counter, tail_ms, high = _HEAD.unpack_from(packed)
        block = cls(0, bool(is_counter))
        block.tail_ms, block.high = tail_ms, high
        codes = _columns(block.is_counter)
        begin = _HEAD.size + (len(codes) if packed[0] == _FORMAT else 0)
        places = packed[_HEAD.size : begin] or bytes(len(codes))
        if len(places) < len(codes) or max(places) > _PLACES_MAX:
            raise BlockError("a block without its places")
        length = size * sum(_OCTETS[code] for code in codes.values())
        try:
            raw = zlib.decompressobj().decompress(packed[begin:], length + 1)
        except zlib.error as err:
            raise BlockError(str(err)) from err
        if len(raw) != length:
            raise BlockError("a block of another size")
        try:
            block._fill(raw, zip(codes.items(), places, strict=True), size)
        except OverflowError as err:
            raise BlockError("a block with impossible numbers") from err
        return block

    def _fill(self, raw: bytes, columns: Iterable[tuple[tuple[str, str], int]], size: int) -> None:
        """Take the columns out of their octets; raise OverflowError where one is impossible."""
        at = 0
        for (name, code), places in columns:
            column = array(code)
            end = at + size * _OCTETS[code]
            column.frombytes(_from_octets(raw[at:end], size, _OCTETS[code]))
            column = _little(column)
            unit = 10**places
            self.columns[name] = (
                array(code, [unit * value for value in column]) if places else column
            )
            at = end
        self.columns |= self._small(1)

    def _small(self, sign: int) -> "dict[str, array[int]]":
        """Return the columns that others nearly tell: without what these say (-1), or with it."""
        columns = self.columns
        if self.is_counter:
            name, told = "last", map(add, columns["first"], columns["rise"])
        else:
            name, told = "integral", map(mul, columns["minimum"], columns["covered_ms"])
        return {name: array("q", map(add if sign > 0 else sub, columns[name], told))}


def _columns(is_counter: bool) -> dict[str, str]:
    return COUNTER_COLUMNS if is_counter else GAUGE_COLUMNS


def _zero_places(column: "array[int]") -> int:
    """Return how many decimal places are 0 in all of a column."""
    common, places = gcd(*column), 0
    while common and not common % 10:
        common //= 10
        places += 1
    return places


def _by_octet(column: "array[int]") -> bytes:
    """Return all lowest octets, then all next ones: like beside like deflates better."""
    raw, size = column.tobytes(), column.itemsize
    return b"".join([raw[at::size] for at in range(size)])


def _from_octets(octets: bytes, count: int, size: int) -> bytes:
    raw = bytearray(count * size)
    for at in range(size):
        raw[at::size] = octets[count * at : count * (at + 1)]
    return bytes(raw)


def _little(column: "array[int]") -> "array[int]":
    if sys.byteorder == "big":
        column = column[:]
        column.byteswap()
    return column
