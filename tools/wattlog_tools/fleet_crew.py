"""The generator's processes, as the command sees them: started, heard, ended together."""

import contextlib
import multiprocessing
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from wattlog_tools import fleet_load
from wattlog_tools.console import StopSignal, ToolError
from wattlog_tools.fleet_load import Begin, Order, Result, Stop, Tally


class Stopped(Exception):
    """Ctrl-C."""


class Crew:
    """The generator's processes."""

    def __init__(self, orders: Sequence[Order]) -> None:
        """Start them; they wait for begin()."""
        context = multiprocessing.get_context("spawn")
        self._processes: list[BaseProcess] = []
        self._pipes: list[Connection] = []
        for order in orders:
            ours, theirs = context.Pipe()
            process = context.Process(target=fleet_load.run, args=(order, theirs), daemon=True)
            process.start()
            theirs.close()
            self._processes.append(process)
            self._pipes.append(ours)
        self._tallies = [Tally(0, 0, 0, 0, 0, 0, None, 0, None)] * len(orders)

    def begin(self, begin: Begin) -> None:
        """Have them start at that time."""
        for pipe in self._pipes:
            pipe.send(begin)

    def hear(self, stop: StopSignal, seconds: float) -> Tally:
        """Return how they stand together; waits for news for so long."""
        ready = wait([*self._pipes, stop.fileno()], seconds)
        if stop.count:
            raise Stopped
        for index, pipe in enumerate(self._pipes):
            if pipe not in ready:
                continue
            try:
                self._tallies[index] = pipe.recv()
            except (EOFError, OSError):
                raise ToolError("the generator ended by itself") from None
        return _sum(self._tallies)

    def end(self) -> list[Result]:
        """Have them stop; return what they leave."""
        results = []
        for pipe in self._pipes:
            pipe.send(Stop())
            while not isinstance(told := pipe.recv(), Result):
                pass
            results.append(told)
        return results

    def pids(self) -> list[int]:
        """Return their process ids."""
        return [process.pid for process in self._processes if process.pid is not None]

    def close(self) -> None:
        """End them, whatever they do."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(1)
            if process.is_alive():
                process.kill()
                process.join()


@contextlib.contextmanager
def crew_of(orders: Sequence[Order]) -> Iterator[Crew]:
    with contextlib.closing(Crew(orders)) as crew:
        yield crew


def _sum(tallies: Sequence[Tally]) -> Tally:
    """Return what they come to; the oldest of all, and None where one does not know yet."""
    sums = [sum(one[field] or 0 for one in tallies) for field in range(len(Tally._fields))]
    oldest = [one.oldest_s for one in tallies if one.oldest_s is not None]
    is_known = all(one.waiting is not None for one in tallies)
    total = Tally(*sums)  # type: ignore[arg-type]
    return total._replace(
        oldest_s=min(oldest, default=None), waiting=total.waiting if is_known else None
    )
