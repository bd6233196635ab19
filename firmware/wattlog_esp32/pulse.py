"""Whether the head really works: what decides if the watchdog is fed. Knows no hardware.

On a Raspberry Pi the same decides whether the service manager hears of the agent.
The rule, and a table of cases, are in DESIGN.md.
"""

from wattlog.compat import const

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wattlog.agent import Meter

_IDLE_MS = const(10_000)  # without a byte for so long a port is idle
_FRAME_MS_MAX = const(35_000)  # the slowest meters send every 30 s
_STALL_MS = const(300_000)  # so long may bytes come and nothing be made of them


class Pulse:
    """Watches one meter's way from the port to the frame."""

    def __init__(self, meter: "Meter") -> None:
        self._meter = meter
        self._bytes = 0
        self._heard_ms = 0
        self._made = 0
        self._frames = 0
        self._frame_ms: int | None = None
        self._good_ms = 0

    def has_frames(self, now_ms: int) -> bool:
        """Tell whether frames come."""
        return self._frame_ms is not None and now_ms - self._frame_ms <= _FRAME_MS_MAX

    def trouble(self, now_ms: int) -> str | None:
        """Return why a restart may help, None while there is progress or nothing to do."""
        meter = self._meter
        if meter.bytes != self._bytes:
            self._bytes = meter.bytes
            self._heard_ms = now_ms
        made = meter.decoder.frames
        if made != self._frames:
            self._frames = made
            self._frame_ms = now_ms
        drops = meter.decoder.drops
        for reason in drops:
            # What there was no memory for says nothing of the meter, only of our heap.
            if not reason.startswith("memory"):
                made += drops[reason]
        if (
            made != self._made
            or meter.diagnosis.text is not None
            or now_ms - self._heard_ms >= _IDLE_MS
        ):
            self._made = made
            self._good_ms = now_ms
        if now_ms - self._good_ms < _STALL_MS:
            return None
        return "%s: for %d s bytes came, and nothing was made of them" % (
            meter.source.name,
            _STALL_MS // 1000,
        )
