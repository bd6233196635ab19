"""Which target is still owed which messages, and when it is tried again. Pure.

A target that fails is tried after waits that grow. What it is owed by then goes out as one
message, so that a target that is back is not flooded, either.
"""

from dataclasses import dataclass, field
from typing import Any

from wattlog_host.alerts.ledger import Line, Message, known_of
from wattlog_host.alerts.typed import made_of

RETRY_MS_MIN = 30_000
RETRY_MS_MAX = 3_600_000
OWED_MAX = 20
"""Messages; of more the oldest are given up, and counted."""
OWED_MS_MAX = 2 * 86_400_000
LINES_MAX = 60


@dataclass(slots=True)
class Account:
    """One target: what it is owed, and how it goes.

    trouble is why the last try failed, in our own words: None where it went.
    """

    owed: list[Message] = field(default_factory=list)
    ages_ms: list[int] = field(default_factory=list)
    wait_ms: int = 0
    failures: int = 0
    trouble: str | None = None
    sent: int = 0
    failed: int = 0
    given_up: int = 0
    sent_ms: int | None = None

    def owe(self, message: Message) -> None:
        """Add a message."""
        self.owed.append(message)
        self.ages_ms.append(0)
        while len(self.owed) > OWED_MAX:
            self._give_up()

    def forget_unknown(self) -> None:
        """Forget what it is owed of a kind that only a later version knows."""
        ages_ms = dict(zip((one.number for one in self.owed), self.ages_ms, strict=True))
        self.owed = known_of(self.owed)
        self.ages_ms = [ages_ms[one.number] for one in self.owed]

    def pass_by(self, passed_ms: int) -> None:
        """Note that so much time went by."""
        self.wait_ms = max(0, self.wait_ms - passed_ms)
        self.ages_ms = [age + passed_ms for age in self.ages_ms]
        while self.ages_ms and self.ages_ms[0] > OWED_MS_MAX:
            self._give_up()

    def due(self) -> Message | None:
        """Return what is to be tried now, all of it in one message; None for nothing."""
        if not self.owed or self.wait_ms:
            return None
        newest = self.owed[-1]
        lines: list[Line] = [line for message in self.owed for line in message.lines]
        more = sum(message.more for message in self.owed) + max(0, len(lines) - LINES_MAX)
        return Message(newest.number, newest.made_ms, tuple(lines[:LINES_MAX]), more)

    def on_sent(self, number: int, now_ms: int) -> None:
        """Note that what due() gave has gone: all up to the message of this number."""
        left = [index for index, one in enumerate(self.owed) if one.number > number]
        self.owed = [self.owed[index] for index in left]
        self.ages_ms = [self.ages_ms[index] for index in left]
        self.note(None, now_ms)

    def on_failed(self, why: str, now_ms: int) -> None:
        """Note that it has not."""
        self.note(why, now_ms)
        self.wait_ms = min(RETRY_MS_MIN << min(self.failures - 1, 20), RETRY_MS_MAX)

    def note(self, trouble: str | None, now_ms: int) -> None:
        """Count a try, of whatever message."""
        self.trouble = trouble
        if trouble is None:
            self.sent += 1
            self.failures, self.wait_ms, self.sent_ms = 0, 0, now_ms
        else:
            self.failed += 1
            self.failures += 1

    def _give_up(self) -> None:
        del self.owed[0], self.ages_ms[0]
        self.given_up += 1


def unpacked(data: Any) -> Account:
    """Return what asdict() made of one; raise ValueError for anything else."""
    made: Account = made_of(Account, data)
    if len(made.ages_ms) != len(made.owed) or made.wait_ms > RETRY_MS_MAX:
        raise ValueError
    return made
