"""Why the last start ended, kept over a restart in one small file until the host has it.

Written at most once per start, and never over one that the host has not got yet: a head that
crashes at every start writes once, and what is told is the first cause. A file, because no
version of the port promises that RTC memory outlives the watchdog.
"""

import io
import os
import sys

from wattlog.compat import const

_TEXT_MAX = const(120)
_FRAMES_MAX = const(5)  # of the traceback, the innermost
_FRAME_LETTERS_MAX = const(48)
_FILE_BYTES_MAX = const(512)

# machine.reset_cause(), as an ESP32 counts. A brown-out it calls power-on, and a panic a reset.
_CAUSES = {
    1: "power-on or brown-out",
    2: "reset or panic",
    3: "watchdog",
    4: "deep sleep",
    5: "soft reset",
}


def cause_words(cause: int) -> str:
    """Return machine.reset_cause() in words."""
    return _CAUSES.get(cause, "unknown (%d)" % cause)


def read(path: str) -> "dict[str, object] | None":
    """Return what an earlier start has left: {boot, uptime_ms, text, trace}, or None."""
    try:
        with open(path) as file:
            lines = file.read(_FILE_BYTES_MAX).split("\n")
    except (OSError, ValueError):
        return None
    crash: dict[str, object] = {"boot": None, "uptime_ms": None, "text": None, "trace": lines[3:]}
    try:  # a power cut may have left any part of it
        crash["boot"] = int(lines[0], 16) & 0xFFFFFFFF
        crash["uptime_ms"] = int(lines[1])
        crash["text"] = lines[2]
    except (ValueError, IndexError):
        pass
    return crash


def write(path: str, boot: int, uptime_ms: int, what: "Exception | str") -> None:
    """Keep this for the next start, unless an earlier one waits for the host.

    Raises OSError where it cannot be written; then nothing of it is left.
    """
    if read(path) is not None:
        return
    trace: list[str] = []
    if isinstance(what, Exception):
        text = type(what).__name__
        try:
            trace = _trace(what)
            text = "%s: %s" % (text, what)
        except MemoryError:
            pass  # its name alone then
    else:
        text = what
    lines = ["%08x" % boot, str(uptime_ms), text[:_TEXT_MAX].replace("\n", " ")]
    try:
        with open(path, "w") as file:
            file.write("\n".join(lines + trace[-_FRAMES_MAX:]))
    except OSError:
        try:
            os.remove(path)  # an empty one would be told, and keep the next one out
        except OSError:
            pass
        raise


def _trace(err: Exception) -> "list[str]":
    """Return where it came from, "file:line function" each, the innermost last."""
    out = io.StringIO()
    sys.print_exception(err, out)  # type: ignore[attr-defined]
    found = []
    for line in out.getvalue().split("\n"):
        words = line.strip().split(", ")
        if words[0].startswith("File "):
            where = "%s:%s %s" % (words[0][6:-1], words[1][5:], words[-1][3:])
            found.append(where[-_FRAME_LETTERS_MAX:])
    return found
