"""A meter's optical button: what it makes of light, as the meters' manuals tell it.

A short flash is the next thing or one more, a long one chooses. A pause ends a digit, one after
the other, whether it was flashed or not: that is how a 0 is given. Nobody for two minutes, and the
meter is back where it was. Time is an argument; it never steps back.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

IDLE = "idle"
ENTRY = "entry"
MENU = "menu"
IDLE_MS = 120_000
LONG_MS = 4_500
PAUSE_MS = 3_000
WRONG_MAX = 3


class Button:
    """One meter with a PIN.

    entry_count  short flashes from its rest to the PIN
    menu_count   short flashes from the accepted PIN to InF
    long_ms      what shines as long is a long flash
    pause_ms     what is dark as long ends a digit

    wrong        PINs that were wrong; after WRONG_MAX it is locked
    strayed      long flashes where nobody with a plan gives one
    is_inf_on    whether InF is on
    """

    def __init__(
        self,
        pin: str,
        entry_count: int = 2,
        menu_count: int = 0,
        long_ms: int = LONG_MS,
        pause_ms: int = PAUSE_MS,
    ) -> None:
        self._pin = pin
        self._entry_count = entry_count
        self._menu_count = menu_count
        self._long_ms = long_ms
        self._pause_ms = pause_ms
        self.wrong = 0
        self.strayed = 0
        self.is_inf_on = False
        self.is_unlocked = False
        self.state = IDLE
        self._count = 0  # flashes in this state
        self._digits: list[int] = []
        self._is_lit = False
        self._since_ms = 0  # the last edge
        self._dark_ms = 0  # the beginning of the pause that ends the digit

    def light(self, is_on: bool, now_ms: int) -> None:
        """Take an edge; one that changes nothing is none."""
        if is_on == self._is_lit:
            return
        self.wait(now_ms)
        self._is_lit = is_on
        lasted_ms = now_ms - self._since_ms
        self._since_ms = self._dark_ms = now_ms
        if not is_on and self.wrong < WRONG_MAX:
            if lasted_ms >= self._long_ms:
                self._long()
            else:
                self._short()

    def wait(self, now_ms: int) -> None:
        """Let time pass."""
        if self._is_lit:
            return
        while self.state == ENTRY and now_ms - self._dark_ms >= self._pause_ms:
            self._dark_ms += self._pause_ms
            self._next_digit()
        if now_ms - self._since_ms >= IDLE_MS:
            self._rest()

    def _short(self) -> None:
        self._count += 1
        if self.state == IDLE and self._count == self._entry_count:
            self.state = ENTRY
            self._count = 0
            self._digits = []

    def _long(self) -> None:
        if self.state == MENU and self._count == self._menu_count:
            self.is_inf_on = not self.is_inf_on
        else:
            self.strayed += 1

    def _next_digit(self) -> None:
        self._digits.append(self._count % 10)
        self._count = 0
        if len(self._digits) < len(self._pin):
            return
        if "".join(str(digit) for digit in self._digits) == self._pin:
            self.is_unlocked = True
            self.state = MENU
        else:
            self.wrong += 1
            self._rest()

    def _rest(self) -> None:
        self.state = IDLE
        self._count = 0


def replay(button: Button, edges: "Iterable[tuple[int, bool]]", rest_ms: int = PAUSE_MS) -> None:
    """Show a meter edges (ms, is_on) that were taken down, and then rest_ms of what came last."""
    at_ms = 0
    for at_ms, is_on in edges:
        button.light(is_on, at_ms)
    button.wait(at_ms + rest_ms)
