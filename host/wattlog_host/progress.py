"""A bar on a terminal that says how far something is; nothing where nobody looks."""

import sys
from typing import TextIO

_WIDTH = 30


class Progress:
    """Call it with (done, total); as a context manager it leaves the line empty again."""

    def __init__(self, what: str, out: TextIO | None = None) -> None:
        """Say what is being done; out is standard error unless given."""
        self._what = what
        self._out = sys.stderr if out is None else out
        self._is_shown = self._out.isatty()
        self._last = ""

    def __call__(self, done: int, total: int) -> None:
        """Show how far it is."""
        part = min(1.0, done / total) if total else 0.0
        line = f"{self._what} [{'#' * int(_WIDTH * part):{_WIDTH}}] {int(100 * part)} %"
        if self._is_shown and line != self._last:
            self._last = line
            self._out.write(f"\r{line}")
            self._out.flush()

    def __enter__(self) -> "Progress":
        """Return the bar."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the line away."""
        if self._last:
            self._out.write(f"\r{'':{len(self._last)}}\r")
            self._out.flush()
