"""What a browser asks of the setup portal: one small HTTP request, bounded, and nothing else."""

from wattlog.compat import const

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

HEAD_BYTES_MAX = const(2_048)
BODY_BYTES_MAX = const(2_048)
FIELDS_MAX = const(24)
_LENGTH_DIGITS_MAX = const(9)
_END = b"\r\n\r\n"
# Asked for at most once; twice, two readers could see two requests.
_KEPT = (b"host", b"content-length", b"content-type", b"accept-language")
_FORM = b"application/x-www-form-urlencoded"


class Refused(Exception):
    """A request that is not answered; status and reason are the one line of the reply."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason


class Request:
    """A whole request.

    path, query  of the address, the query without its "?"
    language     what the browser says of its user's languages, b"" for nothing
    body         of a POST, b"" of a GET
    """

    def __init__(self, method: bytes, target: bytes, language: bytes) -> None:
        self.method = method
        self.path, _, self.query = target.partition(b"?")
        self.language = language
        self.body = b""


class RequestReader:
    """Takes a connection's bytes in any pieces.

    is_host   is_host(name) tells whether a Host header names this head by its address. A page
              from elsewhere, whose name was made to point here, gives its own name away.
    is_done   the request is whole; has_more: and more than that came
    """

    def __init__(self, is_host: "Callable[[bytes], bool]") -> None:
        self.has_more = False
        self.is_done = False
        self._is_host = is_host
        self._buf = b""
        self._request: Request | None = None
        self._length = 0

    def push(self, data: bytes) -> Request | None:
        """Take what came; return the request once it is whole; raise Refused.

        Hand in some hundred bytes at a time: they are looked at after they are kept.
        """
        before = len(self._buf)
        self._buf += data
        if self._request is None:
            end = self._buf.find(_END)
            size = len(self._buf) if end < 0 else end + len(_END)
            _refuse_unprintable(self._buf[before:size])
            if size > HEAD_BYTES_MAX:
                raise Refused(431, "the head of the request is too long")
            if end < 0:
                return None
            self._take_head(self._buf[:end])
            self._buf = self._buf[size:]
        request = self._request
        assert request is not None
        if len(self._buf) < self._length:
            return None
        self.is_done = True
        self.has_more = len(self._buf) > self._length
        request.body = self._buf[: self._length]
        return request

    def _take_head(self, head: bytes) -> None:
        lines = head.split(b"\r\n")
        words = lines[0].split(b" ")
        if len(words) != 3 or words[2] not in (b"HTTP/1.0", b"HTTP/1.1"):
            raise Refused(400, "this is not HTTP/1")
        if words[0] not in (b"GET", b"POST"):
            raise Refused(405, "only GET and POST")
        if words[1][:1] != b"/":
            raise Refused(400, "an address begins with /")
        headers = _headers(lines[1:])
        if not self._is_host(headers.get(b"host", b"")):
            raise Refused(421, "this head answers to its own address only")
        if words[0] == b"POST":
            if headers.get(b"content-type", b"").split(b";")[0].strip().lower() != _FORM:
                raise Refused(415, "only forms")
            self._length = _length(headers)
        elif headers.get(b"content-length", b"0") != b"0":
            raise Refused(400, "a GET has no body")
        self._request = Request(words[0], words[1], headers.get(b"accept-language", b""))


def parse_form(data: bytes) -> dict[str, str]:
    """Return the fields of a form or of a query; raise Refused where they are not well formed."""
    out: dict[str, str] = {}
    if not data:
        return out
    fields = data.split(b"&")
    if len(fields) > FIELDS_MAX:
        raise Refused(400, "too many fields")
    for field in fields:
        name, equals, value = field.partition(b"=")
        if not equals:
            raise Refused(400, "a field without a value")
        key = _unquoted(name)
        if key in out:
            raise Refused(400, "a field came twice")
        out[key] = _unquoted(value)
    return out


def _refuse_unprintable(data: bytes) -> None:
    for byte in data:
        if not 32 <= byte < 127 and byte not in b"\r\n\t":
            raise Refused(400, "this is not HTTP/1")


def _headers(lines: "list[bytes]") -> "dict[bytes, bytes]":
    out: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or b" " in name or b"\r" in line or b"\n" in line:
            raise Refused(400, "a header is not well formed")
        name = name.lower()
        if name == b"transfer-encoding":
            raise Refused(501, "no transfer encodings")
        if name in _KEPT:
            if name in out:
                raise Refused(400, "a header came twice")
            out[name] = value.strip()
    return out


def _length(headers: "dict[bytes, bytes]") -> int:
    text = headers.get(b"content-length")
    if text is None:
        raise Refused(411, "how long is it?")
    if not text.isdigit():
        raise Refused(400, "a length is a number")
    if len(text) > _LENGTH_DIGITS_MAX or int(text) > BODY_BYTES_MAX:
        raise Refused(413, "that is too much")
    return int(text)


def _unquoted(data: bytes) -> str:
    parts = data.replace(b"+", b" ").split(b"%")
    out = parts[0]
    try:
        for part in parts[1:]:
            if len(part) < 2 or not _is_hex(part[:2]):
                raise ValueError
            out += bytes([int(part[:2], 16)]) + part[2:]
        return out.decode()
    except ValueError:  # UnicodeError is one
        raise Refused(400, "a field is not well formed") from None


def _is_hex(data: bytes) -> bool:
    return all(byte in b"0123456789abcdefABCDEF" for byte in data)
