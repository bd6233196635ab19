"""[dessmonitor] of host.toml: its keys, and what they become."""

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from wattlog.config import ConfigError, Key
from wattlog_host.dess import devcodes
from wattlog_host.dess.client import COMPANY_KEY, PLATFORMS, Account

PASSWORD_VARIABLE = "WATTLOG_DESS_PASSWORD"
SECRET_BYTES_MAX = 4_096

_ROWS = (
    ("enabled", "boolean", False, None, None, "whether to ask the cloud for solar inverters"),
    ("username", "text", None, 1, 255, "the name of the account, for some the e-mail address"),
    ("password_file", "text", None, 1, 4096, "a file whose first line is the password"),
    ("platform", ("ess", "pv"), "ess", None, None, "the account's kind: storage, or solar only"),
    ("url", "text", None, 1, 2000, "the cloud's address, only if it is another"),
    ("company_key", "text", COMPANY_KEY, 1, 255, "the installer's key, only if there is one"),
    ("interval_min", "integer", 5, 1, 60, "the minutes from one look to the next"),
    ("devcodes", "text", "devcodes", 1, 4096, "the folder of your own devcode files"),
    ("writable", "text", "", 0, 4000, "serial numbers of inverters whose settings may be changed"),
    ("write_token_file", "text", "", 0, 4096, "a file whose first line lets change settings"),
)
SCHEMA = tuple(Key("dessmonitor." + name, *rest) for name, *rest in _ROWS)

Refuse = Callable[[str, str], ConfigError]
Place = Callable[[str, str], Path]


@dataclass(frozen=True, slots=True)
class DessSettings:
    """Everything about solar that can be set; secrets are read from their files when needed."""

    is_enabled: bool
    username: str | None
    password_file: Path | None
    password_given: bool
    platform: str
    url: str
    company_key: str
    interval_min: int
    devcodes: Path | None
    writable: tuple[str, ...]
    write_token_file: Path | None

    def lines(self) -> list[str]:
        """Return the settings in effect as TOML lines, without secrets."""
        own = self.devcodes or "devcodes"
        token = self.write_token_file or ""
        shown = ["", "[dessmonitor]", f"enabled = {str(self.is_enabled).lower()}"]
        shown += [f'platform = "{self.platform}"', f'url = "{self.url}"']
        shown += [f'company_key = "{self.company_key}"', f"interval_min = {self.interval_min}"]
        shown += [f'devcodes = "{own}"', f'writable = "{",".join(self.writable)}"']
        shown += [f'write_token_file = "{token}"']
        if self.username is not None:
            shown.append(f'username = "{self.username}"')
        if self.password_file is not None or self.password_given:
            where = "its file" if self.password_file is not None else PASSWORD_VARIABLE
            shown.append(f"# password: read from {where}")
        return shown

    def account(self, username: str) -> Account:
        """Return the account of this user."""
        return Account(self.url, username, self.platform, self.company_key)


def read(
    values: Mapping[str, Any], refuse: Refuse, place: Place, environ: Mapping[str, str]
) -> DessSettings:
    """Return the settings of the checked table; raise what refuse makes of a mistake.

    place makes a path of a text, beside the file that names it.
    """
    password_file = None
    if values["password_file"] is not None:
        password_file = place("dessmonitor.password_file", values["password_file"])
        require_secret(password_file, "dessmonitor.password_file", refuse)
    token_file = None
    if values["write_token_file"]:
        token_file = place("dessmonitor.write_token_file", values["write_token_file"])
        require_secret(token_file, "dessmonitor.write_token_file", refuse)
    if values["enabled"] and values["username"] is None:
        raise refuse("dessmonitor.enabled", "needs dessmonitor.username, the name of the account")
    folder: Path | None = place("dessmonitor.devcodes", values["devcodes"])
    if folder is not None and not folder.is_dir():
        if values["devcodes"] != "devcodes":
            raise refuse("dessmonitor.devcodes", f"is not a folder: {folder}")
        folder = None
    devcodes.load(folder)
    return DessSettings(
        values["enabled"],
        values["username"],
        password_file,
        bool(environ.get(PASSWORD_VARIABLE)),
        values["platform"],
        _url(values["url"] or PLATFORMS[values["platform"]][2], refuse),
        values["company_key"],
        values["interval_min"],
        folder,
        tuple(word.strip() for word in values["writable"].split(",") if word.strip()),
        token_file,
    )


def password_source(
    settings: DessSettings, environ: Mapping[str, str]
) -> Callable[[], str | None]:
    """Return what gives the password, from its file as it is then, or from the environment."""

    def password() -> str | None:
        if settings.password_file is not None:
            return read_secret(settings.password_file)
        return environ.get(PASSWORD_VARIABLE) or None

    return password


def read_secret(path: Path) -> str | None:
    """Return a file's first line, None where there is none."""
    try:
        with path.open("rb") as file:
            lines = file.read(SECRET_BYTES_MAX).decode().splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    return lines[0] if lines and lines[0] else None


def require_secret(path: Path, key: str, refuse: Refuse) -> None:
    """Raise where the file holds nothing; better now than at the first login."""
    try:
        with path.open("rb"):
            pass
    except OSError as err:
        raise refuse(key, f"cannot read {path}: {err.strerror}") from err
    except ValueError as err:
        raise refuse(key, f"is no usable path: {err}") from err
    if read_secret(path) is None:
        raise refuse(key, f"{path} is empty, or no text; its first line is the secret")


def _url(text: str, refuse: Refuse) -> str:
    """Return the address that a query is appended to."""
    key = "dessmonitor.url"
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as err:
        raise refuse(key, f"is no address: {err}") from err
    if parts.scheme not in ("https", "http") or not host:
        raise refuse(key, f"must be like {PLATFORMS['ess'][2]}")
    if parts.username is not None or parts.query or parts.fragment or "?" in text or "#" in text:
        raise refuse(key, "must have no user, question mark or hash in it")
    if parts.scheme == "http" and not _is_loopback(host):
        raise refuse(key, "must begin with https:// (http:// is for this machine only)")
    return text if parts.path not in ("", "/") else text.rstrip("/") + "/public/"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
