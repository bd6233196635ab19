"""`wattlog-tools meter`: simulated meters, or a capture, on pseudo-terminals at a UART's pace."""

import argparse
import fcntl
import os
import struct
import sys
import termios
import time
import tty
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from wattlog_sim.house import COMMISSIONED_EPOCH_S, House
from wattlog_sim.meters import MODELS, SERIAL_MAX, Meter, model_named
from wattlog_sim.sml_writer import START
from wattlog_tools.console import EXIT_OK, StopSignal, ToolError

BITS_PER_BYTE = 10
"""One start bit, eight data bits, one stop bit."""

CHUNK_BYTES = 32
"""Written at once: a USB adapter hands over about as much at a time."""

WAITING_BYTES_MAX = 4_095
"""What the kernel holds for a terminal's reader; older bytes are thrown away to make room."""

_LATE_S_MAX = 0.5
"""After a longer pause (a stopped process) nothing is made up for: the time is lost."""


class Source(Protocol):
    """Something that speaks about once a second."""

    label: str

    def prepare(self, epoch_s: int) -> None:
        """Do what takes long before the first burst, which is of this second."""

    def next_burst(self, epoch_s: int) -> bytes:
        """Return the bytes to send from this second on."""


class SimulatedSource:
    """A simulated meter's frames."""

    def __init__(self, meter: Meter) -> None:
        self.label = f"{meter.model.name} {meter.label}"
        self._meter = meter

    def prepare(self, epoch_s: int) -> None:
        # Its counters begin years before; added up late, the next second would be lost.
        self.next_burst(epoch_s)

    def next_burst(self, epoch_s: int) -> bytes:
        return self._meter.frame(epoch_s, epoch_s - COMMISSIONED_EPOCH_S)


class ReplaySource:
    """A capture in an endless loop, its bytes unchanged, cut before each frame for the pauses."""

    def __init__(self, path: Path) -> None:
        """Read the capture; ToolError if there is nothing to read."""
        try:
            data = path.read_bytes()
        except OSError as err:
            raise ToolError(f"cannot read {path}: {err.strerror}") from err
        if not data:
            raise ToolError(f"{path} is empty")
        self.label = f"replay of {path}"
        self._bursts = cut_at_starts(data)
        self._index = 0

    def prepare(self, epoch_s: int) -> None:
        pass

    def next_burst(self, epoch_s: int) -> bytes:
        del epoch_s
        burst = self._bursts[self._index]
        self._index = (self._index + 1) % len(self._bursts)
        return burst


def cut_at_starts(data: bytes) -> list[bytes]:
    """Split data before every frame start but a leading one; joined, the pieces are data again."""
    pieces = []
    begin = 0
    cut = data.find(START, 1)
    while cut != -1:
        pieces.append(data[begin:cut])
        begin = cut
        cut = data.find(START, cut + 1)
    pieces.append(data[begin:])
    return pieces


class PtyLine:
    """A pseudo-terminal whose slave stands for a serial port with a meter at its other end.

    The slave stays open here, so readers may come and go. Nothing waits for a reader: what nobody
    fetches is lost, oldest first, as the light of a meter is that no IR head looks at.
    """

    def __init__(self, link: Path | None) -> None:
        """Open the terminal; a stale link at `link` is replaced, anything else there is kept."""
        self.lost_bytes = 0
        try:
            self._master_fd, self._slave_fd = os.openpty()
        except OSError as err:
            raise ToolError(f"this machine gives no pseudo-terminal: {err.strerror}") from err
        tty.setraw(self._slave_fd)
        os.set_blocking(self._master_fd, False)
        os.set_blocking(self._slave_fd, False)
        self.path = os.ttyname(self._slave_fd)
        self._link = link
        if link is not None:
            _point(link, self.path)

    def send(self, data: bytes) -> None:
        """Write data, or lose it; never waits."""
        self._drop_what_readers_wrote()
        if _waiting_bytes(self._slave_fd) + len(data) > WAITING_BYTES_MAX:
            self._lose_what_waits()
        try:
            sent_bytes = os.write(self._master_fd, data)
        except BlockingIOError:
            sent_bytes = 0
        self.lost_bytes += len(data) - sent_bytes

    def close(self) -> None:
        """Remove the link, unless somebody else's meter has taken it over, and the terminal."""
        if self._link is not None and _target(self._link) == self.path:
            self._link.unlink()
        os.close(self._master_fd)
        os.close(self._slave_fd)

    def _lose_what_waits(self) -> None:
        # Read, not flushed, because only so the loss can be counted to the byte.
        try:
            self.lost_bytes += len(os.read(self._slave_fd, WAITING_BYTES_MAX))
        except BlockingIOError:
            # The reader woke up in this very moment.
            return

    def _drop_what_readers_wrote(self) -> None:
        # A meter hears nothing, but its port must not fill up and block whoever writes to it.
        try:
            os.read(self._master_fd, WAITING_BYTES_MAX)
        except BlockingIOError:
            return


class Clock(NamedTuple):
    """The meters' time of day: that of their start, from where it runs `speed` times as fast."""

    start_s: float
    start_epoch_s: int
    speed: float

    def epoch_s(self, at_s: float) -> int:
        """Return the second that it is at this monotonic time."""
        return self.start_epoch_s + round((at_s - self.start_s) * self.speed)


class Player:
    """Sends one source's bursts down one line, at the pace of a UART."""

    def __init__(
        self, source: Source, line: PtyLine, interval_s: float, baud: int, clock: "Clock"
    ) -> None:
        """Prepare the first burst for the clock's start."""
        self.source = source
        self.line = line
        self.due_s = clock.start_s
        self._clock = clock
        self._interval_s = interval_s
        self._byte_s = BITS_PER_BYTE / baud
        self._burst = b""
        self._burst_due_s = clock.start_s

    def step(self, now_s: float) -> None:
        """Send the next few bytes if they are due, and set when to call again."""
        if now_s < self.due_s:
            return
        if now_s - self.due_s > _LATE_S_MAX:
            self.due_s = self._burst_due_s = now_s
        if not self._burst:
            # By when it was due: one that starts a little late still belongs to its own second.
            self._burst = self.source.next_burst(self._clock.epoch_s(self._burst_due_s))
            self._burst_due_s += self._interval_s
        chunk, self._burst = self._burst[:CHUNK_BYTES], self._burst[CHUNK_BYTES:]
        # The bytes of a chunk are on the line before its reader sees them.
        self.line.send(chunk)
        self.due_s += len(chunk) * self._byte_s
        if not self._burst:
            # A burst longer than the interval delays the next; it never overlaps it.
            self.due_s = self._burst_due_s = max(self.due_s, self._burst_due_s)


def main(arguments: Sequence[str]) -> int:
    """Play until a signal comes; return 0 then."""
    parsed = _parser().parse_args(arguments)
    sources = _sources(parsed)
    links = _links(parsed.link, len(sources))
    stop = StopSignal()
    lines: list[PtyLine] = []
    try:
        for link in links:
            lines.append(PtyLine(link))
        _announce(sources, lines, links)
        _play(sources, lines, parsed, stop)
    finally:
        for line in lines:
            line.close()
    return EXIT_OK


def _play(
    sources: list[Source], lines: list[PtyLine], parsed: argparse.Namespace, stop: StopSignal
) -> None:
    epoch_s = max(time.time_ns() // 1_000_000_000, COMMISSIONED_EPOCH_S)
    for source in sources:
        source.prepare(epoch_s)
    clock = Clock(time.monotonic(), epoch_s, parsed.speed)
    players = [
        Player(source, line, parsed.interval / parsed.speed, parsed.baud, clock)
        for source, line in zip(sources, lines, strict=True)
    ]
    warned = set()
    while not stop.count:
        now_s = time.monotonic()
        for player in players:
            player.step(now_s)
            line = player.line
            if line.lost_bytes and line.path not in warned:
                warned.add(line.path)
                what = f"{line.path} ({player.source.label})"
                print(f"nobody reads {what}: bytes are lost", file=sys.stderr, flush=True)
        stop.wait(min(player.due_s for player in players) - time.monotonic())
    for line in lines:
        if line.lost_bytes:
            print(f"{line.path}: {line.lost_bytes} bytes lost", file=sys.stderr, flush=True)


def _announce(sources: list[Source], lines: list[PtyLine], links: list[Path | None]) -> None:
    for source, line, link in zip(sources, lines, links, strict=True):
        linked = "" if link is None else f" (linked as {link})"
        print(f"{line.path} plays {source.label}{linked}", flush=True)


def _sources(parsed: argparse.Namespace) -> list[Source]:
    if parsed.count > 1 and (parsed.meters is not None or parsed.replay is not None):
        raise ToolError("--count goes with --model only")
    if parsed.replay is not None:
        return [ReplaySource(parsed.replay)]
    names = parsed.meters if parsed.meters is not None else [parsed.model] * parsed.count
    sources: list[Source] = []
    for index, name in enumerate(names):
        model = model_named(name)
        if model is None:
            known = ", ".join(row.name for row in MODELS)
            raise ToolError(f"there is no meter model {name!r}; there are {known}")
        serial = model.serial if parsed.serial is None else parsed.serial
        # Counted up, so that no two meters of one call have the same id.
        serial += index
        if serial > SERIAL_MAX:
            raise ToolError(f"serial number {serial} has more than eight digits")
        solar_peak_w = model.solar_peak_w if parsed.solar is None else parsed.solar
        sources.append(
            SimulatedSource(Meter(model, House(parsed.seed + index, solar_peak_w), serial))
        )
    return sources


def _links(link: Path | None, count: int) -> list[Path | None]:
    if link is None:
        return [None] * count
    try:
        if count == 1 and not link.is_dir():
            link.parent.mkdir(parents=True, exist_ok=True)
            return [link]
        link.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise ToolError(f"cannot create {link}: {err.strerror}") from err
    return [link / f"meter-{index + 1}" for index in range(count)]


def _point(link: Path, target: str) -> None:
    if link.exists() and not link.is_symlink():
        raise ToolError(f"{link} exists and is not a link: it stays as it is")
    new = link.with_name(link.name + ".new")
    try:
        new.unlink(missing_ok=True)
        new.symlink_to(target)
        # At no moment is there no link: a reader that retries finds the old port or the new.
        new.replace(link)
    except OSError as err:
        raise ToolError(f"cannot create the link {link}: {err.strerror}") from err


def _target(link: Path) -> str | None:
    try:
        return os.readlink(link)
    except OSError:
        return None


def _waiting_bytes(fd: int) -> int:
    count: int = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))[0]
    return count


def _parser() -> argparse.ArgumentParser:
    models = "\n".join(f"  {model.name:8}  {model.title}" for model in MODELS)
    parser = argparse.ArgumentParser(
        prog="wattlog-tools meter",
        description="Play electricity meters: each gets a serial port of its own (a "
        "pseudo-terminal)\nand sends a frame per second, as fast as a real one.",
        epilog=f"models:\n{models}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--model", default="mt681", help="which meter to play (default: mt681)")
    what.add_argument(
        "--meters", type=_names, metavar="A,B,...", help="several meters, by model, comma between"
    )
    what.add_argument(
        "--replay", type=Path, metavar="FILE", help="play a recorded capture, over and over"
    )
    parser.add_argument(
        "--count", type=_at_least(1), default=1, metavar="N", help="so many of --model"
    )
    parser.add_argument(
        "--link",
        type=Path,
        metavar="PATH",
        help="keep a link to the port here; with several meters a folder of links, "
        "meter-1, meter-2, ...",
    )
    parser.add_argument(
        "--serial", type=_at_least(0), metavar="N", help="serial number of the first meter"
    )
    parser.add_argument(
        "--seed", type=_at_least(0), default=1, metavar="N", help="which household (default: 1)"
    )
    parser.add_argument(
        "--solar", type=_at_least(0), metavar="W", help="peak power of the panels, 0 for none"
    )
    parser.add_argument(
        "--interval",
        type=_seconds,
        default=1.0,
        metavar="S",
        help="seconds from frame to frame (default: 1)",
    )
    parser.add_argument(
        "--speed",
        type=_at_least(1),
        default=1,
        metavar="N",
        help="let the meters' time pass so many times as fast (default: 1); wants more --baud",
    )
    parser.add_argument(
        "--baud", type=_at_least(300), default=9600, metavar="N", help="pace (default: 9600)"
    )
    return parser


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _at_least(low: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = int(text)
        if value < low:
            raise argparse.ArgumentTypeError(f"{value} is less than {low}")
        return value

    parse.__name__ = "whole number"
    return parse


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.01 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is not between 0.01 and 3600")
    return value
