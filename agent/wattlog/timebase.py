"""Time without a clock: uptime from wrapping ticks, and when to note a sync point."""

SYNC_EVERY_MS = 3_600_000
SYNC_STEP_MS = 1_000


class Uptime:
    """Unwraps a millisecond tick counter of any period into an uptime that only rises.

    Must be asked at least once per period (12.4 days on an ESP32).
    """

    def __init__(self, ticks_period_ms: int, ticks_ms: int) -> None:
        self._period_ms = ticks_period_ms
        self._last_ms = ticks_ms
        self.uptime_ms = 0

    def update(self, ticks_ms: int) -> int:
        """Return the uptime at this reading of the tick counter."""
        self.uptime_ms += (ticks_ms - self._last_ms) % self._period_ms
        self._last_ms = ticks_ms
        return self.uptime_ms


class SyncNotes:
    """Decides when (uptime, wall clock) is worth noting.

    At first knowledge, when it has become sure or unsure, after a step of more than a second,
    and once an hour for drift.
    """

    def __init__(self) -> None:
        self._noted: tuple[int, int, bool] | None = None

    def is_due(self, uptime_ms: int, epoch_ms: int, is_sure: bool) -> bool:
        """Tell whether a sync point should be noted now; if so, take it as noted."""
        if self._noted is not None and self._noted[2] == is_sure:
            passed_ms = uptime_ms - self._noted[0]
            step_ms = epoch_ms - self._noted[1] - passed_ms
            if passed_ms < SYNC_EVERY_MS and abs(step_ms) <= SYNC_STEP_MS:
                return False
        self._noted = (uptime_ms, epoch_ms, is_sure)
        return True
