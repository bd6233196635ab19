"""An update on trial: it stays if a frame was decoded and a batch acknowledged, and soon enough.

Loaded only by an update that is on trial; afterwards it leaves the heap.
"""

from wattlog.compat import const
from wattlog_esp32 import slots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wattlog.agent import Agent

PROVE_MS = const(600_000)


class Job:
    """Watches one start of an update."""

    def __init__(self, agent: "Agent", path: str = slots.STATE_PATH) -> None:
        self._agent = agent
        self._path = path
        self.wants_restart = False

    def step(self, now_ms: int) -> bool:
        """Keep the update, or leave it; return False when that is decided."""
        agent = self._agent
        if agent.uplink.acked and any(meter.reading is not None for meter in agent.meters):
            slots.write_state(slots.running(), self._path)
            agent.uplink.announce()
            return False
        if now_ms >= PROVE_MS:
            why = "no frame" if agent.uplink.acked else "no batch was acknowledged"
            slots.write_state("%s failed %s" % (slots.spare(), why), self._path)
            self.wants_restart = True
        return True
