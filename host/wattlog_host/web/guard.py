"""What every answer carries, and which requests get none."""

import ipaddress
import socket

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = (
    (
        "content-security-policy",
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
)
READS = ("GET", "HEAD")


class Guard:
    """Answers GET and HEAD to a name of ours, POST where told; adds the security headers.

    A foreign name in Host is how another web site reads this page through the visitor's own
    browser (DNS rebinding). That needs a name, so a bare address is always fine.
    """

    def __init__(
        self, app: ASGIApp, hostnames: tuple[str, ...], posts: frozenset[str] = frozenset()
    ) -> None:
        """Wrap the app; hostnames are the ones set beside this machine's own.

        posts are the paths that take a POST, and check themselves who sends it.
        """
        self._app = app
        self._posts = posts
        own = socket.gethostname().lower()
        self._names = {"localhost", own, f"{own}.local", *hostnames}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS:
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        app = self._app
        taken = READS + (("POST",) if scope["path"] in self._posts else ())
        if scope["method"] not in taken:
            app = PlainTextResponse(
                f"here is only {', '.join(taken)}\n", 405, headers={"allow": ", ".join(taken)}
            )
        elif not self._is_ours(Headers(scope=scope).get("host", "")):
            app = PlainTextResponse(
                "this name is not served here; set http.hostnames in host.toml\n", 421
            )
        await app(scope, receive, send_with_headers)

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
