"""The view as plain data: what the page, /status and the event stream show."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from wattlog.sml import server_id_text
from wattlog_host.backup.rotation import Backups
from wattlog_host.clock import local_iso, local_text
from wattlog_host.gaps import DAMAGED, EVICTED, REFUSED
from wattlog_host.live import EdgeView, HostView, LiveView, MeterView
from wattlog_host.status import BoardStatus, MeterStatus
from wattlog_host.store.records import LostRun
from wattlog_host.units import by_key, exact_text, kwh_text, stored, watts


def snapshot(view: LiveView, now_ms: int) -> dict[str, Any]:
    """Return all of it as plain data, for JSON and for the page."""
    ports = {
        port.server_id: (edge, port)
        for edge in view.edges.values()
        if edge.status is not None
        for port in edge.status.meters
        if port.server_id is not None
    }
    meters = sorted(view.meters.values(), key=lambda one: one.latest.label)
    return {
        "now": local_iso(now_ms),
        "host": _host(view.host, now_ms),
        "counters": counters_of(view),
        "gaps": {
            "runs": view.losses.runs,
            "records": view.losses.records,
            "newest": [lost_json(lost, now_ms) for lost in view.losses.newest],
        },
        "meters": [_meter(one, ports.get(one.latest.server_id), now_ms) for one in meters],
        "agents": [
            _agent(view.edges[name], view.updates.get(name), now_ms) for name in sorted(view.edges)
        ],
        "alerts": dict(view.alerts),
        "events": [
            {
                "time": local_iso(event.time_ms),
                "time_text": local_text(event.time_ms, now_ms),
                "kind": event.kind,
                "agent": event.edge,
                "text": event.text,
            }
            for event in view.events
        ],
    }


def _host(host: HostView, now_ms: int) -> dict[str, Any]:
    return {
        "version": host.version,
        "started": local_iso(host.started_ms),
        "uptime_s": max(0, now_ms - host.started_ms) // 1000,
        "database_bytes": host.database_bytes,
        "forecast": None if host.forecast is None else host.forecast._asdict(),
        "hours_aside": host.hours_aside,
        "broker": {"connected": host.broker_trouble is None, "trouble": host.broker_trouble},
        "store": {"ok": host.store_trouble is None, "trouble": host.store_trouble},
        "backup": None if host.backups is None else _backups(host.backups, now_ms),
    }


def _backups(known: Backups, now_ms: int) -> dict[str, Any]:
    return {
        "folder": str(known.folder),
        "newest": None if known.newest is None else known.newest.name,
        "time": None if known.newest_ms is None else local_iso(known.newest_ms),
        "age_s": _age_s(known.newest_ms, now_ms),
        "trouble": known.trouble,
        "trouble_time": None if known.trouble_ms is None else local_iso(known.trouble_ms),
    }


def counters_of(view: LiveView) -> dict[str, Any]:
    """Return what was counted: {name: count}, and {name: {reason: count}} of what has reasons."""
    by_reason: dict[str, dict[str, int]] = {"dead_letters": {}, "rejected": {}}
    totals = Counter[str]()
    for (name, reason), count in sorted(view.counters.items()):
        if name in by_reason:
            by_reason[name][reason] = count
        else:
            totals[name] += count
    names = ("batches", "readings", "duplicates")
    return {
        **{name: totals[name] for name in names},
        **by_reason,
        "dropped": dict(sorted(view.dropped.items())),
    }


_LOST_WORDS = {
    EVICTED: "never came, no longer in its log",
    DAMAGED: "could not be read in its log any more",
    REFUSED: "came in a form that this host refuses",
}


def lost_json(lost: LostRun, now_ms: int) -> dict[str, Any]:
    """Return a gap as plain data, and in words."""
    count = f"{lost.count} records" if lost.count > 1 else "1 record"
    text = f"{count} of agent {lost.edge} {_LOST_WORDS[lost.reason]}"
    texts = [
        None if time_ms is None else local_text(time_ms, now_ms)
        for time_ms in (lost.from_ms, lost.to_ms)
    ]
    if None not in texts:
        text = f"{text}: between {texts[0]} and {texts[1]}"
    elif texts[0] is not None:
        text = f"{text}: after {texts[0]}"
    elif texts[1] is not None:
        text = f"{text}: before {texts[1]}"
    return {
        "agent": lost.edge,
        "log": lost.log,
        "first_seq": lost.first_seq,
        "last_seq": lost.last_seq,
        "count": lost.count,
        "reason": lost.reason,
        "noted": local_iso(lost.noted_ms),
        "noted_text": local_text(lost.noted_ms, now_ms),
        "from": None if lost.from_ms is None else local_iso(lost.from_ms),
        "to": None if lost.to_ms is None else local_iso(lost.to_ms),
        "text": text,
    }


def _agent(edge: EdgeView, update: str | None, now_ms: int) -> dict[str, Any]:
    status = edge.status
    log: dict[str, Any] = dict(status.log.counts) if status else {}
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
        "log": {
            **log,
            "fill_percent": status.log.fill_percent() if status else None,
            "kind": status.log.kind if status else None,
            "trouble": status.log.trouble if status else None,
        },
        "link": dict(status.link) if status else {},
        "ports": [_port(port) for port in status.meters] if status else [],
        "board": _board(status.board, update) if status and status.board else None,
    }


def _board(board: BoardStatus, update: str | None) -> dict[str, Any]:
    crash = board.crash
    return {
        "heap_free": board.heap_free,
        "heap_min": board.heap_min,
        "rssi_dbm": board.rssi_dbm,
        "wifi_reconnects": board.wifi_reconnects,
        "reset_cause": board.reset_cause,
        "wdt": board.wdt,
        "release": board.release or None,
        "update": update or board.update,
        "crash": None
        if crash is None
        else {
            "boot": None if crash.boot is None else f"{crash.boot:08x}",
            "uptime_s": None if crash.uptime_ms is None else crash.uptime_ms // 1000,
            "text": crash.text,
            "trace": list(crash.trace),
        },
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


def readings_of(view: LiveView) -> list[dict[str, Any]]:
    """Return each meter's newest reading as the event stream tells it."""
    return [
        {
            "meter": server_id.hex(),
            "t": one.latest.time_ms,
            "p": watts(one.latest.values, "power_w"),
            "values": by_key(one.latest.values),
        }
        for server_id, one in view.meters.items()
    ]


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
        "is_stored": latest is view.stored,
        "age_s": age_ms / 1000,
        "stale_after_s": view.stale_after_ms() / 1000,
        "stale": view.is_stale(now_ms),
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
