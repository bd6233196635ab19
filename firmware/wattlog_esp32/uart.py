"""The meter's UART. It needs nothing else of ours: main opens it before the agent is loaded."""

import machine
from micropython import const

_RX_BYTES = const(4_096)  # 4.2 s at 9600 baud: longer than the link may block
_READ_BYTES_MAX = const(512)


class UartSource:
    """A ByteSource over one UART, 8N1.

    Raises ValueError or OSError where this chip has no such UART or pin.
    shines  the level of tx at which the IR head's LED shines; None where nobody may use it

    tap     what the last read has brought, where it is not None
    light   the pin tx, and the level at which the LED shines; None where nobody may use it
    asked   the requests to enter a PIN since the start
    """

    def __init__(
        self,
        number: int,
        baud: int,
        rx: int,
        tx: int,
        invert: bool = False,
        shines: "int | None" = None,
    ) -> None:
        self.name = "uart%d" % number
        self.tap: bytes | None = None
        self.light = None if shines is None else (tx, shines)
        self.asked: tuple[int, ...] = ()
        self._uart = machine.UART(
            number,
            baud,
            rx=rx,
            tx=tx,
            rxbuf=_RX_BYTES,
            timeout=0,
            # An idle line is high, and must be dark.
            invert=(machine.UART.INV_RX if invert else 0) | (machine.UART.INV_TX if shines else 0),
        )

    def read(self, _now_ms: int) -> bytes:
        """Return what has arrived, b"" for nothing; the rest of a full buffer comes next time."""
        count = self._uart.any()
        data = self._uart.read(min(count, _READ_BYTES_MAX)) or b"" if count else b""
        if self.tap is not None:
            self.tap = data
        return data

    def trouble(self) -> None:
        """Return None: a UART cannot be unplugged."""
