"""The meter's PIN by light: the IR head's own LED flashes as a person with a torch would.

Loaded when it is asked for, of use only where the settings have pin.allow. The timings come with
the command (agent/SPEC.md), so there is no table of meters here. No clock and no pin either:
lamp.py has both, and calls Flasher.advance() from a timer, whatever the head waits for.
"""

from array import array

from wattlog import msgpack, records
from wattlog.compat import const
from wattlog.uplink import LinkError
from wattlog_esp32.start import forget

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from wattlog.ports import Link
    from wattlog_esp32.lamp import Lamp
    from wattlog_esp32.uart import UartSource

MS_MIN = const(50)
MS_MAX = const(10_000)
COUNT_MAX = const(30)
TOTAL_MS_MAX = const(240_000)
LATE_MS_MAX = const(250)  # by so much a flash or a pause may be longer than it should
DIGITS = const(4)
REQUESTS_MAX = const(8)  # of one start: whoever is still wrong then would lock the meter
_UINT32_MAX = const(0xFFFF_FFFF)
_LIGHT = const(0x4000)  # in a step, beside its ms
_DIGITS = "0123456789"
_FAILED = "failed: "
_MENU = const(5)  # the part behind entry and digits
assert MS_MAX < _LIGHT, "a step's time and its light do not mix"


class Refused(Exception):
    """What is asked for will not be done; reason is one of SPEC.md's, so it tells no PIN."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Job:
    """Enters one PIN, once, and tells how far it is.

    sources  the ports
    edge, boot, link  who we are, and the way out
    """

    wants_restart = False

    def __init__(self, sources: "list[UartSource]", edge: str, boot: int, link: "Link") -> None:
        self._sources = sources
        self._edge = edge
        self._boot = boot
        self._link = link
        self._flasher: Flasher | None = None
        self._lamp: Lamp | None = None
        self._light = (0, 0)
        self._request = 0
        self._told = ""
        self._answers: list[tuple[int, str]] = []  # request and reason of what was not begun

    def on_command(self, payload: bytes, _now_ms: int) -> None:
        """Begin or abort what is asked for; anything else means nothing."""
        value = _read(payload, self._boot)
        if value is None:
            return
        request = value[3]
        if len(value) == 4:
            if self._flasher is not None and request in (0, self._request):
                self._flasher.stop("aborted")
        # Three wrong PINs may lock a meter: no command is followed twice, however it comes.
        elif request and not any(request in source.asked for source in self._sources):
            try:
                self._begin(request, value[4], value[5], value[6])
            except Refused as err:
                self._answers.append((request, err.reason))
            except MemoryError:
                self._answers.append((request, "memory"))

    def step(self, now_ms: int) -> bool:
        """Tell what is new, let the light begin or end; return False when all is over."""
        for request, reason in self._answers:
            self._send(request, reason if reason == "off" else _FAILED + reason, now_ms)
        self._answers = []
        flasher = self._flasher
        if flasher is None:
            return False
        if self._lamp is not None and self._lamp.silent_ms() > LATE_MS_MAX:
            flasher.stop(_FAILED + "timer")
        state = flasher.state()
        is_heard = self._link.is_up()
        if state != self._told:
            self._told = state
            is_heard = self._send(self._request, state, now_ms)
        if not is_heard:
            # Nobody could abort any more, and connecting anew blocks for longer than an edge may.
            flasher.stop(_FAILED + "connection")
            self._told = flasher.state()
        if flasher.result is None:
            if self._lamp is None:
                self._switch_on(flasher)
        elif self._told == flasher.result:
            self._switch_off()
            return False
        return True

    def _begin(self, request: int, port: "Any", pin: "Any", timings: "Any") -> None:
        """Prepare the flashes; raise Refused where there will be none."""
        source = None
        for each in self._sources:
            if each.name == port:
                source = each
        if source is None:
            raise Refused("port")
        if source.light is None:
            raise Refused("off")
        # From here on it counts as followed: a repetition must not find the way free by then.
        if len(source.asked) >= REQUESTS_MAX:
            raise Refused("requests")
        source.asked += (request,)
        if self._flasher is not None:
            raise Refused("busy")
        self._flasher = Flasher(*plan(pin, timings))
        self._light = source.light
        self._request = request
        self._told = ""

    def _switch_on(self, flasher: "Flasher") -> None:
        """Take the pin. The host has been told by now: where it cannot be, nothing flashes."""
        try:
            self._lamp = open_lamp(self._light, flasher.advance)
            flasher.begin(self._lamp.shine)
        except (ValueError, OSError):
            flasher.stop(_FAILED + "lamp")
        except MemoryError:
            flasher.stop("failed: memory")

    def _switch_off(self) -> None:
        if self._lamp is not None:
            self._lamp.close()
        self._lamp = self._flasher = None

    def _send(self, request: int, state: str, now_ms: int) -> bool:
        message = (records.FORMAT_WIRE, self._edge, self._boot, now_ms, request, state)
        try:
            topic = records.topic(self._edge, records.RAW)
            self._link.publish(topic, msgpack.pack(message), False)
        except LinkError:
            return False
        return True


class Flasher:
    """Plays a plan. Each step lasts as long as it should or LATE_MS_MAX longer, else it is over.

    result  how it ended; None before
    """

    def __init__(self, steps: "array[int]", starts: bytearray) -> None:
        self.result: str | None = None
        self._steps = steps
        self._starts = starts
        self._index = 0
        self._left_ms = 0
        self._shine: Callable[[bool], None] | None = None

    def begin(self, shine: "Callable[[bool], None]") -> None:
        """Show the first step; shine(is_on) switches the light."""
        self._show(shine)
        self._shine = shine  # last: from here on advance() may strike

    def advance(self, passed_ms: int) -> None:
        """Go on; called by a timer, in the middle of whatever else is being done."""
        if self._shine is None or self.result is not None:
            return
        self._left_ms -= passed_ms
        if self._left_ms > 0:
            return
        if self._left_ms < -LATE_MS_MAX:
            self.stop("failed: late")  # whole: to put it together might want memory, with light on
            return
        self._index += 1
        if self._index < len(self._steps):
            # From now on and not from when it was due: no flash is too short to be seen.
            self._show(self._shine)
        else:
            self.stop("done")

    def stop(self, result: str) -> None:
        """End with this result, in the dark; a later one changes nothing."""
        if self.result is None:
            self.result = result
            if self._shine is not None:
                self._shine(False)
            self._steps = array("H")

    def state(self) -> str:
        """Return how far it is, in the words of the message."""
        if self.result is not None:
            return self.result
        part = 0
        for start in self._starts:
            part += self._index >= start
        if part == 0 or self._shine is None:
            return "started"
        if part < _MENU:
            return "digit %d of %d" % (part, DIGITS)
        return "menu" if part == _MENU else "holding"

    def _show(self, shine: "Callable[[bool], None]") -> None:
        step = self._steps[self._index]
        self._left_ms = step & (_LIGHT - 1)
        shine(step >= _LIGHT)


def plan(pin: "Any", timings: "Any") -> "tuple[array[int], bytearray]":
    """Return the steps, and where in them the digits, the menu and the holding start.

    Raises Refused where it is not a PIN, or timings are not as agent/SPEC.md has them.
    """
    if not isinstance(pin, str) or len(pin) != DIGITS:
        raise Refused("pin")
    if any(letter not in _DIGITS for letter in pin):
        raise Refused("pin")
    entry_count, on_ms, off_ms, gap_ms, menu_count, hold_ms = _checked(timings)
    steps = array("H")
    starts = bytearray()
    # A 0 is nothing but its pause, which the meter counts from the flash before.
    _flash(steps, entry_count, on_ms, off_ms, 0 if pin[0] == "0" else off_ms)
    for letter in pin:
        starts.append(len(steps))
        _flash(steps, _DIGITS.find(letter), on_ms, off_ms, gap_ms)
        if letter == "0":
            steps.append(gap_ms)
    if menu_count is not None:
        starts.append(len(steps))
        _flash(steps, menu_count, on_ms, off_ms, off_ms)
        starts.append(len(steps))
        _flash(steps, 1, hold_ms, off_ms, off_ms)
    if sum(step & (_LIGHT - 1) for step in steps) > TOTAL_MS_MAX:
        raise Refused("total")
    return steps, starts


def _checked(timings: "Any") -> "list[Any]":
    if not isinstance(timings, list) or len(timings) != 6:
        raise Refused("timings")
    entry_count, on_ms, off_ms, gap_ms, menu_count, hold_ms = timings
    for count in (entry_count, 0 if menu_count is None else menu_count):
        if not _is_uint(count, 0, COUNT_MAX):
            raise Refused("count")
    for time_ms in (on_ms, off_ms, gap_ms, hold_ms):
        if not _is_uint(time_ms, MS_MIN, MS_MAX):
            raise Refused("time")
    # What the meter tells apart has to stay apart if each is as late as it may be. Of a 0 it sees
    # the pause only, so with three of them in front four pauses add up.
    if gap_ms - off_ms < 2 * LATE_MS_MAX or gap_ms < 4 * LATE_MS_MAX:
        raise Refused("gap")
    if hold_ms - on_ms < 2 * LATE_MS_MAX:
        raise Refused("hold")
    return timings


def _flash(steps: "array[int]", count: int, on_ms: int, off_ms: int, last_ms: int) -> None:
    """Add so many flashes; the pause behind the last one is last_ms, or still to be added."""
    for number in range(1, count + 1):
        steps.append(on_ms | _LIGHT)
        pause_ms = last_ms if number == count else off_ms
        if pause_ms:
            steps.append(pause_ms)


def _read(payload: bytes, boot: int) -> "list[Any] | None":
    """Return a command that is ours and of this start; what a broker has kept is of another."""
    try:
        value = msgpack.unpack(payload)
    except msgpack.MsgpackError:
        return None
    if not isinstance(value, list) or len(value) not in (4, 7):
        return None
    if value[:2] != [records.FORMAT_WIRE, "pin"] or not _is_uint(value[2], boot, boot):
        return None
    return value if _is_uint(value[3], 0, _UINT32_MAX) else None


def _is_uint(value: "Any", low: int, high: int) -> bool:
    # A bool is an int in Python, but no number here.
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def open_lamp(light: "tuple[int, int]", advance: "Callable[[int], None]") -> "Lamp":
    """Return the light at this pin, dark; advance(passed_ms) is called until it is closed."""
    from wattlog_esp32.lamp import Lamp  # noqa: PLC0415

    try:
        return Lamp(light, advance)
    except Exception:
        forget("lamp")
        raise
