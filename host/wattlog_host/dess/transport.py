"""One HTTP GET, with an end: in time, in bytes, and at the host that was asked.

Nothing of a URL leaves this file: sign, salt and token in it would allow a replay. That is why
no exception of a library is passed on, quoted or chained.
"""

import email.utils
import http.client
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from wattlog_host.dess.errors import Busy, DessError, Garbled, Unreachable

RETRY_AFTER_S_MAX = 3_600
_CHUNK_BYTES = 65_536
_FAILURES = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,
)
_HEADERS = {
    # Compressed, a small answer could become a large one.
    "Accept-Encoding": "identity",
    "Accept": "application/json",
    "User-Agent": "wattlog",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call may cost."""

    connect_s: float = 10.0
    total_s: float = 30.0
    body_bytes: int = 2_000_000


class Transport:
    """A session with one host. One call at a time; abort() may come from another thread."""

    def __init__(self, base_url: str, limits: Limits = Limits()) -> None:
        """Take the address that queries are appended to; nothing is opened yet."""
        self._base_url = base_url
        self._limits = limits
        self._sockets = _Sockets()
        self._session = requests.Session()
        # No proxy, no .netrc and no bundle of authorities that the environment may name.
        self._session.trust_env = False
        self._session.headers.clear()
        self._session.headers.update(_HEADERS)
        adapter = _Adapter(self._sockets)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)
        _silence_libraries()

    def get(self, query: str, now_ms: int, total_s: float | None = None) -> bytes:
        """Return the body of the answer to the query, sent byte for byte as it is.

        Raises Unreachable, Busy or Garbled.
        """
        total_s = self._limits.total_s if total_s is None else total_s
        failure: DessError | None = None
        try:
            with self._sockets.deadline(total_s):
                return self._get(query, total_s, now_ms)
        except _FAILURES as err:
            failure = self._failure(err, total_s)
        # Outside the handler: no traceback may show the library's, which quotes the URL.
        raise failure

    def renew(self) -> None:
        """Let go of connections that the host may have closed meanwhile."""
        for adapter in self._session.adapters.values():
            adapter.close()

    def abort(self) -> None:
        """End the call that runs, and refuse all others."""
        self._sockets.end()

    def close(self) -> None:
        """Let go of all connections."""
        self._session.close()

    def _get(self, query: str, total_s: float, now_ms: int) -> bytes:
        timeout = (min(self._limits.connect_s, total_s), total_s)
        with self._session.get(
            f"{self._base_url}?{query}", timeout=timeout, allow_redirects=False, stream=True
        ) as response:
            _check(response, now_ms)
            body = bytearray()
            while chunk := response.raw.read(_CHUNK_BYTES, decode_content=False):
                body += chunk
                if len(body) > self._limits.body_bytes:
                    raise Garbled(
                        f"the cloud's answer is larger than {self._limits.body_bytes} bytes"
                    )
        if self._sockets.is_over:
            raise TimeoutError
        return bytes(body)

    def _failure(self, err: Exception, total_s: float) -> DessError:
        if self._sockets.is_ended:
            return Unreachable("the call was ended: wattlog stops")
        if self._sockets.is_over or isinstance(err, (TimeoutError, requests.Timeout)):
            return Unreachable(f"the cloud did not answer within {total_s:g} s")
        if isinstance(err, requests.exceptions.SSLError):
            return Unreachable("the cloud's certificate is not the one of its name")
        if isinstance(err, requests.ConnectionError):
            return Unreachable("no connection to the cloud")
        return Unreachable(f"the connection to the cloud broke ({type(err).__name__})")


def _check(response: requests.Response, now_ms: int) -> None:
    """Raise where the status says that there will be no data."""
    status = response.status_code
    retry_after_s = _retry_after(response.headers.get("Retry-After"), now_ms)
    if status == http.HTTPStatus.TOO_MANY_REQUESTS:
        raise Busy("the cloud asks for a pause (HTTP 429)", retry_after_s=retry_after_s)
    if status == http.HTTPStatus.SERVICE_UNAVAILABLE and retry_after_s is not None:
        raise Busy("the cloud asks for a pause (HTTP 503)", retry_after_s=retry_after_s)
    if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
        raise Unreachable(f"the cloud is in trouble (HTTP {status})")
    if http.HTTPStatus.MULTIPLE_CHOICES <= status < http.HTTPStatus.BAD_REQUEST:
        raise Garbled(
            f"the cloud wants to send us elsewhere (HTTP {status}), which is not followed; "
            "if it has moved, set dessmonitor.url"
        )
    if status != http.HTTPStatus.OK:
        raise Garbled(f"the cloud answers HTTP {status}; check dessmonitor.url")


def _retry_after(text: str | None, now_ms: int) -> float | None:
    if text is None:
        return None
    if text.strip().isdecimal() and len(text) < 10:
        return min(float(text), RETRY_AFTER_S_MAX)
    try:
        at_s = email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(0.0, at_s - now_ms / 1000), RETRY_AFTER_S_MAX)


class _Sockets:
    """The connections of one session, and the clock that ends a call.

    A socket's own timeout begins anew with every byte.
    """

    def __init__(self) -> None:
        self._known: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.is_over = False
        self.is_ended = False

    def add(self, sock: socket.socket) -> None:
        with self._lock:
            self._known = {known for known in self._known if known.fileno() >= 0} | {sock}
        if self.is_over or self.is_ended:
            self._shut()

    @contextmanager
    def deadline(self, total_s: float) -> Iterator[None]:
        self.is_over = False
        if self.is_ended:
            raise OSError
        timer = threading.Timer(total_s, self._expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()

    def end(self) -> None:
        self.is_ended = True
        self._shut()

    def _expire(self) -> None:
        self.is_over = True
        self._shut()

    def _shut(self) -> None:
        with self._lock:
            known, self._known = self._known, set()
        for sock in known:
            try:
                # Not the TLS socket's own, which forgets its session under the reader's hands.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
            except OSError:
                continue  # it has ended by itself


class _Adapter(HTTPAdapter):
    """requests' adapter, whose connections are known to the clock."""

    def __init__(self, sockets: _Sockets) -> None:
        self._classes = _pool_classes(sockets)
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *arguments: Any, **more: Any) -> None:
        super().init_poolmanager(*arguments, **more)
        self.poolmanager.pool_classes_by_scheme = self._classes


def _pool_classes(sockets: _Sockets) -> dict[str, type[HTTPConnectionPool]]:
    class Plain(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            sockets.add(self.sock)

    class Tls(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            if self.sock is not None:
                sockets.add(self.sock)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = Tls

    return {"http": PlainPool, "https": TlsPool}


def _silence_libraries() -> None:
    """Keep URLs out of the log: the library writes them at DEBUG, and with bad headers."""
    logging.getLogger("urllib3").setLevel(logging.CRITICAL + 1)
