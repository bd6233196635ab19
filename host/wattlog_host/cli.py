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

EXIT_UNUSABLE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status: 0 stopped as asked, 2 cannot run so."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["dess"]:
        from wattlog_host.dess import cli as dess

        return dess.main(words[1:])
    options = _parser().parse_args(words)
    try:
        chosen = settings.load(options.config, os.environ)
        if options.check_config:
            print("\n".join([f"{chosen.name}: ok", *chosen.lines()]))
            return 0
        _set_up_logging(verbose=options.verbose)
        os.umask(0o077)  # who was at home, and when, is nobody else's business
        asyncio.run(app.run(chosen))
    except (ConfigError, app.StartError) as err:
        print(f"wattlog-host: {err}", file=sys.stderr)
        return EXIT_UNUSABLE
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wattlog-host",
        description="Collects the readings of wattlog agents, stores and shows them.",
        epilog="`wattlog-host dess --help` tells of solar inverters in the cloud.",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="settings; without it host.toml of the service's own folder, else the defaults",
    )
    parser.add_argument(
        "--check-config", action="store_true", help="print the settings in effect and stop"
    )
    parser.add_argument("--verbose", action="store_true", help="say what is usually not worth it")
    parser.add_argument("--version", action="version", version=f"wattlog {wattlog.__version__}")
    return parser


def _set_up_logging(*, verbose: bool) -> None:
    """Log to stderr, one line per event; libraries only where they warn."""
    # The journal has its own clock.
    stamp = "" if "JOURNAL_STREAM" in os.environ else "%(asctime)s "
    logging.basicConfig(
        level=logging.WARNING, format=stamp + "%(levelname)s %(message)s", datefmt="%H:%M:%S"
    )
    logging.getLogger("wattlog_host").setLevel(logging.DEBUG if verbose else logging.INFO)


if __name__ == "__main__":
    sys.exit(main())
