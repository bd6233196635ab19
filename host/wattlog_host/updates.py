"""Updates of heads over the air: what lies in the folder is offered, and handed out in pieces.

The host signs nothing and holds no key: a bundle is signed where it is made, and checked by the
head. A head asks for each piece, so that nothing is sent that nobody waits for. Format:
agent/SPEC.md.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgpack

from wattlog_host import bounds
from wattlog_host.bounds import FORMAT_WIRE, WireError, is_uint
from wattlog_host.status import safe_text
from wattlog_host.wire import parse_topic, topic_command

CHUNK_BYTES = 256
BUNDLE_BYTES_MAX = 400_000
OFFER_EVERY_MS = 60_000
RETRY_MS = 6 * 3_600_000  # what a head could not take may do better later
TRIALS_MAX = 3  # of one file, where a trial ended for want of a broker; others are not repeated
# What a head says of an update that it has left for that: firmware/wattlog_esp32/trial.py
UNPROVEN = "left: no batch was acknowledged"
TEXT_MAX = 200
MESSAGE_BYTES_MAX = 1_024

_HEAD = re.compile(
    rb"wattlog-update 1 ([0-9]{1,5}(?:\.[0-9]{1,5}){2}\+[0-9]{1,10}) ([0-9]{1,3}) ([0-9]{1,6}) "
    rb"([0-9a-f]{64}) ([0-9a-f]{64})\n"
)


@dataclass(frozen=True, slots=True)
class Bundle:
    """One update: what the offer says, and the bytes that it vouches for."""

    release: str
    mpy: int
    digest: bytes
    mac: bytes
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Request:
    """What a head says: it wants what comes at offset, or (outcome) how it ended."""

    edge: str
    release: str
    offset: int
    outcome: str | None


def parse_bundle(data: bytes) -> Bundle:
    """Return the bundle in a file's bytes; raise ValueError with the reason."""
    match = _HEAD.match(data)
    if match is None:
        raise ValueError("it does not begin as an update does")
    body = data[match.end() :]
    if len(body) != int(match[3]):
        raise ValueError(f"it has {len(body)} bytes where {int(match[3])} belong")
    return Bundle(
        match[1].decode(),
        int(match[2]),
        bytes.fromhex(match[4].decode()),
        bytes.fromhex(match[5].decode()),
        body,
    )


def release_of(text: str | None) -> tuple[int, ...] | None:
    """Return "0.1.0+5" as numbers that compare, None for anything else."""
    if text is None or re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+\+[0-9]+", text) is None:
        return None
    return tuple(map(int, re.split(r"[.+]", text)))


def pack_offer(bundle: Bundle) -> bytes:
    """Return the command that offers an update."""
    offer = [FORMAT_WIRE, "update", bundle.release, bundle.mpy, len(bundle.body)]
    return bytes(msgpack.packb([*offer, bundle.digest, bundle.mac]))


def pack_chunk(bundle: Bundle, offset: int) -> bytes:
    """Return the command that brings the piece at offset."""
    piece = bundle.body[offset : offset + CHUNK_BYTES]
    return bytes(msgpack.packb([FORMAT_WIRE, "chunk", bundle.release, offset, piece]))


def decode_request(data: bytes) -> Request:
    """Return a head's message about an update; raise WireError for anything else."""
    edge, _, _, others = bounds.decode_of_agent(data, MESSAGE_BYTES_MAX, 7, "update")
    release, offset, outcome = others
    if not isinstance(release, str) or len(release) > TEXT_MAX or not release.isprintable():
        raise WireError("release")
    if not is_uint(offset, BUNDLE_BYTES_MAX):
        raise WireError("offset")
    if outcome is not None and not isinstance(outcome, str):
        raise WireError("outcome")
    return Request(edge, release, offset, None if outcome is None else safe_text(outcome))


@dataclass(frozen=True, slots=True)
class _Ended:
    """How an update that is not offered now has ended at a head."""

    release: str
    again_ms: int  # not before
    trials: int  # 0: it was not even taken


class Updates:
    """What is offered to whom, and how far each is; time is monotonic ms."""

    def __init__(self, folder: Path, say: Callable[[str, str, str], None]) -> None:
        """Take the folder, and say(kind, text, edge), which tells a person."""
        self._folder = folder
        # With its name: the budget of events without one is for the host itself.
        self._say = say
        self._known: dict[str, tuple[tuple[int, int], Bundle | None]] = {}
        self._offered_ms: dict[str, int] = {}
        self._ended: dict[str, _Ended] = {}
        self.progress: dict[str, str] = {}
        """Of each head that takes an update, or has ended one, how it is: a line for a person."""

    def offers(
        self, releases: Mapping[str, str | None], unproven: Collection[str], now_ms: int
    ) -> dict[str, bytes]:
        """Return what is to be sent to which topic, given the online heads' releases.

        unproven  those of them that say UNPROVEN of the last update
        """
        out = {}
        for edge, release in releases.items():
            present = release_of(release)
            bundle = self._bundle(edge)
            if bundle is None:
                self.progress.pop(edge, None)
                continue
            if present is None:
                continue
            if (release_of(bundle.release) or ()) <= present:
                self.progress.pop(edge, None)
                if bundle.release == release:
                    # Should it leave it again, its word of the trial may have been lost.
                    self._on_trial(edge, bundle.release, now_ms)
                continue
            if not self._may_begin(edge, bundle.release, edge in unproven, now_ms):
                continue
            if now_ms - self._offered_ms.get(edge, -OFFER_EVERY_MS) >= OFFER_EVERY_MS:
                self._offered_ms[edge] = now_ms
                out[topic_command(edge)] = pack_offer(bundle)
        return out

    def on_message(self, topic: str, payload: bytes, now_ms: int) -> tuple[str, bytes] | None:
        """Return the answer to a head's message, None where there is none."""
        known = parse_topic(topic)
        if known is None or known[1] != "u":
            return None
        edge = known[0]
        try:
            request = decode_request(payload)
        except WireError as err:
            text = f"agent {edge}: its message about an update was not understood: {err.reason}"
            self._say("update", text, edge)
            return None
        bundle = self._bundle(edge)
        if request.edge != edge or bundle is None or bundle.release != request.release:
            return None
        if request.outcome is not None:
            self._end(edge, bundle, request.outcome, now_ms)
            return None
        if request.offset >= len(bundle.body):
            return None
        self._offered_ms[edge] = now_ms
        percent = 100 * request.offset // len(bundle.body)
        self.progress[edge] = f"{bundle.release}: {percent} %"
        return topic_command(edge), pack_chunk(bundle, request.offset)

    def _may_begin(self, edge: str, release: str, is_unproven: bool, now_ms: int) -> bool:
        """Tell whether it may be taken, for the first time or again."""
        ended = self._ended.get(edge)
        if ended is None or ended.release != release:
            return True
        if ended.trials and (ended.trials >= TRIALS_MAX or not is_unproven):
            return False
        # A trial for want of a broker lasts minutes; by then the head has told how it went.
        return now_ms >= ended.again_ms

    def _on_trial(self, edge: str, release: str, now_ms: int) -> None:
        """Count a trial, of which both its message and the head's status may tell."""
        trials = self._trials(edge, release)
        if not trials or now_ms >= self._ended[edge].again_ms:
            self._ended[edge] = _Ended(release, now_ms + RETRY_MS, trials + 1)

    def _trials(self, edge: str, release: str) -> int:
        ended = self._ended.get(edge)
        return ended.trials if ended is not None and ended.release == release else 0

    def _end(self, edge: str, bundle: Bundle, outcome: str, now_ms: int) -> None:
        if outcome == "trial":
            self._on_trial(edge, bundle.release, now_ms)
            self.progress.pop(edge, None)  # from here on the head itself tells how it is
            self._say("update", f"agent {edge}: update {bundle.release} is on trial", edge)
            return
        trials = self._trials(edge, bundle.release)
        self._ended[edge] = _Ended(bundle.release, now_ms + RETRY_MS, trials)
        self.progress[edge] = f"{bundle.release}: not taken: {outcome}"
        self._say("update", f"agent {edge}: update {bundle.release} is not taken: {outcome}", edge)

    def _bundle(self, edge: str) -> Bundle | None:
        """Return the update that lies there for this head, read again when the file changes."""
        path = self._folder / f"{edge}.wlu"
        try:
            stat = path.stat()
            mark = (stat.st_ctime_ns, stat.st_size)  # it sees a chmod, too
            known = self._known.get(edge)
            if known is not None and known[0] == mark:
                return known[1]
            if stat.st_size > BUNDLE_BYTES_MAX:
                raise ValueError("it is too large")
            bundle: Bundle | None = parse_bundle(path.read_bytes())
            self._ended.pop(edge, None)
            self._offered_ms.pop(edge, None)
        except FileNotFoundError:
            self._known.pop(edge, None)
            return None
        except (OSError, ValueError) as err:
            bundle = None
            self._say("update", f"{path.name} is no update: {err}", edge)
            try:
                stat = path.stat()
                mark = (stat.st_ctime_ns, stat.st_size)
            except OSError:
                return None
        self._known[edge] = (mark, bundle)
        return bundle
