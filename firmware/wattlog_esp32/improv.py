"""Improv over a serial line, version 1: how a browser that has flashed a head sets its Wi-Fi.

The protocol only: bytes come in, the bytes to answer go out, and nothing here waits.
"""

from wattlog.compat import const

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Strings = list[str]

READY = const(2)
PROVISIONING = const(3)
PROVISIONED = const(4)

NO_ERROR = const(0)
INVALID = const(1)
UNKNOWN = const(2)
UNABLE_TO_CONNECT = const(3)

STATE = const(1)
ERROR = const(2)
COMMAND = const(3)
RESULT = const(4)

SET_WIFI = const(1)
GET_STATE = const(2)
GET_INFO = const(3)
GET_NETWORKS = const(4)

HEADER = b"IMPROV\x01"  # the last is the version
NETWORKS_MAX = const(20)
STRING_BYTES_MAX = const(80)
_HEAD_BYTES = const(9)
_CTRL_C = const(3)


def packet(kind: int, data: bytes) -> bytes:
    """Return a whole packet, with the end of line that follows one."""
    assert len(data) < 256
    out = HEADER + bytes([kind, len(data)]) + data
    return out + bytes([sum(out) & 0xFF]) + b"\n"


def result(command: int, strings: "Strings") -> bytes:
    """Return the packet that answers a command; what does not fit is cut off."""
    data = b""
    for text in strings:
        raw = text.encode()[:STRING_BYTES_MAX]
        if len(data) + 1 + len(raw) <= 253:
            data += bytes([len(raw)]) + raw
    return packet(RESULT, bytes([command, len(data)]) + data)


class Improv:
    """One end of the line.

    set_wifi  set_wifi(ssid, password) begins to connect; finish() tells later how it went. It
              returns False for what can be no Wi-Fi's name or password
    info      the four strings: firmware, its version, the chip, this device
    scan      scan() -> (name, RSSI in dBm, whether it asks for a password) of each network

    state    READY, PROVISIONING or PROVISIONED
    breaks   how often a Ctrl-C came outside of a packet; inside, its byte is a command's kind
    drops    packets with a wrong checksum or a length that contradicts itself
    """

    def __init__(
        self,
        set_wifi: "Callable[[str, str], bool]",
        info: "Strings",
        scan: "Callable[[], list[tuple[str, int, bool]]]",
    ) -> None:
        self.state = READY
        self.breaks = 0
        self.drops = 0
        self._set_wifi = set_wifi
        self._info = info
        self._scan = scan
        self._url = ""
        self._buf = b""

    def push(self, data: bytes) -> bytes:
        """Take the next bytes of the line, in any pieces; return what to answer."""
        answer = b""
        for byte in data:
            self.breaks += byte == _CTRL_C and not self._buf
            self._buf += bytes([byte])
            answer += self._settle()
        return answer

    def _settle(self) -> bytes:
        """Take what is whole off the buffer, and what can be no packet."""
        answer = b""
        while self._buf:
            size = _HEAD_BYTES + self._buf[8] + 1 if len(self._buf) >= _HEAD_BYTES else 0
            if self._may_begin():
                if not size or len(self._buf) < size:
                    break
                if sum(self._buf[: size - 1]) & 0xFF == self._buf[size - 1]:
                    answer += self._take(self._buf[_HEAD_BYTES : size - 1])
                    self._buf = self._buf[size:]
                    continue
                self.drops += 1
                answer += packet(ERROR, bytes([INVALID]))
            # What is no packet may hold the beginning of one; so one byte goes at a time.
            self._buf = self._buf[1:]
        return answer

    def finish(self, is_connected: bool, url: str) -> bytes:
        """Tell how it went with set_wifi(), and where the head's page is; return what to send."""
        if not is_connected:
            self.state = READY
            return packet(ERROR, bytes([UNABLE_TO_CONNECT])) + self._state()
        self.state = PROVISIONED
        self._url = url
        return self._state() + result(SET_WIFI, [url])

    def _may_begin(self) -> bool:
        size = len(HEADER)
        if self._buf[:size] != HEADER[: len(self._buf)]:
            return False
        # Nothing but commands comes to a device; without this a broken head would swallow 265
        # bytes, and a person's Ctrl-C among them.
        return len(self._buf) <= size or self._buf[size] == COMMAND

    def _take(self, data: bytes) -> bytes:
        if len(data) < 2 or data[1] != len(data) - 2:
            self.drops += 1
            return packet(ERROR, bytes([INVALID]))
        return self._command(data[0], data[2:])

    def _command(self, command: int, data: bytes) -> bytes:
        fine = packet(ERROR, bytes([NO_ERROR]))
        if command == SET_WIFI:
            login = _login(data)
            if login is None or not self._set_wifi(login[0], login[1]):
                return packet(ERROR, bytes([INVALID]))
            self.state = PROVISIONING
            return fine + self._state()
        if command == GET_STATE:
            is_done = self.state == PROVISIONED
            return fine + self._state() + (result(GET_STATE, [self._url]) if is_done else b"")
        if command == GET_INFO:
            return fine + result(GET_INFO, self._info)
        if command == GET_NETWORKS:
            found = self._scan()[:NETWORKS_MAX]
            rows = [
                result(GET_NETWORKS, [name, str(rssi), "YES" if is_closed else "NO"])
                for name, rssi, is_closed in found
            ]
            return fine + b"".join(rows) + result(GET_NETWORKS, [])
        return packet(ERROR, bytes([UNKNOWN]))

    def _state(self) -> bytes:
        return packet(STATE, bytes([self.state]))


def _login(data: bytes) -> "tuple[str, str] | None":
    """Return name and password of a SET_WIFI, None where they are not well formed."""
    parts = []
    for _ in range(2):
        if not data or len(data) < 1 + data[0]:
            return None
        parts.append(data[1 : 1 + data[0]])
        data = data[1 + data[0] :]
    if data:
        return None
    try:
        return parts[0].decode(), parts[1].decode()
    except ValueError:  # UnicodeError is one
        return None
