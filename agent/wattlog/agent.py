"""One agent: reads its meters, logs their readings, brings the log to the host.

`step(now_ms)` is all there is to call; the rim owns the loop, the clock and the waiting.
"""

from wattlog import __version__
from wattlog.average import PowerAverage
from wattlog.decoder import SmlDecoder
from wattlog.diagnosis import Diagnosis
from wattlog.gate import Gate
from wattlog.reading import HINT_PIN, Interpreter
from wattlog.records import GroupWriter
from wattlog.ringlog import LogError
from wattlog.sml import server_id_text
from wattlog.timebase import SyncNotes
from wattlog.uplink import BATCH_MS, UP, Uplink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wattlog.ports import ByteSource, Clock, Describe, Link, Log, Randrange, Say
    from wattlog.reading import Reading

    Taken = tuple[Reading, int]

TROUBLE_MAX = 120  # letters of it in a status message
POLL_MS = 50  # 48 bytes at 9600 baud: far below any receive buffer


class Meter:
    """One serial line and what has come over it."""

    def __init__(self, source: "ByteSource", frame_bytes_max: int) -> None:
        self.source = source
        self.decoder = SmlDecoder(frame_bytes_max)
        self.interpreter = Interpreter()
        self.gate = Gate()
        self.average = PowerAverage()
        self.diagnosis = Diagnosis()
        self.bytes = 0
        self.reading: Reading | None = None  # the newest that passed the gate
        self.reading_ms = 0
        # What was last spoken of.
        self.server_id: bytes | None = None
        self.trouble: str | None = None
        self.hint: str | None = None

    def drops(self) -> "dict[str, int]":
        """Return everything dropped, by reason: frames, payloads and registers together."""
        out: dict[str, int] = {}
        for part in (self.decoder.drops, self.interpreter.drops):
            for reason in part:
                out[reason] = out.get(reason, 0) + part[reason]
        return out

    def take(self, now_ms: int) -> "list[Taken]":
        """Read what has arrived; return the readings that may be logged now, with their times."""
        data = self.source.read(now_ms)
        taken = self.gate.flush(now_ms)
        self.bytes += len(data)
        for meter_list in self.decoder.push(data) if data else ():
            reading = self.interpreter.read(meter_list)
            if reading is not None:
                taken += self.gate.check(reading, now_ms)
        if self.source.trouble():
            self.diagnosis.pause()
        else:
            damaged = self.decoder.drops.get("crc", 0)
            self.diagnosis.feed(data, now_ms, self.decoder.frames, damaged)
        return self._passed(taken)

    def finish(self) -> "list[Taken]":
        """Return what may still be logged at the end."""
        return self._passed(self.gate.flush())

    def _passed(self, taken: "list[Taken]") -> "list[Taken]":
        for index, (reading, taken_ms) in enumerate(taken):
            self.reading = self.average.add(reading, taken_ms)
            self.reading_ms = taken_ms
            taken[index] = (self.reading, taken_ms)
        return taken

    def advice(self) -> str | None:
        """Return what a person could do about this meter, None while all is well."""
        if self.diagnosis.text:
            return self.diagnosis.text
        return HINT_PIN if self.reading and not self.reading.full_dataset else None

    def describe(self, now_ms: int) -> "dict[str, object]":
        """Return this meter's part of the status message."""
        reading = self.reading
        quarantine = {"held": len(self.gate.held)}
        quarantine.update(self.gate.counts)
        return {
            "port": self.source.name,
            "state": "closed" if self.trouble else "open",
            "trouble": self.trouble[:TROUBLE_MAX] if self.trouble else None,
            "server_id": reading.server_id if reading else None,
            "frames": self.decoder.frames,
            "drops": self.drops(),
            "bytes": self.bytes,
            "frame_age_ms": now_ms - self.reading_ms if reading else None,
            "full_dataset": reading.full_dataset if reading else None,
            "hint": self.advice(),
            "quarantine": quarantine,
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
    batch_buf, window_max, batch_ms  see Uplink
    log_kind     "flash", "file" or "memory": what survives a power cut
    log_trouble  why it is not what it should be, in words for a person, or None
    describe_board  describe_board(now_ms) -> dict, what the status says of the board, or None
    """

    def __init__(
        self,
        edge: str,
        boot: int,
        platform: str,
        sources: "list[ByteSource]",
        log: "Log",
        link: "Link",
        clock: "Clock",
        randrange: "Randrange",
        say: "Say",
        frame_bytes_max: int,
        batch_buf: bytearray,
        window_max: int,
        batch_ms: int = BATCH_MS,
        log_kind: str = "memory",
        log_trouble: str | None = None,
        describe_board: "Describe | None" = None,
    ) -> None:
        assert 0 < boot < 1 << 32
        self.meters = [Meter(source, frame_bytes_max) for source in sources]
        self._writer = GroupWriter(log, boot)
        self.uplink = Uplink(
            edge,
            boot,
            log,
            self._writer,
            link,
            randrange,
            self._describe,
            say,
            batch_buf,
            window_max,
            batch_ms,
        )
        self._platform = platform
        self._log = log
        self._log_kind = log_kind
        self._log_trouble = log_trouble
        self._describe_board = describe_board
        self._log_failure: str | None = None  # of the last append
        self._unlogged = 0
        self._clock = clock
        self._say = say
        self._sync = SyncNotes()
        self._sync_id = log.id  # of the log that the sync points are noted in
        self._is_reading = True

    def step(self, now_ms: int) -> int:
        """Do everything that is due at this uptime; return when to come again."""
        self._note_time(now_ms)
        if self._is_reading:
            for number, meter in enumerate(self.meters):
                self._keep(number, meter.take(now_ms))
                self._watch(meter)
        return min(now_ms + POLL_MS, self.uplink.step(now_ms))

    def tell_log_trouble(self, trouble: str | None) -> None:
        """Tell from now on why the log is not what it should be, or that it is."""
        if trouble != self._log_trouble:
            self._log_trouble = trouble
            self.uplink.announce()

    def stop_reading(self) -> None:
        """Read no more meters: what follows only brings home what is logged."""
        if self._is_reading:
            self._is_reading = False
            for number, meter in enumerate(self.meters):
                self._keep(number, meter.finish())
            self._writer.close()

    def waiting(self) -> int:
        """Return how many records the host has not yet committed."""
        records_waiting: int = self._log.stats().records
        return records_waiting

    def is_connected(self) -> bool:
        """Tell whether batches can be sent."""
        return self.uplink.state == UP

    def stop(self) -> None:
        """Keep what is known, and say goodbye to the host."""
        self.stop_reading()
        self.uplink.stop()

    def _keep(self, number: int, taken: "list[Taken]") -> None:
        for reading, taken_ms in taken:
            try:
                self._writer.reading(taken_ms, reading)
            except LogError as err:
                self._unlogged += 1
                self._note_log(str(err))
            else:
                self._note_log(None)
            self.uplink.live.offer(number, taken_ms, reading)

    def _note_time(self, now_ms: int) -> None:
        # A log that fails is tried again with the next reading, and not at every step.
        # Asked first: a clock that is set in between is then called unsure, and not the reverse.
        is_sure = self._clock.is_sure()
        epoch_ms = self._clock.epoch_ms() if self._log_failure is None else None
        if epoch_ms is None:
            return
        if self._sync_id != self._log.id:  # renewed: for the host this log knows no time yet
            self._sync_id = self._log.id
            self._sync = SyncNotes()
        if self._sync.is_due(now_ms, epoch_ms, is_sure):
            try:
                self._writer.sync(now_ms, epoch_ms, is_sure)
            except LogError as err:
                self._note_log(str(err))

    def _note_log(self, failure: str | None) -> None:
        """Say once that the log fails, or works again."""
        if (failure is None) != (self._log_failure is None):
            if failure is None:
                self._say("the log works again")
            else:
                self._say("the log fails, readings are lost: %s; trying again" % failure)
                self._sync = SyncNotes()  # what was noted last may not have been kept
            self.uplink.announce()
        self._log_failure = failure

    def _watch(self, meter: Meter) -> None:
        """Say once what has changed about a port or a meter."""
        name = meter.source.name
        trouble = meter.source.trouble()
        if trouble != meter.trouble:
            meter.trouble = trouble
            self._say("%s: %s" % (name, trouble or "open"))
            self.uplink.announce()
        for event in meter.gate.events():
            self._say("%s: %s" % (name, event))
        reading = meter.reading
        if reading is not None and reading.server_id != meter.server_id:
            meter.server_id = reading.server_id
            self._say("%s: this is meter %s" % (name, server_id_text(reading.server_id)))
            self.uplink.announce()
        hint = meter.advice()
        if hint != meter.hint:
            meter.hint = hint
            if hint:
                self._say("%s: %s" % (name, hint))
            self.uplink.announce()

    def _describe(self, now_ms: int) -> "dict[str, object]":
        stats = self._log.stats()
        trouble = self._log_failure or self._log_trouble
        fields: dict[str, object] = {
            "version": __version__,
            "platform": self._platform,
            "log": {
                "id": self._log.id,
                "base_seq": self._log.base_seq,
                "kind": self._log_kind,
                "first_seq": stats.first_seq,
                "next_seq": stats.next_seq,
                "records": stats.records,
                "bytes": stats.bytes,
                "bytes_max": stats.bytes_max,
                "evicted": stats.evicted,
                "damaged": stats.damaged,
                "unlogged": self._unlogged,
                "trouble": trouble[:TROUBLE_MAX] if trouble else None,
            },
            "meters": [meter.describe(now_ms) for meter in self.meters],
        }
        if self._describe_board is not None:
            fields["board"] = self._describe_board(now_ms)
        return fields
