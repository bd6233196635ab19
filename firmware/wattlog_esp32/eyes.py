"""What the host may ask a head for from afar: the raw bytes of a port, and a restart.

Loaded when it is asked for; a head that nobody asks has no such code in its heap.
"""

from wattlog import msgpack, records
from wattlog.compat import const
from wattlog.uplink import LinkError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wattlog.ports import Link
    from wattlog_esp32.uart import UartSource

RAW_BYTES_MAX = const(4_096)
_PIECE_BYTES = const(64)  # a small heap has to hold it three times: as it is, in hex, packed
_END_MS = const(60_000)


class Job:
    """Sends what comes over the ports, in hex, for a bounded time and number of bytes.

    sources  the ports
    edge, boot, link  who we are, and the way out
    """

    def __init__(self, sources: "list[UartSource]", edge: str, boot: int, link: "Link") -> None:
        self._sources = sources
        self._edge = edge
        self._boot = boot
        self._link = link
        self._left = 0  # bytes, of all ports together
        self._sent: dict[str, int] = {}  # by port
        self._end_ms = 0
        self.wants_restart = False

    def on_command(self, payload: bytes, now_ms: int) -> None:
        """Begin what is asked for; anything else means nothing."""
        try:
            value = msgpack.unpack(payload)
        except msgpack.MsgpackError:
            return
        if not isinstance(value, list) or len(value) != 3 or value[0] != records.FORMAT_WIRE:
            return
        _, name, number = value
        if not isinstance(number, int) or isinstance(number, bool):
            return
        # The number of this start: sent twice, or kept by a broker, it restarts nobody again.
        if name == "restart" and number == self._boot:
            self.wants_restart = True
        if name == "raw" and 0 < number <= RAW_BYTES_MAX:
            self._left = number
            self._sent = {}
            self._end_ms = now_ms + _END_MS
            for source in self._sources:
                source.tap = b""

    def step(self, now_ms: int) -> bool:
        """Send what the last read has brought; return False when there is nothing left to do."""
        is_over = now_ms >= self._end_ms
        for source in self._sources:
            data = source.tap or b""
            at = 0
            while at < len(data) and self._left and not is_over:
                piece = data[at : at + min(_PIECE_BYTES, self._left)]
                at += len(piece)
                # Without a way out nobody looks.
                is_over = not self._send(source.name, piece, now_ms)
        if self._left and not is_over:
            return True
        for source in self._sources:
            source.tap = None
        return False

    def _send(self, port: str, piece: bytes, now_ms: int) -> bool:
        offset = self._sent.get(port, 0)
        self._sent[port] = offset + len(piece)
        self._left -= len(piece)
        message = (records.FORMAT_WIRE, self._edge, self._boot, now_ms, port, offset, piece.hex())
        try:
            topic = records.topic(self._edge, records.RAW)
            self._link.publish(topic, msgpack.pack(message), False)
        except LinkError:
            return False
        return True
