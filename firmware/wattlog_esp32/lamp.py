"""The IR head's LED at the UART's pin tx, and the timer that drives it; loaded by light.py."""

import time

import machine

from wattlog.compat import const
from wattlog_esp32.start import forget

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_TIMER = const(0)  # every chip has this one, and nobody else here uses any
_PERIOD_MS = const(10)
_NEVER_MS = const(60_000)


class Lamp:
    """A light that is dark until shine(), and after close().

    light    the pin, and the level at which the LED shines
    advance  advance(passed_ms), called every _PERIOD_MS or so

    The pin is taken from the UART and stays ours, dark: we send a meter nothing, and to give it
    back the UART would have to be set up again, which throws away what it has received.
    """

    def __init__(self, light: "tuple[int, int]", advance: "Callable[[int], None]") -> None:
        pin, self._level = light
        self._advance: Callable[[int], None] | None = advance
        self._pin: Any = machine.Pin(pin, machine.Pin.OUT, value=1 - self._level)
        self._ticks = _now_ticks()
        # A period and not one shot after the other: one that is lost costs a period.
        self._timer: Any = machine.Timer(_TIMER)
        self._timer.init(mode=machine.Timer.PERIODIC, period=_PERIOD_MS, callback=self._on_timer)

    def shine(self, is_on: bool) -> None:
        """Switch the light."""
        self._pin.value(self._level if is_on else 1 - self._level)

    def silent_ms(self) -> int:
        """Return how long ago the timer has called."""
        return time.ticks_diff(  # type: ignore[attr-defined, no-any-return]
            _now_ticks(), self._ticks
        )

    def close(self) -> None:
        """Be dark, call nobody any more, and leave the heap."""
        self.shine(False)
        self._advance = None
        # The port keeps a timer that was switched off, and with it whom it has called.
        self._timer.init(mode=machine.Timer.ONE_SHOT, period=_NEVER_MS, callback=None)
        self._timer.deinit()
        forget("lamp")

    def _on_timer(self, _: object) -> None:
        # Between two instructions of the main program, also where that waits for the network.
        now_ticks = _now_ticks()
        passed_ms = time.ticks_diff(now_ticks, self._ticks)  # type: ignore[attr-defined]
        self._ticks = now_ticks
        if self._advance is not None:
            self._advance(passed_ms)


def _now_ticks() -> int:
    return time.ticks_ms()  # type: ignore[attr-defined, no-any-return]
