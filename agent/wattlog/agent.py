"""One agent: reads its meters, logs their readings, brings the log to the host.

`step(now_ms)` is all there is to call; the rim owns the loop, the clock and the waiting.
"""

from wattlog import __version__, records
from wattlog.framing import FrameDecoder
from wattlog.reading import HINT_PIN, Interpreter
from wattlog.sml import SmlError, parse, server_id_text
from wattlog.timebase import SyncNotes
from wattlog.uplink import UP, Uplink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wattlog.memlog import MemoryLog
    from wattlog.ports import ByteSource, Clock, Link, Randrange, Say
    from wattlog.reading import Reading

TROUBLE_MAX = 120  # letters of it in a status message
POLL_MS = 50  # 48 bytes at 9600 baud: far below any receive buffer


class Meter:
    """One serial line and what has come over it."""

    def __init__(self, source: "ByteSource", frame_bytes_max: int) -> None:
        self.source = source
        self.decoder = FrameDecoder(frame_bytes_max)
        self.interpreter = Interpreter()
        self.bytes = 0
        self.parse_drops: dict[str, int] = {}
        self.reading: Reading | None = None  # the newest
        self.reading_ms = 0
        self.server_id: bytes | None = None  # the meter that was last spoken of
        self.trouble: str | None = None

    def drops(self) -> "dict[str, int]":
        """Return everything dropped, by reason: frames, payloads and registers together."""
        out: dict[str, int] = {}
        for part in (self.decoder.drops, self.parse_drops, self.interpreter.drops):
            for reason in part:
                out[reason] = out.get(reason, 0) + part[reason]
        return out

    def take(self, now_ms: int) -> "list[Reading]":
        """Read what has arrived; return the readings that it completes."""
        data = self.source.read(now_ms)
        if not data:
            return []
        self.bytes += len(data)
        readings = []
        for payload in self.decoder.push(data):
            try:
                lists = parse(payload)
            except SmlError as err:
                self.parse_drops[err.reason] = self.parse_drops.get(err.reason, 0) + 1
                continue
            for meter_list in lists:
                reading = self.interpreter.read(meter_list)
                if reading is not None:
                    readings.append(reading)
                    self.reading = reading
                    self.reading_ms = now_ms
        return readings

    def describe(self, now_ms: int) -> "dict[str, object]":
        """Return this meter's part of the status message."""
        reading = self.reading
        return {
            "port": self.source.name,
            "state": "closed" if self.trouble else "open",
            "trouble": self.trouble[:TROUBLE_MAX] if self.trouble else None,
            "server_id": reading.server_id if reading else None,
            "frames": self.decoder.frames - sum(self.parse_drops.values()),
            "drops": self.drops(),
            "bytes": self.bytes,
            "frame_age_ms": now_ms - self.reading_ms if reading else None,
            "full_dataset": reading.full_dataset if reading else None,
            "hint": HINT_PIN if reading and not reading.full_dataset else None,
        }


class Agent:
    """Wires one agent.

    edge, boot   who we are: the id, and a random number of this start
    platform     "linux", "esp32", ...
    sources      one ByteSource per meter
    log, link    where records wait, and their way out
    clock        the wall clock
    randrange    randrange(n) -> 0..n-1
    say          say(text): one line for a person
    frame_bytes_max  the longest SML frame that is read
    batch_buf    where batches are built; see Uplink
    """

    def __init__(
        self,
        edge: str,
        boot: int,
        platform: str,
        sources: "list[ByteSource]",
        log: "MemoryLog",
        link: "Link",
        clock: "Clock",
        randrange: "Randrange",
        say: "Say",
        frame_bytes_max: int,
        batch_buf: bytearray,
    ) -> None:
        assert 0 < boot < 1 << 32
        self.meters = [Meter(source, frame_bytes_max) for source in sources]
        self.uplink = Uplink(edge, boot, log, link, randrange, self._describe, say, batch_buf)
        self._platform = platform
        self._log = log
        self._clock = clock
        self._say = say
        self._sync = SyncNotes()
        self._is_reading = True

    def step(self, now_ms: int) -> int:
        """Do everything that is due at this uptime; return when to come again."""
        self._note_time(now_ms)
        if self._is_reading:
            for meter in self.meters:
                for reading in meter.take(now_ms):
                    self._log.append(records.pack_reading(now_ms, reading))
                self._watch(meter)
        return min(now_ms + POLL_MS, self.uplink.step(now_ms))

    def stop_reading(self) -> None:
        """Read no more meters: what follows only brings home what is logged."""
        self._is_reading = False

    def waiting(self) -> int:
        """Return how many records the host has not yet committed."""
        records_waiting: int = self._log.stats().records
        return records_waiting

    def is_connected(self) -> bool:
        """Tell whether batches can be sent."""
        return self.uplink.state == UP

    def stop(self) -> None:
        """Say goodbye to the host."""
        self.uplink.stop()

    def _note_time(self, now_ms: int) -> None:
        epoch_ms = self._clock.epoch_ms()
        if epoch_ms is not None and self._sync.is_due(now_ms, epoch_ms):
            self._log.append(records.pack_sync(now_ms, epoch_ms))

    def _watch(self, meter: Meter) -> None:
        """Say once what has changed about a port or a meter."""
        trouble = meter.source.trouble()
        if trouble != meter.trouble:
            meter.trouble = trouble
            self._say("%s: %s" % (meter.source.name, trouble or "open"))
            self.uplink.announce()
        reading = meter.reading
        if reading is not None and reading.server_id != meter.server_id:
            meter.server_id = reading.server_id
            self._say(
                "%s: this is meter %s" % (meter.source.name, server_id_text(reading.server_id))
            )
            if not reading.full_dataset:
                self._say("%s: %s" % (meter.source.name, HINT_PIN))
            self.uplink.announce()

    def _describe(self, now_ms: int) -> "dict[str, object]":
        stats = self._log.stats()
        return {
            "version": __version__,
            "platform": self._platform,
            "log": {
                "records": stats.records,
                "bytes": stats.bytes,
                "bytes_max": stats.bytes_max,
                "evicted": stats.evicted,
            },
            "meters": [meter.describe(now_ms) for meter in self.meters],
        }
