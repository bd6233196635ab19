"""What must hold of the decoder for every input, whatever was done to it.

Three decoders get the same bytes: one whole, one in pieces, and one that finds frames only,
whose payloads are then parsed in full. For each input:

- nothing is raised;
- what was sent in a good frame comes out of it, whatever it is;
- the good frame behind the damage is decoded, and so is the one behind that;
- how the stream is cut changes nothing, down to the counters;
- what is read through learned layouts is what a full parse gives: lists, values, and the
  reading that is made of them.

Runs on MicroPython and CPython.
"""

import json

from wattlog.decoder import SmlDecoder
from wattlog.framing import FrameDecoder
from wattlog.layout import SECONDS, SENSOR_SECONDS, STATUS
from wattlog.reading import Interpreter
from wattlog.sml import SmlError, parse
from wattlog_sim.mutate import BLOCK, Lcg, Mutator, checked_frame_across

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from wattlog.layout import Fields
    from wattlog.sml import GetList
    from wattlog_sim.mutate import Case

FRAME_BYTES_MAX = 2048
_REPORT_EVERY = 200
_FEEDS_BYTES = (64, 1000, 4096)
_PIECES_BYTES = (1, 5, 30, 64, 64, 200, 200, 400, 400, 1000, 1000, 1000)


class DecoderCheck:
    """Runs the inputs of one block, in order.

    counts  dict name -> how often that happened
    error   the exception behind the last failure, if there was one
    """

    def __init__(self, frame_bytes_max: int, feed_bytes: int, counts: "dict[str, int]") -> None:
        """Start with decoders that have learned nothing."""
        self.counts = counts
        self.error: Exception | None = None
        self._frame_bytes_max = frame_bytes_max
        self._whole = SmlDecoder(frame_bytes_max, feed_bytes)
        self._pieces = SmlDecoder(frame_bytes_max)
        self._frames = FrameDecoder(frame_bytes_max)
        self._parse_drops: dict[str, int] = {}
        self._parsed = 0
        self._through_layouts = Interpreter()
        self._in_full = Interpreter()

    def run(self, case: "Case") -> str | None:
        """Return what does not hold for this input, or None."""
        try:
            return self._run(case)
        except Exception as error:  # noqa: BLE001 - whatever is raised is a finding
            self.error = error
            return "raised %s: %s" % (type(error).__name__, error)

    def _run(self, case: "Case") -> str | None:
        stream = case.stream
        payloads = list(self._frames.push(stream))
        wanted: list[GetList] = []
        for payload in payloads:
            try:
                lists = parse(payload)
            except SmlError as error:
                _count(self._parse_drops, error.reason)
                continue
            self._parsed += 1
            wanted.extend(lists)
        _count(self.counts, "inputs")
        _count(self.counts, "payloads", len(payloads))
        failure = self._missing(case, payloads)
        if failure:
            return failure
        learned = self._whole.learned
        found = list(self._whole.push(stream))
        _count(self.counts, "learned", self._whole.learned - learned)
        failure = _difference(found, wanted) or self._other_readings(found, wanted)
        if failure:
            return "whole: " + failure
        failure = _difference(self._in_pieces(case), wanted)
        if failure:
            return "in pieces: " + failure
        return self._other_counters()

    def _missing(self, case: "Case", payloads: "list[bytes]") -> str | None:
        is_whole = case.payload and case.damage_bytes <= self._frame_bytes_max
        if is_whole and payloads[0] != case.payload:
            return "a damaged payload in a good frame comes out otherwise"
        if payloads[-1:] != [case.second]:
            return "the second good frame is lost"
        if payloads[-2:] != [case.first, case.second]:
            end = len(case.stream)
            if not checked_frame_across(case.stream, case.damage_bytes, end):
                return "the first good frame is lost"
            _count(self.counts, "first_covered")
        return None

    def _in_pieces(self, case: "Case") -> "list[Any]":
        """Push the stream in pieces of changing size, as any type that holds bytes."""
        found: list[Any] = []
        stream = (bytes, bytearray, memoryview)[case.rng.below(3)](case.stream)
        limit = _PIECES_BYTES[case.rng.below(len(_PIECES_BYTES))]
        at = 0
        while at < len(stream):
            size = 1 + case.rng.below(limit)
            found.extend(self._pieces.push(stream[at : at + size]))
            at += size
        return found

    def _other_readings(self, found: "list[Any]", wanted: "list[GetList]") -> str | None:
        for one, two in zip(found, wanted):  # noqa: B905 - MicroPython has no strict
            through_layout = self._through_layouts.read(one)
            in_full = self._in_full.read(two)
            if through_layout != in_full:
                return "reading %r is not %r" % (through_layout, in_full)
            _count(self.counts, "readings", 1 if in_full else 0)
        if self._through_layouts.drops != self._in_full.drops:
            return "other drops of registers"
        return None

    def _other_counters(self) -> str | None:
        drops = dict(self._frames.drops)
        for reason, count in self._parse_drops.items():
            _count(drops, reason, count)
        for name, decoder in (("whole", self._whole), ("in pieces", self._pieces)):
            if decoder.drops != drops:
                return "%s: drops %r are not %r" % (name, decoder.drops, drops)
            if decoder.frames != self._parsed:
                return "%s: %d frames are not %d" % (name, decoder.frames, self._parsed)
            if decoder.junk_bytes != self._frames.junk_bytes:
                return "%s: junk of %d is not %d bytes" % (
                    name,
                    decoder.junk_bytes,
                    self._frames.junk_bytes,
                )
        return None

    def add_drops(self, drops: "dict[str, int]") -> None:
        """Add what the decoders dropped to a sum."""
        for part in (self._frames.drops, self._parse_drops):
            for reason, count in part.items():
                _count(drops, reason, count)


class Fuzz:
    """Many inputs, one after the other.

    counts  dict name -> how often that happened
    drops   dict reason -> frames dropped for it
    """

    def __init__(self, mutator: Mutator, seed: int) -> None:
        """Begin a run; the same mutator and seed give the same inputs."""
        self.counts: dict[str, int] = {}
        self.drops: dict[str, int] = {}
        self.error: Exception | None = None
        self._mutator = mutator
        self._seed = seed

    def run(self, first: int, count: int) -> "Iterator[tuple[int, Case, str | None]]":
        """Yield (index, input, what does not hold of it or None) for a range of inputs.

        Decoders learn across the inputs of a block; so the ones before it are run again if
        `first` is not the first of its block.
        """
        check = None
        for index in range(first // BLOCK * BLOCK, first + count):
            if check is None or index % BLOCK == 0:
                if check is not None:
                    check.add_drops(self.drops)
                check = self._check(index // BLOCK)
            case = self._mutator.case(self._seed, index)
            failure = check.run(case)
            if failure:
                self.error = check.error
                check = None  # what it knows is not to be trusted any more
            if index >= first:
                yield index, case, failure
        if check is not None:
            check.add_drops(self.drops)

    def _check(self, block: int) -> DecoderCheck:
        rng = Lcg(self._seed, 0x8000_0000 + block)
        # The tightest cap that the good frames allow, and the one that devices have.
        cap = self._mutator.frame_bytes_max
        if rng.below(2):
            cap = max(cap, FRAME_BYTES_MAX)
        feed_bytes = _FEEDS_BYTES[rng.below(len(_FEEDS_BYTES))]
        return DecoderCheck(cap, feed_bytes, self.counts)


def report(path: str, seed: int, first: int, count: int) -> None:
    """Run a range of inputs; print JSON lines that a program reads.

    The file at path has the good frames: a line for each meter, in hex, with spaces between.
    A failure is {"index", "failure", "hex"}, the progress {"done"}, the end {"counts", "drops"}.
    """
    families = []
    with open(path) as file:
        for line in file:
            families.append([bytes.fromhex(frame) for frame in line.split()])
    fuzz = Fuzz(Mutator(families), seed)
    for index, case, failure in fuzz.run(first, count):
        if failure:
            row = {"index": index, "failure": failure, "hex": case.stream.hex()}
            print(json.dumps(row))
        if index % _REPORT_EVERY == 0:
            print(json.dumps({"done": index - first + 1}))
    print(json.dumps({"counts": fuzz.counts, "drops": fuzz.drops}))


def _difference(found: "list[Any]", wanted: "list[GetList]") -> str | None:
    if len(found) != len(wanted):
        return "%d lists are not %d" % (len(found), len(wanted))
    for one, two in zip(found, wanted):  # noqa: B905 - MicroPython has no strict
        if one.server_id != two.server_id:
            return "server id %r is not %r" % (one.server_id, two.server_id)
        if one.sec_index != two.sec_index:
            return "seconds %r are not %r" % (one.sec_index, two.sec_index)
        entries = one.entries
        if entries != two.entries:
            for left, right in zip(entries, two.entries):  # noqa: B905
                if left != right:
                    return "register %r is not %r" % (left, right)
            return "%d registers are not %d" % (len(entries), len(two.entries))
        if one.layout is not None and one.values != values_in(two, one.layout.fields):
            return "moving integers %r are not those of %r" % (one.values, two.entries)
    return None


def values_in(meter_list: "GetList", fields: "Fields") -> "tuple[object, ...]":
    """Return what a layout's moving integers must be, from a list that was parsed in full."""
    values: list[object] = []
    for index, what, _, _, _ in fields:
        if what == SENSOR_SECONDS:
            values.append(meter_list.sec_index)
            continue
        entry = meter_list.entries[index]
        values.append(
            entry.status if what == STATUS else entry.sec_index if what == SECONDS else entry.value
        )
    return tuple(values)


def _count(counts: "dict[str, int]", name: str, more: int = 1) -> None:
    counts[name] = counts.get(name, 0) + more
