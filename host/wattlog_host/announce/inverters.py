"""An inverter as a device of Home Assistant, and as JSON.

Its names come from a cloud: they become topics and fields only as letters, digits, _ and -.
"""

import re
from binascii import crc32

from wattlog_host.announce import topics
from wattlog_host.announce.homeassistant import Device, Entity
from wattlog_host.announce.views import packed
from wattlog_host.clock import local_iso
from wattlog_host.dess.mapping import Reading
from wattlog_host.dess.sensors import MODE_CLASSES
from wattlog_host.dess.shown import Inverter, as_json, value_of

_MODE = "operating_mode"
_CHARGE = "state_of_charge"
# A counter that begins anew is "total_increasing"; one of a lifetime may step back, and a stray 0
# must not add all of it.
_STATE_CLASSES = {"day": "total_increasing", "month": "total_increasing"}
_STATE_CLASSES |= {"year": "total_increasing", "life": "total"}


def name_of(one: Inverter) -> str:
    """Return what an inverter is called in topics."""
    name = re.sub(r"[^A-Za-z0-9_-]", "-", one.key)
    # Two that differ only in what no topic holds are still two.
    return name if name == one.key else f"{name}-{crc32(one.key.encode()):08x}"


def inverter_json(one: Inverter) -> bytes:
    """Return {"inverter", "name", "time", then each reading in its unit}; unknown is null.

    The operating mode is one of a few words; as the inverter says it, it is beside that.
    """
    known = {_field(reading): _value(reading) for reading in one.readings}
    texts = {f"{_MODE}_text": reading.text for reading in one.readings if reading.key == _MODE}
    time = None if one.time_ms is None else local_iso(one.time_ms)
    return packed({"inverter": one.key, "name": one.name, "time": time, **known, **texts})


def device_of_inverter(one: Inverter) -> Device:
    """Return an inverter with what it sends; what no table knows comes last, switched off."""
    name = name_of(one)
    about = (("mdl", f"devcode {one.devcode}"), ("sn", one.key), ("sw", one.firmware or ""))
    return Device(
        id=f"wattlog_inverter_{name}",
        name=one.name,
        state_topic=topics.inverter(name),
        availability=(topics.HOST, topics.inverter_availability(name)),
        entities=tuple(_entity(one) for one in sorted(one.readings, key=_rank)),
        about=tuple((key, value) for key, value in about if value),
    )


def _entity(reading: Reading) -> Entity:
    is_text = reading.value is None and (
        reading.text is not None or reading.device_class == "enum"
    )
    device_class, state_class = reading.device_class, reading.state_class
    options: tuple[str, ...] = ()
    if reading.key == _MODE:
        options = MODE_CLASSES
    elif is_text or reading.is_generic:
        # Words that nobody has listed, and quantities that nobody has looked at.
        device_class, state_class = None, None if is_text else state_class
    elif reading.key == _CHARGE:
        device_class = "battery"
    is_plain = not (reading.is_generic or reading.is_diagnostic)
    return Entity(
        _field(reading),
        reading.label,
        device_class,
        _STATE_CLASSES.get(reading.period, state_class),
        None if is_text else reading.unit or None,
        is_diagnostic=not is_plain,
        is_enabled=is_plain,
        options=options,
    )


def _field(reading: Reading) -> str:
    return f"other_{reading.key}" if reading.is_generic else reading.key


def _value(reading: Reading) -> float | str | None:
    return reading.text_class if reading.key == _MODE else as_json(value_of(reading))


def _rank(reading: Reading) -> tuple[bool, bool]:
    return reading.is_generic, reading.is_diagnostic
