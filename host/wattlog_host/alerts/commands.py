"""`wattlog-host alerts test`: one message to each target, and whether it went."""

import argparse
import asyncio

from wattlog.config import ConfigError
from wattlog_host.alerts import sending
from wattlog_host.alerts.words import speech_of, title_of
from wattlog_host.command import Command
from wattlog_host.settings import Settings

EXIT_FAILED = 1


def _test(_: argparse.Namespace, settings: Settings) -> int:
    """Send a test; 1 where it did not reach all targets."""
    of = settings.alerts
    if not of.targets:
        raise ConfigError("there are no targets: name a file with addresses in alerts.urls_file")
    sending.check(of)
    say = speech_of(of, settings.house.zone)
    title, body = title_of(settings.house.name), say.text("alert.test")
    is_well = True
    for target in of.targets:
        why = asyncio.run(sending.send(target, title, body, "info"))
        print(f"{target.name}: {'sent' if why is None else why}")
        is_well = is_well and why is None
    return 0 if is_well else EXIT_FAILED


ALERT_ACTS = (Command("test", "send a message to each target", run=_test),)
