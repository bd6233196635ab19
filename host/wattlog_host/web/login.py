"""The page that asks for the password, and the way out."""

from collections.abc import Callable, Mapping
from typing import Protocol
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from wattlog_host.access.attempts import TooManyAttempts
from wattlog_host.web.door import Door, WrongPassword, address_of, caller_of

LOGIN, LOGOUT = "/login", "/logout"
POSTS = frozenset((LOGIN, LOGOUT))
FORM = "wattlog.form"
NEXT_MAX = 200


class Render(Protocol):
    """What makes a page of a template."""

    def __call__(
        self, request: Request, name: str, status: int = 200, **more: object
    ) -> Response: ...


def login_routes(door: Door, render: Render) -> list[BaseRoute]:
    """Return the routes; both forms are read and checked by the guard."""

    def page(request: Request, following: str, status: int = 200, **said: object) -> Response:
        return render(
            request,
            "login.html",
            status,
            following=following,
            has_password=door.has_password,
            **{"wrong": False, "wait_s": None, **said},
        )

    async def ask(request: Request) -> Response:
        following = local(request.query_params.get("next"))
        if caller_of(request).csrf is not None or not door.is_closed:
            return RedirectResponse(following, 303)
        return page(request, following)

    async def answer(request: Request) -> Response:
        form: Mapping[str, str] = request.scope[FORM]
        following = local(form.get("next"))
        try:
            secret = await door.login(
                form.get("password", ""), address_of(request.scope), caller_of(request).secret
            )
        except TooManyAttempts as err:
            said = page(request, following, 429, wait_s=err.wait_s)
            said.headers["retry-after"] = str(err.wait_s)
            return said
        except WrongPassword:
            return page(request, following, 403, wrong=True)
        return _sent_on(request, following, door.set_cookie, secret)

    async def leave(request: Request) -> Response:
        secret = caller_of(request).secret
        if secret is not None:
            await door.logout(secret)
        return _sent_on(request, LOGIN, door.set_cookie, None)

    return [
        Route(LOGIN, ask, methods=["GET"]),
        Route(LOGIN, answer, methods=["POST"]),
        Route(LOGOUT, leave, methods=["POST"]),
    ]


def login_address(path: str, query: str) -> str:
    """Return where to log in, to come back here."""
    following = f"{path}?{query}" if query else path
    return LOGIN if following == "/" else f"{LOGIN}?{urlencode({'next': following})}"


def local(following: str | None) -> str:
    """Return an address of ours to go on to: what leads elsewhere, or round, is the start."""
    following = following or "/"
    # Browsers take "\\" for "/", and two of them for the beginning of another site's address.
    is_ours = (
        following.startswith("/")
        and not following.startswith(("//", LOGIN, LOGOUT))
        and following.isascii()
        and following.isprintable()
        and "\\" not in following
        and len(following) <= NEXT_MAX
    )
    return following if is_ours else "/"


def _sent_on(
    request: Request, where: str, set_cookie: Callable[..., str], secret: str | None
) -> Response:
    sent = RedirectResponse(where, 303)
    sent.headers["set-cookie"] = set_cookie(secret, is_secure=request.url.scheme == "https")
    return sent
