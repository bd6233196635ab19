"""Waiting for what another process or thread does, without a sleep of guessed length."""

import select
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

LOOK_EVERY_S = 0.02
WAIT_S_MAX = 20.0


def wait_until(
    condition: Callable[[], Found],
    what: str = "it",
    s_max: float = WAIT_S_MAX,
    every_s: float = LOOK_EVERY_S,
) -> Found:
    """Return what condition() returns once that is true; fail after s_max."""
    for _ in range(int(s_max / every_s)):
        found = condition()
        if found:
            return found
        select.select([], [], [], every_s)
    raise AssertionError(f"{what} did not happen within {s_max:.0f} s")
