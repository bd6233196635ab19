"""What is true right now, per agent and meter: the one view that page, /status and events show.

In memory only; at start it is filled from the store, afterwards by what was committed and by
the agents' status messages. Absent is None all the way to the page, never 0.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from wattlog.sml import server_id_text
from wattlog_host.clock import local_iso, local_text
from wattlog_host.ingest import CLOCK_AHEAD_MS_MAX
from wattlog_host.store.records import Event, Latest
from wattlog_host.units import exact_text, kwh_text, stored
from wattlog_host.wire import Batch, MeterStatus, Status

EDGES_MAX = 1_000
METERS_MAX = 1_000
EVENTS_SHOWN = 50
STALE_AFTER_MS_MIN = 15_000
INTERVAL_MS_MAX = 60_000
INTERVALS_STALE = 3

EventText = tuple[str, str]
"""(kind, text) of something worth telling."""


@dataclass(slots=True)
class EdgeView:
    """One agent, as far as it is known; status is its last full one."""

    name: str
    state: str = "unknown"
    boot: int | None = None
    status: Status | None = None
    status_ms: int | None = None
    batch_ms: int | None = None
    is_ahead: bool = False
    """Whether its clock was last seen too far ahead of ours to be believed."""

    def heard_ms(self) -> int:
        """Return when it was last heard; 0 before that."""
        return max(self.status_ms or 0, self.batch_ms or 0)


@dataclass(slots=True)
class MeterView:
    """One meter: its newest reading, when it came, and how often they come."""

    latest: Latest
    arrived_ms: int
    interval_ms: int | None = None

    def age_ms(self, now_ms: int) -> int:
        """Return how old the newest reading is; a clock that runs ahead cannot hide it."""
        return max(0, now_ms - min(self.latest.time_ms, self.arrived_ms))

    def stale_after_ms(self) -> int:
        """Return the age from which on the reading is no longer news."""
        return max(STALE_AFTER_MS_MIN, INTERVALS_STALE * (self.interval_ms or 0))


@dataclass(slots=True)
class HostView:
    """The host itself; a trouble is one line, None is fine."""

    version: str
    started_ms: int
    broker_trouble: str | None = "not connected yet"
    store_trouble: str | None = None
    database_bytes: int = 0


@dataclass(slots=True)
class LiveView:
    """Everything the page shows."""

    host: HostView
    counters: Mapping[tuple[str, str], int]
    edges: dict[str, EdgeView] = field(default_factory=dict)
    meters: dict[bytes, MeterView] = field(default_factory=dict)
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=EVENTS_SHOWN))
    dropped: Counter[str] = field(default_factory=Counter)
    changes: int = 0

    def on_latest(self, found: Iterable[Latest], now_ms: int) -> None:
        """Take the meters' newest readings, as the store has them."""
        for latest in found:
            view = self.meters.get(latest.server_id)
            if view is None:
                if len(self.meters) < METERS_MAX:
                    arrived_ms = max(now_ms, latest.time_ms)
                    self.meters[latest.server_id] = MeterView(latest, arrived_ms)
            elif latest != view.latest:
                view.interval_ms = min(now_ms - view.arrived_ms, INTERVAL_MS_MAX)
                view.latest, view.arrived_ms = latest, now_ms
        self.changes += 1

    def on_batch(
        self, batch: Batch, received_ms: int, ahead_ms: int | None = None
    ) -> list[EventText]:
        """Note that an agent's batch was committed; return what is worth telling about it.

        ahead_ms is how far its clock is ahead of ours, None where the batch does not show it.
        """
        edge = self._edge(batch.edge)
        edge.batch_ms = received_ms
        if edge.boot is None:
            edge.boot = batch.boot
        # A last will may come late, from a connection that the agent has long replaced.
        late_will = edge.state == "offline" and received_ms > (edge.status_ms or 0)
        if late_will and edge.boot == batch.boot:
            edge.state = "online"
        self.changes += 1
        if ahead_ms is None:
            return []
        was_ahead, edge.is_ahead = edge.is_ahead, ahead_ms > CLOCK_AHEAD_MS_MAX
        if was_ahead or not edge.is_ahead:
            return []
        # Which of the two is wrong we cannot know: if all agents are ahead, it is our clock.
        text = f"the clock of agent {edge.name} is {ahead_ms // 1000} s ahead of this host's"
        return [("clock", f"{text}; its readings get the time of their arrival")]

    def on_status(self, status: Status, now_ms: int) -> list[EventText]:
        """Take an agent's status; return what is worth telling about the change."""
        if status.state == "claim":
            return []  # of one that may not get the name
        edge = self._edge(status.edge)
        if status.state == "offline":
            if None not in (edge.boot, status.boot) and edge.boot != status.boot:
                return []
            told = edge.state == "online"
            edge.state, edge.status_ms = "offline", now_ms
            edge.boot = status.boot if status.boot is not None else edge.boot
            self.changes += 1
            return [("agent", f"agent {edge.name} offline")] if told else []
        told_texts = _changes(edge, status)
        edge.state, edge.boot, edge.status, edge.status_ms = "online", status.boot, status, now_ms
        self.changes += 1
        return told_texts

    def meter_of(self, name: str | None) -> MeterView | None:
        """Return the meter of this hex server id or label; without a name the newest one."""
        if name is None:
            return max(self.meters.values(), key=lambda view: view.latest.time_ms, default=None)
        wanted = name.lower()
        for server_id, view in self.meters.items():
            if wanted in (server_id.hex(), view.latest.label.lower()):
                return view
        return None

    def snapshot(self, now_ms: int) -> dict[str, Any]:
        """Return all of it as plain data, for JSON and for the page."""
        ports = {
            port.server_id: (edge, port)
            for edge in self.edges.values()
            if edge.status is not None
            for port in edge.status.meters
            if port.server_id is not None
        }
        meters = sorted(self.meters.values(), key=lambda view: view.latest.label)
        return {
            "now": local_iso(now_ms),
            "host": self._host(now_ms),
            "counters": self._counters(),
            "meters": [_meter(view, ports.get(view.latest.server_id), now_ms) for view in meters],
            "agents": [_agent(self.edges[name], now_ms) for name in sorted(self.edges)],
            "events": [
                {
                    "time": local_iso(event.time_ms),
                    "time_text": local_text(event.time_ms, now_ms),
                    "kind": event.kind,
                    "agent": event.edge,
                    "text": event.text,
                }
                for event in self.events
            ],
        }

    def _edge(self, name: str) -> EdgeView:
        if name not in self.edges:
            if len(self.edges) >= EDGES_MAX:
                self.dropped["too many agents"] += 1
                # Whoever still sends is never the one: names that came once cannot crowd it out.
                silent = min(
                    self.edges.values(), key=lambda one: (one.state == "online", one.heard_ms())
                )
                del self.edges[silent.name]
            self.edges[name] = EdgeView(name)
        return self.edges[name]

    def _host(self, now_ms: int) -> dict[str, Any]:
        host = self.host
        return {
            "version": host.version,
            "started": local_iso(host.started_ms),
            "uptime_s": max(0, now_ms - host.started_ms) // 1000,
            "database_bytes": host.database_bytes,
            "broker": {"connected": host.broker_trouble is None, "trouble": host.broker_trouble},
            "store": {"ok": host.store_trouble is None, "trouble": host.store_trouble},
        }

    def _counters(self) -> dict[str, Any]:
        by_reason: dict[str, dict[str, int]] = {"dead_letters": {}, "rejected": {}}
        totals = Counter[str]()
        for (name, reason), count in sorted(self.counters.items()):
            if name in by_reason:
                by_reason[name][reason] = count
            else:
                totals[name] += count
        names = ("batches", "readings", "duplicates")
        return {
            **{name: totals[name] for name in names},
            **by_reason,
            "dropped": dict(sorted(self.dropped.items())),
        }


def _changes(edge: EdgeView, status: Status) -> list[EventText]:
    """Return what a person wants to know about an agent's new status against the last one."""
    name, told = edge.name, []
    if edge.boot is not None and edge.boot != status.boot:
        told.append(("agent", f"agent {name} restarted"))
    elif edge.state != "online":
        told.append(("agent", f"agent {name} online"))
    before = {port.port: port.trouble for port in edge.status.meters} if edge.status else {}
    for port in status.meters:
        trouble_before = before.get(port.port)
        if port.trouble is not None and port.trouble != trouble_before:
            told.append(("port", f"agent {name}: {port.port}: {port.trouble}"))
        elif port.trouble is None and trouble_before is not None:
            told.append(("port", f"agent {name}: {port.port} works again"))
    return told


def _agent(edge: EdgeView, now_ms: int) -> dict[str, Any]:
    status = edge.status
    log = dict(status.log) if status else {}
    fill = None
    if "bytes" in log and log.get("bytes_max"):
        fill = round(100 * log["bytes"] / log["bytes_max"], 1)
    return {
        "id": edge.name,
        "state": edge.state,
        "boot": None if edge.boot is None else f"{edge.boot:08x}",
        "version": status.version if status else None,
        "platform": status.platform if status else None,
        "uptime_s": None
        if status is None or status.uptime_ms is None
        else status.uptime_ms // 1000,
        "status_age_s": _age_s(edge.status_ms, now_ms),
        "batch_age_s": _age_s(edge.batch_ms, now_ms),
        "log": {**log, "fill_percent": fill},
        "link": dict(status.link) if status else {},
        "ports": [_port(port) for port in status.meters] if status else [],
    }


def _age_s(then_ms: int | None, now_ms: int) -> float | None:
    return None if then_ms is None else max(0, now_ms - then_ms) / 1000


def _port(port: MeterStatus) -> dict[str, Any]:
    return {
        "port": port.port,
        "state": port.state,
        "trouble": port.trouble,
        "hint": port.hint,
        "meter": None if port.server_id is None else server_id_text(port.server_id),
        "frames": port.frames,
        "drops": _by_name(port.drops),
        "quarantine": _by_name(port.quarantine),
        "bytes": port.bytes,
        "frame_age_s": None if port.frame_age_ms is None else port.frame_age_ms / 1000,
        "full_dataset": port.full_dataset,
    }


def _by_name(counts: Mapping[str, int] | None) -> dict[str, int] | None:
    return None if counts is None else dict(sorted(counts.items()))


_PHASES = (
    ("L1", ("power_l1_w", "voltage_l1_v", "current_l1_a")),
    ("L2", ("power_l2_w", "voltage_l2_v", "current_l2_a")),
    ("L3", ("power_l3_w", "voltage_l3_v", "current_l3_a")),
)


def _meter(
    view: MeterView, told: tuple[EdgeView, MeterStatus] | None, now_ms: int
) -> dict[str, Any]:
    latest, age_ms = view.latest, view.age_ms(now_ms)
    power = stored(latest.values, "power_w")
    phases = []
    for name, keys in _PHASES:
        texts = [exact_text(latest.values, key) for key in keys]
        if any(text is not None for text in texts):
            phases.append(
                {"name": name, "power_w": texts[0], "voltage_v": texts[1], "current_a": texts[2]}
            )
    return {
        "id": latest.label,
        "server_id": latest.server_id.hex(),
        "agent": latest.edge,
        "time": local_iso(latest.time_ms),
        "time_text": local_text(latest.time_ms, now_ms),
        "time_source": latest.time_source,
        "age_s": age_ms / 1000,
        "stale_after_s": view.stale_after_ms() / 1000,
        "stale": age_ms > view.stale_after_ms(),
        "power_w": exact_text(latest.values, "power_w"),
        "direction": None
        if power is None
        else ("exporting" if power < 0 else "importing" if power > 0 else "balanced"),
        "import_kwh": kwh_text(latest.values, "import_wh"),
        "export_kwh": kwh_text(latest.values, "export_wh"),
        "import_wh": exact_text(latest.values, "import_wh"),
        "export_wh": exact_text(latest.values, "export_wh"),
        "frequency_hz": exact_text(latest.values, "frequency_hz"),
        "phases": phases,
        "port": _port(told[1]) if told else None,
    }
