"""What is wrong: a table of rules, each a pure function of what the host knows. No clock, no I/O.

A finding is of a condition, which stands or does not; a tally is of something that happens, and
is told as how often. Where a rule cannot tell it says None, and nothing changes.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from wattlog_host.alerts.nights import Compared
from wattlog_host.alerts.rhythm import Rhythm
from wattlog_host.dess.shown import Standing
from wattlog_host.live import LiveView, MeterView

MINUTE_MS = 60_000
WHY_MAX = 200
LOG_ROOM_PERCENT = 10
"""A log that was nearly full is so until it is emptier by this."""
DISK_ROOM = 1.25
"""And a disk until there is so much more room."""
DATABASE_HOLD_MS = MINUTE_MS
BROKER_HOLD_MS = 5 * MINUTE_MS
LOGIN, WELL = "login", "ok"
BEGINNING = ("starting", "stopped")
LOGIN_HOLD_MS = 10 * MINUTE_MS
CLOUD_HOLD_MS = 6 * 60 * MINUTE_MS
"""Clouds are away for an hour now and then, and nobody can do anything about it."""
DAYLIGHT_HOURS = range(10, 15)
"""By the clock of the house: hours in which every inverter of these latitudes has light."""
INVERTER_HOLD_MS = 60 * MINUTE_MS
FAULT_HOLD_MS = 5 * MINUTE_MS
MODE, FAULT = "operating_mode", "fault"
GLITCH = "glitch"

Values = Mapping[str, Any]
"""What a text says beside its words; None is not known. words.py tells how each is written."""


class Limits(NamedTuple):
    """From where on something is wrong; see [alerts] of host.toml."""

    silent_min: int = 5
    offline_min: int = 10
    log_percent: int = 80
    disk_mib: int = 1024
    disk_days: int = 14


class Facts(NamedTuple):
    """What the rules look at.

    rhythms    of meters, by server id
    exchanged  meters in whose place another one came
    night    the last night's base load beside what is usual, None where that is not known
    solar    of the inverters' cloud, None where there is none; hour, of the local clock
    stands   whether the condition of this key stands already: what is over is asked with room
    """

    view: LiveView
    rhythms: Mapping[bytes, Rhythm]
    exchanged: frozenset[bytes]
    night: Compared | None
    solar: Standing | None
    hour: int
    limits: Limits
    stands: Callable[[str], bool]


class Finding(NamedTuple):
    """A condition: of what kind, of whom; whether it holds, None where nobody can tell.

    hold_ms  so long it must hold before it is worth telling
    held_ms  so long it has held when it is found first
    is_moot  whether it does not matter any more: it ends without a word
    """

    kind: str
    subject: str
    holds: bool | None
    values: Values
    hold_ms: int = 0
    held_ms: int = 0
    is_moot: bool = False

    @property
    def key(self) -> str:
        """What makes it the same condition."""
        return key_of(self.kind, self.subject)


class Tally(NamedTuple):
    """How often something has happened.

    begins_anew  whether a lower number than before counts from nothing; else it is another count
    """

    kind: str
    subject: str
    total: int
    values: Values
    begins_anew: bool = False

    @property
    def key(self) -> str:
        """What makes it the same count."""
        return key_of(self.kind, self.subject)


def key_of(kind: str, subject: str) -> str:
    """Return what names a condition or a count."""
    return f"{kind} {subject}"


def is_audible(view: LiveView, meter: MeterView) -> bool:
    """Tell whether a reading of this meter would get here; else its silence does not count."""
    edge = view.edges.get(meter.latest.edge)
    return _is_well(view) and (edge is None or edge.state != "offline")


def findings(of: Facts, kinds: frozenset[str]) -> Iterator[Finding]:
    """Yield what the rules of these kinds find."""
    for kind, rule in CONDITIONS.items():
        if kind in kinds:
            yield from rule(of)


def tallies(view: LiveView, kinds: frozenset[str]) -> Iterator[Tally]:
    """Yield what has happened, of these kinds."""
    for kind, rule in HAPPENINGS.items():
        if kind in kinds:
            yield from rule(view)


def _is_well(view: LiveView) -> bool:
    return view.host.broker_trouble is None and view.host.store_trouble is None


def _silent(of: Facts) -> Iterator[Finding]:
    for server_id, meter in of.view.meters.items():
        rhythm = of.rhythms.get(server_id)
        if rhythm is None:
            continue
        allowed_ms, holds = rhythm.allowed_ms(of.limits.silent_min * MINUTE_MS), None
        if allowed_ms is not None and rhythm.silent_ms > allowed_ms:
            holds = True
        elif allowed_ms is not None and rhythm.is_heard:
            holds = False
        latest = meter.latest
        values = {
            "meter": latest.label,
            "since": min(latest.time_ms, meter.arrived_ms),
            "usual": rhythm.usual_ms(),
        }
        is_gone = server_id in of.exchanged
        yield Finding(
            "silent",
            server_id.hex(),
            None if is_gone else holds,
            values,
            held_ms=rhythm.silent_ms,
            is_moot=is_gone,
        )


def _offline(of: Facts) -> Iterator[Finding]:
    for name, edge in of.view.edges.items():
        yield Finding(
            "offline",
            name,
            None if edge.state == "unknown" else edge.state == "offline",
            {"agent": name, "since": edge.status_ms},
            of.limits.offline_min * MINUTE_MS,
        )


def _log(of: Facts) -> Iterator[Finding]:
    for name, edge in of.view.edges.items():
        percent = edge.status.log.fill_percent() if edge.status is not None else None
        holds = None
        if percent is not None and edge.state == "online":
            room = LOG_ROOM_PERCENT if of.stands(key_of("log", name)) else 0
            holds = percent >= of.limits.log_percent - room
        yield Finding("log", name, holds, {"agent": name, "percent": percent}, MINUTE_MS)


def _disk(of: Facts) -> Iterator[Finding]:
    known = of.view.host.forecast
    if known is None or known.free_bytes is None:
        return
    room = DISK_ROOM if of.stands(key_of("disk", "")) else 1
    is_small = known.free_bytes < of.limits.disk_mib * 2**20 * room
    is_soon = known.full_days is not None and known.full_days < of.limits.disk_days * room
    yield Finding(
        "disk", "", is_small or is_soon, {"free": known.free_bytes, "days": known.full_days}
    )


def _backup(of: Facts) -> Iterator[Finding]:
    host = of.view.host
    known = host.backups
    if known is None:
        return
    holds: bool | None = known.trouble is not None
    if not holds and (known.newest_ms or 0) < host.started_ms:
        holds = None  # none was tried since the start
    yield Finding("backup", "", holds, {"why": _why(known.trouble)})


def _database(of: Facts) -> Iterator[Finding]:
    trouble = of.view.host.store_trouble
    yield Finding("database", "", trouble is not None, {"why": _why(trouble)}, DATABASE_HOLD_MS)


def _broker(of: Facts) -> Iterator[Finding]:
    trouble = of.view.host.broker_trouble
    yield Finding("broker", "", trouble is not None, {"why": _why(trouble)}, BROKER_HOLD_MS)


def _base(of: Facts) -> Iterator[Finding]:
    night = of.night
    if night is not None:
        holds = night.is_unusual(was=of.stands(key_of("base", "")))
        yield Finding("base", "", holds, {"watts": night.watts, "usual_watts": night.usual_watts})


def _cloud(of: Facts) -> Iterator[Finding]:
    known = of.solar
    if known is None:
        return
    holds = None if known.state in BEGINNING else known.state != WELL
    hold_ms = LOGIN_HOLD_MS if known.state == LOGIN else CLOUD_HOLD_MS
    yield Finding(
        "cloud", "", holds, {"why": _why(known.trouble), "since": known.since_ms}, hold_ms
    )


def _inverter(of: Facts) -> Iterator[Finding]:
    if of.solar is None:
        return
    # At night they are silent; and where the cloud does not answer, none of them is to blame.
    is_told = of.hour in DAYLIGHT_HOURS and of.solar.state == WELL
    for one in of.solar.inverters:
        holds = None if not is_told and not one.is_fresh else not one.is_fresh
        values = {"inverter": one.name, "since": one.time_ms}
        yield Finding("inverter", one.key, holds, values, INVERTER_HOLD_MS)


def _fault(of: Facts) -> Iterator[Finding]:
    for one in () if of.solar is None else of.solar.inverters:
        mode = next((reading for reading in one.readings if reading.key == MODE), None)
        holds = None
        if one.is_fresh and mode is not None and mode.text_class is not None:
            holds = mode.text_class == FAULT
        text = mode.text if mode is not None else None
        yield Finding(
            "fault", one.key, holds, {"inverter": one.name, "mode": _why(text)}, FAULT_HOLD_MS
        )


def _gap(view: LiveView) -> Iterator[Tally]:
    newest = view.losses.newest
    yield Tally("gap", "", view.losses.records, {"agent": newest[0].edge if newest else None})


def _quarantine(view: LiveView) -> Iterator[Tally]:
    for name, edge in view.edges.items():
        for port in edge.status.meters if edge.status is not None else ():
            if port.quarantine is not None:
                values = {"agent": name, "port": port.port}
                count = port.quarantine.get(GLITCH, 0)
                yield Tally("quarantine", f"{name} {port.port}", count, values, begins_anew=True)


def _refused(view: LiveView) -> Iterator[Tally]:
    count = sum(count for (name, _), count in view.counters.items() if name == "dead_letters")
    yield Tally("refused", "", count, {})


def _why(trouble: str | None) -> str | None:
    return None if trouble is None else trouble[:WHY_MAX]


CONDITIONS: Mapping[str, Callable[[Facts], Iterator[Finding]]] = {
    "silent": _silent,
    "offline": _offline,
    "log": _log,
    "disk": _disk,
    "backup": _backup,
    "database": _database,
    "broker": _broker,
    "base": _base,
    "cloud": _cloud,
    "inverter": _inverter,
    "fault": _fault,
}
HAPPENINGS: Mapping[str, Callable[[LiveView], Iterator[Tally]]] = {
    "gap": _gap,
    "quarantine": _quarantine,
    "refused": _refused,
}
SOLAR_KINDS = frozenset(("cloud", "inverter", "fault"))
KINDS = (*CONDITIONS, *HAPPENINGS)
DISMISSABLE = frozenset(CONDITIONS) - {"database", "broker"}
"""What a person may know of: a meter that was removed, guests. Without these nothing arrives."""
