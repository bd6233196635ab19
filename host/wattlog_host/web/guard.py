"""What every answer carries, which requests get none, and from where a change may come."""

import asyncio
import ipaddress
import socket
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wattlog_host.access.attempts import TooManyAttempts
from wattlog_host.access.secrets import is_same
from wattlog_host.web.door import Caller, Door, bearer_of
from wattlog_host.web.login import FORM, LOGIN, login_address

CSP = "content-security-policy"
POLICY = "default-src 'self'; base-uri 'none'; form-action {}; frame-ancestors 'none'"
WITH_FORM = POLICY.format("'self'")
HEADERS = (
    (CSP, POLICY.format("'none'")),
    ("x-content-type-options", "nosniff"),
    # Not no-referrer: with it a browser says of our own forms that they come from nowhere.
    ("referrer-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
)
READS = ("GET", "HEAD")
# What nobody has to log in for: it says nothing of the house.
OPEN_PATHS = (LOGIN, "/healthz", "/manifest.webmanifest")
OPEN_FOLDER = "/static/"
# What programs ask for; anything else is a page, whose visitor is led to the login.
DATA_PATHS = ("/status", "/events")
DATA_FOLDER = "/api/"
EVENTS = "text/event-stream"
FORM_TYPE = "application/x-www-form-urlencoded"
FORM_BYTES_MAX = 8_192
FORM_WAIT_S = 10.0
FIELDS_MAX = 10


class _Refused(Exception):
    """A request that ends here; answer is what it gets."""

    def __init__(self, answer: ASGIApp) -> None:
        super().__init__()
        self.answer = answer


class _Ended(Exception):
    """A stream whose watcher may not watch any more."""


class Guard:
    """Answers GET and HEAD to a name of ours, POST where told; adds the security headers.

    A foreign name in Host is how another web site reads this page through the visitor's own
    browser (DNS rebinding). That needs a name, so a bare address is always fine.
    """

    def __init__(
        self,
        app: ASGIApp,
        hostnames: tuple[str, ...],
        posts: frozenset[str] = frozenset(),
        door: Door | None = None,
    ) -> None:
        """Wrap the app; hostnames are the ones set beside this machine's own.

        posts are the paths that take a POST. What comes there comes from our own page, or from
        a program with a token; whether its sender may change anything, Caller.may_change tells.
        """
        self._app = app
        self._posts = posts
        self._door = door or Door()
        own = socket.gethostname().lower()
        self._names = {"localhost", own, f"{own}.local", *hostnames}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        is_stream = False

        async def send_with_headers(message: Message) -> None:
            nonlocal is_stream
            if message["type"] == "http.response.start":
                answered = MutableHeaders(scope=message)
                for name, value in HEADERS:
                    answered.setdefault(name, value)
                is_stream = answered.get("content-type", "").startswith(EVENTS)
            elif is_stream and not self._may_go_on(scope, headers):
                await send({"type": "http.response.body", "body": b""})
                raise _Ended
            await send(message)

        try:
            app = await self._admitted(scope, headers, receive)
        except _Refused as refused:
            app = refused.answer
        except TooManyAttempts as err:
            app = _error(429, str(err), {"retry-after": str(err.wait_s)})
        try:
            await app(scope, receive, send_with_headers)
        except _Ended:
            return

    async def _admitted(self, scope: Scope, headers: Headers, receive: Receive) -> ASGIApp:
        """Return what answers; raise _Refused, TooManyAttempts."""
        path = scope["path"]
        taken = READS + (("POST",) if path in self._posts else ())
        is_post = scope["method"] == "POST"
        if scope["method"] not in taken:
            raise _Refused(
                PlainTextResponse(
                    f"here is only {', '.join(taken)}\n", 405, headers={"allow": ", ".join(taken)}
                )
            )
        if not self._is_ours(headers.get("host", "")):
            raise _Refused(
                PlainTextResponse(
                    "this name is not served here; set http.hostnames in host.toml\n", 421
                )
            )
        caller = self._door.introduce(scope, headers)
        if is_post:
            _require_our_page(headers)
        if not caller.may_read and not _is_open(path):
            raise _Refused(_outside(scope, headers))
        if is_post:
            scope[FORM] = await _form(headers, receive)
            _require_same_session(caller, headers, scope)
        return self._app

    def _may_go_on(self, scope: Scope, headers: Headers) -> bool:
        """Tell whether who watches still may; a stream would outlive its session by days."""
        try:
            return self._door.caller(scope, headers).may_read
        except TooManyAttempts:
            return False

    def _is_ours(self, host: str) -> bool:
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        name = name.strip("[]").lower()
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _require_our_page(headers: Headers) -> None:
    """Raise _Refused where another site sends this through the visitor's browser.

    Browsers say where a request comes from; programs, which have a token, need not.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    is_ours = site in (None, "same-origin")
    if origin is not None and origin != "null":
        is_ours = is_ours and _place(origin) == headers.get("host")
    elif site is None:
        is_ours = origin is None and bearer_of(headers) is not None
    if not is_ours:
        raise _Refused(_error(403, "only from this page itself, or with a token"))


def _require_same_session(caller: Caller, headers: Headers, scope: Scope) -> None:
    """Raise _Refused where a change does not carry what only pages of this session know."""
    wanted = caller.csrf
    if wanted is None or scope["path"] == LOGIN:
        return
    given = headers.get("x-csrf-token") or scope[FORM].get("csrf", "")
    if not is_same(given, wanted):
        raise _Refused(_error(403, "this page is of another session; load it anew"))


async def _form(headers: Headers, receive: Receive) -> dict[str, str]:
    """Return the fields of a form; of anything else none, and its body stays to be read."""
    if headers.get("content-type", "").partition(";")[0].strip().lower() != FORM_TYPE:
        return {}
    body = bytearray()
    try:
        async with asyncio.timeout(FORM_WAIT_S):
            while True:
                message = await receive()
                body += message.get("body", b"")
                if len(body) > FORM_BYTES_MAX:
                    raise _Refused(_error(413, "too long"))
                if not message.get("more_body"):
                    break
        fields = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except TimeoutError:
        raise _Refused(_error(408, "too slow")) from None
    except ValueError:
        raise _Refused(_error(400, "not a form")) from None
    return dict(fields)


def _outside(scope: Scope, headers: Headers) -> ASGIApp:
    """Return what strangers get: the way in."""
    path = scope["path"]
    if path in DATA_PATHS or path.startswith(DATA_FOLDER) or bearer_of(headers) is not None:
        return _error(
            401,
            f"log in at {LOGIN}, or send a token (Authorization: Bearer ...); on the host, "
            "`wattlog-host token add NAME` makes one",
            {"www-authenticate": "Bearer"},
        )
    return RedirectResponse(login_address(path, scope["query_string"].decode("latin-1")), 303)


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDER)


def _place(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _error(status: int, reason: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": reason}, status, headers)
