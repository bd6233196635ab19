"""`wattlog-host password`, `token`, `device` and `broker-config`."""

import argparse
import getpass
import os
import socket
import sys
from pathlib import Path

from wattlog_host.access.accounts import (
    accounts_in,
    add_token,
    remove_token,
    set_password,
)
from wattlog_host.access.devices import add_device, devices_in, remove_device
from wattlog_host.access.kept import AccessRefused
from wattlog_host.access.recipes import FOLDER, HOST_USER, RECIPES
from wattlog_host.access.topics import AGENT, PROGRAM, TOOL, Role
from wattlog_host.settings import Settings, is_loopback, is_wildcard
from wattlog_pi.credentials import file_named

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
        file = file_named(str(file), Path(), os.environ)
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


def add_device_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `device`."""
    add_acts(parser, "device")
    parser.add_argument(
        "--tool",
        action="store_const",
        const=TOOL,
        default=AGENT,
        dest="role",
        help="add one for wattlog-tools head and pin, not for an agent",
    )
    parser.add_argument(
        "--program",
        action="store_const",
        const=PROGRAM,
        dest="role",
        help="add one for Home Assistant and the like, which reads what the host announces",
    )


def device(options: argparse.Namespace, settings: Settings) -> int:
    """Add, list or remove who may use the embedded broker."""
    if not settings.mqtt_embedded:
        raise AccessRefused(
            "mqtt.embedded is false: devices are known to the broker that you use; "
            "`broker-config` prints settings for one"
        )
    kept = devices_in(settings.data)
    if options.act == "add":
        name = name_in(options)
        print(
            "\n".join(
                _handed_out(settings, name, options.role, add_device(kept, name, options.role))
            )
        )
    elif options.act == "remove":
        remove_device(kept, name_in(options))
        print(f"device {options.name} is removed, and its connection ends")
    else:
        for one in sorted(kept.now().values()):
            print(f"{one.name}  {one.role.name}")
    return 0


def _handed_out(settings: Settings, name: str, role: Role, secret: str) -> list[str]:
    """Return what the person needs to set up the device."""
    where = settings.mqtt_listen
    if is_loopback(where) or is_wildcard(where):
        where = "127.0.0.1" if is_loopback(where) else socket.gethostname()
    way = [f'host = "{where}"', f"port = {settings.mqtt_port}"]
    if settings.mqtt_own_tls is not None:
        way += [
            "tls = true",
            '# ca_file = "ca.pem"  where its certificate is signed by your own CA',
        ]
    if role is PROGRAM:
        return [
            f"device {name}, shown this once:",
            secret,
            f"the broker is {where}, port {settings.mqtt_port}, the user {name}",
        ]
    if role is TOOL:
        tls = " --tls" if settings.mqtt_own_tls is not None else ""
        return [
            f"device {name}, shown this once; put it into a file:",
            secret,
            f"wattlog-tools head --broker {where}:{settings.mqtt_port}{tls} --user {name} "
            "--password-file FILE",
        ]
    return [
        f"device {name}, shown this once:",
        secret,
        "",
        "# agent.toml; the line above goes into the file mqtt-password beside it",
        "[agent]",
        f'id = "{name}"',
        "[mqtt]",
        *way,
        f'username = "{name}"',
        'password_file = "mqtt-password"',
        "",
        "# head.toml",
        "[agent]",
        f'id = "{name}"',
        "[mqtt]",
        *way,
        f'username = "{name}"',
        f'password = "{secret}"',
    ]


def add_broker_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `broker-config`."""
    parser.add_argument("broker", choices=sorted(RECIPES), help="the broker that is to be used")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="write the files there; else they are printed"
    )
    parser.add_argument("--cert-file", type=Path, metavar="FILE", help="its certificate, for TLS")
    parser.add_argument("--key-file", type=Path, metavar="FILE", help="the key of that")


def broker_config(options: argparse.Namespace, settings: Settings) -> int:
    """Print or write the settings of another broker."""
    if (options.cert_file is None) != (options.key_file is None):
        raise AccessRefused("--cert-file and --key-file go together")
    certificate = None
    if options.cert_file is not None:
        certificate = options.cert_file.absolute(), options.key_file.absolute()
    folder = FOLDER if options.out is None else options.out.absolute()
    user = settings.mqtt_username or HOST_USER
    recipe = RECIPES[options.broker](
        settings.mqtt_port, folder, user, certificate, settings.announce.prefix
    )
    for name, text in recipe.files.items():
        path = folder / name
        if options.out is None:
            print(f"# ---- {path}\n{text}")
            continue
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o644)  # the broker is another user, and there is no secret in it
        except OSError as err:
            raise AccessRefused(f"cannot write {path}: {err.strerror}") from err
        print(f"{path} is written")
    print("\n".join(("# ---- then, as root", *recipe.commands)))
    return 0


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
