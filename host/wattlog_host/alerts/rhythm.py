"""How often a meter tells, learnt from when its readings come. Pure; durations, no clock.

All times are durations in ms by a clock that never steps, of the time in which the meter could
have been heard: while the host was down or the agent away, nothing is learnt.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from wattlog_host.alerts.typed import made_of

DAY_MS = 86_400_000
STEPS_KEPT = 32
STEPS_MIN = 10
"""From so many on it is known how often the meter tells."""
DAYS_KEPT = 7
DAYS_MIN = 3
"""From so many on it is known how long it is silent every day."""
STEPS_SILENT = 3
SILENCES_SILENT = 2


@dataclass(slots=True)
class Rhythm:
    """Of one meter.

    silent_ms   since it was last heard, or since the host started
    is_heard    whether it was heard since the host started
    steps       the newest times between two readings, as they came
    days        the longest silence of each of the last days in which it was heard
    """

    silent_ms: int = 0
    is_heard: bool = False
    steps: deque[int] = field(default_factory=lambda: deque(maxlen=STEPS_KEPT))
    days: deque[int] = field(default_factory=lambda: deque(maxlen=DAYS_KEPT))
    watched_ms: int = 0
    longest_ms: int = 0

    def listen(self, passed_ms: int) -> None:
        """Note that so much time went by in which it could have been heard."""
        self.silent_ms += passed_ms
        self.watched_ms += passed_ms
        if self.watched_ms < DAY_MS:
            return
        # A day without a word says nothing of what is usual; its silence counts when it ends.
        if self.longest_ms:
            self.days.append(self.longest_ms)
        self.watched_ms = self.longest_ms = 0

    def hear(self) -> None:
        """Note that a reading came."""
        if self.is_heard and self.silent_ms:
            self.steps.append(self.silent_ms)
            self.longest_ms = max(self.longest_ms, self.silent_ms)
        self.silent_ms, self.is_heard = 0, True

    def usual_ms(self) -> int | None:
        """Return how often it tells; None while that is not known."""
        return _middle(self.steps) if len(self.steps) >= STEPS_MIN else None

    def allowed_ms(self, at_least_ms: int) -> int | None:
        """Return how long it may be silent; None while nobody can say."""
        usual_ms = self.usual_ms()
        if usual_ms is None:
            return None
        daily_ms = _middle(self.days) if len(self.days) >= DAYS_MIN else 0
        return max(at_least_ms, STEPS_SILENT * usual_ms, SILENCES_SILENT * daily_ms)

    def packed(self) -> dict[str, Any]:
        """Return what is worth keeping over a restart."""
        return {"steps": list(self.steps), "days": list(self.days)}


def unpacked(data: Any) -> Rhythm:
    """Return what packed() gave; raise ValueError, TypeError or KeyError for anything else."""
    made = Rhythm()
    for kept, found in ((made.steps, data["steps"]), (made.days, data["days"])):
        kept.extend(made_of(list[int], found))
    return made


def _middle(found: Sequence[int]) -> int:
    return sorted(found)[(len(found) - 1) // 2]
