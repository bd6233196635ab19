"""What the LED says to whoever stands in the cellar; stepped, never waited for."""

from wattlog.compat import const

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SLOT_MS = const(200)
START_MS = const(15_000)  # after it the LED says what is missing

# One character is SLOT_MS; 1 is light. DESIGN.md has the same in words.
STARTING = "1"
NO_FRAMES = "10"
NO_WIFI = "1010000000"
NO_BROKER = "101010000000"
WELL = "1" + "0" * 24


def pattern(now_ms: int, has_frames: bool, has_wifi: bool, has_broker: bool) -> str:
    """Return what is to be shown: frames first, as only they can be mended in the cellar."""
    if has_frames and has_wifi and has_broker:
        return WELL
    if now_ms < START_MS:
        return STARTING
    if not has_frames:
        return NO_FRAMES
    return NO_BROKER if has_wifi else NO_WIFI


class Led:
    """An LED at a pin, a machine.Pin that is an output."""

    def __init__(self, pin: "Any", active_low: bool) -> None:
        self._pin = pin
        self._active_low = active_low
        self._pattern = ""
        self._begin_ms = 0

    def step(self, now_ms: int, has_frames: bool, has_wifi: bool, has_broker: bool) -> None:
        """Begin the pattern that is due, or go on with it."""
        shown = pattern(now_ms, has_frames, has_wifi, has_broker)
        if shown != self._pattern:
            self._pattern = shown
            self._begin_ms = now_ms
        slot = (now_ms - self._begin_ms) // SLOT_MS % len(shown)
        self._pin.value((shown[slot] == "1") != self._active_low)
