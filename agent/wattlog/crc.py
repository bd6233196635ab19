"""The two 16-bit checksums that German meters put on SML frames and messages.

Both are reflected CRCs over the polynomial 0x1021; they differ in preset and final
inversion only. Check values over b"123456789": X.25 0x906E, Kermit 0x2189.
"""

from array import array

from wattlog.compat import const, crc_hqx

TYPE_CHECKING = False
if TYPE_CHECKING:
    Buffer = bytes | bytearray | memoryview


def _reversed_bits(value: int, width: int) -> int:
    out = 0
    for _ in range(width):
        out = out << 1 | value & 1
        value >>= 1
    return out


# The register after data and their own X.25 checksum, low byte first: always this.
_X25_RESIDUE = const(0xF0B8)

if crc_hqx is not None:
    # CPython has the unreflected sibling in C; reversing the bits of every input byte and
    # of the result turns one into the other, some thirty times faster than a table loop.
    _MIRROR = bytes([_reversed_bits(byte, 8) for byte in range(256)])
    _X25_RESIDUE_MIRRORED = _reversed_bits(_X25_RESIDUE, 16)

    def _crc_reflected(data: "Buffer", preset: int) -> int:
        crc = crc_hqx(bytes(data).translate(_MIRROR), preset)
        return _MIRROR[crc & 0xFF] << 8 | _MIRROR[crc >> 8]

    def ends_in_x25(data: "Buffer") -> bool:
        """Tell whether data end in their own X.25 checksum, low byte first."""
        if isinstance(data, memoryview):
            data = bytes(data)
        return crc_hqx(data.translate(_MIRROR), 0xFFFF) == _X25_RESIDUE_MIRRORED

else:

    def _table_row(byte: int) -> int:
        for _ in range(8):
            byte = byte >> 1 ^ (0x8408 if byte & 1 else 0)
        return byte

    _TABLE = array("H", [_table_row(byte) for byte in range(256)])

    def _crc_reflected(data: "Buffer", preset: int) -> int:
        table = _TABLE
        crc = preset
        for byte in data:
            crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
        return crc

    def ends_in_x25(data: "Buffer") -> bool:
        """Tell whether data end in their own X.25 checksum, low byte first."""
        return _crc_reflected(data, 0xFFFF) == _X25_RESIDUE


def crc16_x25(data: "Buffer") -> int:
    """Return CRC-16/X-25 (IBM-SDLC); SML sends it low byte first."""
    return _crc_reflected(data, 0xFFFF) ^ 0xFFFF


def crc16_kermit(data: "Buffer") -> int:
    """Return CRC-16/KERMIT; the meters that use it send it high byte first."""
    return _crc_reflected(data, 0)


def ends_in_kermit(data: "Buffer") -> bool:
    """Tell whether data end in their own Kermit checksum, high byte first."""
    return crc16_kermit(data[:-2]) == data[-2] << 8 | data[-1]
