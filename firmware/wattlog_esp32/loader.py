"""A head's /main.py: starts wattlog from one of two folders, and leaves an update that fails.

/slot names the folder; a number behind it says that it is on trial, and how often it may still be
started. It is counted down before the start, so whatever happens then counts. This file alone is
never updated over the air: it has to be right, and it has to be small.
"""

import os
import sys
import time

import machine

_SLOTS = {"lib": "lib2", "lib2": "lib"}
_STATE = "/slot"
_WHY_MAX = 100  # letters; it goes into each status
_CALM_MS = 60_000
_WATCHDOG_MS = 120_000  # the agent feeds it; an update that hangs before that does not


def read() -> "tuple[str, int | None]":
    """Return the folder to start from, and how often while it is on trial, None if it is not."""
    try:
        with open(_STATE) as file:
            words = file.read().split()
    except (OSError, ValueError):  # UnicodeError is one
        words = []
    if not words or words[0] not in _SLOTS:
        return "lib", None
    return words[0], int(words[1]) if len(words) == 2 and words[1].isdigit() else None


def write(text: str) -> None:
    """Put this in the state's place, whole or not at all."""
    with open(_STATE + ".new", "w") as file:
        file.write(text)
    os.rename(_STATE + ".new", _STATE)


def leave(slot: str, why: str) -> str:
    """Go back to the other folder for good; return its name."""
    try:
        write("%s failed %s" % (_SLOTS[slot], why[:_WHY_MAX]))
    except OSError:
        pass  # a full file system: the start was counted, and the last one leads here again
    return _SLOTS[slot]


def start() -> None:
    """Start what is there; return when it has ended, which it does not."""
    slot, left = read()
    if left == 0:
        slot, left = leave(slot, "it did not prove itself"), None
    if left is not None:
        try:
            write("%s %d" % (slot, left - 1))
            machine.WDT(timeout=_WATCHDOG_MS)
        except OSError:
            # A start that cannot be counted might be repeated for ever.
            slot, left = _SLOTS[slot], None
    sys.path[sys.path.index("/lib")] = "/" + slot
    try:
        # What is imported first, then what imports it: else one import runs inside the other,
        # eight deep, each with its buffers on the stack and on the heap.
        with open("/%s/order" % slot) as file:
            names = file.read().split()
        for name in names:
            __import__(name)
        sys.modules["wattlog_esp32.main"].run()
    except Exception as err:  # noqa: BLE001 - whatever it is, nobody else can start us again
        sys.print_exception(err)  # type: ignore[attr-defined]
        if left is None:
            # For a person at the console, where Ctrl-C gets the prompt.
            time.sleep_ms(_CALM_MS)  # type: ignore[attr-defined]
        else:
            leave(slot, repr(err))
        machine.reset()


if __name__ == "__main__":
    start()
