"""One cycle: asks what the poller plans, stores what is new, keeps what is shown.

Runs in a thread of its own; all it touches of the rest is the sink and the view.
"""

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, Protocol

from wattlog_host.dess import api, history, ledger, model
from wattlog_host.dess.client import Client
from wattlog_host.dess.devcodes import Catalogue, Devcode
from wattlog_host.dess.errors import (
    Again,
    Busy,
    DessError,
    DeviceOffline,
    Garbled,
    LoginFailed,
    LoginMissing,
    LoginRefused,
    Rejected,
    Unreachable,
)
from wattlog_host.dess.ledger import Delivery, KnownDevice, Stored
from wattlog_host.dess.mapping import Mapped, Reading, readings_of
from wattlog_host.dess.model import Collector, Device, Record
from wattlog_host.dess.parsing import Point
from wattlog_host.dess.poller import Poller
from wattlog_host.dess.topology import STOPS, Topology, discover

State = Literal["starting", "ok", "trouble", "login", "busy", "stopped"]
DOWN = (Unreachable, Garbled)
"""Where a plant and then a device get one of these, it is the cloud that is in trouble."""
WARNED_MAX = 500
DAY_MS = 86_400_000


class Sink(Protocol):
    """Where records go; raises SinkError where they could not be stored."""

    def put(self, deliveries: Sequence[Delivery]) -> Stored:
        """Store; durable on return."""

    def known(self) -> list[KnownDevice]:
        """Return every device as it was left."""

    def series(
        self, device_key: str, channel_key: str, from_ms: int, to_ms: int
    ) -> list[tuple[int, Decimal | str | None]]:
        """Return what is stored of a channel."""


class SinkError(Exception):
    """The records are not stored; they are asked for again."""


@dataclass(slots=True)
class View:
    """What the API shows; written by the worker, read by others under the lock."""

    state: State = "starting"
    trouble: str | None = None
    since_ms: int | None = None
    cycle_ms: int | None = None
    cycle_calls: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    readings: dict[str, dict[str, tuple[Reading, int]]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(slots=True)
class _Fetched:
    """A new record on its way to the ledger."""

    device: Device
    devcode: Devcode
    record: Record
    identity: str
    parameters: list[Point] = field(default_factory=list)


class Worker:
    """Client, poller and ledger as one; step() is a cycle."""

    def __init__(
        self,
        client: Client,
        poller: Poller,
        catalogue: Catalogue,
        sink: Sink,
        now_ms: Callable[[], int],
        mono_ms: Callable[[], int],
        say: Callable[[str], None],
    ) -> None:
        """Take the parts; say tells a person, once for each thing."""
        self.client = client
        self.poller = poller
        self.view = View()
        self._catalogue = catalogue
        self._sink = sink
        self._now_ms = now_ms
        self._mono_ms = mono_ms
        self._say = say
        self._warned: set[str] = set()
        self._factors: dict[tuple[str, str], Decimal] = {}
        self._has_loaded = False
        self._fetched: list[_Fetched] = []
        self._summaries: dict[str, Mapping[str, Any]] = {}

    def step(self) -> None:
        """Run one cycle to its end; no DessError leaves it."""
        self._load()
        before = self.client.counts["requests"] + self.client.counts["logins"]
        stopped_by: DessError | None = None
        try:
            self._cycle()
        except DessError as err:
            stopped_by = err
        except SinkError as err:
            stopped_by = DessError(f"not stored: {err}")
        self.poller.end(self._mono_ms(), self._now_ms(), stopped_by)
        with self.view.lock:
            after = self.client.counts["requests"] + self.client.counts["logins"]
            self.view.cycle_calls = after - before
            self.view.cycle_ms = self._now_ms()
        self._note(stopped_by)

    def _load(self) -> None:
        """Take over what the ledger knows, so that nothing is stored or shown as new twice."""
        if self._has_loaded:
            return
        topology = Topology()
        for one in self._sink.known():
            state, pn = self.poller.state(one.device), one.device.pn
            state.identity, state.record_ms = one.identity, one.record_ms
            self.view.readings[one.device.key] = dict(one.readings)
            topology = topology.with_device(one.device)
            collector = Collector(pn, "", one.device.pid, None, "", None, one.offset_s)
            topology.collectors[pn] = collector
        # Until the cloud has told what there is, what there was is asked for and shown.
        self.poller.topology = topology
        self._has_loaded = True

    def _cycle(self) -> None:
        poller, client = self.poller, self.client
        self._fetched, self._summaries = [], {}
        if poller.wants_discovery(self._mono_ms()):
            topology = discover(client, poller.topology, self._trouble)
            poller.on_discovered(topology, self._mono_ms())
            if not topology.devices:
                self._warn("no device", "the account has no devices yet; looking again later")
        is_down = False
        for pid in poller.summaries_due(self._mono_ms(), self._now_ms()):
            try:
                self._take_summary(pid, api.summary(client, pid))
            except STOPS:
                raise
            except DessError as err:
                is_down = isinstance(err, DOWN)
                self._trouble(f"plant {pid}: {err}")
        for device in poller.devices_due(self._mono_ms(), self._now_ms()):
            problem = self._ask(device)
            if is_down and isinstance(problem, DOWN):
                self._store()
                raise problem  # nothing answers well: the others would only wait for nothing, too
            is_down = is_down and problem is not None
        self._ask_parameters()
        self._store()
        self._catch_up()

    # --- asking -----------------------------------------------------------------------------

    def _take_summary(self, pid: str, rows: list[dict[str, Any]]) -> None:
        self.poller.on_summary(pid, list(rows))
        for row in rows:
            device = model.device_of(row, "", pid)
            if device is not None:
                self._summaries[device.key] = row

    def _ask(self, device: Device) -> DessError | None:
        try:
            record = api.last_data(self.client, device)
        except STOPS:
            self._store()
            raise
        except DessError as err:
            self.poller.on_device_failed(device, err, self._mono_ms())
            self._trouble(f"{device.label}: {err}")
            return err
        self.poller.on_answer(device, self._mono_ms())
        identity = _identity(record)
        if identity is not None and self.poller.is_new(device, identity):
            devcode = self._catalogue.of(device.devcode)
            self._fetched.append(_Fetched(device, devcode, record, identity))
        return None

    def _ask_parameters(self) -> None:
        wanted = {
            one.device.key: one
            for one in self._fetched
            if one.devcode.parameters
            and (one.devcode.is_known or "state_of_charge" not in self._mapped(one).readings)
        }
        for device in self.poller.parameters_due([one.device for one in wanted.values()]):
            one = wanted[device.key]
            try:
                one.parameters = api.parameters(self.client, device)
            except STOPS:
                self._store()
                raise
            except DessError as err:
                if not isinstance(err, (Unreachable, DeviceOffline)):
                    self.poller.on_parameters(device, self._mono_ms(), found=False)
                self._trouble(f"{device.label}: parameters: {err}")
                continue
            found = any(point.title in one.devcode.parameters for point in one.parameters)
            is_worth_it = found or one.devcode.is_known
            self.poller.on_parameters(device, self._mono_ms(), found=is_worth_it)

    # --- storing ----------------------------------------------------------------------------

    def _mapped(self, one: _Fetched) -> Mapped:
        summary = self._summaries.get(one.device.key)
        return readings_of(one.devcode, one.record.points, one.parameters, summary)

    def _store(self) -> None:
        """Store the new records, each in a transaction of its own, and show them."""
        fetched, self._fetched = self._fetched, []
        for one in fetched:
            now_ms, mapped = self._now_ms(), self._mapped(one)
            at_ms = self.poller.time_of(one.device, one.record, now_ms)
            delivery = Delivery(
                one.device,
                now_ms if at_ms is None else at_ms,
                now_ms,
                ledger.BY_ARRIVAL if at_ms is None else ledger.BY_DEVICE,
                tuple(mapped.readings.values()),
                one.identity,
                self.poller.topology.offset_s(one.device),
            )
            stored = self._sink.put([delivery])
            self.poller.on_record(
                one.device,
                one.identity,
                delivery.time_ms,
                by_device=at_ms is not None,
                mono_ms=self._mono_ms(),
            )
            self._show(one, mapped, delivery, stored)

    def _show(self, one: _Fetched, mapped: Mapped, delivery: Delivery, stored: Stored) -> None:
        with self.view.lock:
            shown = self.view.readings.setdefault(one.device.key, {})
            for key, reading in mapped.readings.items():
                shown[key] = (reading, delivery.time_ms)
            self.view.counts.update(mapped.counts)
            self.view.counts.update(stored.counts)
            if delivery.origin == ledger.BY_ARRIVAL:
                self.view.counts["time not believed"] += 1
        if not one.devcode.is_known:
            self._warn(
                f"devcode {one.device.devcode}",
                f"{one.device.label}: devcode {one.device.devcode} is not known yet; its readings "
                "are shown by their own titles (`wattlog-host dess analyze` makes a file for it)",
            )
        mode = mapped.readings.get("operating_mode")
        if mode is not None and mode.text is not None and mode.text_class == "unknown":
            self._warn(
                f"mode {one.device.devcode} {mode.text}",
                f"{one.device.label}: operating mode {mode.text!r} is not known yet",
            )

    # --- what was missed --------------------------------------------------------------------

    def _catch_up(self) -> None:
        """Ask for one missed day of one device; the rest in the next cycles."""
        for device in self.poller.topology.devices.values():
            date = self.poller.history_due(device, self._now_ms())
            if date is not None:
                self._catch_up_day(device, date)
                return

    def _catch_up_day(self, device: Device, date: str) -> None:
        offset_s = self.poller.topology.offset_s(device)
        assert offset_s is not None, "without a zone no day is due"
        state, devcode = self.poller.state(device), self._catalogue.of(device.devcode)
        from_ms, to_ms = state.gaps[0]
        problem: DessError | None = None
        records: list[Record] = []
        try:
            if not state.wants_series:
                records = api.records_of_day(self.client, device, date)
        except STOPS:
            raise
        except DessError as err:
            problem = err
        found = history.of_records(device, devcode, records, offset_s, self._now_ms())
        if not records:
            found = self._series_of_day(device, date, offset_s)
            state.wants_series = bool(found)
        found = [one for one in found if from_ms <= one.time_ms <= to_ms]
        if found:
            stored = self._sink.put(found)
            with self.view.lock:
                self.view.counts["history records"] += stored.counts["records"]
        is_final = isinstance(problem, Rejected) and not isinstance(
            problem, (Again, DeviceOffline)
        )
        if not self.poller.on_history(
            device, date, done=bool(found) or problem is None, none=is_final and not found
        ):
            self._say(f"{device.label}: what was missed on {date} is not to be had: {problem}")

    def _series_of_day(self, device: Device, date: str, offset_s: int) -> list[Delivery]:
        """Return what the cloud's own series have, as far as their units can be proven."""
        start_ms = model.utc_ms(f"{date} 00:00:00", offset_s) or 0
        series: dict[str, list[history.Sample]] = {}
        for parameter, sensor_id in history.SERIES:
            with self.view.lock:
                is_there = sensor_id in self.view.readings.get(device.key, {})
            if not is_there:
                continue
            try:
                rows = api.series_of_day(self.client, device, parameter, date)
            except STOPS:
                raise
            except DessError:
                continue
            samples = history.of_series(rows, offset_s, self._now_ms())
            known = self._sink.series(device.key, sensor_id, start_ms, start_ms + DAY_MS)
            name = (device.key, parameter)
            factor = history.factor_of(parameter, samples, known) or self._factors.get(name)
            if factor is None:
                with self.view.lock:
                    self.view.counts["history without a unit"] += 1
                continue
            self._factors[name] = factor
            series[sensor_id] = [(at_ms, value * factor) for at_ms, value in samples]
        return history.of_all_series(device, series, self._now_ms())

    # --- what is said -----------------------------------------------------------------------

    def _note(self, err: DessError | None) -> None:
        """Tell how the cycle ended, when that is news."""
        state: State = "ok"
        if isinstance(err, (LoginFailed, LoginRefused, LoginMissing)):
            state = "login"
        elif err is not None:
            state = "busy" if isinstance(err, Busy) else "trouble"
        text = None if err is None else self.client.hide(str(err))
        with self.view.lock:
            was, was_text = self.view.state, self.view.trouble
            self.view.state, self.view.trouble = state, text
            if (state, text) != (was, was_text):
                self.view.since_ms = self._now_ms()
            if err is not None:
                self.view.counts[f"cycle {err.reason}"] += 1
        if text is not None and (state, text) != (was, was_text):
            self._say(f"solar: {text}")
        elif text is None and was not in ("ok", "starting"):
            self._say("solar: the cloud answers again")

    def _trouble(self, text: str) -> None:
        """Count what concerns a part only; it is shown beside that part."""
        with self.view.lock:
            self.view.counts["part failed"] += 1
        self._warn(f"part {text}", f"solar: {self.client.hide(text)}")

    def _warn(self, key: str, text: str) -> None:
        """Say it the first time only."""
        if key in self._warned or len(self._warned) >= WARNED_MAX:
            return
        self._warned.add(key)
        self._say(text)


def _identity(record: Record) -> str | None:
    """Return what tells a record from the next: its time, else its name, else what it holds."""
    if not record.points:
        return None
    if record.local_time is not None:
        return f"t {record.local_time}"
    if record.id is not None:
        return f"i {record.id}"
    text = repr([(point.title, point.value) for point in record.points])
    return "h " + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]
