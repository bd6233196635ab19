"""A service manager, as far as a service that notifies it can tell: a datagram socket."""

import os
import select
import socket
from pathlib import Path

PATIENCE_S = 30


class Manager:
    """Hears what a service says; `environ` is what the service has to be started with."""

    def __init__(self, folder: Path, watchdog_s: float = 1.0, is_abstract: bool = False) -> None:
        name = f"wattlog-test-{os.getpid()}-{id(self)}"
        address = f"\0{name}" if is_abstract else str(folder / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self.environ = {
            "NOTIFY_SOCKET": f"@{name}" if is_abstract else address,
            "WATCHDOG_USEC": str(int(watchdog_s * 1e6)),
        }

    def next(self, s_max: float = PATIENCE_S) -> dict[str, str] | None:
        """Return the next message's fields, None where there is none in time."""
        if not select.select([self._socket], [], [], s_max)[0]:
            return None
        text = self._socket.recv(65_536).decode()
        pairs = [line.partition("=") for line in text.split("\n")]
        return {name: value for name, _, value in pairs}

    def wait_for(self, name: str) -> dict[str, str]:
        """Return the next message with this field."""
        while (message := self.next()) is not None:
            if name in message:
                return message
        raise AssertionError(f"{name} was not said within {PATIENCE_S} s")

    def drain(self) -> int:
        """Forget what has come; return how many messages that were."""
        count = 0
        while self.next(0) is not None:
            count += 1
        return count

    def close(self) -> None:
        self._socket.close()
