"""Hands messages to the program that speaks with Apprise, and bounds it in time."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from wattlog.config import ConfigError
from wattlog_host.alerts.config import AlertSettings, Target

SEND_S_MAX = 60.0
LATE = "no answer within a minute"
BROKEN = "the library failed"
NO_PROCESS = "no process could be started"


class SenderBroken(ConfigError):
    """Apprise cannot be run, whatever the addresses are."""


# -P: no module of the current folder may stand in for one of ours.
_PROGRAM = (sys.executable, "-P", "-m", "wattlog_host.alerts.post")


async def send(target: Target, title: str, body: str, mood: str) -> str | None:
    """Send to one target; return why it did not go, None where it did.

    Each has a process of its own: one that hangs keeps no word of another.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *_PROGRAM,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return NO_PROCESS  # the machine has no room for one now: tried again like anything else
    try:
        async with asyncio.timeout(SEND_S_MAX):
            said, _ = await process.communicate(
                _asked((target,), title=title, body=body, mood=mood)
            )
    except TimeoutError:
        return LATE
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return _understood(said, 1)[0]


def check(settings: AlertSettings) -> None:
    """Raise ConfigError where Apprise knows no such address, or SenderBroken; takes a second."""
    if not settings.targets:
        return
    try:
        done = subprocess.run(
            _PROGRAM,
            input=_asked(settings.targets),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=SEND_S_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired as err:
        raise SenderBroken(f"alerts.urls_file: apprise: {LATE}") from err
    except OSError as err:
        raise SenderBroken(f"alerts.urls_file: apprise: {NO_PROCESS}: {err.strerror}") from err
    for target, why in zip(
        settings.targets, _understood(done.stdout, len(settings.targets)), strict=True
    ):
        if why == BROKEN:
            raise SenderBroken("alerts.urls_file: apprise cannot be run; is it installed whole?")
        if why is not None:
            raise ConfigError(
                f"alerts.urls_file: {settings.place} line {target.line} is no address that "
                "Apprise knows; https://github.com/caronc/apprise/wiki lists them"
            )


def _asked(targets: Sequence[Target], **message: str) -> bytes:
    return json.dumps({"urls": [target.url for target in targets], **message}).encode()


def _understood(said: bytes, count: int) -> list[str | None]:
    try:
        found: Any = json.loads(said)
    except ValueError:
        return [BROKEN] * count
    return [why or None for why in found]
