"""The chips that a head can be built on: a row each."""

from typing import NamedTuple


class Chip(NamedTuple):
    """One chip, as esptool names it.

    title            what it is called in print
    image_id         its number in the header of a program
    firmware_offset  where in the flash MicroPython's firmware file begins
    board            the board on MicroPython's download page, and how the file's name begins
    uarts            the UARTs that a meter may be on; 0 is the console everywhere
    inputs, outputs  pins that a person can use for a UART
    """

    name: str
    title: str
    image_id: int
    firmware_offset: int
    board: str
    uarts: tuple[int, ...]
    inputs: frozenset[int]
    outputs: frozenset[int]


def _pins(text: str) -> frozenset[int]:
    """Return the pins of a list like "0-3 5"."""
    pins: set[int] = set()
    for word in text.split():
        first, _, last = word.partition("-")
        pins.update(range(int(first), int(last or first) + 1))
    return frozenset(pins)


# From Espressif's data sheets, without the pins that carry the flash, the console or the USB
# port, and without those that are looked at when the power comes: an idle UART is high, and
# pin 12 of an ESP32 that is high then keeps it from starting.
CHIPS = (
    Chip(
        "esp32",
        "ESP32",
        0,
        0x1000,
        "ESP32_GENERIC",
        (1, 2),
        _pins("4 13-14 16-19 21-23 25-27 32-39"),
        _pins("4 13-14 16-19 21-23 25-27 32-33"),
    ),
    Chip(
        "esp32c3",
        "ESP32-C3",
        5,
        0,
        "ESP32_GENERIC_C3",
        (1,),
        _pins("0-1 3-7 10"),
        _pins("0-1 3-7 10"),
    ),
    Chip(
        "esp32s3",
        "ESP32-S3",
        9,
        0,
        "ESP32_GENERIC_S3",
        (1, 2),
        _pins("1-2 4-18 21 33-42 47-48"),
        _pins("1-2 4-18 21 33-42 47-48"),
    ),
)


def by_name(name: str) -> Chip:
    """Return the chip that esptool calls so."""
    return next(chip for chip in CHIPS if chip.name == name)


def title_of(image_id: int) -> str:
    """Return what to call the chip with this number in a program's header."""
    titles = {chip.image_id: chip.title for chip in CHIPS}
    others = {2: "ESP32-S2", 12: "ESP32-C2", 13: "ESP32-C6", 16: "ESP32-H2", 18: "ESP32-P4"}
    return (titles | others).get(image_id, f"a chip with the number {image_id}")
