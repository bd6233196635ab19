"""What alerts remember over a restart: a file beside the database, replaced as a whole.

Not in the database, for its trouble is one of the things to be told.
"""

import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from wattlog_host.alerts import ledger, outbox, rhythm
from wattlog_host.alerts.ledger import Ledger
from wattlog_host.alerts.outbox import Account
from wattlog_host.alerts.rhythm import Rhythm
from wattlog_host.alerts.words import line_text, message_text, trouble_text
from wattlog_host.history.zone import named_zone
from wattlog_host.private_file import write_private
from wattlog_host.web.languages import LANGUAGES, Speech

LOG = logging.getLogger(__name__)

FILE_NAME = "alerts.json"
FORMAT = 1
FILE_BYTES_MAX = 32 * 2**20
"""Twenty targets that are owed all they can be take 8 MB."""
_UNUSABLE = (
    OSError, ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError,
)  # fmt: skip


@dataclass(slots=True)
class Memory:
    """Everything; accounts are by the name of their target."""

    ledger: Ledger = field(default_factory=Ledger)
    rhythms: dict[bytes, Rhythm] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)

    def text(self) -> str:
        """Return it as it is written down."""
        data: dict[str, Any] = {
            "format": FORMAT,
            "ledger": self.ledger.packed(),
            "rhythms": {key.hex(): one.packed() for key, one in self.rhythms.items()},
            "accounts": {name: asdict(one) for name, one in self.accounts.items()},
        }
        return json.dumps(data, separators=(",", ":"))


def load(path: Path) -> Memory:
    """Return what was kept; of a file that is not there, or cannot be used, nothing."""
    try:
        with path.open("rb") as file:
            text = file.read(FILE_BYTES_MAX + 1)
        if len(text) > FILE_BYTES_MAX:
            raise ValueError
        return _memory(json.loads(text))
    except FileNotFoundError:
        return Memory()
    except _UNUSABLE as err:
        LOG.warning("%s cannot be used, and alerts begin anew: %s", path, type(err).__name__)
        return Memory()


def save(path: Path, text: str) -> None:
    """Write down what Memory.text() gave; raise OSError."""
    write_private(path, text)


def _memory(data: Any) -> Memory:
    if data["format"] != FORMAT:
        raise ValueError
    made = Memory(
        ledger.unpacked(data["ledger"]),
        {bytes.fromhex(key): rhythm.unpacked(one) for key, one in data["rhythms"].items()},
        {name: outbox.unpacked(one) for name, one in data["accounts"].items()},
    )
    made.ledger.forget_unknown()
    for account in made.accounts.values():
        account.forget_unknown()
    _say_all(made)
    return made


def _say_all(memory: Memory) -> None:
    """Say each line once: what cannot be said now would break the page, and each message."""
    say, of = Speech(LANGUAGES[0], named_zone("UTC").local), memory.ledger
    for trouble in of.troubles.values():
        trouble_text(say, trouble)
    for line in of.waiting:
        line_text(say, line)
    owed = [one for account in memory.accounts.values() for one in account.owed]
    for message in (*of.messages, *owed):
        message_text(say, message)
