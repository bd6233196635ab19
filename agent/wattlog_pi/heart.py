"""What the agent tells the service manager: that it reads, that it gets on, that it ends."""

from wattlog.agent import Agent, Meter
from wattlog.ports import Say
from wattlog_esp32.pulse import Pulse
from wattlog_pi.notify import Notifier


class Heart:
    """Beats as long as the agent gets on, by the rule that feeds an ESP32's watchdog."""

    def __init__(self, agent: Agent, notifier: Notifier, say: Say) -> None:
        self._agent = agent
        self._notifier = notifier
        self._say = say
        self._pulses = [Pulse(meter) for meter in agent.meters]
        self._stalled: str | None = None
        self._due_ms: int | None = None  # None before the first step

    def beat(self, now_ms: int) -> None:
        """Note that a step went well; never called for one that did not."""
        if self._due_ms is None:
            self._due_ms = now_ms
            self._notifier.ready(self._status(now_ms))
        if self._notifier.beat_ms is None:
            return
        stalled = None
        for pulse in self._pulses:
            stalled = pulse.trouble(now_ms) or stalled
        if stalled != self._stalled:
            self._stalled = stalled
            if stalled:
                self._say(f"{stalled}; the service manager will start us again")
        if stalled is None and now_ms >= self._due_ms:
            self._due_ms = now_ms + self._notifier.beat_ms
            self._notifier.alive(self._status(now_ms))

    def stop(self) -> None:
        """Tell that the end begins."""
        self._notifier.stopping("bringing home what is logged")

    def _status(self, now_ms: int) -> str:
        """Return one line for `systemctl status`."""
        parts = [
            f"{meter.source.name}: {_state(meter, pulse.has_frames(now_ms))}"
            for meter, pulse in zip(self._agent.meters, self._pulses, strict=True)
        ]
        parts.append("broker connected" if self._agent.is_connected() else "no broker")
        return "; ".join([*parts, f"{self._agent.waiting()} records wait for the host"])


def _state(meter: Meter, has_frames: bool) -> str:
    if meter.trouble is not None:
        return meter.trouble
    return meter.advice() or ("frames come" if has_frames else "open")
