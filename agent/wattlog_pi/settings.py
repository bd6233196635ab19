"""The agent's settings: one table of keys, and how agent.toml is found and read."""

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

from wattlog.config import REQUIRED, ConfigError, Key, parse

PASSWORD_ENVIRONMENT = "WATTLOG_MQTT_PASSWORD"
EDGE_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789_-"

SCHEMA = (
    Key("agent.id", "text", REQUIRED, 1, 32, 'this agent\'s own name, like "cellar"'),
    Key(
        "agent.log_kib_max",
        "integer",
        8192,
        64,
        1048576,
        "the memory in KiB that readings may take while the host is away",
    ),
    Key("meter[].port", "text", REQUIRED, 1, 255, 'the serial port, like "/dev/ttyUSB0"'),
    Key("meter[].baud", "integer", 9600, 300, 921600, "the meter's speed in bit/s; SML has 9600"),
    Key("mqtt.host", "text", REQUIRED, 1, 255, "the broker's name or address"),
    Key("mqtt.port", "integer", 1883, 1, 65535, "the broker's TCP port"),
    Key("mqtt.username", "text", None, 1, 255, "the name to log in with; usually the agent's id"),
    Key("mqtt.password_file", "text", None, 1, 4096, "a file that holds nothing but the password"),
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
    password: str | None
    tls: bool
    ca_file: str | None


@dataclass(frozen=True)
class Settings:
    """Everything in agent.toml, checked."""

    path: Path
    edge: str
    log_bytes_max: int
    meters: tuple[MeterSettings, ...]
    mqtt: MqttSettings


def default_path() -> Path:
    """Return where agent.toml is looked for when nobody says."""
    folder = os.environ.get("CONFIGURATION_DIRECTORY", "/etc/wattlog").split(":")[0]
    return Path(folder) / "agent.toml"


def read(path: Path) -> Settings:
    """Return the checked settings of a file; raises ConfigError, one line for a person."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"{path}: {_why(err)}") from None
    data = parse(str(path), text, tomllib.loads, SCHEMA)
    edge = data["agent"]["id"]
    if any(letter not in EDGE_CHARACTERS for letter in edge):
        raise ConfigError(f"{path}: agent.id may hold a-z, 0-9, _ and -, not {edge!r}")
    meters = tuple(MeterSettings(**row) for row in data["meter"])
    if not meters:
        raise ConfigError(f"{path}: no meter: add a [[meter]] table with its port")
    ports = [meter.port for meter in meters]
    for port in ports:
        if ports.count(port) > 1:
            raise ConfigError(f"{path}: {port} is given to more than one [[meter]]")
    mqtt = data["mqtt"]
    if mqtt["ca_file"] and not mqtt["tls"]:
        raise ConfigError(f"{path}: mqtt.ca_file is set but mqtt.tls is not true")
    if mqtt["ca_file"]:
        mqtt["ca_file"] = str(path.parent / mqtt["ca_file"])
        if not Path(mqtt["ca_file"]).is_file():
            raise ConfigError(f"{path}: mqtt.ca_file {mqtt['ca_file']}: no such file")
    password = _password(path, mqtt.pop("password_file"))
    if password is not None and mqtt["username"] is None:
        raise ConfigError(f"{path}: a password is given but mqtt.username is not")
    return Settings(
        path,
        edge,
        data["agent"]["log_kib_max"] * 1024,
        meters,
        MqttSettings(password=password, **mqtt),
    )


def _password(path: Path, password_file: str | None) -> str | None:
    if password_file is None:
        return os.environ.get(PASSWORD_ENVIRONMENT)
    file = path.parent / password_file
    try:
        return file.read_text(encoding="utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"{path}: mqtt.password_file {file}: {_why(err)}") from None


def _why(err: OSError | UnicodeDecodeError) -> str:
    if isinstance(err, UnicodeDecodeError):
        return "not a text in UTF-8"
    return (err.strerror or str(err)).lower()
