"""What is true right now, per agent and meter: the one view that page, /status and events show.

In memory only; at start it is filled from the store, afterwards by what was committed and by
the agents' status messages. Absent is None all the way to the page, never 0.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from wattlog.sml import server_id_text
from wattlog_host.backup.rotation import Backups
from wattlog_host.forecast import Forecast
from wattlog_host.ingest import stored_values
from wattlog_host.placing import CLOCK_AHEAD_MS_MAX, METER, SYNC
from wattlog_host.status import Status
from wattlog_host.store.records import METERS_SHOWN_MAX, Event, Latest, Losses
from wattlog_host.wire import Batch, Live

EDGES_MAX = 1_000
HEARD_MS = 60_000
"""So long a connected agent that was heard keeps its place; of more than we show, some are not."""
ROOM_MS = 1_000
"""Where there is none, it is looked for again after so long."""
EVENTS_SHOWN = 50
STALE_AFTER_MS_MIN = 15_000
INTERVAL_MS_MAX = 60_000
INTERVALS_STALE = 3

# The source of a time that is not in the store: when a reading came that was sent at once.
LIVE = "live"

# Clocks that also tell when a live reading was taken; any other is worth less than its arrival.
_TIMES_KEPT = (SYNC, METER)

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
    """One meter: its newest reading, when it came, and how often they come.

    stored is the newest one that is safe in the database; latest may be newer, sent live.
    """

    latest: Latest
    arrived_ms: int
    interval_ms: int | None = None
    stored: Latest | None = None

    def show(self, latest: Latest, now_ms: int) -> None:
        """Take a newer reading."""
        self.interval_ms = min(now_ms - self.arrived_ms, INTERVAL_MS_MAX)
        self.latest, self.arrived_ms = latest, now_ms

    def age_ms(self, now_ms: int) -> int:
        """Return how old the newest reading is; a clock that runs ahead cannot hide it."""
        return max(0, now_ms - min(self.latest.time_ms, self.arrived_ms))

    def is_stale(self, now_ms: int) -> bool:
        """Tell whether the newest reading is no longer news."""
        return self.age_ms(now_ms) > self.stale_after_ms()

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
    forecast: Forecast | None = None
    """How large the database will be; None until that is looked at."""
    hours_aside: int | None = None
    """Hours whose buckets lack what cannot be read; None until that is known."""
    backups: Backups | None = None
    """None where this host makes none."""


@dataclass(slots=True)
class LiveView:
    """Everything the page shows."""

    host: HostView
    counters: Mapping[tuple[str, str], int]
    edges: dict[str, EdgeView] = field(default_factory=dict)
    meters: dict[bytes, MeterView] = field(default_factory=dict)
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=EVENTS_SHOWN))
    dropped: Counter[str] = field(default_factory=Counter)
    losses: Losses = field(default_factory=Losses)
    updates: Mapping[str, str] = field(default_factory=dict)
    """Of each head that takes an update, how far it is."""
    alerts: Mapping[str, int] = field(default_factory=lambda: {"standing": 0, "mark": 0})
    """How many conditions stand that alerts tell of; mark rises with all that the page shows."""
    changes: int = 0
    full_ms: int | None = None
    """When there was no place for another agent; None before that."""

    def on_latest(self, found: Iterable[Latest], now_ms: int) -> None:
        """Take the meters' newest readings, as the store has them."""
        for latest in found:
            view = self.meters.get(latest.server_id)
            if view is None:
                if len(self.meters) < METERS_SHOWN_MAX:
                    arrived_ms = max(now_ms, latest.time_ms)
                    self.meters[latest.server_id] = MeterView(latest, arrived_ms, stored=latest)
                continue
            shown, was_live, view.stored = view.latest, view.latest is not view.stored, latest
            if not was_live or not _is_newer(shown, latest):
                if latest != shown:
                    view.show(latest, now_ms)
                view.latest = latest
            elif shown.time_source == LIVE:
                view.latest = replace(shown, **_when(shown, latest, shown.time_ms))
        self.changes += 1

    def on_live(self, live: Live, now_ms: int) -> bool:
        """Show a reading that was sent at once; tell whether it is news.

        It is none where something newer is known. It gets the clock of what is stored of the
        same boot, else the time of its arrival.
        """
        values = stored_values(live.values)
        view = self.meters.get(live.server_id)
        if not values or (view is None and len(self.meters) >= METERS_SHOWN_MAX):
            return False
        latest = Latest(
            live.server_id,
            server_id_text(live.server_id),
            live.edge,
            now_ms,
            LIVE,
            values,
            live.boot,
            live.uptime_ms,
        )
        if view is None:
            self.meters[live.server_id] = MeterView(latest, now_ms)
        else:
            if view.stored is not None:
                latest = replace(latest, **_when(latest, view.stored, now_ms))
            if not _is_newer(latest, view.latest):
                return False
            view.show(latest, now_ms)
        self.changes += 1
        return True

    def on_batch(
        self,
        batch: Batch,
        received_ms: int,
        ahead_ms: int | None = None,
        is_behind: bool = False,
    ) -> list[EventText]:
        """Note that an agent's batch was committed; return what is worth telling about it.

        ahead_ms is how far its clock is ahead of ours, None where the batch does not show it;
        is_behind, whether we know that ours is wrong.
        """
        edge = self._edge(batch.edge, received_ms)
        if edge is None:
            return []
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
        text = f"the clock of agent {edge.name} is {ahead_ms // 1000} s ahead of this host's"
        if is_behind:
            return [("clock", f"{text}, and is set from the network; its readings keep its time")]
        # Which of the two is wrong we cannot know: if all agents are ahead, it is our clock.
        return [("clock", f"{text}; its readings get the time of their arrival")]

    def on_status(self, status: Status, now_ms: int) -> list[EventText]:
        """Take an agent's status; return what is worth telling about the change."""
        if status.state == "claim":
            return []  # of one that may not get the name
        edge = self._edge(status.edge, now_ms)
        if edge is None:
            return []
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

    def online(self) -> list[str]:
        """Return the agents that are connected."""
        return [edge.name for edge in self.edges.values() if edge.state == "online"]

    def releases(self) -> dict[str, str | None]:
        """Return the release of each connected agent that runs on a board, as it tells it."""
        return {
            edge.name: edge.status.board.release
            for edge in self.edges.values()
            if edge.state == "online" and edge.status is not None and edge.status.board is not None
        }

    def updates_left_for(self, why: str) -> list[str]:
        """Return the connected agents that say this of their last update."""
        return [
            edge.name
            for edge in self.edges.values()
            if edge.state == "online" and edge.status is not None and edge.status.board is not None
            if edge.status.board.update == why
        ]

    def labels_of(self, edge: str) -> list[str]:
        """Return the meters that this agent reads."""
        return sorted(
            view.latest.label for view in self.meters.values() if view.latest.edge == edge
        )

    def _edge(self, name: str, now_ms: int) -> EdgeView | None:
        """Return the agent of this name, None where there is no place for it."""
        if name not in self.edges:
            if len(self.edges) >= EDGES_MAX and not self._make_room(now_ms):
                return None
            self.edges[name] = EdgeView(name)
        return self.edges[name]

    def _make_room(self, now_ms: int) -> bool:
        """Forget who was silent longest; where all are connected and were just heard, nobody.

        So each of a fleet does not push out another, again and again.
        """
        if self.full_ms is not None and 0 <= now_ms - self.full_ms < ROOM_MS:
            return False
        self.dropped["too many agents"] += 1
        # Whoever still sends is never the one: names that came once cannot crowd it out.
        silent = min(self.edges.values(), key=lambda one: (one.state == "online", one.heard_ms()))
        if silent.state == "online" and now_ms - silent.heard_ms() < HEARD_MS:
            self.full_ms = now_ms
            return False
        del self.edges[silent.name]
        return True


def _is_newer(latest: Latest, known: Latest) -> bool:
    """Tell whether a reading was taken after the other; of one boot the uptime tells."""
    if (latest.edge, latest.boot) == (known.edge, known.boot):
        return latest.uptime_ms > known.uptime_ms
    return latest.time_ms > known.time_ms


def _when(live: Latest, stored: Latest, now_ms: int) -> dict[str, Any]:
    """Return time and its source of a live reading, by the clock of what is stored."""
    if (live.edge, live.boot) == (stored.edge, stored.boot) and stored.time_source in _TIMES_KEPT:
        time_ms = stored.time_ms - stored.uptime_ms + live.uptime_ms
        if time_ms <= now_ms + CLOCK_AHEAD_MS_MAX:
            return {"time_ms": time_ms, "time_source": stored.time_source}
    return {"time_ms": now_ms, "time_source": LIVE}


def _changes(edge: EdgeView, status: Status) -> list[EventText]:
    """Return what a person wants to know about an agent's new status against the last one."""
    name, told = edge.name, []
    if edge.boot is not None and edge.boot != status.boot:
        told.append(("agent", f"agent {name} restarted"))
    elif edge.state != "online":
        told.append(("agent", f"agent {name} online"))
    crash = status.board.crash if status.board else None
    told_before = edge.status.board.crash if edge.status and edge.status.board else None
    if crash is not None and crash != told_before:
        where = f" ({crash.trace[-1]})" if crash.trace else ""
        told.append(("agent", f"agent {name} had crashed: {crash.text or 'no word'}{where}"))
    before = {port.port: port.trouble for port in edge.status.meters} if edge.status else {}
    for port in status.meters:
        trouble_before = before.get(port.port)
        if port.trouble is not None and port.trouble != trouble_before:
            told.append(("port", f"agent {name}: {port.port}: {port.trouble}"))
        elif port.trouble is None and trouble_before is not None:
            told.append(("port", f"agent {name}: {port.port} works again"))
    return told
