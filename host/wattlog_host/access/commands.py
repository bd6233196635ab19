"""`wattlog-host password` and `token`."""

import argparse
import getpass
import os
import sys
from pathlib import Path

from wattlog_host.access.accounts import (
    AccessRefused,
    accounts_in,
    add_token,
    remove_token,
    set_password,
)
from wattlog_host.settings import Settings

PASSWORD_VARIABLE = "WATTLOG_PASSWORD"


def add_password_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `password`."""
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        "--password-file",
        type=Path,
        metavar="FILE",
        help="its first line is the password; else it is asked for, or "
        f"{PASSWORD_VARIABLE} in the environment",
    )
    chosen.add_argument(
        "--remove", action="store_true", help="have none: only for a page of this machine alone"
    )


def password(options: argparse.Namespace, settings: Settings) -> int:
    """Set or remove the password of the page."""
    kept = accounts_in(settings.data)
    if options.remove:
        set_password(kept, None)
        print("the page has no password any more, and all sessions have ended")
        return 0
    set_password(kept, _wanted(options.password_file))
    print(f"the page has this password from now on; all sessions have ended ({kept.path})")
    return 0


def _wanted(file: Path | None) -> str:
    if file is not None:
        try:
            lines = file.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as err:
            why = err.strerror if isinstance(err, OSError) else "not UTF-8 text"
            raise AccessRefused(f"cannot read {file}: {why}") from None
        return lines[0] if lines else ""
    if PASSWORD_VARIABLE in os.environ:
        return os.environ[PASSWORD_VARIABLE]
    if not sys.stdin.isatty():
        raise AccessRefused("nobody is there to ask: give --password-file")
    try:
        first = getpass.getpass("password of the page: ")
        second = getpass.getpass("the same again: ")
    except EOFError:
        raise AccessRefused("no password was given") from None
    if first != second:
        raise AccessRefused("these were two different passwords; nothing was changed")
    return first


def add_token_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `token`."""
    add_acts(parser, "token")
    parser.add_argument(
        "--write", action="store_true", help="add one that may change settings, not only read"
    )


def add_acts(parser: argparse.ArgumentParser, what: str) -> None:
    """Add what can be done with a list of names."""
    parser.add_argument("act", choices=("add", "list", "remove"), help=f"make a {what}, and so on")
    parser.add_argument("name", nargs="?", metavar="NAME", help=f"the {what}; not for list")


def name_in(options: argparse.Namespace) -> str:
    """Return the name that add and remove need."""
    if options.name is None:
        raise AccessRefused(f"{options.command} {options.act}: say which NAME")
    return str(options.name)


def token(options: argparse.Namespace, settings: Settings) -> int:
    """Add, list or remove the token of a program."""
    kept = accounts_in(settings.data)
    if options.act == "add":
        secret = add_token(kept, name_in(options), may_change=options.write)
        print(f"token {options.name}, shown this once:")
        print(f"Authorization: Bearer {secret}")
    elif options.act == "remove":
        remove_token(kept, name_in(options))
        print(f"token {options.name} is removed")
    else:
        for one in sorted(kept.now().tokens.values()):
            print(f"{one.name}  {'reads and changes' if one.may_change else 'reads'}")
    return 0
