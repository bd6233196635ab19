"""While somebody watches, the agents are asked for every reading at once; otherwise never."""

from collections.abc import Iterable

WISH_S = 60
REPEAT_MS = 45_000


class LiveWishes:
    """Whom to ask when; time is monotonic ms."""

    def __init__(self) -> None:
        """Start with nobody asked."""
        self._asked_ms: dict[str, int] = {}

    def due(self, *, is_watched: bool, edges: Iterable[str], now_ms: int) -> list[str]:
        """Return which of the agents that are online are to be asked now."""
        if not is_watched:
            self._asked_ms = {}
            return []
        online = sorted(edges)
        # Who comes back has forgotten it.
        self._asked_ms = {edge: at for edge, at in self._asked_ms.items() if edge in online}
        return [
            edge
            for edge in online
            if edge not in self._asked_ms or now_ms - self._asked_ms[edge] >= REPEAT_MS
        ]

    def asked(self, edge: str, now_ms: int) -> None:
        """Note that the agent was asked."""
        self._asked_ms[edge] = now_ms
