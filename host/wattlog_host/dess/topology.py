"""Which plants, collectors and devices there are: asked for seldom, kept where asking fails."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from wattlog_host.dess import api, model
from wattlog_host.dess.client import Client
from wattlog_host.dess.errors import (
    Again,
    Busy,
    DessError,
    LoginFailed,
    LoginMissing,
    LoginRefused,
    Rejected,
    SessionEnded,
)
from wattlog_host.dess.model import Collector, Device, Plant

DEVICES_MAX = 100
"""Of all plants together; what comes after is passed over."""
STOPS = (Busy, LoginFailed, LoginMissing, LoginRefused, SessionEnded)
"""After these no other call has a chance."""

Asked = TypeVar("Asked")


@dataclass(frozen=True, slots=True)
class Topology:
    """What there is; is_whole where every question was answered."""

    plants: dict[str, Plant] = field(default_factory=dict)
    collectors: dict[str, Collector] = field(default_factory=dict)
    devices: dict[str, Device] = field(default_factory=dict)
    is_whole: bool = False

    def offset_s(self, device: Device) -> int | None:
        """Return the distance of the device's clock from UTC."""
        collector = self.collectors.get(device.pn)
        if collector is not None and collector.offset_s is not None:
            return collector.offset_s
        plant = self.plants.get(device.pid)
        return plant.offset_s if plant is not None else None

    def fetch_s(self, device: Device) -> int:
        """Return how often the device's record is renewed."""
        collector = self.collectors.get(device.pn)
        return collector.fetch_s if collector is not None else model.FETCH_S

    def with_device(self, device: Device) -> "Topology":
        """Return it with one device more."""
        return replace(self, devices={**self.devices, device.key: device})


def discover(client: Client, old: Topology, say: Callable[[str], None]) -> Topology:
    """Return what there is now; where a question fails, what was there stays.

    Raises DessError where nothing at all was learnt, and where going on makes no sense.
    """
    is_whole = True

    def ask(
        what: str, question: Callable[[], Asked], else_: Asked, *, is_extra: bool = False
    ) -> Asked:
        nonlocal is_whole
        try:
            return question()
        except STOPS:
            raise
        except DessError as err:
            # A cloud that does not offer an extra will not offer it in a quarter of an hour.
            is_final = isinstance(err, Rejected) and not isinstance(err, Again)
            is_whole = is_whole and is_extra and is_final
            say(f"{what}: {err}")
            return else_

    plants = {plant.pid: plant for plant in api.plants(client)}
    collectors: dict[str, Collector] = {}
    for pid in plants:
        kept = [one for one in old.collectors.values() if one.pid == pid]
        found = ask(f"collectors of plant {pid}", partial(api.collectors, client, pid), kept)
        collectors |= {one.pn: one for one in found}
    no_infos: dict[str, api.Row] = {}
    wanted = partial(api.collector_info, client, list(collectors))
    infos = ask("collectors", wanted, no_infos, is_extra=True)
    for pn, one in collectors.items():
        collectors[pn] = _informed(one, infos.get(pn), old.collectors.get(pn))
    devices: dict[str, Device] = {}
    for pn, one in collectors.items():
        there = [device for device in old.devices.values() if device.pn == pn]
        question = partial(api.devices, client, pn, one.pid)
        names = ask(f"devices of collector {pn}", question, there)
        devices |= {device.key: device for device in names}
    kept_devices = dict(list(devices.items())[:DEVICES_MAX])
    return Topology(plants, collectors, kept_devices, is_whole)


def _informed(one: Collector, info: api.Row | None, before: Collector | None) -> Collector:
    """Return the collector with what only the other call tells, or told the last time."""
    if info is None:
        return one if before is None else replace(one, fetch_s=before.fetch_s)
    told = model.collector_of({**info, "pn": one.pn}, one.pid)
    if told is None:
        return one
    offset_s = one.offset_s if one.offset_s is not None else told.offset_s
    return replace(one, fetch_s=told.fetch_s, offset_s=offset_s)
