"""`wattlog-agent install` and `uninstall`: the agent as a service of systemd."""

import argparse
import json
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

from wattlog_pi import installing, settings
from wattlog_pi.installing import CONFIG_FOLDER, RULES, Placed, Service

NAME = "wattlog-agent"
PACKAGE = "wattlog_pi"
BY_ID = Path("/dev/serial/by-id")
LEFT = (f"/{CONFIG_FOLDER}", "/var/lib/private/wattlog-agent")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what goes into a new agent.toml."""
    installing.add_options(parser)
    parser.add_argument("--id", metavar="NAME", help="this agent's name; the machine's")
    parser.add_argument(
        "--port",
        action="append",
        metavar="DEVICE",
        help="the port of an IR head; may be given several times; all in /dev/serial/by-id",
    )
    parser.add_argument(
        "--broker", default="127.0.0.1", metavar="HOST", help="the broker; on this machine"
    )


def install(options: argparse.Namespace) -> Iterator[str]:
    """Do or only say what makes the agent a service; raises InstallRefused."""
    ports = options.port if options.port is not None else _ports_found()
    name = options.id or _own_name()
    made = service_of(name, ports, options.broker)
    return installing.install(made, is_done=options.system)


def uninstall(options: argparse.Namespace) -> Iterator[str]:
    """Do or only say the reverse; raises InstallRefused."""
    return installing.uninstall(service_of("", [], ""), is_done=options.system)


def service_of(name: str, ports: list[str], broker: str) -> Service:
    """Return the agent's service; the three go into agent.toml where there is none yet."""
    text = installing.data_of(PACKAGE, "agent.toml")
    meters = "".join(f"[[meter]]\nport = {_quoted(port)}\n\n" for port in ports)
    for mark, value in (
        ("@METERS@\n", meters or _NO_METER),
        ('"@ID@"', _quoted(name)),
        ('"@BROKER@"', _quoted(broker)),
    ):
        text = text.replace(mark, value)
    config = f"{CONFIG_FOLDER}/agent.toml"
    files = (
        installing.unit_of(PACKAGE, NAME, PACKAGE),
        Placed(config, text, True),
        Placed(RULES, installing.data_of(PACKAGE, "70-wattlog.rules"), False),
    )
    return Service(NAME, files, config, _check, LEFT)


_NO_METER = '# [[meter]]\n# port = "/dev/serial/by-id/..."\n\n'


def _check(path: Path) -> None:
    # What the service will have and we do not: its folder.
    os.environ.setdefault("STATE_DIRECTORY", "/var/lib/wattlog-agent")
    settings.read(path)


def _quoted(text: str) -> str:
    """Return it as TOML writes it, which is as JSON does here."""
    return json.dumps(text, ensure_ascii=False)


def _ports_found() -> list[str]:
    return sorted(str(path) for path in BY_ID.iterdir()) if BY_ID.is_dir() else []


def _own_name() -> str:
    """Return the machine's name as an agent's."""
    name = re.sub(r"[^a-z0-9_-]", "-", socket.gethostname().partition(".")[0].lower())
    return name[:32] or "agent"
