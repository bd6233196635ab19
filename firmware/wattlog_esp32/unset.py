"""A head without usable settings: it asks for them, and if nobody answers it meters on."""

import os

import machine

from wattlog_esp32 import partial
from wattlog_esp32.start import say

_SLEEP_MS = 3_600_000


def run(path: str, lost: str | None = None) -> None:
    """Ask for the settings and restart with them; else meter without them, or sleep.

    lost  the meter whose UART or pins this chip has not, where the settings are right beside that
    """
    # Imported where it is needed: the heap does not hold the asking and the agent, and what
    # asking has put into the table of names never leaves it. So a restart is between the two.
    note = path.rpartition("/")[0] + "/nobody.came"
    known = partial.usable(path)
    if lost in ("meter2", "meter3"):
        # The form has no fields for it: left in, it would send us here again after each repair.
        known = {key: known[key] for key in known if not key.startswith(lost + ".")}
    if _take(note):
        from wattlog_esp32 import offline  # noqa: PLC0415

        offline.run(known, say)
    else:
        from wattlog_esp32 import provision  # noqa: PLC0415

        provision.run(path, say, known)
        if lost != "meter" and "meter.rx" in known and "meter.tx" in known:
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
