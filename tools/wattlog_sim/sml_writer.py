"""Write SML as meters do: values, messages, and the transport frame around them.

The opposite of `wattlog.sml`, and deliberately independent of it: it shares only the checksum
routines, which are proven by their published check values. Every function returns encoded bytes,
and lists take encoded bytes, so that a test can put anything anywhere, also what no standard
allows. Runs on MicroPython and CPython.
"""

from wattlog.crc import crc16_kermit, crc16_x25

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Checksum = Callable[[bytes], bytes]

ABSENT = b"\x01"
END_OF_MESSAGE = b"\x00"

ESCAPE = b"\x1b\x1b\x1b\x1b"
START = ESCAPE + b"\x01\x01\x01\x01"

TAG_OPEN_RESPONSE = 0x0101
TAG_CLOSE_RESPONSE = 0x0201
TAG_GET_LIST_RESPONSE = 0x0701

UNIT_NONE = 0
UNIT_W = 27
UNIT_WH = 30

LIST_CURRENT_VALUES = b"\x01\x00\x62\x0a\xff\xff"
"""Name of the list that modern meters push."""

INT_BYTES_MAX = 8
PAD_BYTES_MAX = 4

_OCTETS = 0x00
_BOOLEAN = 0x40
_SIGNED = 0x50
_UNSIGNED = 0x60
_LIST = 0x70

_SEC_INDEX = 1
"""Choice tag of SML_Time for the meter's own seconds counter."""


def x25_low_first(data: bytes) -> bytes:
    """Return the checksum of nearly every meter: CRC-16/X-25, low byte first."""
    crc = crc16_x25(data)
    return bytes((crc & 0xFF, crc >> 8))


def kermit_high_first(data: bytes) -> bytes:
    """Return the checksum of some Holley meters: CRC-16/KERMIT, high byte first."""
    crc = crc16_kermit(data)
    return bytes((crc >> 8, crc & 0xFF))


def octets(data: bytes) -> bytes:
    """Encode an octet string. An empty one looks the same as ABSENT; SML has it so."""
    return _value(_OCTETS, data)


def boolean(value: bool) -> bytes:
    """Encode a boolean."""
    return _value(_BOOLEAN, b"\x01" if value else b"\x00")


def unsigned(value: int, width: int | None = None) -> bytes:
    """Encode an unsigned integer in `width` bytes, or in as few as hold it."""
    if width is None:
        width = 1
        while value >> (8 * width):
            width += 1
    assert 0 <= value < 1 << (8 * width), "unsigned value does not fit"
    assert width <= INT_BYTES_MAX
    return _value(_UNSIGNED, value.to_bytes(width, "big"))


def signed(value: int, width: int | None = None) -> bytes:
    """Encode a two's complement integer in `width` bytes, or in as few as hold it."""
    if width is None:
        width = 1
        while not _fits_signed(value, width):
            width += 1
    assert _fits_signed(value, width), "signed value does not fit"
    return signed_raw(value, width)


def signed_raw(value: int, width: int) -> bytes:
    """Encode the low `width` bytes of value and call them signed, whatever that makes of it.

    DZG meters do so: +400.00 W goes out as the two bytes 0x9c40, marked as a signed number.
    """
    assert 1 <= width <= INT_BYTES_MAX
    # Masked first, because to_bytes of a negative number differs between interpreters.
    return _value(_SIGNED, (value & ((1 << (8 * width)) - 1)).to_bytes(width, "big"))


def list_of(items: "Iterable[bytes]") -> bytes:
    """Encode a list of encoded items. Its length counts items, unlike that of all else."""
    parts = list(items)
    return type_length(_LIST, len(parts)) + b"".join(parts)


def type_length(type_bits: int, length: int, tl_bytes_min: int = 1) -> bytes:
    """Encode a type-length field in as many bytes as length needs, at least `tl_bytes_min`."""
    if length < 16 and tl_bytes_min == 1:
        return bytes((type_bits | length,))  # of a thousand fields all but one
    nibbles = [length & 0x0F]
    while length >> 4 or len(nibbles) < tl_bytes_min:
        length >>= 4
        nibbles.insert(0, length & 0x0F)
    # Bit 7 says that another byte follows; only the first byte carries the type.
    for index in range(len(nibbles) - 1):
        nibbles[index] |= 0x80
    nibbles[0] |= type_bits
    return bytes(nibbles)


def sec_index(seconds: int, width: int | None = 4) -> bytes:
    """Encode SML_Time as the meter's seconds counter; width None takes as few bytes as needed."""
    return list_of((unsigned(_SEC_INDEX), unsigned(seconds, width)))


def entry(
    obis: bytes,
    value: bytes,
    status: bytes = ABSENT,
    val_time: bytes = ABSENT,
    unit: int | None = None,
    scaler: int | None = None,
    signature: bytes = ABSENT,
) -> bytes:
    """Encode one register: `value`, `status`, `val_time` and `signature` are encoded already."""
    assert len(obis) == 6
    unit_field = ABSENT if unit is None else unsigned(unit, 1)
    scaler_field = ABSENT if scaler is None else signed(scaler, 1)
    return list_of((octets(obis), status, val_time, unit_field, scaler_field, value, signature))


def open_response(
    request_file_id: bytes,
    server_id: bytes,
    ref_time: bytes = ABSENT,
    sml_version: bytes = ABSENT,
) -> bytes:
    """Encode the content of Open.Res."""
    return list_of(
        (ABSENT, ABSENT, octets(request_file_id), octets(server_id), ref_time, sml_version)
    )


def get_list_response(
    server_id: bytes,
    entries: "Iterable[bytes]",
    sensor_time: bytes = ABSENT,
    list_name: bytes = b"",
    client_id: bytes = b"",
) -> bytes:
    """Encode the content of GetList.Res, the one that carries the registers."""
    return list_of(
        (
            octets(client_id),
            octets(server_id),
            octets(list_name),
            sensor_time,
            list_of(entries),
            ABSENT,
            ABSENT,
        )
    )


def close_response() -> bytes:
    """Encode the content of Close.Res without a signature."""
    return list_of((ABSENT,))


def message(
    transaction_id: bytes,
    tag: int,
    content: bytes,
    checksum: "Checksum" = x25_low_first,
    tag_width: int = 2,
    shorten_crc: bool = False,
) -> bytes:
    """Encode one SML message around its content.

    With `shorten_crc` a checksum whose first byte on the wire is 00 goes out as one byte, since
    it is an integer like any other to the meters (Iskra MT631, MT691) that compress integers.
    """
    head = list_of(
        (
            octets(transaction_id),
            unsigned(0, 1),
            unsigned(0, 1),
            list_of((unsigned(tag, tag_width), content)),
        )
    )
    # The checksum covers the list head of all six elements, of which the last two follow it.
    body = type_length(_LIST, 6) + head[1:]
    crc = checksum(body)
    if shorten_crc and crc[0] == 0:
        crc = crc[1:]
    return body + _value(_UNSIGNED, crc) + END_OF_MESSAGE


def transport(
    payload: bytes, checksum: "Checksum" = x25_low_first, pad_aligned: bool = False
) -> bytes:
    """Wrap messages into one transport frame (version 1).

    With `pad_aligned` a payload that needs no padding gets four bytes of it, as DZG sends.
    """
    escaped = payload.replace(ESCAPE, ESCAPE + ESCAPE)
    pad_bytes = -len(escaped) % 4
    if pad_aligned and pad_bytes == 0:
        pad_bytes = PAD_BYTES_MAX
    frame = START + escaped + b"\x00" * pad_bytes + ESCAPE + bytes((0x1A, pad_bytes))
    return frame + checksum(frame)


def _value(type_bits: int, data: bytes) -> bytes:
    # The length of a value includes its own type-length bytes, so one more of them may be due.
    tl_bytes = 1
    while (len(data) + tl_bytes) >> (4 * tl_bytes):
        tl_bytes += 1
    return type_length(type_bits, len(data) + tl_bytes, tl_bytes) + data


def _fits_signed(value: int, width: int) -> bool:
    half = 1 << (8 * width - 1)
    return -half <= value < half
