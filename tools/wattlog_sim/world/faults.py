"""What goes wrong in one run: drawn from the seed, a different mix for each.

A run does not have a little of everything: each kind of trouble is there in half of the runs, so
that some see one kind alone and hard, and others see kinds together.
"""

from typing import TYPE_CHECKING

from wattlog_sim.world.net import FAIR, Weather

if TYPE_CHECKING:
    from collections.abc import Callable

    from wattlog_sim.world.clock import World
    from wattlog_sim.world.edge import Edge
    from wattlog_sim.world.host import Host
    from wattlog_sim.world.net import Broker

MINUTE_MS = 60_000
HOUR_MS = 3_600_000


class Faults:
    """The troubles of one run.

    names           which kinds there are
    sectors         of the flash, and their bytes: small ones make the log overflow
    batch_ms        how long the agent collects what it sends together
    damaged_permille  of frames that the line damages
    """

    def __init__(self, world: "World", hours: int) -> None:
        """Draw the mix; arm() sets it off."""
        self._world = world
        self._rng = rng = world.rng("faults")
        self._end_ms = hours * HOUR_MS
        self.names = sorted(name for name in KINDS if rng.randrange(2))
        self.sectors, self.sector_bytes = rng.choice(
            ((256, 4_096), (64, 4_096), (8, 4_096), (32, 1_024), (12, 512))
        )
        self.batch_ms = rng.choice((60_000, 300_000, 900_000))
        self.damaged_permille = rng.randrange(1, 60) if "line" in self.names else 0

    def arm(self, edge: "Edge", broker: "Broker", host: "Host") -> None:
        """Set all of it off, each at its time."""
        for name in self.names:
            KINDS[name](self, edge, broker, host)

    def times(self, count_max: int) -> list[int]:
        """Return some moments of the run."""
        count = 1 + self._rng.randrange(count_max)
        return sorted(self._rng.randrange(self._end_ms) for _ in range(count))

    def _line(self, edge: "Edge", broker: "Broker", host: "Host") -> None:
        """Nothing to set off: the meter asks for each frame."""

    def _rot(self, edge: "Edge", broker: "Broker", host: "Host") -> None:
        for time_ms in self.times(6):
            self._world.at(time_ms, edge.rot)

    def _weather(self, edge: "Edge", broker: "Broker", host: "Host") -> None:
        rng = self._rng
        for time_ms in self.times(6):
            weather = Weather(
                lost=rng.choice((0, 10, 100, 300)),
                repeated=rng.choice((0, 10, 200, 500)),
                delay_ms_max=rng.choice((20, 500, 8_000, 40_000)),
                queue_max=rng.choice((2, 20, 1_000)),
            )
            self._world.at(time_ms, setattr, broker, "weather", weather)
            self._world.at(time_ms + self._while_ms(3 * HOUR_MS), setattr, broker, "weather", FAIR)

    def _wifi(self, edge: "Edge", broker: "Broker", host: "Host") -> None:
        for time_ms in self.times(8):
            self._world.at(time_ms, edge.set_wifi, False)
            self._world.at(time_ms + self._while_ms(4 * HOUR_MS), edge.set_wifi, True)

    def _broker(self, edge: "Edge", broker: "Broker", host: "Host") -> None:
        for time_ms in self.times(8):
            self._world.at(time_ms, broker.crash)
            self._world.at(time_ms + self._while_ms(HOUR_MS), broker.restart)

    def _host(self, edge: "Edge", broker: "Broker", host: "Host") -> None:
        for time_ms in self.times(10):
            self._world.at(time_ms, host.kill_soon)
            self._world.at(time_ms + self._while_ms(3 * HOUR_MS), host.start)

    def _power(self, edge: "Edge", broker: "Broker", host: "Host") -> None:
        for time_ms in self.times(12):
            act: Callable[[], None] = edge.power_off
            if self._rng.randrange(3):
                act = edge.cut_while_writing
            self._world.at(time_ms, act)
            self._world.at(time_ms + 30_000 + self._while_ms(HOUR_MS), edge.power_on)

    def _battery(self, edge: "Edge", broker: "Broker", host: "Host") -> None:
        """The clock goes on where it stopped, until a time server answers, if ever."""
        rng = self._rng
        edge.starts_behind_ms = rng.randrange(HOUR_MS, 5 * 24 * HOUR_MS)
        edge.knows_time_after_ms = rng.choice((None, self._while_ms(6 * HOUR_MS), 3_000))

    def _copy(self, edge: "Edge", broker: "Broker", host: "Host") -> None:
        """The log is put back from an older copy, now and then twice from the same."""
        rng, world = self._rng, self._world
        times = sorted(rng.randrange(self._end_ms) for _ in range(2 + rng.randrange(2)))
        if rng.randrange(2):  # at once: few numbers are given twice, and soon they are new ones
            times[1:] = [times[0] + self._while_ms(HOUR_MS)]
        world.at(times[0], edge.copy_flash)
        for time_ms in times[1:]:
            world.at(time_ms, edge.put_back)
            # Then several batches are on their way at once, in any order.
            world.at(time_ms, edge.set_wifi, False)
            back_ms = time_ms + self._while_ms(3 * HOUR_MS)
            world.at(back_ms, edge.set_wifi, True)
            weather = Weather(
                lost=rng.choice((0, 300, 600)), repeated=300, delay_ms_max=40_000, queue_max=1_000
            )
            world.at(back_ms, setattr, broker, "weather", weather)
            world.at(back_ms + 10 * MINUTE_MS, setattr, broker, "weather", FAIR)

    def _host_clock(self, edge: "Edge", broker: "Broker", host: "Host") -> None:
        """The host's clock is behind for some hours of the run."""
        start_ms, end_ms = sorted(self._rng.randrange(self._end_ms) for _ in range(2))
        behind_ms = self._rng.randrange(HOUR_MS, 5 * 24 * HOUR_MS)
        self._world.at(start_ms * self._rng.randrange(2), host.set_clock, behind_ms)
        self._world.at(end_ms, host.set_clock, 0)

    def _clock(self, edge: "Edge", broker: "Broker", host: "Host") -> None:
        """The time is never known, or late, or steps."""
        rng = self._rng
        if rng.randrange(3) == 0:
            edge.knows_time_after_ms = None
            return
        edge.knows_time_after_ms = self._while_ms(3 * HOUR_MS)
        for time_ms in self.times(4):
            step_ms = rng.choice((-86_400_000, -3_600_000, -2_500, 1_500, 45_000, 3_600_000))
            self._world.at(time_ms, edge.step_clock, step_ms)

    def _while_ms(self, most_ms: int) -> int:
        """Return how long something lasts: mostly not long."""
        return 1_000 + most_ms * self._rng.randrange(1, 1_000) ** 3 // 1_000**3


KINDS = {
    "battery": Faults._battery,
    "broker": Faults._broker,
    "clock": Faults._clock,
    "copy": Faults._copy,
    "host": Faults._host,
    "host clock": Faults._host_clock,
    "line": Faults._line,
    "power": Faults._power,
    "rot": Faults._rot,
    "weather": Faults._weather,
    "wifi": Faults._wifi,
}
