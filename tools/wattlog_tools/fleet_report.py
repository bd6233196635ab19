"""The figures of a fleet: as plain data for JSON, and as lines for a person."""

import os
import platform
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from wattlog_tools.fleet_check import Found
from wattlog_tools.fleet_load import Result, Tally, merged, quantile
from wattlog_tools.fleet_parts import Usage


class Blow(NamedTuple):
    """One kill: whom, when it is due, and when it was; all in s after the fleet's start.

    level is how many readings waited at most before it.
    """

    part: str
    due_s: float
    done_s: float | None = None
    level: int = 0
    ready_s: float | None = None
    over_s: float | None = None


class Ran(NamedTuple):
    """What a run was.

    marks  (s after the start, how it stood) by steady, end, drained
    usage, peak_bytes  by the part's name
    """

    options: Namespace
    is_sqlite: bool
    marks: Mapping[str, tuple[float, Tally]]
    results: Sequence[Result]
    blows: Sequence[Blow]
    usage: Mapping[str, Usage]
    peak_bytes: Mapping[str, int]
    found: Found


def report(ran: Ran) -> dict[str, Any]:
    """Return the figures; readings are of the whole run, what is a second's of its steady part."""
    options, marks, results, found = ran.options, ran.marks, ran.results, ran.found
    (begin_s, begin), (end_s, end) = marks["steady"], marks["end"]
    drained_s, drained = marks["drained"]
    span_s = end_s - begin_s
    ack, reading, late = (
        merged(getattr(one, name) for one in results)
        for name in ("ack_us", "reading_us", "late_us")
    )
    is_clean = found.is_clean() and drained.waiting == 0
    return {
        "heads": options.heads,
        "interval_s": options.interval,
        "batch_s": options.batch,
        "status_s": options.status,
        "live_s": options.live,
        "connections": options.connections,
        "generators": options.generators,
        "workers": options.workers,
        "database": "SQLite" if ran.is_sqlite else "PostgreSQL",
        "seed": options.seed,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "measured_s": round(span_s, 1),
        "readings_made": sum(sum(one.made) for one in results),
        "readings_stored": found.stored,
        "made_per_s": round((end.made - begin.made) / span_s, 1),
        "stored_per_s": round((end.stored - begin.stored) / span_s, 1),
        "batches_per_s": round((end.batches - begin.batches) / span_s, 1),
        "ack_ms": _spread(ack),
        "reading_to_ack_ms": _spread(reading),
        "generator_late_ms": _spread(late),
        "resent": drained.resent,
        "refused": drained.refused,
        "given_up": sum(one.evicted for one in results),
        "drained_s": round(drained_s - end_s, 1),
        "kills": [
            {
                "part": blow.part,
                "at_s": _rounded(blow.done_s),
                "back_after_s": _between(blow.done_s, blow.ready_s),
                "caught_up_after_s": _between(blow.done_s, blow.over_s),
            }
            for blow in ran.blows
        ],
        "parts": {
            name: {
                "cpu_s": round(usage.cpu_s, 1),
                "rss_peak_mb": round(ran.peak_bytes[name] / 1e6, 1),
            }
            for name, usage in ran.usage.items()
        },
        "lost": found.lost,
        "duplicated": found.duplicated,
        "invented": found.invented,
        "misplaced": found.misplaced,
        "gaps": found.gaps,
        "dead_letters": found.dead_letters,
        "examples": list(found.examples),
        "verdict": "clean" if is_clean else "NOT CLEAN",
    }


def lines(report: dict[str, Any]) -> list[str]:
    """Return the figures for a person."""
    ack, reading, late = (
        report[key] for key in ("ack_ms", "reading_to_ack_ms", "generator_late_ms")
    )
    shown = [
        f"fleet: {report['heads']} heads, a reading every {report['interval_s']:g} s, a batch "
        f"every {report['batch_s']:g} s; {report['connections']} connections; {report['database']}"
        + (f", {report['workers']} workers" if report["workers"] else "")
        + f"; {report['cores']} cores; measured for {report['measured_s']:.0f} s",
    ]
    rows = [
        ("readings", f"{report['readings_made']} made, {report['readings_stored']} stored"),
        (
            "a second",
            f"{report['made_per_s']:g} readings made, {report['stored_per_s']:g} acknowledged, "
            f"{report['batches_per_s']:g} batches",
        ),
        ("acknowledged", f"{_times(ack)} after the batch was sent first"),
        ("", f"{_times(reading)} after its oldest reading"),
        (
            "batches",
            f"{report['resent']} sent again, {report['refused']} readings refused, "
            f"{report['given_up']} given up by a full log",
        ),
        ("in the end", f"{report['drained_s']:g} s until all was acknowledged"),
        *(
            (
                "kill",
                f"{kill['part']} at {_seconds(kill['at_s'])}: back after "
                f"{_seconds(kill['back_after_s'])}, caught up after "
                f"{_seconds(kill['caught_up_after_s'])}",
            )
            for kill in report["kills"]
        ),
        *(
            (name, f"{part['cpu_s']:8.1f} s of processor, {part['rss_peak_mb']:7.1f} MB at most")
            for name, part in report["parts"].items()
        ),
        ("", f"the generator was late by {_times(late)}"),
        (
            "compared",
            f"{report['lost']} lost, {report['duplicated']} duplicated, "
            f"{report['invented']} invented, {report['misplaced']} at another time; "
            f"{report['gaps']} noted as lost, {report['dead_letters']} refused messages",
        ),
        *(("", text) for text in report["examples"]),
        ("verdict", report["verdict"]),
    ]
    return shown + [f"  {name:<14}{text}" for name, text in rows]


def _spread(counts: Any) -> dict[str, float | None]:
    cuts = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {
        name: None if (value := quantile(counts, share)) is None else round(value / 1000, 1)
        for name, share in cuts.items()
    }


def _times(spread: dict[str, float | None]) -> str:
    if spread["p50"] is None:
        return "never"
    return ", ".join(f"{name} {value:g} ms" for name, value in spread.items())


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:g} s"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _between(begin_s: float | None, end_s: float | None) -> float | None:
    return None if begin_s is None or end_s is None else round(end_s - begin_s, 1)
