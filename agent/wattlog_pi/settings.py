"""The agent's settings: one table of keys, and how agent.toml is found and read."""

import os
import ssl
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wattlog.config import REQUIRED, ConfigError, Key, parse
from wattlog_pi.credentials import file_named

PASSWORD_ENVIRONMENT = "WATTLOG_MQTT_PASSWORD"
METERS_MAX = 16
PORT_BYTES_MAX = 200
EDGE_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789_-"

SCHEMA = (
    Key("agent.id", "text", REQUIRED, 1, 32, 'this agent\'s own name, like "cellar"'),
    Key("log.path", "text", None, 1, 4096, "the file in which readings wait for the host"),
    Key(
        "log.size_kib",
        "integer",
        16_384,
        64,
        262_140,
        "the size of that file in KiB, when it is made",
    ),
    Key(
        "uplink.batch_s",
        "integer",
        30,
        1,
        60,
        "how long readings are gathered in seconds, before they are sent together",
    ),
    Key(
        "meter[].port", "text", REQUIRED, 1, PORT_BYTES_MAX, 'the serial port, like "/dev/ttyUSB0"'
    ),
    Key("meter[].baud", "integer", 9600, 300, 921600, "the meter's speed in bit/s; SML has 9600"),
    Key("mqtt.host", "text", REQUIRED, 1, 255, "the broker's name or address"),
    Key(
        "mqtt.port",
        "integer",
        None,
        1,
        65535,
        "the broker's TCP port; without it 1883, or 8883 with TLS",
    ),
    Key("mqtt.username", "text", None, 1, 255, "the name to log in with; usually the agent's id"),
    Key("mqtt.password_file", "text", None, 1, 4096, "a file whose first line is the password"),
    Key("mqtt.tls", "boolean", False, None, None, "whether to use TLS; certificates are verified"),
    Key("mqtt.ca_file", "text", None, 1, 4096, "a file of the CA certificates to trust"),
)


@dataclass(frozen=True)
class MeterSettings:
    """One serial port."""

    port: str
    baud: int


@dataclass(frozen=True)
class MqttSettings:
    """The way to the broker; password is None where none is used."""

    host: str
    port: int
    username: str | None
    password: str | None = field(repr=False)
    tls: bool
    ca_file: str | None


@dataclass(frozen=True)
class Settings:
    """Everything in agent.toml, checked."""

    path: Path
    edge: str
    log_path: Path
    log_bytes: int
    batch_ms: int
    meters: tuple[MeterSettings, ...]
    mqtt: MqttSettings


def default_path() -> Path:
    """Return where agent.toml is looked for when nobody says."""
    folder = os.environ.get("CONFIGURATION_DIRECTORY", "/etc/wattlog").split(":")[0]
    return Path(folder) / "agent.toml"


def read(path: Path) -> Settings:
    """Return the checked settings of a file; raises ConfigError, one line for a person."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors on Windows put a mark in front
    except (OSError, ValueError) as err:
        raise ConfigError(f"{path}: {_why(err)}") from None
    data = parse(str(path), text, tomllib.loads, SCHEMA)
    edge = data["agent"]["id"]
    if any(letter not in EDGE_CHARACTERS for letter in edge):
        raise ConfigError(f"{path}: agent.id may hold a-z, 0-9, _ and -, not {edge!r}")
    meters = tuple(MeterSettings(**row) for row in data["meter"])
    if not meters:
        raise ConfigError(f"{path}: no meter: add a [[meter]] table with its port")
    if len(meters) > METERS_MAX:
        raise ConfigError(f"{path}: {len(meters)} [[meter]] tables; one agent takes {METERS_MAX}")
    ports = [meter.port for meter in meters]
    for port in ports:
        if ports.count(port) > 1:
            raise ConfigError(f"{path}: {port} is given to more than one [[meter]]")
    return Settings(
        path,
        edge,
        _log_path(path, data["log"]["path"], edge),
        data["log"]["size_kib"] * 1024,
        data["uplink"]["batch_s"] * 1000,
        meters,
        _mqtt(path, data["mqtt"]),
    )


def _mqtt(path: Path, mqtt: dict[str, Any]) -> MqttSettings:
    if mqtt["ca_file"] and not mqtt["tls"]:
        raise ConfigError(f"{path}: mqtt.ca_file is set but mqtt.tls is not true")
    if mqtt["ca_file"]:
        mqtt["ca_file"] = _ca_file(path, mqtt["ca_file"])
    if mqtt["port"] is None:
        mqtt["port"] = 8883 if mqtt["tls"] else 1883
    password = _password(path, mqtt.pop("password_file"))
    if password is not None and mqtt["username"] is None:
        raise ConfigError(f"{path}: a password is given but mqtt.username is not")
    return MqttSettings(password=password, **mqtt)


def _log_path(path: Path, given: str | None, edge: str) -> Path:
    if given is not None:
        return path.parent.absolute() / given
    state = os.environ.get("STATE_DIRECTORY", "").split(":")[0]  # as systemd has it
    try:
        folder = Path(state) if state else Path.home() / ".local/state/wattlog"
    except RuntimeError:
        raise ConfigError(f"{path}: log.path is missing, and this user has no home") from None
    return folder / f"{edge}.ring"


def _ca_file(path: Path, ca_file: str) -> str:
    file = str(file_named(ca_file, path.parent, os.environ))
    try:
        ssl.create_default_context(cafile=file)
    except OSError as err:  # ssl.SSLError is one
        raise ConfigError(f"{path}: mqtt.ca_file {file}: {_why(err)}") from None
    return file


def _password(path: Path, password_file: str | None) -> str | None:
    if password_file is None:
        return os.environ.get(PASSWORD_ENVIRONMENT)
    file = file_named(password_file, path.parent, os.environ)
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as err:
        raise ConfigError(f"{path}: mqtt.password_file {file}: {_why(err)}") from None
    if not lines or not lines[0]:
        raise ConfigError(f"{path}: mqtt.password_file {file}: its first line is empty")
    return lines[0]


def _why(err: OSError | ValueError) -> str:
    if isinstance(err, UnicodeDecodeError):
        return "not a text in UTF-8"
    if isinstance(err, ssl.SSLError):
        return "no certificate in PEM form"
    return str(getattr(err, "strerror", None) or err).lower()
