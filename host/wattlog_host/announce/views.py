"""A meter and an agent as JSON for people and for programs that know no wattlog."""

import json
from collections.abc import Mapping
from typing import Any

from wattlog_host.clock import local_iso
from wattlog_host.live import EdgeView, MeterView
from wattlog_host.store.records import Latest
from wattlog_host.units import BY_ID, kwh, watts

_WH = "_wh"
_KWH = "_kwh"

# Tasmota's field -> our register in kWh or our channel in W; as SML scripts name them.
_TASMOTA_KWH = (("E_in", "import_wh"), ("E_out", "export_wh"))
_TASMOTA_W = (
    ("Power", "power_w"),
    ("Power_p1", "power_l1_w"),
    ("Power_p2", "power_l2_w"),
    ("Power_p3", "power_l3_w"),
)


def field_of(key: str) -> str:
    """Return what a channel is called here: people read energy in kWh."""
    return key.removesuffix(_WH) + _KWH if key.endswith(_WH) else key


def meter_json(view: MeterView) -> bytes:
    """Return {"meter", "agent", "time", then each channel in its unit, energy in kWh}.

    What the meter does not send is not there.
    """
    latest = view.latest
    return _packed(
        {
            "meter": latest.label,
            "agent": latest.edge,
            "time": local_iso(latest.time_ms),
            **_values(latest),
        }
    )


def agent_json(edge: EdgeView) -> bytes:
    """Return what an agent last said of itself; what it did not say is null."""
    status = edge.status
    log = status.log.counts if status is not None else {}
    ports = status.meters if status is not None else ()
    board = status.board if status is not None else None
    return _packed(
        {
            "agent": edge.name,
            "version": status.version if status else None,
            "platform": status.platform if status else None,
            "uptime_s": None
            if status is None or status.uptime_ms is None
            else status.uptime_ms // 1000,
            "frames": _sum(port.frames for port in ports),
            "frames_dropped": _sum(_total(port.drops) for port in ports),
            "frames_held_back": _sum(_total(port.quarantine) for port in ports),
            "log_fill_percent": log_fill_percent(log),
            "rssi_dbm": board.rssi_dbm if board else None,
            "heap_free_bytes": board.heap_free if board else None,
            "reset_cause": board.reset_cause if board else None,
        }
    )


def tasmota_json(view: MeterView, name: str) -> bytes:
    """Return a reading as an IR head under Tasmota sends it, below the meter's name there."""
    latest = view.latest
    fields: dict[str, Any] = {
        field: kwh(latest.values, key)
        for field, key in _TASMOTA_KWH
        if kwh(latest.values, key) is not None
    }
    fields |= {
        field: watts(latest.values, key)
        for field, key in _TASMOTA_W
        if watts(latest.values, key) is not None
    }
    # Tasmota's Time is the local one, without an offset.
    time = local_iso(latest.time_ms)[:19]
    return _packed({"Time": time, name: {**fields, "Meter_id": latest.server_id.hex()}})


def log_fill_percent(log: Mapping[str, int]) -> float | None:
    """Return how full an agent's log is, None where it did not say."""
    if "bytes" not in log or not log.get("bytes_max"):
        return None
    return round(100 * log["bytes"] / log["bytes_max"], 1)


def _values(latest: Latest) -> dict[str, float]:
    return {
        field_of(channel.key): number / 10 ** (channel.decimals + 3 * (channel.unit == "Wh"))
        for number, channel in ((latest.values[one], BY_ID.get(one)) for one in latest.values)
        if channel is not None
    }


def _total(counts: Any) -> int | None:
    return None if counts is None else sum(counts.values())


def _sum(numbers: Any) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


def _packed(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
