"""The command `wattlog-agent`: run the daemon, check its configuration, decode a meter."""

import argparse
import io
import logging
import os
import sys
from pathlib import Path

from wattlog import __version__
from wattlog.config import ConfigError
from wattlog_pi import installing, service_command, settings

EXIT_USAGE = 2
SERVICE_COMMANDS = {
    "install": service_command.install,
    "uninstall": service_command.uninstall,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wattlog-agent",
        description="Reads smart meters (SML) on serial ports and sends their readings to a "
        "wattlog host. Without a command it runs until stopped.",
    )
    parser.add_argument("--version", action="version", version=f"wattlog-agent {__version__}")
    parser.add_argument("--config", type=Path, metavar="FILE", help="the settings, agent.toml")
    parser.add_argument(
        "--check-config", action="store_true", help="check the settings, print them and exit"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    decode = commands.add_parser(
        "decode",
        help="print what a meter says, without sending anything",
        description="Prints every register that a meter sends. Values are as on the wire.",
    )
    decode.add_argument(
        "source",
        nargs="?",
        default="-",
        metavar="FILE|-|DEVICE",
        help="a capture file, - for standard input, or a serial port (until Ctrl-C)",
    )
    decode.add_argument("--json", action="store_true", help="one JSON object per valid frame")
    decode.add_argument(
        "--interpret",
        action="store_true",
        help="add wattlog's reading of them: sign settled, scaled, named",
    )
    decode.add_argument("--count", type=_count, metavar="N", help="stop after N frames")
    decode.add_argument(
        "--salvage",
        action="store_true",
        help="also show lists whose own checksum is right in frames whose checksum is wrong",
    )
    decode.add_argument("--baud", type=int, default=9600, help="of a serial port (default 9600)")
    for name, about, add_options in (
        ("install", installing.INSTALL_ABOUT, service_command.add_options),
        ("uninstall", installing.UNINSTALL_ABOUT, installing.add_options),
    ):
        add_options(commands.add_parser(name, help=about, description=f"To {about}."))
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse_args(argv)
    if sys.stdout is None or sys.stderr is None:
        return EXIT_USAGE  # nobody could read a word of what follows
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Not every terminal can show a degree sign; none is worth a crash.
            stream.reconfigure(errors="replace")
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    try:
        return _act(options)
    except (ConfigError, installing.InstallRefused) as err:
        print(f"wattlog-agent: {err}", file=sys.stderr)
        return EXIT_USAGE
    except ModuleNotFoundError as err:
        if err.name not in ("serial", "paho"):
            raise
        print(
            f"wattlog-agent: {err.name} is not installed: pip install 'wattlog[agent]'",
            file=sys.stderr,
        )
        return EXIT_USAGE


def _act(options: argparse.Namespace) -> int:
    if options.command == "decode":
        from wattlog_pi.decode import run_decode

        return run_decode(options)
    if options.command in SERVICE_COMMANDS:
        for line in SERVICE_COMMANDS[options.command](options):
            print(line, flush=True)
        return 0
    try:
        checked = settings.read(options.config or settings.default_path())
    except ConfigError as err:
        print(f"wattlog-agent: {err}", file=sys.stderr)
        # A service does not try this again; a log that another agent has may be free soon.
        return EXIT_USAGE if options.check_config else os.EX_CONFIG
    if options.check_config:
        _print_settings(checked)
        return 0
    from wattlog_pi.app import run

    return run(checked)


def _print_settings(checked: settings.Settings) -> None:
    mqtt = checked.mqtt
    print(f"{checked.path}: ok")
    print(f"id      {checked.edge}")
    for meter in checked.meters:
        print(f"meter   {meter.port} at {meter.baud} bit/s")
    login = f" as {mqtt.username}" if mqtt.username else ""
    print(f"broker  {mqtt.host}:{mqtt.port}{' with TLS' if mqtt.tls else ''}{login}")
    print(f"log     {checked.log_path}, {checked.log_bytes // 1024} KiB")
    print(f"batches every {checked.batch_ms // 1000} s")
