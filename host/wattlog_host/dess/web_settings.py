"""/api/solar/settings: a device's settings over HTTP, read and changed.

Each question is a call to the device, and may change it: they need the token of
`write_token_file`, or who may change what the page shows (web/door.py). One at a time.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from starlette.requests import Request

from wattlog_host.access.secrets import is_same
from wattlog_host.dess import api, controls
from wattlog_host.dess.config import read_secret
from wattlog_host.dess.panel import Panel, Refused
from wattlog_host.dess.shown import control_json, live_json
from wattlog_host.web.asking import Parameter
from wattlog_host.web.door import caller_of

PATH = "/api/solar/settings"
BODY_BYTES_MAX = 4_096
BODY_WAIT_S = 10.0

DEVICE = Parameter("device", "text", "A device's key; not needed where there is one only.", "Q1")
PARAMETERS = (
    DEVICE,
    Parameter("id", "text", "A setting's id or name; without it, all there are.", "bat_ctrl_68"),
)


def own_tokens(panel: Panel | None) -> dict[str, Callable[[str], bool]]:
    """Return what tells whether a bearer token is the one of `write_token_file`, by path."""
    if panel is None or panel.write_token_file is None:
        return {}
    path = panel.write_token_file

    def is_right(given: str) -> bool:
        token = read_secret(path)
        return token is not None and is_same(given, token)

    return {PATH: is_right}


class Settings:
    """Answers GET and POST of who has the right."""

    def __init__(self) -> None:
        """Make one that nobody asks."""
        self._asking = asyncio.Lock()

    async def read(self, panel: Panel, of: dict[str, Any]) -> Any:
        """Return the menu, or one setting; raise Refused or DessError."""
        async with self._turn():
            return await _settings(panel, of["device"], of["id"])

    async def change(self, panel: Panel, request: Request) -> Any:
        """Return what became of a wish; raise Refused or DessError."""
        async with self._turn():
            return await _change(panel, request)

    def _turn(self) -> asyncio.Lock:
        if self._asking.locked():
            raise Refused(503, "another question about settings is being asked")
        return self._asking


async def _settings(panel: Panel, key: str | None, wanted: str | None) -> Any:
    device, client = panel.device(key), panel.worker.client
    if wanted is None:
        rows = await asyncio.to_thread(api.control_fields, client, device)
        return {"settings": [control_json(control) for control in controls.controls_of(rows)]}
    control = await asyncio.to_thread(controls.find, client, device, wanted)
    live = await asyncio.to_thread(api.control_value, client, device, control.id)
    return {**control_json(control), **live_json(control, live)}


async def _change(panel: Panel, request: Request) -> Any:
    wish = await _body(request)
    device = panel.device(wish["device"])
    client = panel.worker.client
    controls.require_writable(device, panel.writable)

    def act() -> controls.Change:
        control = controls.find(client, device, wish["id"])
        return controls.change(
            client,
            device,
            control,
            wish["value"],
            writable=panel.writable,
            audit=panel.audit,
            wait_s=panel.wait_s,
            by="api",
        )

    made = await asyncio.to_thread(act)
    return {
        "outcome": made.outcome,
        "before": made.before,
        "wanted": made.wanted,
        "after": made.after,
        "text": made.text,
    }


async def _body(request: Request) -> dict[str, str]:
    """Return the wish; a plain form cannot send it."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise Refused(415, "send application/json")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_WAIT_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > BODY_BYTES_MAX:
                    raise Refused(413, "too long")
        found = json.loads(body)
    except TimeoutError:
        raise Refused(408, "too slow") from None
    except (ValueError, RecursionError):
        raise Refused(400, "not JSON") from None
    names = ("device", "id", "value")
    if not isinstance(found, dict) or not all(isinstance(found.get(name), str) for name in names):
        raise Refused(400, 'send {"device": "...", "id": "...", "value": "..."}, texts all')
    return {name: found[name][:200] for name in names}


def require_right(panel: Panel, request: Request) -> None:
    """Raise Refused where this asks without the right to change."""
    if caller_of(request).may_change:
        return
    if panel.write_token_file is None:
        raise Refused(403, "settings are switched off here; set dessmonitor.write_token_file")
    raise Refused(401, "send the token of dessmonitor.write_token_file as a bearer token")
