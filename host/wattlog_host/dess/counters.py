"""Energy counters that begin anew, step back a little, or show nonsense for one record.

total only ever grows: by what the counter gained. Where it began anew, what it shows since is
added. The rule for everything else: rather too little than invented.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal

Verdict = Literal["same", "gain", "reset", "held", "source", "back"]

STEP_BACK = Decimal("0.001")
"""Real counters fall by a thousandth and come back; that is no reset."""
STEP_BACK_MIN = Decimal("0.2")
PER_HOUR_MAX = {"kWh": Decimal(100), "Ah": Decimal(1_000)}
"""No home's inverter gains more; what does is held until the next record confirms it."""
GAIN_MIN = Decimal(1)
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Counter:
    """Where a counter stands: its own reading, when that was, our total, and what is doubted."""

    source: str
    raw: Decimal
    raw_ms: int
    total: Decimal
    held: Decimal | None = None
    resets: int = 0


def start(source: str, raw: Decimal, time_ms: int) -> Counter:
    """Return a counter that was just met."""
    return Counter(source, raw, time_ms, raw)


def step(
    counter: Counter,
    source: str,
    raw: Decimal,
    time_ms: int,
    *,
    may_restart: bool = False,
    unit: str = "kWh",
) -> tuple[Counter, Verdict]:
    """Return the counter after one more reading, and what was made of it.

    Readings come in the order in which they arrive. may_restart: since the last one a day (month,
    year) began, so that falling is what a counter of the day does.
    """
    if source != counter.source:
        # Another counter under the same name: what lies between the two is no energy.
        return _moved(replace(counter, source=source), raw, time_ms, _ZERO), "source"
    if raw == counter.raw:
        return _moved(counter, raw, time_ms, _ZERO), "same"
    hours = Decimal(max(0, time_ms - counter.raw_ms)) / 3_600_000
    most = GAIN_MIN + hours * PER_HOUR_MAX.get(unit, PER_HOUR_MAX["kWh"])
    if raw > counter.raw and raw - counter.raw <= most:
        return _moved(counter, raw, time_ms, raw - counter.raw), "gain"
    is_small = counter.raw - raw <= max(STEP_BACK_MIN, counter.raw * STEP_BACK)
    if raw < counter.raw and is_small and not may_restart:
        # The mark stays: when it comes back up, nothing was gained twice.
        return replace(counter, held=None), "back"
    has_restarted = raw < counter.raw and may_restart and raw <= most
    if not has_restarted and not _is_confirmed(counter, raw, most):
        return replace(counter, held=raw), "held"
    # What an exchanged counter has counted elsewhere is nothing that was gained here.
    gain = raw if raw < counter.raw and raw <= most else _ZERO
    return replace(_moved(counter, raw, time_ms, gain), resets=counter.resets + 1), "reset"


def gained(
    readings: Iterable[tuple[int, Decimal]], *, unit: str = "kWh"
) -> Sequence[tuple[int, Decimal]]:
    """Return (time_ms, what was gained since the first) of readings in the order of time."""
    out: list[tuple[int, Decimal]] = []
    counter: Counter | None = None
    for time_ms, raw in readings:
        if counter is None:
            counter = replace(start("", raw, time_ms), total=_ZERO)
        else:
            counter, _ = step(counter, "", raw, time_ms, unit=unit)
        out.append((time_ms, counter.total))
    return out


def _moved(counter: Counter, raw: Decimal, time_ms: int, gain: Decimal) -> Counter:
    # A device whose clock fell back is still the same counter.
    at_ms = max(time_ms, counter.raw_ms)
    return replace(counter, raw=raw, raw_ms=at_ms, total=counter.total + gain, held=None)


def _is_confirmed(counter: Counter, raw: Decimal, most: Decimal) -> bool:
    """Tell whether the record before said the same, on the same side of the mark."""
    held = counter.held
    if held is None or (held > counter.raw) != (raw > counter.raw):
        return False
    return held <= raw <= held + most
