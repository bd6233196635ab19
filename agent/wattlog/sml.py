"""Smart Message Language: from a checked payload to its list of registers, as on the wire.

Implements the type-length-value coding and the GetList response of SML 1.04 (BSI
TR-03109-1) with the variants that real meters send: integers of any width, absent values,
long lists, times in four spellings. Messages of other types are skipped by structure.
"""

from collections import namedtuple

from wattlog.compat import const

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Value = int | bytes | bool | None

DEPTH_MAX = 10  # real frames nest 7 deep
ENTRIES_MAX = 128  # real lists have up to 30
OCTETS_MAX = 256  # the longest real one is a 50-byte signature
TL_BYTES_MAX = 4
INTEGER_BYTES_MAX = 8

_OCTETS = const(0)
_BOOLEAN = const(4)
_SIGNED = const(5)
_UNSIGNED = const(6)
_LIST = const(7)

_SECONDS_INDEX = b"\x72\x62\x01\x65"  # the usual SML_Time, before its four bytes

GET_LIST_RESPONSE = 0x0701
_MESSAGE = b"\x76"  # a message is a list of six


class GetList:
    """One list of registers.

    server_id  bytes as on the wire, or None
    sec_index  the meter's own seconds counter (not a date), or None
    entries    list of Entry in wire order
    """

    # What layout.LearnedList has, so that both are read alike.
    layout: "Any" = None
    values: "tuple[int, ...]" = ()

    def __init__(
        self, server_id: bytes | None, sec_index: int | None, entries: "list[Entry]"
    ) -> None:
        self.server_id = server_id
        self.sec_index = sec_index
        self.entries = entries


Entry = namedtuple("Entry", ("obis", "status", "sec_index", "unit", "scaler", "value", "width"))
# One register.
# obis       bytes, usually six groups A-B:C.D.E*F
# status     int, bytes or None
# sec_index  time of the value in the meter's seconds, or None
# unit       DLMS unit number, or None
# scaler     decimal exponent, or None (which means 0)
# value      int, bytes, bool or None where the meter sent none
# width      bytes that an integer value took on the wire, else 0


class SmlError(Exception):
    """A payload that is not SML; `reason` is a counter key."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Reader:
    """A cursor over one payload; every length is checked before it is believed."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def type_length(self) -> tuple[int, int]:
        """Return (type, content bytes or list elements); (_OCTETS, -1) is the end mark 00."""
        data = self.data
        first = self.at
        at = first
        length = 0
        kind = -1
        while True:
            if at >= len(data):
                raise SmlError("truncated")
            byte = data[at]
            at += 1
            if kind < 0:
                kind = byte >> 4 & 7
            elif byte & 0x70 or at - first > TL_BYTES_MAX:
                raise SmlError("type_length")
            length = length << 4 | byte & 15
            if not byte & 0x80:
                break
        self.at = at
        if kind != _LIST:
            # The length of a primitive counts its own type-length bytes.
            length -= at - first
            if length < 0 and (kind != _OCTETS or at - first != 1):
                raise SmlError("type_length")
        if length > len(data) - at:
            raise SmlError("truncated")
        return kind, length

    def list_of(self, count_min: int) -> int:
        """Return the number of elements of the list that must stand here."""
        byte = self.data[self.at]
        if byte & 0xF0 == 0x70:
            self.at += 1
            kind, count = _LIST, byte & 0x0F
        else:
            kind, count = self.type_length()
        if kind != _LIST or count < count_min:
            raise SmlError("structure")
        return count

    def primitive(self) -> "tuple[Value, int]":
        """Return the value here and its width: int, bytes, bool or None (absent)."""
        kind, length = self.type_length()
        if kind == _LIST or length < 0:
            raise SmlError("structure")
        return self._content(kind, length)

    def _content(self, kind: int, length: int) -> "tuple[Value, int]":
        at = self.at
        self.at = at + length
        if kind == _OCTETS:
            if length > OCTETS_MAX:
                raise SmlError("limit")
            return (self.data[at : at + length] if length else None), 0
        if kind == _BOOLEAN:
            if length != 1:
                raise SmlError("type_length")
            return self.data[at] != 0, 0
        if kind not in (_SIGNED, _UNSIGNED) or not 1 <= length <= INTEGER_BYTES_MAX:
            raise SmlError("type_length")
        value = int.from_bytes(self.data[at : at + length], "big")
        # MicroPython ignores from_bytes' `signed`, so the sign is extended by hand.
        if kind == _SIGNED and self.data[at] & 0x80:
            value -= 1 << 8 * length
        return value, length

    def unsigned(self) -> int:
        """Return the integer that must stand here."""
        data = self.data
        at = self.at
        if data[at] == 0x62:
            self.at = at + 2
            return data[at + 1]
        if data[at] == 0x63:
            self.at = at + 3
            return data[at + 1] << 8 | data[at + 2]
        value = self.integer_or_none()
        if value is None or value < 0:
            raise SmlError("structure")
        return value

    def octets(self) -> bytes | None:
        """Return the octet string here, or None where it is absent."""
        data = self.data
        at = self.at
        byte = data[at]
        if 0 < byte < 0x10 and at + byte <= len(data):
            self.at = at + byte
            return data[at + 1 : at + byte] if byte > 1 else None
        value, _ = self.primitive()
        if value is None or isinstance(value, bytes):
            return value
        raise SmlError("structure")

    def integer_or_none(self) -> int | None:
        """Return the integer here, or None where it is absent."""
        value, width = self.primitive()
        if value is None or (width and isinstance(value, int)):
            return value
        raise SmlError("structure")

    def skip(self, depth: int) -> None:
        """Pass over one element of any type, at this depth of nesting."""
        byte = self.data[self.at]
        if 0 < byte < 0x70 and byte & 0x0F and self.at + (byte & 0x0F) <= len(self.data):
            self.at += byte & 0x0F
            return
        left = [1]
        while left:
            if left[-1] == 0:
                left.pop()
                continue
            left[-1] -= 1
            kind, length = self.type_length()
            if kind == _LIST:
                if depth + len(left) > DEPTH_MAX:
                    raise SmlError("depth")
                left.append(length)
            elif length > 0:
                self.at += length

    def time(self) -> int | None:
        """Return the seconds of an SML_Time in any spelling, or None where it is absent."""
        start = self.at
        data = self.data
        if data[start : start + 4] == _SECONDS_INDEX and start + 8 <= len(data):
            self.at = start + 8
            return int.from_bytes(data[start + 4 : start + 8], "big")
        kind, count = self.type_length()
        if kind != _LIST:  # absent, or bare seconds (Holley)
            self.at = start
            return self.integer_or_none()
        if count == 2:
            self.unsigned()  # seconds index, timestamp or local timestamp: all count seconds
            start = self.at
            kind, count = self.type_length()
            if kind != _LIST:
                self.at = start
                return self.unsigned()
        # A local timestamp, or a list of three without a tag (FROETEC): seconds come first.
        if count != 3:
            raise SmlError("structure")
        seconds = self.unsigned()
        self.skip(DEPTH_MAX - 1)
        self.skip(DEPTH_MAX - 1)
        return seconds

    def value(self) -> "tuple[Value, int]":
        """Return a register's value and width; a list is read as [tag, SML_Time] or is None."""
        start = self.at
        kind, count = self.type_length()
        if kind != _LIST:
            self.at = start
            return self.primitive()
        inside = self.at
        try:
            if count == 2:
                self.unsigned()
                return self.time(), 0
        except SmlError:
            self.at = inside
        # Nothing that we know: the entry stays, without a value.
        self.at = start
        self.skip(6)
        return None, 0


def parse(payload: bytes) -> list[GetList]:
    """Return the GetList responses in a frame's payload, in order.

    Raises SmlError for a payload that does not follow the grammar.
    """
    reader = _Reader(payload)
    lists: list[GetList] = []
    try:
        while _message_follows(payload, reader.at):
            # Fill bytes may stand between messages, whatever the pad count says.
            while payload[reader.at] == 0:
                reader.at += 1
            _message(reader, lists)
    except IndexError:
        raise SmlError("truncated") from None
    return lists


def _message_follows(payload: bytes, at: int) -> bool:
    # A few stray 1b behind the last message are what is left of an odd escape.
    while at < len(payload) and payload[at] in (0x00, 0x1B):
        at += 1
    return at < len(payload)


def good_lists(
    payload: bytes, checksum: "Callable[[bytes], int]", is_low_first: bool
) -> "list[GetList]":
    """Return the GetList responses whose own checksum is right, wherever they stand.

    For a payload that the transport's checksum does not vouch for; raises nothing.
    """
    lists: list[GetList] = []
    at = payload.find(_MESSAGE)
    while at >= 0:
        reader = _Reader(payload)
        reader.at = at
        found: list[GetList] = []
        try:
            checked = _message(reader, found)
        except (SmlError, IndexError):
            found = []
        if found:
            # One byte is the shortened form of two that begin with 00.
            sent = b"\x00" + payload[checked + 1 : reader.at - 1]
            first, second = sent[-2], sent[-1]
            crc = first | second << 8 if is_low_first else first << 8 | second
            if checksum(payload[at:checked]) == crc:
                lists.extend(found)
                at = reader.at - 1
        at = payload.find(_MESSAGE, at + 1)
    return lists


def _message(reader: _Reader, lists: "list[GetList]") -> int:
    """Pass one message, adding the list it holds; return where its checksum stands."""
    reader.list_of(6)
    reader.octets()  # transaction id
    reader.unsigned()  # group
    reader.unsigned()  # what to do on an error
    if reader.list_of(2) != 2:
        raise SmlError("structure")
    if reader.unsigned() == GET_LIST_RESPONSE:
        lists.append(_get_list(reader))
    else:
        reader.skip(2)
    # The transport checksum covers this one's bytes too; two of one polynomial are no better.
    checksum_at = reader.at
    reader.unsigned()
    if reader.data[reader.at] != 0x00:
        raise SmlError("structure")
    reader.at += 1
    return checksum_at


def _get_list(reader: _Reader) -> GetList:
    fields = reader.list_of(5)
    reader.skip(3)  # client id
    server_id = reader.octets()
    reader.skip(3)  # list name
    sec_index = reader.time()
    count = reader.list_of(0)
    if count > ENTRIES_MAX:
        raise SmlError("limit")
    entries = []
    for _ in range(count):
        entries.append(_entry(reader))
    for _ in range(fields - 5):  # signature, gateway time, what later versions add
        reader.skip(3)
    return GetList(server_id, sec_index, entries)


def _entry(reader: _Reader) -> Entry:  # noqa: C901, PLR0912, PLR0915
    """Return the list entry here.

    Each field is tried in the one form that nearly all meters use, without a call, before the
    reader is asked: this is most of the work of a frame. An index beyond the end raises
    IndexError, which `parse` knows as "truncated".
    """
    data = reader.data
    at = reader.at
    fields = 7
    if data[at] == 0x77 and data[at + 1] == 0x07:
        obis = data[at + 2 : at + 8]
        at += 8
    else:
        fields = reader.list_of(6)
        obis = reader.octets()  # type: ignore[assignment]
        if obis is None:
            raise SmlError("structure")
        at = reader.at

    if data[at] == 0x01:
        status: Value = None
        at += 1
    elif 0x62 <= data[at] <= 0x65:
        width = data[at] & 0x0F
        status = int.from_bytes(data[at + 1 : at + width], "big")
        at += width
    else:
        reader.at = at
        status, _ = reader.primitive()
        at = reader.at

    if data[at] == 0x01:
        sec_index = None
        at += 1
    else:
        reader.at = at
        sec_index = reader.time()
        at = reader.at

    if data[at] == 0x62:
        unit: int | None = data[at + 1]
        at += 2
    elif data[at] == 0x01:
        unit = None
        at += 1
    else:
        reader.at = at
        unit = reader.integer_or_none()
        at = reader.at

    if data[at] == 0x52:
        scaler: int | None = (data[at + 1] ^ 0x80) - 0x80
        at += 2
    elif data[at] == 0x01:
        scaler = None
        at += 1
    else:
        reader.at = at
        scaler = reader.integer_or_none()
        at = reader.at

    reader.at = at
    width = (data[at] & 0x0F) - 1
    kind = data[at] & 0xF0
    if kind in (0x50, 0x60) and 1 <= width <= INTEGER_BYTES_MAX:
        value: Value = int.from_bytes(data[at + 1 : at + 1 + width], "big")
        if kind == 0x50 and data[at + 1] & 0x80:
            value -= 1 << 8 * width  # type: ignore[operator]
        at += 1 + width
    elif kind == 0x00 and width > 0:
        value = data[at + 1 : at + 1 + width]
        at += 1 + width
        width = 0
    else:
        value, width = reader.value()
        at = reader.at

    # What the slices above took must have been there: the next field stands behind them.
    if data[at] == 0x01 and fields == 7:
        reader.at = at + 1
    else:
        reader.at = at
        for _ in range(fields - 6):  # signature, what later versions add
            reader.skip(5)
    return Entry(obis, status, sec_index, unit, scaler, value, width)


class Walker(_Reader):
    """A reader that notes where integers and other content stand, for layouts to be learned.

    fields    (entry index or -1, what it is, offset, width, signed) of the integers
    spans     (offset, width) of all content that may change
    is_plain  False where something stands that no layout can hold
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.fields: list[tuple[int, int, int, int, bool]] = []
        self.spans: list[tuple[int, int]] = []
        self.is_plain = True

    def message_follows(self) -> bool:
        """Tell whether another message stands here, past any fill bytes."""
        if not _message_follows(self.data, self.at):
            return False
        while self.data[self.at] == 0:
            self.at += 1
        return True

    def end_of_message(self) -> None:
        """Pass the 00 behind a message."""
        self.at += 1

    def keep(self) -> None:
        """Pass one element that is not to change."""
        self.skip(3)

    def free(self) -> None:
        """Pass one primitive whose content means nothing to us."""
        _, length = self.type_length()
        if length > 0:
            self.spans.append((self.at, length))
            self.at += length

    def number(self) -> None:
        """Pass one unsigned integer that means nothing to us."""
        kind, length = self.type_length()
        if kind != _UNSIGNED:
            self.is_plain = False
        else:
            self.spans.append((self.at, length))
            self.at += length

    def free_all(self) -> None:
        """Pass one element of any type whose content means nothing to us."""
        left = 1
        while left:
            left -= 1
            start = self.at
            kind, length = self.type_length()
            if kind == _LIST:
                left += length
            else:
                self.at = start
                self.free()

    def integer(self, index: int, what: int) -> None:
        """Pass one primitive; an integer is noted."""
        kind, length = self.type_length()
        if kind == _LIST:
            self.is_plain = False
        elif kind in (_SIGNED, _UNSIGNED):
            self.fields.append((index, what, self.at, length, kind == _SIGNED))
            self.spans.append((self.at, length))
        self.at += max(0, length)

    def time(self, index: int, what: int) -> None:  # type: ignore[override]
        """Pass one SML_Time; its seconds are noted."""
        start = self.at
        kind, count = self.type_length()
        if kind != _LIST:
            self.at = start
            self.integer(index, what)
        elif count == 2:
            self.keep()  # the tag tells how to read the rest
            # A full parse refuses seconds below zero, so only unsigned ones are learned.
            if self.at < len(self.data) and self.data[self.at] & 0xF0 == 0x60:
                self.integer(index, what)
            else:
                self.is_plain = False
        else:
            self.is_plain = False


def server_id_text(server_id: bytes) -> str:
    """Return a server id as printed on the meter, or as hex with dashes where it has no such form.

    Ids of scheme 09 and 0A (DIN 43863-5) read "1 EMH00 12345678": medium, maker, block as
    two hex digits, serial number as eight decimal digits. One of scheme 01 (M-Bus) reads
    "EMH 02806498": maker and number. Some meters send plain text.
    """
    if len(server_id) == 9 and server_id[0] == 0x01:
        letters = server_id[2] << 8 | server_id[1]  # five bits each, the highest one is free
        maker = bytes([64 + (letters >> shift & 31) for shift in (10, 5, 0)])
        digits = bytes([server_id[at] for at in (6, 5, 4, 3)]).hex()
        if all(65 <= byte <= 90 for byte in maker) and all("0" <= c <= "9" for c in digits):
            return maker.decode() + " " + digits
    if len(server_id) == 10 and server_id[0] in (0x09, 0x0A):
        maker = server_id[2:5]
        serial = int.from_bytes(server_id[6:], "big")
        if all(65 <= byte <= 90 for byte in maker) and serial < 10**8:
            return "%d %s%02X %08d" % (server_id[1], maker.decode(), server_id[5], serial)
    if server_id and all(48 <= b <= 57 or 65 <= b <= 90 or 97 <= b <= 122 for b in server_id):
        return server_id.decode()
    return "-".join(["%02x" % byte for byte in server_id])


def obis_text(obis: bytes) -> str:
    """Return "1-0:16.7.0" for the six groups; *F is written where it is not 255."""
    if len(obis) != 6:
        return "-".join(["%02x" % byte for byte in obis])
    text = "%d-%d:%d.%d.%d" % (obis[0], obis[1], obis[2], obis[3], obis[4])
    return text if obis[5] == 255 else text + "*%d" % obis[5]
