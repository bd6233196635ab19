"""Alerts on the page: what it asks of them, the test, and what is to be told no more."""

from collections.abc import Mapping
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from wattlog_host.alerts.service import TooSoon
from wattlog_host.web.door import caller_of
from wattlog_host.web.languages import Speech
from wattlog_host.web.login import FORM

TEST, DISMISS = "/alerts/test", "/alerts/dismiss"
POSTS = frozenset((TEST, DISMISS))
BLOCK = "/state#alerts"


class Alarms(Protocol):
    """What the page, the API and /metrics ask."""

    def shown(self, say: Speech) -> dict[str, Any]:
        """Return what stands, what was told and how it goes, in words of this speech."""

    def counts(self) -> tuple[dict[str, int], dict[str, tuple[int, int]]]:
        """Return how many stand by kind, and (sent, failed) by target."""

    async def test(self) -> None:
        """Send a message to each target; raise TooSoon."""

    async def dismiss(self, key: str) -> bool:
        """Have this told no more until it is over; tell whether it stood."""


class NoAlarms:
    """Of an application without alerts."""

    def shown(self, _: Speech) -> dict[str, Any]:
        """Return that there is nothing."""
        lists: dict[str, Any] = {"standing": [], "messages": [], "targets": []}
        return {**lists, "waiting": 0, "is_quiet": False}

    def counts(self) -> tuple[dict[str, int], dict[str, tuple[int, int]]]:
        """Return that there is nothing."""
        return {}, {}

    async def test(self) -> None:
        """Do nothing."""

    async def dismiss(self, _: str) -> bool:
        """Find nothing."""
        return False


NO_ALARMS = NoAlarms()


def alarm_routes(alarms: Alarms) -> list[BaseRoute]:
    """Return the routes of what may be done; the guard has read and checked the forms."""

    async def test(request: Request) -> Response:
        if not caller_of(request).may_change:
            return _forbidden()
        try:
            await alarms.test()
        except TooSoon as err:
            headers = {"retry-after": str(err.wait_s)}
            return PlainTextResponse(f"{err}\n", 429, headers)
        return RedirectResponse(BLOCK, 303)

    async def dismiss(request: Request) -> Response:
        if not caller_of(request).may_change:
            return _forbidden()
        form: Mapping[str, str] = request.scope[FORM]
        if not await alarms.dismiss(form.get("key", "")):
            return PlainTextResponse("this does not stand, or cannot be dismissed\n", 404)
        return RedirectResponse(BLOCK, 303)

    return [
        Route(TEST, test, methods=["POST"]),
        Route(DISMISS, dismiss, methods=["POST"]),
    ]


def _forbidden() -> Response:
    text = "log in, or send a token that may write; `wattlog-host alerts test` does the same\n"
    return PlainTextResponse(text, 403)
