"""What Home Assistant is told of a device, so that it finds it (MQTT discovery).

One retained message a device (Home Assistant 2024.11 and later), or one for each entity. The
entities read the JSON of views.py. An energy register is of state class "total" without a reset:
it counts for life, and whatever falls is no new cycle of it; a new meter is a new device.
"""

from collections.abc import Iterable
from itertools import accumulate, islice
from typing import Any, NamedTuple

from wattlog.channels import Channel, label
from wattlog_host.announce import topics
from wattlog_host.announce.views import field_of, packed
from wattlog_host.live import EdgeView, MeterView
from wattlog_host.status import Status
from wattlog_host.units import BY_ID

EXPIRES_S = 300
"""So long after one was due a power is unknown, even if nobody could say that it is old."""


MESSAGE_BYTES_MAX = 16_000
"""Of the message of a device; the embedded broker takes no packet of 20 000."""


class Entity(NamedTuple):
    """One sensor of a device; field is its name in the JSON of the device.

    options are the words that a sensor of the class "enum" may say.
    """

    field: str
    name: str
    device_class: str | None
    state_class: str | None
    unit: str | None
    is_diagnostic: bool = False
    is_enabled: bool = True
    expires_s: int | None = None
    platform: str = "sensor"
    options: tuple[str, ...] = ()


class Device(NamedTuple):
    """What is announced together: topic of its JSON, who it is, when it can be believed.

    Where not all entities fit into a message, it is the last ones that are left out.
    """

    id: str
    name: str
    state_topic: str
    availability: tuple[str, ...]
    entities: tuple[Entity, ...]
    about: tuple[tuple[str, str], ...] = ()


# Unit of a channel: device class, state class, unit in the JSON.
_BY_UNIT = {
    "Wh": ("energy", "total", "kWh"),
    "W": ("power", "measurement", "W"),
    "V": ("voltage", "measurement", "V"),
    "A": ("current", "measurement", "A"),
    "Hz": ("frequency", "measurement", "Hz"),
    "°": (None, "measurement", "°"),
}
# Of use to few: there, but switched off until somebody wants them.
_SELDOM = ("°",)
_SELDOM_KEYS = ("power_abs_w", "power_avg_w")

AGENT_ENTITIES = (
    Entity("rssi_dbm", "Wi-Fi signal", "signal_strength", "measurement", "dBm", True),
    Entity("log_fill_percent", "Log fill", None, "measurement", "%", True),
    Entity("frames", "Frames", None, "total_increasing", None, True, False),
    Entity("frames_dropped", "Frames dropped", None, "total_increasing", None, True, False),
    Entity(
        "readings_discarded", "Readings discarded", None, "total_increasing", None, True, False
    ),
    Entity("uptime_s", "Uptime", "duration", "measurement", "s", True, False),
    Entity("heap_free_bytes", "Free heap", "data_size", "measurement", "B", True, False),
)
_OF_BOARD = ("rssi_dbm", "heap_free_bytes")
_CONNECTED = Entity(
    "connected", "Connection", "connectivity", None, None, True, True, None, "binary_sensor"
)


def device_of_meter(view: MeterView, every_s: int) -> Device:
    """Return a meter with the channels that it sends, of which one reading comes in every_s."""
    latest = view.latest
    channels = [BY_ID[number] for number in sorted(latest.values) if number in BY_ID]
    return Device(
        id=f"wattlog_{latest.server_id.hex()}",
        name=f"Meter {latest.label}",
        state_topic=topics.meter(latest.server_id),
        availability=(topics.HOST, topics.meter_availability(latest.server_id)),
        entities=tuple(_entity(channel, every_s) for channel in channels),
        about=(("sn", latest.label), ("via_device", _agent_id(latest.edge))),
    )


def device_of_agent(edge: EdgeView, status: Status) -> Device:
    """Return an agent with what it tells about itself."""
    about = (("mf", "wattlog"), ("sw", status.version), ("mdl", status.platform))
    return Device(
        id=_agent_id(edge.name),
        name=f"Agent {edge.name}",
        state_topic=topics.agent(edge.name),
        availability=(topics.HOST, topics.agent_availability(edge.name)),
        entities=(
            *(one for one in AGENT_ENTITIES if status.board or one.field not in _OF_BOARD),
            _CONNECTED,
        ),
        about=tuple((key, value) for key, value in about if value),
    )


def messages(
    device: Device, prefix: str, version: str, *, is_by_entity: bool
) -> Iterable[tuple[str, bytes]]:
    """Yield (topic, payload) of the retained messages that announce a device."""
    components = {entity.field: _component(device, entity) for entity in device.entities}
    shared = {
        "dev": {"ids": [device.id], "name": device.name, **dict(device.about)},
        "o": {"name": "wattlog", "sw": version},
        "stat_t": device.state_topic,
        **_available(device.availability),
    }
    if not is_by_entity:
        content = {**shared, "cmps": _fitting(components, MESSAGE_BYTES_MAX - len(packed(shared)))}
        yield f"{prefix}/device/{device.id}/config", packed(content)
        return
    for field, component in components.items():
        platform = component.pop("p")
        topic = f"{prefix}/{platform}/{device.id}/{field}/config"
        yield topic, packed({**shared, **component})


def _component(device: Device, entity: Entity) -> dict[str, Any]:
    found: dict[str, Any] = {
        "p": entity.platform,
        "uniq_id": f"{device.id}_{entity.field}",
        "name": entity.name,
        "dev_cla": entity.device_class,
        "stat_cla": entity.state_class,
        "unit_of_meas": entity.unit,
        "exp_aft": entity.expires_s,
        "ent_cat": "diagnostic" if entity.is_diagnostic else None,
        "en": None if entity.is_enabled else False,
        "ops": entity.options or None,
    }
    if entity.platform == "binary_sensor":
        # Whether it is connected is just what the last topic says.
        found |= {"stat_t": device.availability[-1], "pl_on": "online", "pl_off": "offline"}
        found |= _available(device.availability[:-1])
    else:
        # What is not in the JSON is unknown, and no 0.
        found["val_tpl"] = f"{{{{ value_json.{entity.field} | default(none) }}}}"
    return {key: value for key, value in found.items() if value is not None}


def _available(when: Iterable[str]) -> dict[str, Any]:
    return {"avty": [{"t": topic} for topic in when], "avty_mode": "all"}


def _fitting(components: dict[str, dict[str, Any]], room: int) -> dict[str, dict[str, Any]]:
    """Return the first ones, as many as fit into so many bytes."""
    sizes = accumulate(len(packed({field: one})) for field, one in components.items())
    count = sum(size < room for size in sizes)
    return dict(islice(components.items(), count))


def _entity(channel: Channel, every_s: int) -> Entity:
    device_class, state_class, unit = _BY_UNIT[channel.unit]
    return Entity(
        field_of(channel.key),
        label(channel),
        device_class,
        state_class,
        unit,
        is_diagnostic=channel.unit in _SELDOM,
        is_enabled=channel.unit not in _SELDOM and channel.key not in _SELDOM_KEYS,
        expires_s=None if channel.unit == "Wh" else EXPIRES_S + every_s,
    )


def _agent_id(edge: str) -> str:
    return f"wattlog_agent_{edge}"
