"""Settings for other brokers, from the same table of topics as the embedded one's (topics.py)."""

from pathlib import Path
from typing import NamedTuple

from wattlog_host.access.topics import AGENT, HOST, PROGRAM, TOOL, Role
from wattlog_host.announce import topics as announced

FOLDER = Path("/etc/mosquitto")
HOST_USER = "wattlog-host"
TOOL_USER = "wattlog-tool"
PROGRAM_USER = "homeassistant"
# As the embedded broker's, broker.py: a status with its topic, and no more.
MESSAGE_BYTES_MAX = 20_000
CONNECTIONS_MAX = 256


class Recipe(NamedTuple):
    """Files by name with what is in them, and the commands that remain."""

    files: dict[str, str]
    commands: list[str]


def mosquitto(
    port: int, folder: Path, host_user: str, certificate: tuple[Path, Path] | None, prefix: str
) -> Recipe:
    """Return what makes mosquitto 2 a broker for wattlog; the files are to lie in folder.

    prefix is that of Home Assistant's discovery.
    """
    passwords = folder / "wattlog.passwd"
    conf = [
        f"listener {port}",
        *(
            []
            if certificate is None
            else [f"certfile {certificate[0]}", f"keyfile {certificate[1]}"]
        ),
        "allow_anonymous false",
        f"password_file {passwords}",
        f"acl_file {folder / 'wattlog.acl'}",
        f"max_packet_size {MESSAGE_BYTES_MAX}",
        f"max_connections {CONNECTIONS_MAX}",
        "persistence false",
    ]
    acl = ["# Every agent, under its id as its user name: only its own topics."]
    acl += _lines(AGENT, "pattern", "%u")
    for user, role in ((host_user, HOST), (TOOL_USER, TOOL)):
        acl += ["", f"# {role.about}", f"user {user}", *_lines(role, "topic", user)]
        if role is HOST:
            acl += [f"topic write {topic}" for topic in announced.ALL]
            acl.append(f"topic readwrite {prefix}/#")
    acl += ["", f"# {PROGRAM.about}", f"user {PROGRAM_USER}"]
    acl += [f"topic read {topic}" for topic in announced.ALL]
    acl.append(f"topic readwrite {prefix}/#")
    commands = [
        f"touch {passwords}",
        f"mosquitto_passwd {passwords} {host_user}",
        f"mosquitto_passwd {passwords} NAME    # for each agent, NAME being its id",
        f"mosquitto_passwd {passwords} {TOOL_USER}    # only for wattlog-tools head and pin",
        f"mosquitto_passwd {passwords} {PROGRAM_USER}    # only for Home Assistant, and the like",
        f"chown mosquitto: {passwords}",
        f"chmod 600 {passwords}",
        "systemctl restart mosquitto",
    ]
    files = {"wattlog.conf": "\n".join(conf) + "\n", "wattlog.acl": "\n".join(acl) + "\n"}
    return Recipe(files, commands)


def _lines(role: Role, word: str, name: str) -> list[str]:
    writes = [f"{word} write {topic}" for topic in role.filters(role.writes, name)]
    return writes + [f"{word} read {topic}" for topic in role.filters(role.reads, name)]


RECIPES = {"mosquitto": mosquitto}
