"""The two folders that a head can start from, and which it is; loader.py is what goes by it.

/slot holds the folder's name; "lib2 2": it is on trial and may be started twice more;
"lib failed why": the other one was tried and left. Each folder has its release in a file.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    Release = tuple[int, int, int, int]

STATE_PATH = "/slot"
STARTS = 3  # of an update before it is left; a power cut in the middle of its trial takes one
_OTHER = {"lib": "lib2", "lib2": "lib"}


def running() -> str:
    """Return the folder that we run from."""
    return "lib2" if "/lib2" in sys.path else "lib"


def spare() -> str:
    """Return the folder that we do not run from."""
    return _OTHER[running()]


def read_words(path: str = STATE_PATH) -> "list[str]":
    """Return the folder's name and what is behind it, two parts at most; [""] for no state."""
    try:
        with open(path) as file:
            return file.read().split(" ", 2)
    except (OSError, ValueError):  # UnicodeError is one
        return [""]


def read_state(path: str = STATE_PATH) -> "tuple[bool, str | None]":
    """Return whether what runs is on trial, and why an update was left."""
    words = read_words(path)
    if words[1:2] == ["failed"]:
        return False, "left: " + "".join(words[2:])
    # Of the other folder: the loader could not write, and left it all the same.
    return len(words) == 2 and words[0] == running(), None


def write_state(text: str, path: str = STATE_PATH) -> None:
    """Put this in the state's place, whole or not at all; raise OSError."""
    with open(path + ".new", "w") as file:
        file.write(text)
    if hasattr(os, "sync"):
        os.sync()
    os.rename(path + ".new", path)


def read_release(folder: str) -> str:
    """Return what is in this folder, like "0.1.0+5"; "" where nobody knows."""
    try:
        with open(folder + "/release") as file:
            return file.read().strip()
    except (OSError, ValueError):
        return ""


def release_of(text: str) -> "Release | None":
    """Return (major, minor, patch, build) of "0.1.0+5", None for anything else."""
    try:
        version, build = text.split("+")
        numbers = [int(part) for part in version.split(".")] + [int(build)]
    except ValueError:
        return None
    return tuple(numbers) if len(numbers) == 4 else None  # type: ignore[return-value]
