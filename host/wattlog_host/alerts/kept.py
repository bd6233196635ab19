"""What alerts remember over a restart: a file beside the database, replaced as a whole.

Not in the database, for its trouble is one of the things to be told.
"""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wattlog_host.alerts import ledger, outbox, rhythm
from wattlog_host.alerts.ledger import Ledger
from wattlog_host.alerts.outbox import Account
from wattlog_host.alerts.rhythm import Rhythm
from wattlog_host.private_file import write_private

LOG = logging.getLogger(__name__)

FILE_NAME = "alerts.json"
FORMAT = 1


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
            "accounts": dict(
                zip(self.accounts, outbox.packed(list(self.accounts.values())), strict=True)
            ),
        }
        return json.dumps(data, separators=(",", ":"))


def load(path: Path) -> Memory:
    """Return what was kept; of a file that is not there, or cannot be used, nothing."""
    try:
        return _memory(json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return Memory()
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as err:
        LOG.warning("%s cannot be used, and alerts begin anew: %s", path, type(err).__name__)
        return Memory()


def save(path: Path, text: str) -> None:
    """Write down what Memory.text() gave; raise OSError."""
    write_private(path, text)


def _memory(data: Any) -> Memory:
    if data["format"] != FORMAT:
        raise ValueError
    return Memory(
        ledger.unpacked(data["ledger"]),
        {bytes.fromhex(key): rhythm.unpacked(one) for key, one in data["rhythms"].items()},
        dict(zip(data["accounts"], outbox.unpacked(data["accounts"].values()), strict=True)),
    )
