"""The one place where the two interpreters differ: every try/except import of the core."""

try:
    from micropython import const
except ImportError:  # CPython: a constant is just its value

    def const(value: int) -> int:
        """Return the value; MicroPython's compiler folds it into the byte code."""
        return value


try:
    from binascii import crc_hqx
except ImportError:  # MicroPython has no CCITT checksum in C
    crc_hqx = None  # type: ignore[assignment]

try:
    from struct import Struct
except ImportError:  # MicroPython's struct has no compiled forms
    Struct = None  # type: ignore[assignment,misc]

__all__ = ("Struct", "const", "crc_hqx")
