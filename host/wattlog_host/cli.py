"""`wattlog-host`: the command line."""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import wattlog
from wattlog.config import ConfigError
from wattlog_host import app, settings
from wattlog_host.access.kept import AccessRefused, KeptBroken
from wattlog_host.access.passwords import PasswordUnfit
from wattlog_host.alerts import sending
from wattlog_host.clock import log_time
from wattlog_host.command import add_commands
from wattlog_host.commands import COMMANDS
from wattlog_host.importing.rows import ImportFailed
from wattlog_host.ownership import hand_over
from wattlog_host.store.records import StoreError
from wattlog_pi.installing import InstallRefused

REFUSALS = (AccessRefused, InstallRefused, KeptBroken, PasswordUnfit)
EXIT_UNUSABLE = 2
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status: 0 stopped as asked, 2 cannot run so.

    A service whose settings are wrong ends with 78 (EX_CONFIG), and is not tried again.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["dess"]:
        from wattlog_host.dess import cli as dess

        return dess.main(words[1:])
    options = _parser().parse_args(words)
    try:
        return _act(options)
    except ConfigError as err:
        print(f"wattlog-host: {err}", file=sys.stderr)
        return os.EX_CONFIG if options.is_service and not options.check_config else EXIT_UNUSABLE
    except (StoreError, ImportFailed, app.StartError, *REFUSALS) as err:
        print(f"wattlog-host: {err}", file=sys.stderr)
        return EXIT_UNUSABLE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _act(options: argparse.Namespace) -> int:
    if options.act is not None:
        return int(options.act(options))
    chosen = settings.load(options.config, os.environ)
    if options.check_config:
        sending.check(chosen.alerts)
        print("\n".join([f"{chosen.name}: ok", *chosen.lines()]))
        return 0
    _set_up_logging(verbose=options.verbose)
    os.umask(0o077)  # who was at home, and when, is nobody else's business
    if options.run is None:
        asyncio.run(app.run(chosen))
        return 0
    try:
        return int(options.run(options, chosen))
    finally:
        hand_over(chosen.data)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wattlog-host",
        description="Collects the readings of wattlog agents, stores and shows them.",
        epilog="`wattlog-host dess --help` tells of solar inverters in the cloud.",
        parents=[_common(None, False)],
    )
    parser.add_argument(
        "--check-config", action="store_true", help="print the settings in effect and stop"
    )
    parser.add_argument("--version", action="version", version=f"wattlog {wattlog.__version__}")
    # After a command they are not given again where they were given before it.
    parser.set_defaults(run=None, act=None, is_service=True)
    add_commands(parser, _common(argparse.SUPPRESS, argparse.SUPPRESS), COMMANDS)
    return parser


def _common(no_config: str | None, not_verbose: str | bool) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        default=no_config,
        help="settings; without it host.toml of the service's own folder, else the defaults",
    )
    parser.add_argument(
        "--verbose",
        action="store_true",
        default=not_verbose,
        help="say what is usually not worth it",
    )
    return parser


def _set_up_logging(*, verbose: bool) -> None:
    """Log to stderr, one line per event; libraries only where they warn."""
    # The journal has its own clock.
    stamp = "" if "JOURNAL_STREAM" in os.environ else "%(asctime)s "
    logging.basicConfig(
        level=logging.WARNING, format=stamp + "%(levelname)s %(message)s", datefmt="%H:%M:%S"
    )
    for handler in logging.getLogger().handlers:
        if handler.formatter is not None:
            handler.formatter.converter = log_time
    logging.getLogger("wattlog_host").setLevel(logging.DEBUG if verbose else logging.INFO)


if __name__ == "__main__":
    sys.exit(main())
