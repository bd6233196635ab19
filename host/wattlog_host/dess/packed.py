"""A record's values as one packed field: MessagePack {channel id: millionths, or text}."""

from collections.abc import Mapping
from decimal import Decimal

import msgpack

E6 = 1_000_000


def pack(values: Mapping[int, int | str]) -> bytes:
    """Return the values packed."""
    packed: bytes = msgpack.packb(dict(values))
    return packed


def unpack(packed: bytes) -> dict[int, int | str]:
    """Return the values by channel id."""
    found: dict[int, int | str] = msgpack.unpackb(packed, strict_map_key=False)
    return found


def e6(value: Decimal) -> int:
    """Return a number in millionths."""
    return int((value * E6).to_integral_value())


def plain(value: int | str | None) -> Decimal | str | None:
    """Return what a packed value means."""
    return Decimal(value) / E6 if isinstance(value, int) else value
