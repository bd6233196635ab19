"""How often somebody may be wrong."""

import ipaddress
from collections import deque

EACH_MAX = 5
ALL_MAX = 30
WINDOW_MS = 60_000


class TooManyAttempts(Exception):
    """Nobody is listened to now; wait_s is for how long."""

    def __init__(self, wait_s: int) -> None:
        super().__init__(f"too many attempts; try again in {wait_s} s")
        self.wait_s = wait_s


class Attempts:
    """Failures of the last minute: five from one address, thirty from all, then none is heard.

    An attempt counts as failed until it is forgiven, so that many at once are no way round.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._recent: deque[tuple[int, str]] = deque()

    def begin(self, address: str, now_ms: int) -> None:
        """Count one; raise TooManyAttempts where it may not be."""
        while self._recent and self._recent[0][0] <= now_ms - WINDOW_MS:
            self._recent.popleft()
        own = [at_ms for at_ms, whose in self._recent if whose == _place(address)]
        for count_max, times in ((EACH_MAX, own), (ALL_MAX, [at for at, _ in self._recent])):
            if len(times) >= count_max:
                raise TooManyAttempts(-(-(times[0] + WINDOW_MS - now_ms) // 1000))
        self._recent.append((now_ms, _place(address)))

    def forgive(self, address: str) -> None:
        """Take back the last of this address: it was right."""
        for index in reversed(range(len(self._recent))):
            if self._recent[index][1] == _place(address):
                del self._recent[index]
                return


def _place(address: str) -> str:
    """Return what counts as one address: of IPv6 a household has 2**64."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)
