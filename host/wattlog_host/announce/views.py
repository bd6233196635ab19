"""A meter and an agent as JSON for people and for programs that know no wattlog."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from wattlog_host.clock import local_iso
from wattlog_host.live import EdgeView, MeterView
from wattlog_host.status import Status
from wattlog_host.store.records import Latest
from wattlog_host.units import BY_ID, kwh, watts

_WH = "_wh"
_KWH = "_kwh"

# Tasmota's field, our channel, and how it is read; as SML scripts name them.
_TASMOTA = (
    ("E_in", "import_wh", kwh),
    ("E_out", "export_wh", kwh),
    ("Power", "power_w", watts),
    ("Power_p1", "power_l1_w", watts),
    ("Power_p2", "power_l2_w", watts),
    ("Power_p3", "power_l3_w", watts),
)


def field_of(key: str) -> str:
    """Return what a channel is called here: people read energy in kWh."""
    return key.removesuffix(_WH) + _KWH if key.endswith(_WH) else key


def meter_json(view: MeterView) -> bytes:
    """Return {"meter", "agent", "time", then each channel in its unit, energy in kWh}.

    What the meter does not send is not there.
    """
    latest = view.latest
    return packed(
        {
            "meter": latest.label,
            "agent": latest.edge,
            "time": local_iso(latest.time_ms),
            **_values(latest),
        }
    )


def agent_json(edge: EdgeView, status: Status) -> bytes:
    """Return what an agent last said of itself; what it did not say is null."""
    board, quarantine = status.board, [port.quarantine for port in status.meters]
    return packed(
        {
            "agent": edge.name,
            "version": status.version,
            "platform": status.platform,
            "uptime_s": None if status.uptime_ms is None else status.uptime_ms // 1000,
            "frames": _sum(port.frames for port in status.meters),
            "frames_dropped": _sum(
                None if port.drops is None else sum(port.drops.values()) for port in status.meters
            ),
            # The other counts of a quarantine are of the same readings once more.
            "readings_discarded": _sum(
                None if counts is None else counts.get("glitch", 0) for counts in quarantine
            ),
            "log_fill_percent": status.log.fill_percent(),
            "rssi_dbm": board.rssi_dbm if board else None,
            "heap_free_bytes": board.heap_free if board else None,
            "reset_cause": board.reset_cause if board else None,
        }
    )


def tasmota_json(view: MeterView, name: str) -> bytes:
    """Return a reading as an IR head under Tasmota sends it, below the meter's name there."""
    latest = view.latest
    read = {field: value(latest.values, key) for field, key, value in _TASMOTA}
    known = {field: value for field, value in read.items() if value is not None}
    # Tasmota's Time is the local one, without an offset.
    time = local_iso(latest.time_ms)[:19]
    return packed({"Time": time, name: {**known, "Meter_id": latest.server_id.hex()}})


def packed(content: Mapping[str, Any]) -> bytes:
    """Return it as JSON without blanks."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _values(latest: Latest) -> dict[str, float | None]:
    channels = [BY_ID[number] for number in latest.values if number in BY_ID]
    return {
        field_of(one.key): (kwh if one.key.endswith(_WH) else watts)(latest.values, one.key)
        for one in channels
    }


def _sum(numbers: Iterable[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None
