"""Decides what is to be said next; knows no clock, no socket and no broker.

What is retained at a broker may be lost with it, so forget() says all of it again. A message
counts as told when told() was called: what could not be sent is due again.
"""

import logging
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from wattlog_host.announce import homeassistant, inverters, topics
from wattlog_host.announce.config import AnnounceSettings
from wattlog_host.announce.homeassistant import Device
from wattlog_host.announce.views import agent_json, meter_json, tasmota_json
from wattlog_host.dess.shown import Inverter
from wattlog_host.live import EdgeView, LiveView, MeterView

LOG = logging.getLogger(__name__)

TOLD_MAX = 100_000
"""Topics that are remembered; names that came once and never again would fill the memory."""
AT_ONCE_MAX = 200
"""Messages of one look, so that a fleet does not fill the queue of the broker."""


class Message(NamedTuple):
    """Something to publish; is_kept is MQTT's retain."""

    topic: str
    payload: bytes
    is_kept: bool = True


class _Shown(NamedTuple):
    """A reading as it was last said, and when."""

    time_ms: int
    messages: tuple[Message, ...]


class Announcer:
    """Knows what was said, and so what there is to say."""

    def __init__(self, settings: AnnounceSettings, version: str) -> None:
        """Have said nothing yet; version is that of the host."""
        self._settings = settings
        self._version = version
        self._told: dict[str, bytes] = {}
        self._passed_on: dict[str, bytes] = {}
        """The last of what no broker keeps: nobody is told it twice."""
        self._shown: dict[bytes, _Shown] = {}
        self._devices: dict[str, tuple[Device, tuple[Message, ...]]] = {}
        self._inverters: set[str] = set()
        self._is_puzzled = False

    def forget(self) -> None:
        """Say everything again: the broker is a new one, or has lost what it kept."""
        self._told.clear()

    def forget_devices(self) -> None:
        """Announce the devices again: Home Assistant has just started."""
        prefix = f"{self._settings.prefix}/"
        for topic in [topic for topic in self._told if topic.startswith(prefix)]:
            del self._told[topic]

    def due(self, view: LiveView, now_ms: int, solar: Sequence[Inverter] = ()) -> list[Message]:
        """Return what is to be published now, in this order; the rest is due at the next look.

        A device's availability and reading come before the message that announces it.
        """
        news = (one for one in self._all(view, now_ms, solar) if not self._is_known(one))
        return list(islice(news, AT_ONCE_MAX))

    def told(self, message: Message) -> None:
        """Note that a message was handed to the broker."""
        told = self._told if message.is_kept else self._passed_on
        if len(told) >= TOLD_MAX:
            told.clear()
            self._devices.clear()
        told[message.topic] = message.payload

    def _is_known(self, message: Message) -> bool:
        told = self._told if message.is_kept else self._passed_on
        return told.get(message.topic) == message.payload

    def _all(self, view: LiveView, now_ms: int, solar: Sequence[Inverter]) -> Iterator[Message]:
        yield Message(topics.HOST, topics.ONLINE)
        for edge in view.edges.values():
            yield from self._agent(edge)
        as_tasmota = self._tasmota_meter(view)
        for meter in view.meters.values():
            yield from self._meter(meter, view, now_ms, meter is as_tasmota)
        yield from self._solar(solar)

    def _agent(self, edge: EdgeView) -> Iterator[Message]:
        availability = topics.ONLINE if edge.state == "online" else topics.OFFLINE
        yield Message(topics.agent_availability(edge.name), availability)
        if edge.status is not None:  # else only its name is known
            yield Message(topics.agent(edge.name), agent_json(edge, edge.status))
            yield from self._announce(homeassistant.device_of_agent(edge, edge.status))

    def _meter(
        self, meter: MeterView, view: LiveView, now_ms: int, as_tasmota: bool
    ) -> Iterator[Message]:
        server_id = meter.latest.server_id
        edge = view.edges.get(meter.latest.edge)
        # A last will is faster than a reading that grows old.
        is_offline = edge is not None and edge.state == "offline"
        is_news = not meter.is_stale(now_ms) and not is_offline
        availability = topics.ONLINE if is_news else topics.OFFLINE
        yield Message(topics.meter_availability(server_id), availability)
        name = self._settings.tasmota if as_tasmota else ""
        if name:
            yield Message(topics.tasmota(name, "LWT"), availability.capitalize())
        shown = self._shown.get(server_id)
        # A clock that was set back is no reason to be silent.
        if shown is None or not 0 <= now_ms - shown.time_ms < 1000 * self._settings.every_s:
            reading = [Message(topics.meter(server_id), meter_json(meter))]
            if name and is_news:
                payload = tasmota_json(meter, self._settings.tasmota_name)
                reading.append(Message(topics.tasmota(name, "SENSOR"), payload, is_kept=False))
            shown = self._shown[server_id] = _Shown(now_ms, tuple(reading))
        yield from shown.messages
        yield from self._announce(homeassistant.device_of_meter(meter, self._settings.every_s))

    def _solar(self, solar: Sequence[Inverter]) -> Iterator[Message]:
        names = {inverters.name_of(one): one for one in solar}
        self._inverters |= set(names)
        # One that was taken out of the account is not heard of any more.
        for name in sorted(self._inverters):
            is_news = name in names and names[name].is_fresh
            availability = topics.ONLINE if is_news else topics.OFFLINE
            yield Message(topics.inverter_availability(name), availability)
        for name, one in names.items():
            yield Message(topics.inverter(name), inverters.inverter_json(one))
            if one.readings:
                yield from self._announce(inverters.device_of_inverter(one))

    def _announce(self, device: Device) -> tuple[Message, ...]:
        settings = self._settings
        if not settings.homeassistant:
            return ()
        known = self._devices.get(device.id)
        if known is None or known[0] != device:
            is_by_entity = settings.form == "entity"
            found = homeassistant.messages(
                device, settings.prefix, self._version, is_by_entity=is_by_entity
            )
            known = device, tuple(Message(topic, payload) for topic, payload in found)
            self._devices[device.id] = known
        return known[1]

    def _tasmota_meter(self, view: LiveView) -> MeterView | None:
        if not self._settings.tasmota:
            return None
        if self._settings.tasmota_meter:
            return view.meter_of(self._settings.tasmota_meter)
        if len(view.meters) == 1:
            return view.meter_of(None)
        if view.meters and not self._is_puzzled:
            self._is_puzzled = True
            LOG.warning(
                "announce.tasmota: there are %d meters; say which in announce.tasmota_meter",
                len(view.meters),
            )
        return None
