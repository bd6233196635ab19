"""The setup portal: a page where a person gives a head its settings.

One connection at a time, every wait bounded, nothing blocks: step() is called every few
milliseconds, and the meter's UART is read in between.
"""

import errno
import json
import os
import socket

from wattlog.compat import const
from wattlog_esp32 import page, settings
from wattlog_esp32.request import Refused, RequestReader, parse_form

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Protocol

    from wattlog_esp32.request import Request

    class Meter(Protocol):
        """The UART that the form names, while a person looks whether frames come."""

        def open(self, given: dict[str, Any]) -> None:
            """Begin to read with these settings; raise ValueError or OSError if none such is."""

        def seen(self, now_ms: int) -> tuple[int, int, int, str | None] | None:
            """Return bytes, frames, for how many seconds, the diagnosis; None if not open."""


IDLE_MS_MAX = const(5_000)  # of a connection on which nothing moves
CONNECTION_MS_MAX = const(15_000)  # of one that is kept moving, a byte now and then
# A browser opens connections in advance and says nothing on them: another one then goes first.
_SILENT_MS = const(300)
_QUIET_MS = const(200)  # after an answer: nobody is sending any more
_DRAIN_BYTES_MAX = const(65_536)
_READ_BYTES = const(512)
_READS_PER_STEP = const(4)
_SENDS_PER_STEP = const(8)
_TOKENS_MAX = const(4)  # forms that are open in a browser at once
_TOKEN_BYTES = const(8)
_REASONS = {200: "OK", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed"}
_HEADERS = (
    "Connection: close\r\nCache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n"
    "X-Content-Type-Options: nosniff\r\nContent-Security-Policy: default-src 'none'; "
    "style-src 'unsafe-inline'; img-src data:; frame-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'self'\r\n"
)


class Portal:
    """A server for the page.

    port     where to listen
    key      what the page asks for: without it nothing is told, looked at or saved
    is_host  is_host(name): is this one of our addresses? A number of a port may stand behind it
    proposed settings that stand in the form at first
    known    settings that are known already; whoever has the key sees them there too
    meter    see Meter
    save     save(settings) keeps what the form says; raises OSError where it cannot
    urandom  urandom(n) -> n random bytes

    used_ms    when somebody last used the page
    is_saved   settings are kept and the browser knows it: time to restart
    """

    def __init__(
        self,
        port: int,
        key: str,
        is_host: "Callable[[bytes], bool]",
        proposed: "dict[str, Any]",
        known: "dict[str, Any]",
        meter: "Meter",
        save: "Callable[[dict[str, Any]], None]",
        urandom: "Callable[[int], bytes]",
        now_ms: int,
    ) -> None:
        self.used_ms = now_ms
        self.is_saved = False
        self.known = known
        self._proposed = proposed
        self._key = key
        self._is_host = is_host
        self._meter = meter
        self._save = save
        self._urandom = urandom
        self._tokens: list[str] = []
        self._done = False
        self._listener = _listen(port)
        # Of the one connection.
        self._peer: Any = None
        self._reader: RequestReader | None = None
        self._pieces: Iterator[str] | None = None
        self._out = b""
        self._answered = False  # all is sent
        self._received = 0
        self._begin_ms = self._moved_ms = now_ms

    def step(self, now_ms: int) -> None:
        """Take, read or answer a connection, as much as goes without waiting."""
        is_silent = self._received == 0 and now_ms - self._begin_ms >= _SILENT_MS
        if self._peer is None or is_silent:
            self._accept(now_ms)
        if self._peer is None:
            return
        try:
            self._talk(now_ms)
        except OSError as err:
            # An ESP32 says of a socket that cannot take more now that it timed out.
            if err.args[0] not in (errno.EAGAIN, errno.ETIMEDOUT):
                self.drop()
                return
        if (
            now_ms - self._moved_ms > IDLE_MS_MAX
            or now_ms - self._begin_ms > CONNECTION_MS_MAX
            or (self._answered and now_ms - self._moved_ms > _QUIET_MS)
        ):
            self.drop()

    def close(self) -> None:
        """Listen no more."""
        self.drop()
        self._listener.close()

    # -- one connection

    def _accept(self, now_ms: int) -> None:
        try:
            peer = self._listener.accept()[0]
        except OSError:  # nobody is there, or is gone already
            return
        self.drop()
        self._peer = peer
        peer.setblocking(False)
        self._begin_ms = self._moved_ms = now_ms
        self._reader = RequestReader(self._is_numeric_host)

    def drop(self) -> None:
        """Close the connection, if there is one."""
        peer = self._peer
        self._peer = None
        self._reader = self._pieces = None
        self._out = b""
        self._answered = False
        self._received = 0
        if peer is not None:
            peer.close()
            if self._done:
                self.is_saved = True

    def _talk(self, now_ms: int) -> None:
        if self._answered or self._pieces is None:
            self._read(now_ms)
        if self._pieces is not None and not self._answered:
            self._send(now_ms)

    def _read(self, now_ms: int) -> None:
        for _ in range(_READS_PER_STEP):
            data = self._peer.recv(_READ_BYTES)
            self._moved_ms = now_ms
            self._received += len(data)
            if not data or self._received > _DRAIN_BYTES_MAX:
                self.drop()
                return
            if self._answered:
                continue  # what nobody asked for; unread, it would cut our answer off
            assert self._reader is not None
            try:
                request = self._reader.push(data)
                if request is not None:
                    self._pieces = self._answer(request, now_ms)
            except Refused as refusal:
                self._pieces = _refusal(refusal.status, refusal.reason)
            if self._pieces is not None:
                return

    def _send(self, now_ms: int) -> None:
        assert self._pieces is not None
        for _ in range(_SENDS_PER_STEP):
            while len(self._out) < _READ_BYTES:
                piece = next(self._pieces, None)
                if piece is None:
                    break
                self._out += piece.encode()
            if not self._out:
                self._answered = True
                reader = self._reader
                # A whole request and no more: both sides are done. After a refusal, more may be
                # on its way, and closing before it is read would take the answer back.
                if reader is not None and reader.is_done and not reader.has_more:
                    self.drop()
                return
            count = self._peer.send(self._out)
            self._moved_ms = now_ms
            self._out = self._out[count:]

    def _is_numeric_host(self, host: bytes) -> bool:
        name, colon, port = host.partition(b":")
        return self._is_host(name) and (not colon or port.isdigit())

    # -- requests

    def _answer(self, request: "Request", now_ms: int) -> "Iterator[str]":
        tongue = page.language(request.language)
        if request.path == b"/":
            if request.method == b"POST":
                return self._take(parse_form(request.body), tongue, now_ms)
            self.used_ms = now_ms
            key = parse_form(request.query).get("key", "")
            is_trusted = self._is_key(key)
            values = page.values_of(self._proposed)
            if is_trusted:
                values.update(page.values_of(self.known))
            return self._form(200, tongue, values, {}, "", key if is_trusted else "", False)
        if request.path == b"/frames" and request.method == b"GET":
            if not self._is_key(parse_form(request.query).get("key", "")):
                raise Refused(403, "the key is missing")
            return _page(200, page.frames(tongue, self._meter.seen(now_ms)))
        raise Refused(404, "there is one page here: /")

    def _take(self, values: "dict[str, str]", tongue: int, now_ms: int) -> "Iterator[str]":
        """Do what a filled-in form asks for."""
        names = [field[0] for field in page.FIELDS] + ["key", "token", "act"]
        act = values.get("act", "")
        if act not in ("look", "save") or any(name not in names for name in values):
            raise Refused(400, "this is not our form")
        key = values.get("key", "").strip()
        if not self._is_key(key):
            self._shut_out(values)
            return self._form(403, tongue, values, {"key": "key"}, "wrong", "", False)
        self.used_ms = now_ms
        token = values.get("token", "")
        if token not in self._tokens:
            return self._form(409, tongue, values, {}, "stale", key, False)
        self._tokens.remove(token)
        given, wrong = page.read(values, self.known)
        if act == "look":
            wrong = {name: wrong[name] for name in wrong if name.startswith("meter.")}
        if not wrong:
            wrong = self._open(given)
        if wrong or act == "look":
            message = "wrong" if wrong else ""
            return self._form(
                200, tongue, values, wrong, message, key, act == "look" and not wrong
            )
        try:
            self._save(settings.check(given, "form"))
        except OSError:
            return self._form(500, tongue, values, {}, "flash", key, False)
        self._done = True
        return _page(200, page.saved(tongue))

    def _open(self, given: "dict[str, Any]") -> "dict[str, str]":
        # Only the chip knows its pins; it says so here, and not after the restart.
        try:
            self._meter.open(given)
        except (ValueError, OSError):
            return {"meter.rx": "pin"}
        return {}

    def _form(
        self,
        status: int,
        tongue: int,
        values: "dict[str, str]",
        wrong: "dict[str, str]",
        message: str,
        key: str,
        looks: bool,
    ) -> "Iterator[str]":
        token = "".join(["%02x" % byte for byte in self._urandom(_TOKEN_BYTES)])
        self._tokens.append(token)
        if len(self._tokens) > _TOKENS_MAX:
            self._tokens.pop(0)
        return _page(status, page.form(tongue, values, wrong, message, token, key, looks))

    def _is_key(self, text: str) -> bool:
        # Every letter is looked at, so that the time it takes tells nothing.
        given = text.encode()
        key = self._key.encode()
        if len(given) != len(key):
            return False
        differs = 0
        for index in range(len(key)):
            differs |= given[index] ^ key[index]
        return not differs

    @staticmethod
    def _shut_out(values: "dict[str, str]") -> None:
        """Take the passwords out: they are told to nobody without the key."""
        for key, kind, *_ in page.FIELDS:
            if kind == "password" and key in values:
                values[key] = ""


def write_settings(path: str, checked: "dict[str, Any]") -> None:
    """Keep settings in place of the file's, whole or not at all; raise OSError."""
    given = {key: checked[key] for key in checked if checked[key] is not None}
    beside = _write_beside(path, json.dumps(given) + "\n")
    try:
        if settings.read(beside) != checked:
            raise OSError(errno.EIO)
    except settings.ConfigError:
        raise OSError(errno.EIO) from None
    os.rename(beside, path)


def write_whole(path: str, text: str) -> None:
    """Put a text in a file's place, whole or not at all; raise OSError."""
    os.rename(_write_beside(path, text), path)


def _write_beside(path: str, text: str) -> str:
    """Write a file beside this one, and read it back; return its name."""
    beside = path + ".new"
    with open(beside, "w", encoding="utf-8") as file:
        file.write(text)
    if hasattr(os, "sync"):
        os.sync()
    with open(beside, encoding="utf-8") as file:
        if file.read() != text:
            raise OSError(errno.EIO)
    return beside


def _listen(port: int) -> "Any":
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(socket.getaddrinfo("0.0.0.0", port)[0][-1])
    listener.listen(2)
    listener.setblocking(False)
    return listener


def _page(status: int, pieces: "Iterator[str]") -> "Iterator[str]":
    yield "HTTP/1.0 %d %s\r\n" % (status, _REASONS.get(status, "Error"))
    yield _HEADERS
    yield "Content-Type: text/html; charset=utf-8\r\n\r\n"
    yield from pieces


def _refusal(status: int, reason: str) -> "Iterator[str]":
    yield "HTTP/1.0 %d %s\r\n" % (status, _REASONS.get(status, "Error"))
    yield _HEADERS
    yield "Content-Type: text/plain\r\n\r\n%s\n" % reason
