"""What to ask the cloud next, and when: a state machine without a clock, a wait or a call.

Everything is decided from what worker.py tells: monotonic time for when, wall time for how old.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from wattlog_host.dess import model
from wattlog_host.dess.errors import MOVED_CODES, Busy, DessError
from wattlog_host.dess.model import Device, Record
from wattlog_host.dess.parsing import integer
from wattlog_host.dess.topology import DEVICES_MAX, Topology

DISCOVER_MS = 12 * 3_600_000
DISCOVER_SOON_MS = 900_000
PAUSE_MS_MAX = 3_600_000
BUSY_MS_MIN = 60_000
DEVICE_PAUSE_MS_MAX = 1_800_000
SLACK_MS = 20_000
"""From the device's time to its record in the cloud."""
JITTER_MS_MAX = 20_000
AHEAD_MS_MAX = 120_000
"""A device's clock further ahead than this is not believed."""
FRESH_RECORDS = 3
AWAY_MS = 1_800_000
GAP_RECORDS = 2.5
HISTORY_DAYS_MAX = 7
HISTORY_TRIES_MAX = 3
PARAMETERS_SHARE = 3
"""A cycle asks one device in three for its parameters, the others' turn comes next."""


@dataclass(slots=True)
class DeviceState:
    """What is known of one device's records; times in ms, mono from a clock that never steps."""

    identity: str | None = None
    record_ms: int | None = None
    origin_is_device: bool = True
    changed_mono_ms: int | None = None
    asked_mono_ms: int | None = None
    parameters_mono_ms: int | None = None
    has_parameters: bool | None = None
    status: int | None = None
    failures: int = 0
    not_before_mono_ms: int = 0
    trouble: str | None = None
    history_tries: int = 0
    has_history: bool = True
    wants_series: bool = False
    gaps: list[tuple[int, int]] = field(default_factory=list)


class Poller:
    """Plans cycles; interval_ms is between two, chance() is 0 to 1."""

    def __init__(self, interval_ms: int, chance: Callable[[], float]) -> None:
        """Begin with nothing known; the first cycle is due at once."""
        self.interval_ms = interval_ms
        self.topology = Topology()
        self.states: dict[str, DeviceState] = {}
        self.due_mono_ms: int | None = None
        self._chance = chance
        self._discover_mono_ms: int | None = None
        self._busy_count = 0
        self._strangers: set[str] = set()

    # --- planning ---------------------------------------------------------------------------

    def is_due(self, mono_ms: int) -> bool:
        """Tell whether a cycle is to begin."""
        return self.due_mono_ms is None or mono_ms >= self.due_mono_ms

    def wants_discovery(self, mono_ms: int) -> bool:
        """Tell whether plants, collectors and devices are to be asked for."""
        return self._discover_mono_ms is None or mono_ms >= self._discover_mono_ms

    def summaries_due(self, mono_ms: int, now_ms: int) -> list[str]:
        """Return the plants to ask about: where a record may have come, or a device come back."""
        wanted = {
            device.pid
            for device in self.topology.devices.values()
            if model.is_away(self.state(device).status)
            or self._is_worth_asking(device, mono_ms, now_ms)
        }
        # One without devices may get some.
        empty = self.topology.plants.keys() - {
            device.pid for device in self.topology.devices.values()
        }
        return [pid for pid in self.topology.plants if pid in wanted or pid in empty]

    def devices_due(self, mono_ms: int, now_ms: int) -> list[Device]:
        """Return the devices that are worth asking now; who failed last comes last."""
        devices = self.topology.devices.values()
        due = [one for one in devices if self._is_worth_asking(one, mono_ms, now_ms)]
        return sorted(due, key=lambda device: self.state(device).failures)

    def parameters_due(self, candidates: list[Device]) -> list[Device]:
        """Return which of the devices with a new record have their turn for parameters."""
        wanted = [one for one in candidates if self.state(one).has_parameters is not False]
        wanted.sort(key=lambda device: self.state(device).parameters_mono_ms or 0)
        return wanted[: -(-len(self.topology.devices) // PARAMETERS_SHARE)]

    def history_due(self, device: Device, now_ms: int) -> str | None:
        """Return the local date whose records are missing and may be had, oldest first."""
        state, offset_s = self.state(device), self.topology.offset_s(device)
        if offset_s is None or not state.has_history:
            state.gaps.clear()
        while state.gaps and offset_s is not None:
            from_ms, to_ms = state.gaps[0]
            first_ms = max(from_ms, now_ms - HISTORY_DAYS_MAX * 86_400_000)
            if first_ms < to_ms:
                state.gaps[0] = (first_ms, to_ms)
                return model.local_date(first_ms, offset_s)
            state.gaps.pop(0)
        return None

    # --- what became of it ------------------------------------------------------------------

    def state(self, device: Device) -> DeviceState:
        """Return the device's state."""
        return self.states.setdefault(device.key, DeviceState())

    def on_discovered(self, topology: Topology, mono_ms: int) -> None:
        """Take what there is; where it is incomplete or nothing, ask again sooner."""
        self.topology = topology
        for state in list(self.states.values()):
            state.has_parameters = None  # an update of its firmware may have brought some
        is_done = topology.is_whole and topology.devices
        self._discover_mono_ms = mono_ms + (DISCOVER_MS if is_done else DISCOVER_SOON_MS)

    def on_summary(self, pid: str, rows: list[Mapping[str, Any]]) -> None:
        """Take the devices' statuses; one that is not known yet joins at once."""
        for row in rows:
            device = model.device_of(row, "", pid)
            if device is None:
                continue
            if device.key not in self.topology.devices:
                if len(self.topology.devices) >= DEVICES_MAX:
                    continue
                self.topology = self.topology.with_device(device)
                if device.key not in self._strangers:
                    # Once: a device that only the summary knows is no reason to ask for ever.
                    self._strangers.add(device.key)
                    self._discover_mono_ms = None
            self.state(device).status = integer(row.get("status"))

    def is_new(self, device: Device, identity: str) -> bool:
        """Tell whether a record is another than the last one."""
        return identity != self.state(device).identity

    def on_record(
        self, device: Device, identity: str, record_ms: int, *, by_device: bool, mono_ms: int
    ) -> None:
        """Note a new record that is stored; what lies between it and the last is a gap."""
        state = self.state(device)
        step_ms = max(1000 * self.topology.fetch_s(device), self.interval_ms)
        last_ms = state.record_ms
        if last_ms is not None and by_device and record_ms - last_ms > GAP_RECORDS * step_ms:
            state.gaps.append((last_ms + 1, record_ms))
            state.history_tries = 0
        state.identity, state.record_ms = identity, record_ms
        state.origin_is_device, state.changed_mono_ms = by_device, mono_ms

    def on_answer(self, device: Device, mono_ms: int) -> None:
        """Note that the device's data came, new or not."""
        state = self.state(device)
        state.failures, state.not_before_mono_ms, state.trouble = 0, 0, None
        state.asked_mono_ms = mono_ms

    def on_parameters(self, device: Device, mono_ms: int, *, found: bool) -> None:
        """Note that the parameters came, with something for us in them or not."""
        state = self.state(device)
        state.has_parameters, state.parameters_mono_ms = found, mono_ms

    def on_device_failed(self, device: Device, err: DessError, mono_ms: int) -> None:
        """Note that the device could not be read; after the third time it is asked less often."""
        state = self.state(device)
        state.failures += 1
        state.trouble = str(err)
        state.asked_mono_ms = mono_ms
        if state.failures > 2:
            pause_ms = self.interval_ms * 2 ** min(state.failures - 2, 10)
            state.not_before_mono_ms = mono_ms + min(pause_ms, DEVICE_PAUSE_MS_MAX)
        if err.code in MOVED_CODES:
            soon_ms = mono_ms + DISCOVER_SOON_MS
            self._discover_mono_ms = min(self._discover_mono_ms or soon_ms, soon_ms)

    def on_history(self, device: Device, date: str, *, done: bool, none: bool = False) -> bool:
        """Note what asking for a day brought; return False where it is given up.

        none says that the cloud has no such records of this device at all.
        """
        state, offset_s = self.state(device), self.topology.offset_s(device)
        if none:
            state.has_history = False
            state.gaps.clear()
            return False
        state.history_tries += 1
        is_over = done or state.history_tries >= HISTORY_TRIES_MAX
        if is_over and state.gaps and offset_s is not None:
            state.history_tries = 0
            from_ms, to_ms = state.gaps.pop(0)
            next_ms = (model.utc_ms(f"{date} 23:59:59", offset_s) or to_ms) + 1000
            if next_ms < to_ms:
                state.gaps.insert(0, (max(from_ms, next_ms), to_ms))
        return done or not is_over

    def end(self, mono_ms: int, now_ms: int, stopped_by: DessError | None = None) -> None:
        """Say when the next cycle begins, now that this one has ended."""
        jitter_ms = int(self._chance() * min(JITTER_MS_MAX, self.interval_ms // 10))
        if isinstance(stopped_by, Busy):
            self._busy_count += 1
            asked_ms = int(1000 * (stopped_by.retry_after_s or 0))
            own_ms = max(self.interval_ms, BUSY_MS_MIN) * 2 ** min(self._busy_count - 1, 10)
            pause_ms = max(asked_ms, min(own_ms, PAUSE_MS_MAX))
            self.due_mono_ms = mono_ms + pause_ms + jitter_ms
            return
        self._busy_count = 0
        self.due_mono_ms = mono_ms + self._aligned_ms(now_ms) + jitter_ms

    # --- ages -------------------------------------------------------------------------------

    def time_of(self, device: Device, record: Record, now_ms: int) -> int | None:
        """Return when a record was made, None where its time says nothing that can be believed."""
        at_ms = model.utc_ms(record.local_time, self.topology.offset_s(device))
        return at_ms if at_ms is not None and at_ms <= now_ms + AHEAD_MS_MAX else None

    def is_stale(self, device: Device, mono_ms: int, now_ms: int) -> bool:
        """Tell whether what is shown of a device is older than it should be."""
        state = self.state(device)
        if state.record_ms is None:
            return True
        limit_ms = FRESH_RECORDS * max(1000 * self.topology.fetch_s(device), self.interval_ms)
        if state.origin_is_device:
            return now_ms - state.record_ms > limit_ms
        changed_ms = state.changed_mono_ms
        return changed_ms is None or mono_ms - changed_ms > limit_ms

    def is_connected(self, device: Device, mono_ms: int, now_ms: int) -> bool:
        """Tell whether the cloud calls it present and its data agree."""
        state = self.state(device)
        return not model.is_away(state.status) and not self.is_stale(device, mono_ms, now_ms)

    def _is_worth_asking(self, device: Device, mono_ms: int, now_ms: int) -> bool:
        state = self.state(device)
        if mono_ms < state.not_before_mono_ms:
            return False
        asked_ms, changed_ms = state.asked_mono_ms, state.changed_mono_ms
        if state.record_ms is None or asked_ms is None or state.failures:
            return True
        # Not asked in vain: it is away, or its next record cannot be there yet.
        if model.is_away(state.status) and self.is_stale(device, mono_ms, now_ms):
            return mono_ms - asked_ms >= min(AWAY_MS, 6 * self.interval_ms)
        fetch_ms = 1000 * self.topology.fetch_s(device)
        if state.origin_is_device and now_ms >= state.record_ms:
            return now_ms >= state.record_ms + fetch_ms
        return changed_ms is None or mono_ms >= changed_ms + fetch_ms

    def _aligned_ms(self, now_ms: int) -> int:
        """Return the interval, moved so that it ends when the next records have just come."""
        newest_ms, fetch_ms = None, 0
        for device in self.topology.devices.values():
            state = self.state(device)
            at_ms = state.record_ms if state.origin_is_device else None
            if at_ms is not None and (newest_ms is None or at_ms > newest_ms):
                newest_ms, fetch_ms = at_ms, 1000 * self.topology.fetch_s(device)
        if newest_ms is None or fetch_ms > self.interval_ms:
            return self.interval_ms
        late_ms = now_ms + self.interval_ms - newest_ms - SLACK_MS
        moved_ms = self.interval_ms - late_ms + round(late_ms / fetch_ms) * fetch_ms
        # A clock that stepped is no reason to ask at once, or never.
        is_near = self.interval_ms // 2 <= moved_ms <= 2 * self.interval_ms
        return moved_ms if is_near else self.interval_ms
