"""A head without usable settings: it asks for them, and if nobody answers it meters on."""

import os

import machine

from wattlog_esp32 import partial
from wattlog_esp32.start import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SLEEP_MS = 3_600_000


def run(path: str) -> None:
    """Ask for the settings and restart with them; else meter without them, or sleep."""
    # Imported where it is needed: the heap does not hold the asking and the agent, and what
    # asking has put into the table of names never leaves it. So a restart is between the two.
    note = path.rpartition("/")[0] + "/nobody.came"
    if _take(note):
        from wattlog_esp32 import offline  # noqa: PLC0415

        offline.run(partial.usable(path), say)
    else:
        from wattlog_esp32 import provision  # noqa: PLC0415

        provision.run(path, say)
        if _knows_meter(partial.usable(path)):
            with open(note, "w"):
                pass
            machine.reset()
    machine.deepsleep(_SLEEP_MS)


def _take(note: str) -> bool:
    """Tell whether the note is there, and take it away: the next start asks again."""
    try:
        os.remove(note)
    except OSError:
        return False
    return True


def _knows_meter(known: "dict[str, Any]") -> bool:
    return "meter.rx" in known and "meter.tx" in known
