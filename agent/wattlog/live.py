"""The newest reading of each meter at once, beside the log: best effort, for a fresh page."""

from wattlog import records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wattlog.ports import Link
    from wattlog.reading import Reading

LIVE_EVERY_MS = 10_000  # where nobody looks


class Live:
    """Sends what offer() was given; never twice, and never what a newer one has overtaken.

    edge, boot  who we are
    link        the MQTT connection
    """

    def __init__(self, edge: str, boot: int, link: "Link") -> None:
        self._edge = edge
        self._boot = boot
        self._link = link
        self._wish_ends_ms = 0
        self._waiting: dict[int, tuple[int, Reading]] = {}
        self._due_ms: dict[int, int] = {}

    def offer(self, meter: int, uptime_ms: int, reading: "Reading") -> None:
        """Take a reading of the meter with this number; it takes the place of the one before."""
        self._waiting[meter] = (uptime_ms, reading)

    def on_command(self, payload: bytes, now_ms: int) -> None:
        """Do what the host wishes: every reading, for some time. What is no wish means nothing."""
        seconds = records.unpack_live_wish(payload)
        if seconds is not None:
            self._wish_ends_ms = now_ms + seconds * 1000

    def send(self, now_ms: int) -> None:
        """Send what is due; raises LinkError."""
        for meter in sorted(self._waiting):
            if now_ms >= self._wish_ends_ms and now_ms < self._due_ms.get(meter, 0):
                continue
            uptime_ms, reading = self._waiting.pop(meter)
            self._due_ms[meter] = now_ms + LIVE_EVERY_MS
            packed = records.pack_live(self._edge, self._boot, uptime_ms, reading)
            self._link.publish(records.topic(self._edge, records.LIVE), packed, False)
