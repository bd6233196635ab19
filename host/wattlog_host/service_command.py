"""`wattlog-host install` and `uninstall`: the host as a service of systemd."""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from wattlog_host import settings
from wattlog_pi import installing
from wattlog_pi.installing import CONFIG_FOLDER, Placed, Service

NAME = "wattlog-host"
PACKAGE = "wattlog_host"
NAMES = {
    "install": "print the unit that makes it a service of systemd, or install it",
    "uninstall": "print how the service is removed, or remove it",
}
LEFT = (f"/{CONFIG_FOLDER}", "/var/lib/private/wattlog")


def add_to(made: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add both commands to those of wattlog-host."""
    for name, about in NAMES.items():
        installing.add_options(made.add_parser(name, help=about, description=f"To {about}."))


def service() -> Service:
    """Return the host's service."""
    config = f"{CONFIG_FOLDER}/{settings.FILE_NAME}"
    files = (
        installing.unit_of(PACKAGE, NAME, PACKAGE),
        Placed(config, installing.data_of(PACKAGE, settings.FILE_NAME), True),
    )
    return Service(NAME, files, config, _check, LEFT)


def run(options: argparse.Namespace) -> Iterator[str]:
    """Do or only say what makes the host a service, or undoes it; raises InstallRefused."""
    act = installing.install if options.command == "install" else installing.uninstall
    return act(service(), is_done=options.system)


def _check(path: Path) -> None:
    settings.load(path, os.environ)
