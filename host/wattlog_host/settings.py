"""host.toml: the table of settings and what they become."""

import ipaddress
import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from wattlog.config import ConfigError, Key, line_of, parse
from wattlog_host.alerts import config as alerts_config
from wattlog_host.alerts.config import AlertSettings
from wattlog_host.announce import config as announce_config
from wattlog_host.announce.config import AnnounceSettings
from wattlog_host.backup.rotation import Keep
from wattlog_host.bounds import is_edge
from wattlog_host.certificate import Certificate, CertificateUnusable
from wattlog_host.dess import config as dess_config
from wattlog_host.dess.config import DessSettings
from wattlog_host.history.zone import Zone, zone_or_offset
from wattlog_host.house_settings import (
    HOUSE_SCHEMA,
    HouseSettings,
    house_settings,
    without_tariffs,
)
from wattlog_pi.credentials import file_named

SCHEMA = (
    Key("data", "text", None, 1, 4096, "the folder for the database"),
    Key("http.listen", "text", "127.0.0.1", 1, 255, "the address that serves the page"),
    Key("http.port", "integer", 8080, 1, 65535, "the port that serves the page"),
    Key("http.hostnames", "text", "", 0, 1000, "the names, with commas, the page is reached by"),
    Key("http.guest", "boolean", False, None, None, "whether all may look without logging in"),
    Key("http.cert_file", "text", None, 1, 4096, "the page's certificate for TLS, with its chain"),
    Key("http.key_file", "text", None, 1, 4096, "the key of that certificate"),
    Key("mqtt.embedded", "boolean", True, None, None, "whether the host brings its own broker"),
    Key("mqtt.host", "text", "127.0.0.1", 1, 255, "the broker's address"),
    Key("mqtt.listen", "text", None, 1, 255, "the address that the embedded broker serves"),
    Key("mqtt.cert_file", "text", None, 1, 4096, "the embedded broker's certificate for TLS"),
    Key("mqtt.key_file", "text", None, 1, 4096, "the key of that certificate"),
    Key("mqtt.port", "integer", None, 1, 65535, "the broker's port; 1883, with TLS 8883"),
    Key("mqtt.username", "text", None, 1, 255, "the host's name at the broker"),
    Key("mqtt.password_file", "text", None, 1, 4096, "a file whose first line is the password"),
    Key("mqtt.tls", "boolean", False, None, None, "whether to speak TLS with the broker"),
    Key("mqtt.ca_file", "text", None, 1, 4096, "the authority that signed the broker's key"),
    Key("store.raw_days", "integer", 400, 0, 36_500, "how long single readings stay; 0: for ever"),
    Key("store.url", "text", None, 1, 4096, "the database, like sqlite:////path/to/file.db"),
    Key("store.password_file", "text", None, 1, 4096, "a file whose first line is the password"),
    Key("cell.share", "text", None, 1, 32, "what hosts that share the work are called together"),
    Key("backup.enabled", "boolean", True, None, None, "whether to back up every hour"),
    Key("backup.folder", "text", None, 1, 4096, "the folder for backups"),
    Key("backup.keep_hourly", "integer", 24, 0, 1000, "of how many hours a backup is kept"),
    Key("backup.keep_daily", "integer", 7, 0, 1000, "of how many days a backup is kept"),
    Key("backup.keep_weekly", "integer", 4, 0, 1000, "of how many weeks a backup is kept"),
    Key("backup.keep_monthly", "integer", 12, 0, 1000, "of how many months a backup is kept"),
    Key("backup.reserve_mib", "integer", 256, 0, 2**30, "how much of the disk stays free, MiB"),
    *announce_config.SCHEMA,
    *alerts_config.SCHEMA,
    *dess_config.SCHEMA,
    *HOUSE_SCHEMA,
)

FILE_NAME = "host.toml"
_SQLITE = "sqlite:///"
_POSTGRES = "postgresql://"
STORE_PASSWORD = "WATTLOG_STORE_PASSWORD"
MQTT_PASSWORD = "WATTLOG_MQTT_PASSWORD"


@dataclass(frozen=True, slots=True)
class BackupSettings:
    """Where backups go and how many are kept; see host.toml."""

    enabled: bool
    folder: Path
    keep: Keep
    reserve_bytes: int

    def lines(self) -> list[str]:
        """Return them as TOML lines."""
        shown = [f"enabled = {str(self.enabled).lower()}", f'folder = "{self.folder}"']
        shown += [f"keep_{name} = {count}" for name, count in self.keep._asdict().items()]
        return ["[backup]", *shown, f"reserve_mib = {self.reserve_bytes // 2**20}"]


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set; password is never printed."""

    name: str
    path: Path | None
    data: Path
    database: Path | URL
    http_listen: str
    http_port: int
    http_hostnames: tuple[str, ...]
    http_guest: bool
    http_tls: Certificate | None
    mqtt_embedded: bool
    mqtt_listen: str
    mqtt_own_tls: Certificate | None
    mqtt_host: str
    mqtt_port: int
    mqtt_username: str | None
    mqtt_password: str | None = field(repr=False)
    mqtt_tls: bool
    mqtt_ca_file: Path | None
    announce: AnnounceSettings
    store_raw_days: int
    cell_share: str | None
    dess: DessSettings
    house: HouseSettings
    backup: BackupSettings
    alerts: AlertSettings

    def lines(self) -> list[str]:
        """Return the settings in effect as TOML lines, without secrets."""
        shown = [f'data = "{self.data}"', "", "[http]"]
        shown += [f'listen = "{self.http_listen}"', f"port = {self.http_port}"]
        shown += [f'hostnames = "{",".join(self.http_hostnames)}"']
        shown += [f"guest = {str(self.http_guest).lower()}", *_shown_tls(self.http_tls)]
        shown += ["", "[mqtt]"]
        shown += [f"embedded = {str(self.mqtt_embedded).lower()}", f'host = "{self.mqtt_host}"']
        shown += [f'listen = "{self.mqtt_listen}"'] if self.mqtt_embedded else []
        shown += _shown_tls(self.mqtt_own_tls)
        shown += [f"port = {self.mqtt_port}", f"tls = {str(self.mqtt_tls).lower()}"]
        if self.mqtt_username is not None:
            shown.append(f'username = "{self.mqtt_username}"')
        if self.mqtt_password is not None:
            shown.append("# password: read from its file, or the environment")
        if self.mqtt_ca_file is not None:
            shown.append(f'ca_file = "{self.mqtt_ca_file}"')
        shown += ["", *self.announce.lines(), "", *self.alerts.lines()]
        shown += ["", "[store]", f'url = "{self.store_url()}"']
        if isinstance(self.database, URL) and self.database.password is not None:
            shown.append("# password: read from its file, or the environment")
        shown += [f"raw_days = {self.store_raw_days}", ""]
        if self.cell_share is not None:
            shown += ["[cell]", f'share = "{self.cell_share}"', ""]
        shown += self.backup.lines()
        shown += ["", *self.house.lines()]
        return [*shown, *self.dess.lines()]

    def zone_called(self, name: str | None) -> Zone:
        """Return the zone, or offset, that --zone names; the house's own unless it is given."""
        if name is None:
            return self.house.zone
        try:
            return zone_or_offset(name)
        except ValueError as err:
            raise ConfigError(f"--zone {name} {err}") from err

    def options(self) -> str:
        """Return what names this file on a command line."""
        return "" if self.path is None else f" --config {self.path}"

    def store_url(self) -> str:
        """Return where the database is, without the password."""
        if isinstance(self.database, Path):
            return f"{_SQLITE}{self.database}"
        return without_password(self.database)


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Return the settings of the file at path, of the service's own file, or the defaults.

    Raises ConfigError, whose text is one line, for anything that cannot be used.
    """
    if path is None and (folder := environ.get("CONFIGURATION_DIRECTORY")):
        standard = Path(folder) / FILE_NAME
        path = standard if standard.exists() else None
    if path is None:
        return _settings("defaults", None, "", environ)
    return _settings(str(path), path, _read(path, str(path)), environ)


def without_password(url: URL) -> str:
    """Return the address as store.url has it."""
    return URL.create(
        url.drivername, url.username, None, url.host, url.port, url.database, url.query
    ).render_as_string()


def postgres_at(text: str, password_file: Path | None, environ: Mapping[str, str]) -> URL:
    """Return the database that --to names on a command line, with the password of its file.

    Without --password-file it is that of the environment, if there is one. Raises ConfigError.
    """
    url = _postgres(text, lambda why: ConfigError(f"--to {why}"), "--password-file")
    if url is None:
        raise ConfigError('--to must be like "postgresql://user@host/database"')
    if password_file is None:
        password = environ.get(STORE_PASSWORD)
    else:
        password = next(iter(_read(password_file, "--password-file").splitlines()), "")
        if not password:
            raise ConfigError(
                f"--password-file {password_file} is empty; its first line is the password"
            )
    return url if password is None else url.set(password=password)


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach what listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_wildcard(host: str) -> bool:
    """Tell whether what listens there is found at every address of this machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _read(path: Path, what: str) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as err:
        raise ConfigError(f"{what}: cannot read {path}: {err.strerror}") from err
    except UnicodeDecodeError as err:
        raise ConfigError(f"{what}: {path} is not UTF-8 text") from err
    except ValueError as err:
        raise ConfigError(f"{what}: cannot read {path!r}: {err}") from err


def _settings(name: str, path: Path | None, text: str, environ: Mapping[str, str]) -> Settings:
    values = parse(name, text, without_tariffs, SCHEMA)
    http, mqtt = values["http"], values["mqtt"]

    def refuse(key: str, why: str) -> ConfigError:
        line = line_of(text, key)
        where = name if line is None else f"{name} line {line}"
        return ConfigError(f"{where}: {key} {why}")

    def place(key: str, text: str) -> Path:
        try:
            return Path(text).expanduser().absolute()
        except (OSError, ValueError, RuntimeError) as err:
            raise refuse(key, f"is no usable path: {err}") from err

    data = place("data", values["data"] or _standard_data(environ))
    _check_mqtt(mqtt, refuse)
    beside = Path(name).parent  # a secret may lie beside the file that names it

    def place_beside(key: str, text: str) -> Path:
        return place(key, text if text.startswith("~") else str(file_named(text, beside, environ)))

    def password_of(key: str, named: str | None) -> str | None:
        if named is None:
            return None
        file = place_beside(key, named)
        lines = _read(file, f"{name} line {line_of(text, key)}").splitlines()
        if not lines or not lines[0]:
            raise refuse(key, f"{file} is empty; its first line is the password")
        return lines[0]

    password = password_of("mqtt.password_file", mqtt["password_file"])
    if password is None and mqtt["username"] is not None:
        password = environ.get(MQTT_PASSWORD)
    ca_file = None
    if mqtt["ca_file"] is not None:
        ca_file = place_beside("mqtt.ca_file", mqtt["ca_file"])
        _check_authority(ca_file, refuse)
    announced = announce_config.read(values["announce"], refuse, place_beside)
    own_tls = _certificate("mqtt", mqtt, place_beside, refuse)
    store = values["store"]
    store_password = password_of("store.password_file", store["password_file"])
    database = _database(store, store_password or environ.get(STORE_PASSWORD), data, place, refuse)
    dess = dess_config.read(values["dessmonitor"], refuse, place_beside, environ)
    hostnames = tuple(
        word.strip().lower() for word in http["hostnames"].split(",") if word.strip()
    )
    return Settings(
        name, path, data, database, http["listen"], http["port"], hostnames,
        http["guest"], _certificate("http", http, place_beside, refuse),
        mqtt["embedded"], mqtt["listen"] or mqtt["host"], own_tls,
        _way_to_our_own(mqtt["listen"]) or mqtt["host"],
        mqtt["port"] or (8883 if mqtt["tls"] or own_tls else 1883),
        mqtt["username"], password,
        mqtt["tls"], ca_file, announced, values["store"]["raw_days"],
        _cell_share(values["cell"]["share"], mqtt, database, refuse),
        dess,
        house_settings(name, text, values["house"], environ),
        _backup(values["backup"], database, data, place),
        alerts_config.read(values["alerts"], refuse, place_beside, environ),
    )  # fmt: skip


def _database(
    store: Mapping[str, Any],
    password: str | None,
    data: Path,
    place: Callable[[str, str], Path],
    refuse: Callable[[str, str], ConfigError],
) -> Path | URL:
    """Return where the database is; an address has its password, which no text of it shows."""
    text = store["url"] or f"{_SQLITE}{data / 'wattlog.db'}"
    if text.startswith(_SQLITE) and len(text) > len(_SQLITE):
        if store["password_file"] is not None:
            raise refuse("store.password_file", "has no use for a file of SQLite")
        return place("store.url", text.removeprefix(_SQLITE))
    url = _postgres(text, lambda why: refuse("store.url", why), "store.password_file")
    if url is None:
        raise refuse(
            "store.url",
            'must be like "sqlite:////path/to/file.db" or "postgresql://user@host/database"',
        )
    return url if password is None else url.set(password=password)


def _cell_share(
    share: str | None,
    mqtt: Mapping[str, Any],
    database: Path | URL,
    refuse: Callable[[str, str], ConfigError],
) -> str | None:
    """Return the name of the shared subscription, None for a host that is alone."""
    if share is None:
        return None
    if not is_edge(share):
        raise refuse("cell.share", "may have only a to z, 0 to 9, - and _")
    if isinstance(database, Path):
        raise refuse("cell.share", "needs a database that several can write to: PostgreSQL")
    if mqtt["embedded"]:
        raise refuse("cell.share", "needs a broker that all of them reach: embedded = false")
    return share


def _postgres(text: str, refuse: Callable[[str], ConfigError], password_key: str) -> URL | None:
    """Return an address of PostgreSQL, None where it is none; raise where it has a password."""
    try:
        url = make_url(text) if text.startswith(_POSTGRES) else None
    except (ArgumentError, ValueError):
        return None
    if url is not None and url.password is not None:
        raise refuse(
            f"must not hold the password: put it in a file and name that in {password_key}, "
            f"or in the environment as {STORE_PASSWORD}"
        )
    return url if url is not None and url.database else None


def _backup(
    table: Mapping[str, Any], database: Path | URL, data: Path, place: Callable[[str, str], Path]
) -> BackupSettings:
    folder = table["folder"]
    beside = database.parent if isinstance(database, Path) else data
    return BackupSettings(
        # A server's own tools back up what is in it.
        table["enabled"] and isinstance(database, Path),
        beside / "backups" if folder is None else place("backup.folder", folder),
        Keep(*(table[f"keep_{name}"] for name in Keep._fields)),
        table["reserve_mib"] * 2**20,
    )


def _certificate(
    table: str,
    values: Mapping[str, Any],
    place: Callable[[str, str], Path],
    refuse: Callable[[str, str], ConfigError],
) -> Certificate | None:
    """Return the checked certificate of [http] or [mqtt], None where there is none."""
    keys = [f"{table}.{name}" for name in Certificate._fields]
    texts = [values[name] for name in Certificate._fields]
    if texts == [None, None]:
        return None
    for key, other, text in zip(keys, keys[::-1], texts, strict=True):
        if text is None:
            raise refuse(other, f"has no use without {key}")
    made = Certificate(*(place(key, text) for key, text in zip(keys, texts, strict=True)))
    try:
        made.context()
    except CertificateUnusable as err:
        raise refuse(f"{table}.{err.field}", str(err)) from None
    return made


def _shown_tls(certificate: Certificate | None) -> list[str]:
    return [
        f'{name} = "{path}"'
        for name, path in (certificate._asdict() if certificate else {}).items()
    ]


def _check_authority(file: Path, refuse: Any) -> None:
    """Raise where the file holds no certificate; better now than at every connection."""
    try:
        ssl.create_default_context(cafile=file)
    except FileNotFoundError as err:
        raise refuse("mqtt.ca_file", f"is not a file: {file}") from err
    except ssl.SSLError as err:
        raise refuse("mqtt.ca_file", f"holds no certificate in PEM form: {file}") from err
    except (OSError, ValueError) as err:
        raise refuse("mqtt.ca_file", f"cannot be read: {file}: {err}") from err


def _check_mqtt(mqtt: Mapping[str, Any], refuse: Any) -> None:
    """Raise where two settings of [mqtt] contradict each other."""
    if mqtt["embedded"]:
        if not is_loopback(mqtt["host"]):
            raise refuse(
                "mqtt.host",
                "must be 127.0.0.1 for the embedded broker; for agents on other machines set "
                "mqtt.listen, or embedded = false and use another broker with credentials",
            )
        for key in ("tls", "username", "password_file", "ca_file"):
            if mqtt[key]:
                raise refuse(f"mqtt.{key}", "needs a broker of its own: set embedded = false")
    else:
        for key in ("listen", "cert_file", "key_file"):
            if mqtt[key]:
                raise refuse(f"mqtt.{key}", "has no use with embedded = false")
    if mqtt["ca_file"] is not None and not mqtt["tls"]:
        raise refuse("mqtt.ca_file", "has no use without tls = true")
    if mqtt["password_file"] is not None and mqtt["username"] is None:
        raise refuse("mqtt.password_file", "has no use without username")


def _way_to_our_own(listen: str | None) -> str | None:
    """Return where this machine finds what listens there."""
    if listen is None or not is_wildcard(listen):
        return listen
    return "::1" if ":" in listen else "127.0.0.1"


def _standard_data(environ: Mapping[str, str]) -> str:
    # A systemd unit with StateDirectory= may name several folders; the first is the main one.
    state = environ.get("STATE_DIRECTORY", "").split(":")[0]
    return state or os.path.join("~", ".local", "share", "wattlog")
