"""What pages and API show of solar, as JSON: the poller's state, its devices, their readings."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa

from wattlog_host.clock import local_iso
from wattlog_host.dess import ledger, model
from wattlog_host.dess.controls import Audit
from wattlog_host.dess.counters import Counter
from wattlog_host.dess.mapping import Reading
from wattlog_host.dess.model import Device
from wattlog_host.dess.powers import powers_of
from wattlog_host.dess.shown import Inverter, Standing, as_json, value_of
from wattlog_host.dess.worker import Worker

T = TypeVar("T")

READING_MS_MAX = 3_600_000
"""A reading that did not come for so long is not one of now, though others of its device came."""


class Refused(Exception):
    """A request that gets an error; status and what to say."""

    def __init__(self, status: int, text: str) -> None:
        """Take the HTTP status and one line."""
        super().__init__(text)
        self.status = status


class Readers(Protocol):
    """The store's readers."""

    def consult(self, act: Callable[[sa.Connection], T]) -> Future[T]:
        """Have act read."""


@dataclass(frozen=True, slots=True)
class Panel:
    """What the routes work with."""

    worker: Worker
    store: Readers
    audit: Audit
    writable: frozenset[str]
    write_token_file: Path | None
    wait_s: Callable[[float], None]
    now_ms: Callable[[], int]
    mono_ms: Callable[[], int]

    async def ask(self, question: Callable[[sa.Connection], T]) -> T:
        """Return what a question finds in the ledger; raise StoreError."""
        return await asyncio.wrap_future(self.store.consult(question))

    def known(self) -> Mapping[str, Device]:
        """Return the devices by key."""
        return self.worker.poller.topology.devices

    def device(self, key: str | None) -> Device:
        """Return the device of this key, or the only one; raise Refused."""
        devices = self.known()
        if key is None and len(devices) == 1:
            return next(iter(devices.values()))
        if key is None or key not in devices:
            raise Refused(404, "unknown device; /api/solar/devices lists them")
        return devices[key]

    def readings(self, device: Device) -> dict[str, tuple[Reading, int]]:
        """Return the latest readings, each with its time, by channel."""
        with self.worker.view.lock:
            return dict(self.worker.view.readings.get(device.key, {}))

    def is_stale(self, device: Device) -> bool:
        """Tell whether what is shown of a device is older than it should be."""
        return self.worker.poller.is_stale(device, self.mono_ms(), self.now_ms())

    def inverters(self) -> list[Inverter]:
        """Return every device with its readings of now; of a counter, the last one."""
        return [self._inverter(device) for device in list(self.known().values())]

    def _inverter(self, device: Device) -> Inverter:
        poller, since_ms = self.worker.poller, self.now_ms() - READING_MS_MAX
        collector = poller.topology.collectors.get(device.pn)
        readings = (
            reading
            if time_ms >= since_ms or reading.period
            else replace(reading, value=None, text=None, text_class=None)
            for reading, time_ms in self.readings(device).values()
        )
        return Inverter(
            device.key,
            device.label,
            device.devcode,
            collector.firmware or None if collector else None,
            poller.state(device).record_ms,
            not self.is_stale(device),
            tuple(readings),
        )

    def standing(self) -> Standing:
        """Return what alerts look at."""
        view = self.worker.view
        with view.lock:
            state, trouble, since_ms = view.state, view.trouble, view.since_ms
        return Standing(state, trouble, since_ms, self.inverters())

    def status(self) -> dict[str, Any]:
        """Return whether the cloud answers, and if not, what to do."""
        view, poller, now_ms = self.worker.view, self.worker.poller, self.now_ms()
        with view.lock:
            counts = dict(view.counts)
            state, trouble, since_ms = view.state, view.trouble, view.since_ms
            cycle_ms, calls = view.cycle_ms, view.cycle_calls
        due_ms = poller.due_mono_ms
        return {
            "state": state,
            "trouble": trouble,
            "since": _iso(since_ms),
            "last_cycle": _iso(cycle_ms),
            "last_cycle_calls": calls,
            "next_cycle_in_s": None if due_ms is None else max(0, due_ms - self.mono_ms()) / 1000,
            "plants": [
                {"pid": plant.pid, "name": plant.name, "status": model.status_word(plant.status)}
                for plant in poller.topology.plants.values()
            ],
            "devices": len(poller.topology.devices),
            "counts": counts,
            "client_counts": dict(self.worker.client.counts),
            "time": local_iso(now_ms),
        }

    def describe(self, device: Device) -> dict[str, Any]:
        """Return one device: whether it is there, its mode, powers and battery."""
        poller, now_ms, mono_ms = self.worker.poller, self.now_ms(), self.mono_ms()
        state = poller.state(device)
        collector = poller.topology.collectors.get(device.pn)
        readings = {key: reading for key, (reading, _) in self.readings(device).items()}
        powers = powers_of(readings)
        mode = readings.get("operating_mode")
        return {
            "device": device.key,
            "name": device.label,
            "alias": device.alias or None,
            "plant": device.pid,
            "collector": device.pn,
            "devcode": device.devcode,
            "firmware": collector.firmware or None if collector else None,
            "signal": collector.signal if collector else None,
            "status": model.status_word(state.status),
            "connected": poller.is_connected(device, mono_ms, now_ms),
            "stale": self.is_stale(device),
            "record_time": _iso(state.record_ms),
            "age_s": None if state.record_ms is None else (now_ms - state.record_ms) / 1000,
            "time_source": "device" if state.origin_is_device else "arrival",
            "trouble": state.trouble,
            "mode": mode.text if mode else None,
            "mode_class": mode.text_class if mode else None,
            "power_w": {
                "solar": as_json(powers.solar),
                "load": as_json(powers.load),
                "grid": as_json(powers.grid),
                "battery": as_json(powers.battery),
            },
            "battery": {
                "direction": powers.direction,
                "soc_percent": as_json(powers.state_of_charge),
            },
        }

    async def latest(self, device: Device) -> dict[str, Any]:
        """Return one device with all of its readings, those for diagnosis as well."""
        totals = await self.ask(lambda connection: ledger.totals(connection, device.key))
        now_ms = self.now_ms()
        return {
            **self.describe(device),
            "readings": [
                _reading_json(reading, time_ms, totals.get(reading.key), now_ms)
                for reading, time_ms in self.readings(device).values()
            ],
        }


def _reading_json(
    reading: Reading, time_ms: int, total: Counter | None, now_ms: int
) -> dict[str, Any]:
    out: dict[str, Any] = {
        "channel": reading.key,
        "label": reading.label,
        "value": as_json(value_of(reading)),
        "unit": reading.unit or None,
        "class": reading.text_class,
        "device_class": reading.device_class,
        "state_class": reading.state_class,
        "diagnostic": reading.is_diagnostic,
        "generic": reading.is_generic,
        "time": local_iso(time_ms),
        "age_s": (now_ms - time_ms) / 1000,
    }
    if total is not None:
        out["total"], out["resets"] = as_json(total.total), total.resets
    return out


def _iso(time_ms: int | None) -> str | None:
    return None if time_ms is None else local_iso(time_ms)
