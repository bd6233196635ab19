"""Which conditions stand, what of them was told, and what goes into the next message. Pure.

Durations are added up from what passed by a clock that never steps, so that a wall clock which is
set, and a host that was down, neither end nor begin anything. The wall clock is only shown.

No storms: a condition is told once and its end once; one that comes back is over only after a
calm that grows four times as long each time, up to a day, and shrinks by a step a day. All that
is told within a while comes as one message, and that while grows, too, as long as there is more.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from wattlog_host.alerts.rules import DISMISSABLE, KINDS, Finding, Tally
from wattlog_host.alerts.typed import made_of

MINUTE_MS = 60_000
DAY_MS = 86_400_000
CALM_MS = MINUTE_MS // 2
"""So long a condition must not hold to be over: this, grown by how often it was told lately. It
was told at least once, so mostly it is two minutes."""
CALM_FACTOR = 4
TALLY_MS = 15 * MINUTE_MS
"""So long after it was told that something happened, it is not told that it happened again: this,
grown in the same way."""
LEVEL_MAX = 6
FORGOTTEN_MS = 30 * DAY_MS
"""What nobody knows anything of for so long is dropped without a word."""
GATHER_MS = MINUTE_MS // 2
"""What comes together goes out together."""
GAP_MS_MAX = 60 * MINUTE_MS
LINES_MAX = 50
URGENT_LINES_MAX = 100
TROUBLES_MAX = 2_000
HISTORY_MAX = 20

ON, OFF, NEWS = "on", "off", "news"
"""A line says that a condition stands, that it is over, or that something happened."""


@dataclass(slots=True)
class Trouble:
    """A condition that holds, or did until just now.

    since_ms      when it began, by the wall clock
    stood_ms      for how long it holds; clear_ms, for how long it does not any more
    unknown_ms    for how long nobody knows
    is_standing   whether it has held long enough to be told
    is_dismissed  whether a person does not want to hear of it again
    """

    kind: str
    subject: str
    values: dict[str, Any]
    since_ms: int
    stood_ms: int = 0
    clear_ms: int = 0
    unknown_ms: int = 0
    is_standing: bool = False
    is_dismissed: bool = False


@dataclass(slots=True)
class Level:
    """How restless something is: steps, and for how long it has been calm."""

    steps: int = 0
    calm_ms: int = 0

    def rise(self) -> None:
        """Note that it was told."""
        self.steps, self.calm_ms = min(self.steps + 1, LEVEL_MAX), 0

    def wait_ms(self, base_ms: int) -> int:
        """Return what base_ms has grown to."""
        grown_ms: int = base_ms * CALM_FACTOR**self.steps
        return min(grown_ms, DAY_MS)


@dataclass(slots=True)
class Count:
    """How often something has happened, as told; pending is what is not told yet."""

    told: int
    pending: int = 0
    since_ms: int = DAY_MS


@dataclass(frozen=True, slots=True)
class Line:
    """What one line of a message says; words.py writes it."""

    phase: str
    kind: str
    subject: str
    at_ms: int
    is_urgent: bool
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """What is told at once; more is how many lines had no room."""

    number: int
    made_ms: int
    lines: tuple[Line, ...]
    more: int = 0


def known_of(messages: Iterable[Message]) -> list[Message]:
    """Return the messages without lines of a kind that only a later version knows."""
    made = []
    for one in messages:
        lines = tuple(line for line in one.lines if line.kind in KINDS)
        if lines or one.more:
            made.append(Message(one.number, one.made_ms, lines, one.more))
    return made


@dataclass(slots=True)
class Ledger:
    """Everything that must outlive the host, but for messages on their way.

    changes rises with all that is worth writing down.
    """

    troubles: dict[str, Trouble] = field(default_factory=dict)
    levels: dict[str, Level] = field(default_factory=dict)
    counts: dict[str, Count] = field(default_factory=dict)
    waiting: list[Line] = field(default_factory=list)
    more: int = 0
    waited_ms: int = 0
    since_message_ms: int = DAY_MS
    gap_ms: int = 0
    messages: list[Message] = field(default_factory=list)
    number: int = 0
    changes: int = 0

    def stands(self, key: str) -> bool:
        """Tell whether this condition stands."""
        trouble = self.troubles.get(key)
        return trouble is not None and trouble.is_standing

    def standing(self) -> list[Trouble]:
        """Return what stands and was not dismissed, oldest first."""
        shown = [one for one in self.troubles.values() if one.is_standing and not one.is_dismissed]
        return sorted(shown, key=lambda one: one.since_ms)

    def keep_only(self, kinds: frozenset[str]) -> None:
        """Forget what is of any other kind, without a word; what was told of it stays."""
        self.troubles = {key: one for key, one in self.troubles.items() if one.kind in kinds}
        self.waiting = [line for line in self.waiting if line.kind in kinds]

    def forget_unknown(self) -> None:
        """Forget what is of a kind that only a later version knows."""
        self.keep_only(frozenset(KINDS))
        self.messages = known_of(self.messages)

    def dismiss(self, key: str) -> bool:
        """Have a standing condition told no more until it is over; tell whether that was done."""
        trouble = self.troubles.get(key)
        if trouble is None or not trouble.is_standing or trouble.is_dismissed:
            return False
        if trouble.kind not in DISMISSABLE:
            return False
        trouble.is_dismissed = True
        self._withdraw(ON, key)
        self.changes += 1
        return True

    def look(
        self,
        findings: Iterable[Finding],
        tallies: Iterable[Tally],
        urgent: frozenset[str],
        now_ms: int,
        passed_ms: int,
    ) -> None:
        """Take what is found now; passed_ms is how long ago the last look was."""
        found = {one.key: one for one in findings}
        self._calm_down(passed_ms)
        for key, finding in found.items():
            # Many meters and agents leave room for the few that are the host's own.
            has_room = len(self.troubles) < TROUBLES_MAX or not finding.subject
            if finding.holds and key not in self.troubles and has_room:
                since_ms = finding.values.get("since") or now_ms
                self.troubles[key] = Trouble(
                    finding.kind, finding.subject, dict(finding.values), since_ms,
                    finding.held_ms,
                )  # fmt: skip
            elif finding.holds is not False and key in self.troubles:
                self.troubles[key].stood_ms += passed_ms
        for key, trouble in list(self.troubles.items()):
            self._judge(key, trouble, found.get(key), urgent, now_ms, passed_ms)
        counted = set()
        for tally in tallies:
            self._count(tally, urgent, now_ms, passed_ms)
            counted.add(tally.key)
        if len(self.counts) >= TROUBLES_MAX:
            # What nobody names any more, like ports of an agent, makes room.
            self.counts = {key: one for key, one in self.counts.items() if key in counted}
        self.since_message_ms += passed_ms
        self.waited_ms = self.waited_ms + passed_ms if self.waiting else 0

    def message(self, now_ms: int, digest_ms: int, *, is_quiet: bool) -> Message | None:
        """Return what is to be told now, None for nothing yet; it counts as told."""
        ready = [line for line in self.waiting if line.is_urgent or not is_quiet]
        if not ready or self.waited_ms < GATHER_MS:
            return None
        is_urgent = any(line.is_urgent for line in ready)
        gap_ms = digest_ms if is_urgent else max(self.gap_ms, digest_ms)
        if self.since_message_ms < gap_ms:
            return None
        # The next one waits longer if this one came right after the last.
        busy = self.since_message_ms < 2 * gap_ms
        self.gap_ms = min(2 * gap_ms, max(GAP_MS_MAX, digest_ms)) if busy else digest_ms
        self.waiting = [line for line in self.waiting if line not in ready]
        self.number += 1
        more, self.more = (0, self.more) if self.waiting else (self.more, 0)
        made = Message(self.number, now_ms, tuple(ready), more)
        self.messages = [made, *self.messages][:HISTORY_MAX]
        self.since_message_ms = self.waited_ms = 0
        self.changes += 1
        return made

    def packed(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    # --- one condition -----------------------------------------------------------------------

    def _judge(
        self,
        key: str,
        trouble: Trouble,
        finding: Finding | None,
        urgent: frozenset[str],
        now_ms: int,
        passed_ms: int,
    ) -> None:
        holds = None if finding is None else finding.holds
        trouble.unknown_ms = trouble.unknown_ms + passed_ms if holds is None else 0
        if trouble.unknown_ms >= FORGOTTEN_MS:
            self._drop(key)
        elif finding is not None and finding.is_moot:
            self._withdraw(ON, key)
            self._drop(key)
        elif holds and finding is not None:
            self._hold(key, trouble, finding, urgent, now_ms)
        elif holds is False and finding is not None:
            if not trouble.is_standing:
                del self.troubles[key]
                return
            trouble.clear_ms += passed_ms
            if trouble.clear_ms >= self._level(key).wait_ms(CALM_MS):
                self._end(key, trouble, finding, urgent, now_ms)

    def _hold(
        self, key: str, trouble: Trouble, finding: Finding, urgent: frozenset[str], now_ms: int
    ) -> None:
        trouble.clear_ms = 0
        if trouble.is_standing or trouble.stood_ms < finding.hold_ms:
            return
        trouble.is_standing = True
        trouble.values = dict(finding.values)
        self.levels.setdefault(key, Level()).rise()
        self._say(ON, trouble.kind, trouble.subject, trouble.values, now_ms, urgent)

    def _end(
        self, key: str, trouble: Trouble, finding: Finding, urgent: frozenset[str], now_ms: int
    ) -> None:
        self._drop(key)
        if trouble.is_dismissed:
            return
        # Who was not told of it yet hears of both at once.
        self._withdraw(ON, key)
        lasted_ms = trouble.stood_ms
        values = {**finding.values, "since": trouble.since_ms, "lasted": lasted_ms}
        self._say(OFF, trouble.kind, trouble.subject, values, now_ms, urgent)

    def _drop(self, key: str) -> None:
        del self.troubles[key]
        self.changes += 1

    # --- what happens ------------------------------------------------------------------------

    def _count(self, tally: Tally, urgent: frozenset[str], now_ms: int, passed_ms: int) -> None:
        key = tally.key
        known = self.counts.get(key)
        if known is None:
            # What happened before anybody looked is no news.
            if len(self.counts) < TROUBLES_MAX:
                self.counts[key] = Count(tally.total)
                self.changes += 1
            return
        if tally.total < known.told:
            known.told = 0 if tally.begins_anew else tally.total
            self.changes += 1
        if tally.total > known.told:
            known.pending += tally.total - known.told
            known.told = tally.total
            self.changes += 1
        known.since_ms += passed_ms
        if known.pending and known.since_ms >= self._level(key).wait_ms(TALLY_MS):
            values = {**tally.values, "count": known.pending}
            known.pending = known.since_ms = 0
            self.levels.setdefault(key, Level()).rise()
            self._say(NEWS, tally.kind, tally.subject, values, now_ms, urgent)

    # --- lines -------------------------------------------------------------------------------

    def _say(
        self,
        phase: str,
        kind: str,
        subject: str,
        values: Mapping[str, Any],
        now_ms: int,
        urgent: frozenset[str],
    ) -> None:
        self.changes += 1
        is_urgent = kind in urgent
        if len(self.waiting) >= (URGENT_LINES_MAX if is_urgent else LINES_MAX):
            self.more += 1
            return
        self.waiting.append(Line(phase, kind, subject, now_ms, is_urgent, dict(values)))

    def _withdraw(self, phase: str, key: str) -> None:
        self.waiting = [
            line
            for line in self.waiting
            if line.phase != phase or f"{line.kind} {line.subject}" != key
        ]

    def _level(self, key: str) -> Level:
        return self.levels.get(key) or Level()

    def _calm_down(self, passed_ms: int) -> None:
        for key, level in list(self.levels.items()):
            level.calm_ms += passed_ms
            if level.calm_ms >= DAY_MS:
                level.calm_ms, level.steps = 0, level.steps - 1
            if level.steps <= 0:
                del self.levels[key]


def unpacked(data: Any) -> Ledger:
    """Return what packed() gave; raise ValueError for anything else."""
    made: Ledger = made_of(Ledger, data)
    if any(level.steps > LEVEL_MAX for level in made.levels.values()):
        raise ValueError
    return made
