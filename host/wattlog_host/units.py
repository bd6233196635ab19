"""From the store's integers to what people and JSON read; exact until the last step."""

import json
from collections.abc import Mapping
from decimal import Decimal

from wattlog.channels import all_channels

BY_ID = {channel.id: channel for channel in all_channels()}
BY_KEY = {channel.key: channel for channel in all_channels()}

# Meters count in 0.1 Wh; with as many places kept, the digits do not dance.
KWH_PLACES_MIN = 4


def stored(values: Mapping[int, int], key: str) -> int | None:
    """Return the stored integer of a channel, None where the meter did not send it."""
    return values.get(BY_KEY[key].id)


def exact(values: Mapping[int, int], key: str) -> Decimal | None:
    """Return a channel's value in its unit."""
    number = stored(values, key)
    return None if number is None else Decimal(number).scaleb(-BY_KEY[key].decimals)


def exact_text(values: Mapping[int, int], key: str) -> str | None:
    """Return a channel's value in its unit with the digits it has and no more."""
    value = exact(values, key)
    return None if value is None else _plain(value, 0)


def kwh_text(values: Mapping[int, int], key: str) -> str | None:
    """Return an energy register in kWh, exactly."""
    value = exact(values, key)
    return None if value is None else _plain(value.scaleb(-3), KWH_PLACES_MIN)


def watts(values: Mapping[int, int], key: str) -> float | None:
    """Return a channel in its unit, as JSON's number."""
    value = exact(values, key)
    return None if value is None else float(value)


def kwh(values: Mapping[int, int], key: str) -> float | None:
    """Return an energy register in kWh as JSON's number."""
    value = exact(values, key)
    return None if value is None else float(value.scaleb(-3))


def by_key(values: Mapping[int, int]) -> dict[str, float]:
    """Return all channels that we know in their units, as JSON's numbers."""
    return {
        BY_ID[number].key: value / 10 ** BY_ID[number].decimals
        for number, value in values.items()
        if number in BY_ID
    }


def by_obis(values: Mapping[int, int]) -> str:
    """Return the channels as JSON text, OBIS code to exact decimal text."""
    texts = {}
    for number in sorted(values):
        channel = BY_ID.get(number)
        if channel is not None:
            texts[_obis_text(channel.obis)] = _plain(
                Decimal(values[number]).scaleb(-channel.decimals), 0
            )
    return json.dumps(texts, separators=(",", ":"))


def _obis_text(obis: bytes) -> str:
    a, b, c, d, e, f = obis
    return f"{a}-{b}:{c}.{d}.{e}*{f}"


def _plain(value: Decimal, places_min: int) -> str:
    whole, _, places = f"{value:f}".partition(".")
    places = places.rstrip("0").ljust(places_min, "0")
    return f"{whole}.{places}" if places else whole
