"""How meters take a PIN by light, a row for each kind. A new meter is a new row, and nothing else.

The head that flashes knows none of it: the row's numbers go out with the command.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from wattlog_esp32 import light
from wattlog_tools.console import ToolError


class Maker(NamedTuple):
    """One way to enter a PIN; a digit n is n short flashes, so a 0 is none.

    entry_count  short flashes from the meter's rest to "PIN 0---"
    on_ms        how long a short flash shines
    off_ms       the pause between two flashes of one digit
    gap_ms       the pause that ends a digit
    menu_count   short flashes from the accepted PIN to "InF"; None where nobody has counted them
    hold_ms      how long the flash shines that switches "InF"
    source       who says so
    """

    name: str
    title: str
    entry_count: int
    on_ms: int
    off_ms: int
    gap_ms: int
    menu_count: int | None
    hold_ms: int
    source: str


MAKERS = (
    Maker(
        "default", "most meters with an optical button",
        2, 500, 500, 3_500, None, 5_500,
        "leaflets of Stadtwerke Freiberg and Komm.energie; manual of the mMe4.0, page 27",
    ),
)  # fmt: skip
NUMBERS = ("entry_count", "on_ms", "off_ms", "gap_ms", "menu_count", "hold_ms")
_FLASHES_MAX = 9
_SPARE_MS = 10_000


# Why a head did not, or stopped: its reason in a message, and the words for a person.
_LATE_MS: int = light.LATE_MS_MAX
REASONS = {
    "port": "the head has no such port",
    "requests": f"it was asked {light.REQUESTS_MAX} times since its start: be sure of the PIN, "
    "then wattlog-tools head restart",
    "busy": "it enters another PIN just now: wait, or --abort",
    "memory": "it has no memory left for this: wattlog-tools head restart",
    "pin": f"a PIN has {light.DIGITS} digits",
    "timings": "the head wants other timings than this version sends: renew both",
    "count": f"a count must be 0 to {light.COUNT_MAX}",
    "time": f"a time must be {light.MS_MIN} to {light.MS_MAX} ms",
    "gap": f"gap_ms must be {4 * _LATE_MS} or more, and {2 * _LATE_MS} more than off_ms",
    "hold": f"hold_ms must be {2 * _LATE_MS} more than on_ms",
    "total": f"all together would take more than {light.TOTAL_MS_MAX // 1000} s",
    "late": f"a flash or a pause became more than {_LATE_MS} ms too long, as the head was busy "
    "otherwise: try again",
    "timer": "the head's timer stood still: try again",
    "connection": "the head lost its connection, so nobody could have stopped it: try again",
    "lamp": "the head cannot use the pin of its LED, or its timer",
}


def words(reason: str) -> str:
    """Return a head's reason for a person; one that we do not know as it is."""
    return REASONS.get(reason, reason)


def by_name(name: str) -> Maker:
    """Return the row of this name; raise ToolError for another."""
    for maker in MAKERS:
        if maker.name == name:
            return maker
    raise ToolError(f"--maker {name}: there are {', '.join(maker.name for maker in MAKERS)}")


def changed(maker: Maker, settings: Sequence[str]) -> Maker:
    """Return a row with NAME=VALUE put into it, for a meter that has none yet."""
    values: dict[str, int] = {}
    for setting in settings:
        name, _, text = setting.partition("=")
        if name not in NUMBERS or not text.isascii() or not text.isdigit():
            raise ToolError(f"--set {setting}: not NAME=NUMBER with one of {', '.join(NUMBERS)}")
        values[name] = int(text)
    return maker._replace(**values)  # type: ignore[arg-type]


def timings(maker: Maker, is_inf_wanted: bool) -> list[int | None]:
    """Return what the command carries; raise ToolError for what a head would refuse."""
    row: Mapping[str, int | None] = maker._asdict()
    out = [row[name] for name in NUMBERS]
    if not is_inf_wanted:
        out[NUMBERS.index("menu_count")] = None
    elif maker.menu_count is None:
        raise ToolError(
            f'nobody knows yet how many short flashes "InF" is away in the menu of '
            f"{maker.name}: count them at the display with a torch, then add "
            "--set menu_count=NUMBER; or --no-inf"
        )
    try:
        light.plan("0000", out)
        light.plan("9999", out)
    except light.Refused as err:
        raise ToolError(f"{maker.name}: {words(err.reason)}") from None
    return out


def silence_ms_max(maker: Maker) -> int:
    """Return the longest time between two words of the head, with room to spare."""
    flashes = max(_FLASHES_MAX, maker.entry_count, maker.menu_count or 0)
    part_ms = flashes * (maker.on_ms + maker.off_ms + 2 * _LATE_MS)
    return part_ms + maker.gap_ms + maker.hold_ms + _SPARE_MS
