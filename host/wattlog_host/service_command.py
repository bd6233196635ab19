"""`wattlog-host install` and `uninstall`: the host as a service of systemd."""

import argparse
import os
from collections.abc import Iterable
from pathlib import Path

from wattlog_host import settings
from wattlog_host.command import Command
from wattlog_pi import installing
from wattlog_pi.installing import CONFIG_FOLDER, Placed, Service

NAME = "wattlog-host"
PACKAGE = "wattlog_host"
LEFT = (f"/{CONFIG_FOLDER}", "/var/lib/private/wattlog")


def service() -> Service:
    """Return the host's service."""
    config = f"{CONFIG_FOLDER}/{settings.FILE_NAME}"
    files = (
        installing.unit_of(PACKAGE, NAME, PACKAGE),
        Placed(config, installing.data_of(PACKAGE, settings.FILE_NAME), True),
    )
    return Service(NAME, files, config, _check, LEFT)


def _install(options: argparse.Namespace) -> int:
    return _say(installing.install(service(), is_done=options.system))


def _uninstall(options: argparse.Namespace) -> int:
    return _say(installing.uninstall(service(), is_done=options.system))


def _say(lines: Iterable[str]) -> int:
    for line in lines:
        print(line, flush=True)
    return 0


def _check(path: Path) -> None:
    settings.load(path, os.environ)


SERVICE_COMMANDS = (
    Command("install", installing.INSTALL_ABOUT, installing.add_options, act=_install),
    Command("uninstall", installing.UNINSTALL_ABOUT, installing.add_options, act=_uninstall),
)
