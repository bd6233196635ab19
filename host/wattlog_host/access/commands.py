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
from wattlog_host.access.devices import Devices, add_device, devices_in, remove_device
from wattlog_host.access.kept import AccessRefused, Kept
from wattlog_host.access.recipes import FOLDER, HOST_USER, RECIPES
from wattlog_host.access.topics import AGENT, PROGRAM, TOOL, Role
from wattlog_host.command import Command
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


def _token_options(parser: argparse.ArgumentParser) -> None:
    _name_option(parser)
    parser.add_argument("--write", action="store_true", help="it may change settings, too")


def _add_token(options: argparse.Namespace, settings: Settings) -> int:
    secret = add_token(accounts_in(settings.data), options.name, may_change=options.write)
    print(f"token {options.name}, shown this once:")
    print(f"Authorization: Bearer {secret}")
    return 0


def _list_tokens(_: argparse.Namespace, settings: Settings) -> int:
    for one in sorted(accounts_in(settings.data).now().tokens.values()):
        print(f"{one.name}  {'reads and changes' if one.may_change else 'reads'}")
    return 0


def _remove_token(options: argparse.Namespace, settings: Settings) -> int:
    remove_token(accounts_in(settings.data), options.name)
    print(f"token {options.name} is removed")
    return 0


def _device_options(parser: argparse.ArgumentParser) -> None:
    _name_option(parser)
    role = parser.add_mutually_exclusive_group()
    role.add_argument(
        "--tool",
        action="store_const",
        const=TOOL,
        default=AGENT,
        dest="role",
        help="one for wattlog-tools head and pin, not for an agent",
    )
    role.add_argument(
        "--program",
        action="store_const",
        const=PROGRAM,
        dest="role",
        help="one for Home Assistant and the like, which reads what the host announces",
    )


def _add_device(options: argparse.Namespace, settings: Settings) -> int:
    secret = add_device(_devices(settings), options.name, options.role)
    print("\n".join(_handed_out(settings, options.name, options.role, secret)))
    return 0


def _list_devices(_: argparse.Namespace, settings: Settings) -> int:
    for one in sorted(_devices(settings).now().values()):
        print(f"{one.name}  {one.role.name}")
    return 0


def _remove_device(options: argparse.Namespace, settings: Settings) -> int:
    remove_device(_devices(settings), options.name)
    print(f"device {options.name} is removed, and its connection ends")
    return 0


def _devices(settings: Settings) -> Kept[Devices]:
    if not settings.mqtt_embedded:
        raise AccessRefused(
            "mqtt.embedded is false: devices are known to the broker that you use; "
            "`broker-config` prints settings for one"
        )
    return devices_in(settings.data)


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


def _name_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="as it is told apart from others")


TOKEN_ACTS = (
    Command("add", "make one; its secret is shown once", _token_options, _add_token),
    Command("list", "all there are", run=_list_tokens),
    Command("remove", "it opens nothing any more", _name_option, _remove_token),
)
DEVICE_ACTS = (
    Command("add", "make one; its password is shown once", _device_options, _add_device),
    Command("list", "all there are", run=_list_devices),
    Command("remove", "and end its connection", _name_option, _remove_device),
)
