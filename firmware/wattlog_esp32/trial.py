"""An update on trial: it stays if a frame was decoded and a batch acknowledged, and soon enough.

Loaded only by an update that is on trial; afterwards it leaves the heap.
"""

from wattlog.compat import const
from wattlog_esp32 import slots
from wattlog_esp32.start import forget, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wattlog.agent import Agent

PROVE_MS = const(600_000)
WRITE_AGAIN_MS = const(60_000)


class Job:
    """Watches one start of an update."""

    def __init__(self, agent: "Agent", path: str = slots.STATE_PATH) -> None:
        self._agent = agent
        self._path = path
        self._due_ms = 0
        self.wants_restart = False

    def step(self, now_ms: int) -> bool:
        """Keep the update, or leave it; return False when that is decided."""
        uplink = self._agent.uplink
        # A batch that is refused is settled, too, and lost.
        is_acked = uplink.acked > uplink.refused
        has_frames = any(meter.reading is not None for meter in self._agent.meters)
        try:
            if now_ms < self._due_ms:
                pass
            elif is_acked and has_frames:
                why = _flaw()
                if why is None:
                    slots.write_state(slots.running(), self._path)
                    uplink.announce()
                    return False
                self._leave(why)
            elif now_ms >= PROVE_MS:
                self._leave("no frame" if is_acked else "no batch was acknowledged")
        except OSError as err:
            # Nothing is decided then: the loader has counted this start.
            say("the update's state cannot be written (error %s)" % err.args[0])
            self._due_ms = now_ms + WRITE_AGAIN_MS
        return True

    def _leave(self, why: str) -> None:
        self.wants_restart = True
        slots.write_state("%s failed %s" % (slots.spare(), why), self._path)


def _flaw() -> "str | None":
    """Return why this release could not take the next one; it would be the last by air."""
    try:
        from wattlog_esp32 import update  # noqa: F401, PLC0415
    except Exception as err:  # noqa: BLE001 - whatever it is
        return repr(err)
    forget("update")
    return None
