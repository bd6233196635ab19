"""What a fleet talks to: broker, database and host as processes of our own, in a folder of ours.

Each can be killed and comes back by itself; each tells what it takes of memory and processor. All
of it listens on the loopback, or on a socket in the folder.
"""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from wattlog_host.access import recipes
from wattlog_host.access.topics import AGENT
from wattlog_tools.console import ToolError
from wattlog_tools.run import health_check
from wattlog_tools.supervisor import end_with_parent

ROOT = Path(__file__).resolve().parents[2]
STOP_S_MAX = 60.0
LOG_LINES_SHOWN = 3
CONNECTIONS_BESIDE = 100
CONNECTED = b"broker: connected"
"""What a worker says; it serves nothing that could be asked."""
HOME_ASSISTANT = "homeassistant"
"""The prefix of what the host announces, unless it is told another."""
POSTGRES_PORT = 5432
"""Only names the socket."""

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_PLACES = {
    "mosquitto": (".tools/bin", "/usr/sbin", "/usr/local/sbin"),
    "mosquitto_passwd": (".tools/bin", "/usr/bin"),
    "postgres": (".tools/postgres", "/usr/lib/postgresql/*/bin"),
    "initdb": (".tools/postgres", "/usr/lib/postgresql/*/bin"),
}
_POSTGRES_CONF = """
listen_addresses = ''
shared_buffers = 256MB
max_connections = 60
log_min_messages = fatal
"""


IsReady = Callable[["Part"], bool]


class Usage(NamedTuple):
    """What a part has taken: processor time in all, and memory now."""

    cpu_s: float
    rss_bytes: int


def program(name: str) -> Path:
    """Return the program of this name; raise ToolError where there is none."""
    found = shutil.which(name)
    if found:
        return Path(found)
    for place in _PLACES[name]:
        folder = ROOT / place if not place.startswith("/") else Path("/")
        pattern = f"{place.lstrip('/')}/{name}" if place.startswith("/") else name
        for path in sorted(folder.glob(pattern), reverse=True):
            if os.access(path, os.X_OK):
                return path
    raise ToolError(f"there is no {name}: `make setup` gets one, or install it")


def free_port() -> int:
    """Return a port that was free on the loopback just now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class Part:
    """A program with the processes that it starts."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        folder: Path,
        asks: IsReady,
        how: dict[str, object] | None = None,
        *,
        may_refuse: bool = False,
        end: int = signal.SIGTERM,
    ) -> None:
        """Describe it; asks tells whether it is ready.

        how is more for the operating system, such as another user; may_refuse is of one that may
        end again right behind a kill.
        """
        self.name = name
        self.kills = 0
        self.is_ready = False
        self.rss_peak_bytes = 0
        self._command = list(command)
        self._log = folder / f"{name}.log"
        self._asks = asks
        self._how = how or {}
        self._may_refuse = may_refuse
        self._end = end
        self._said_before = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._cpu_before_s = 0.0
        self._cpu_s = 0.0

    def start(self) -> None:
        """Start it; tend() tells when it is ready."""
        self.is_ready = False
        self._said_before = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
                preexec_fn=end_with_parent,
                **self._how,  # type: ignore[call-overload]
            )

    def tend(self) -> bool:
        """Tell whether it is ready, starting it again where it was killed.

        Raises ToolError where it ended by itself.
        """
        if self._process is None or self._process.poll() is not None:
            if self._process is not None and not (self._may_refuse and self.kills):
                raise ToolError(
                    f"{self.name} ended with status {self._process.returncode}: {self.words()}"
                )
            self.start()
        if not self.is_ready:
            self.is_ready = self._asks(self)
        return self.is_ready

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self._process is not None
        self.sample()
        self._cpu_before_s, self._cpu_s = self._cpu_before_s + self._cpu_s, 0.0
        self._process.kill()
        self._process.wait()
        self._process = None
        self.is_ready = False
        self.kills += 1

    def stop(self, s_max: float = STOP_S_MAX) -> None:
        """End it in order; where it does not within so long, kill it."""
        if self._process is None:
            return
        self.sample()
        process, self._process = self._process, None
        process.send_signal(self._end)
        try:
            process.wait(s_max)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def sample(self) -> Usage:
        """Look at what it takes, children included; processor time of earlier lives counts."""
        rss_bytes = 0
        if self._process is not None and self._process.poll() is None:
            family = _family(self._process.pid)
            cpu_s = sum(_cpu_s(pid, with_dead=pid == self._process.pid) for pid in family)
            self._cpu_s = max(self._cpu_s, cpu_s)
            rss_bytes = sum(_own_bytes(pid) for pid in family)
            self.rss_peak_bytes = max(self.rss_peak_bytes, rss_bytes)
        return Usage(self._cpu_before_s + self._cpu_s, rss_bytes)

    def said(self, words: bytes) -> bool:
        """Tell whether it has said this since it was started last."""
        return words in self._log.read_bytes()[self._said_before :]

    def words(self) -> str:
        """Return the last lines of what it said."""
        lines = self._log.read_text("utf-8", "replace").split("\n") if self._log.exists() else []
        said = [line for line in lines if line.strip()][-LOG_LINES_SHOWN:]
        return " / ".join(said) or "it said nothing"


def usage_of(pid: int) -> Usage:
    """Return what a single process takes."""
    return Usage(_cpu_s(pid, with_dead=False), _own_bytes(pid))


def _family(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    found = [pid]
    for one in found:
        with suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def _cpu_s(pid: int, *, with_dead: bool) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11 : 15 if with_dead else 13])) / _TICKS


def _own_bytes(pid: int) -> int:
    """Return the memory of a process; of what it shares with others its part, where we may see."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0


# ---- the broker --------------------------------------------------------------------------------


class BrokerAccess(NamedTuple):
    """Where it is and who may come; the host's password is in host.toml's folder."""

    port: int
    password: str
    host_password: str


def broker(
    folder: Path, users: Sequence[str], connections: int, shared_user: str | None
) -> tuple[Part, BrokerAccess]:
    """Return mosquitto with the rights of `wattlog-host broker-config`.

    Each user is an agent and may use the topics of that name only; shared_user those of all.
    """
    access = BrokerAccess(free_port(), secrets.token_hex(8), secrets.token_hex(8))
    recipe = recipes.mosquitto(access.port, folder, recipes.HOST_USER, None, HOME_ASSISTANT)
    conf = recipe.files["wattlog.conf"].replace(
        f"listener {access.port}\n", f"listener {access.port} 127.0.0.1\n"
    )
    conf = conf.replace(
        f"max_connections {recipes.CONNECTIONS_MAX}",
        f"max_connections {connections + CONNECTIONS_BESIDE}",
    )
    acl = recipe.files["wattlog.acl"]
    if shared_user is not None:
        acl += f"\nuser {shared_user}\n"
        for word, leaves in (("write", AGENT.writes), ("read", AGENT.reads)):
            acl += "".join(f"topic {word} wattlog/1/+/{leaf}\n" for leaf in leaves)
    if os.geteuid() == 0:
        conf += "user root\n"  # else it becomes one who may not read our folder
    names = [*users, *([] if shared_user is None else [shared_user])]
    logins = dict.fromkeys(names, access.password) | {recipes.HOST_USER: access.host_password}
    for name, text in (
        ("wattlog.conf", conf),
        ("wattlog.acl", acl),
        ("wattlog.passwd", "".join(f"{user}:{word}\n" for user, word in logins.items())),
    ):
        path = folder / name
        path.touch(0o600)
        path.write_text(text)
    hashed = subprocess.run(
        [program("mosquitto_passwd"), "-U", folder / "wattlog.passwd"],
        capture_output=True,
        check=False,
    )
    if hashed.returncode:
        raise ToolError(f"mosquitto_passwd: {hashed.stderr.decode().strip()}")
    command = [str(program("mosquitto")), "-c", str(folder / "wattlog.conf")]
    return Part("broker", command, folder, lambda _: _listens(access.port)), access


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


# ---- the database ------------------------------------------------------------------------------


class Postgres:
    """A PostgreSQL in a folder of its own, as it comes, but for its memory."""

    def __init__(self) -> None:
        """Make its files; raise ToolError where that cannot be."""
        # A socket's path is short, and its folder must be readable to whom the server runs as.
        self._folder = Path(os.path.realpath(_short_folder()))
        self.password = secrets.token_hex(8)
        how: dict[str, object] = {"cwd": "/"}
        if os.geteuid() == 0:  # it refuses to run as root
            nobody = pwd.getpwnam("nobody")
            how |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(self._folder, nobody.pw_uid, nobody.pw_gid)
        secret = self._folder / "password"
        secret.touch(0o600)
        secret.write_text(self.password)
        if os.geteuid() == 0:
            os.chown(secret, nobody.pw_uid, nobody.pw_gid)
        try:
            made = subprocess.run(
                [
                    program("initdb"), "-D", self._folder / "data", "-U", "wattlog",
                    "--pwfile", secret, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C",
                ],
                capture_output=True, check=False, **how,  # type: ignore[call-overload]
            )  # fmt: skip
            if made.returncode:
                raise ToolError(f"initdb: {made.stderr.decode().strip().splitlines()[-1]}")
            with (self._folder / "data/postgresql.conf").open("a") as file:
                file.write(f"{_POSTGRES_CONF}unix_socket_directories = '{self._folder}'\n")
        except BaseException:
            self.remove()
            raise
        self.url = sa.URL.create(
            "postgresql", "wattlog", self.password, database="postgres",
            query={"host": str(self._folder), "port": str(POSTGRES_PORT)},
        )  # fmt: skip
        self.part = Part(
            "postmaster",
            [str(program("postgres")), "-D", str(self._folder / "data")],
            self._folder,
            lambda _: answers(self.url),
            how,
            # Behind a kill it does not start while those that it had started still end.
            may_refuse=True,
            end=signal.SIGINT,  # at SIGTERM it would wait for who is connected
        )

    def remove(self) -> None:
        """Take its files away."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _short_folder() -> str:
    return tempfile.mkdtemp(prefix="wattlog-fleet-pg-", dir="/tmp")


def answers(url: sa.URL) -> bool:
    """Tell whether the server at this address takes connections."""
    engine = sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        poolclass=sa.NullPool,
        connect_args={"connect_timeout": 2},
    )
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1")
    except sa.exc.OperationalError:
        return False
    return True


# ---- the host ----------------------------------------------------------------------------------


def hosts(folder: Path, access: BrokerAccess, database: Path | sa.URL, workers: int) -> list[Part]:
    """Return the host, and so many workers beside it, which share its settings."""
    http_port = free_port()
    for name, text in (
        ("mqtt-password", access.host_password),
        ("store-password", "" if isinstance(database, Path) else database.password or ""),
    ):
        path = folder / name
        path.touch(0o600)
        path.write_text(text)
    lines = [
        f'data = "{folder / "data"}"',
        "[http]",
        f"port = {http_port}",
        "[mqtt]",
        "embedded = false",
        f"port = {access.port}",
        f'username = "{recipes.HOST_USER}"',
        'password_file = "mqtt-password"',
    ]
    if isinstance(database, sa.URL):
        shown = sa.URL.create(
            "postgresql", database.username, None, database.host, database.port,
            database.database, database.query,
        )  # fmt: skip
        lines += ["[store]", f'url = "{shown.render_as_string()}"']
        lines += ['password_file = "store-password"'] if database.password else []
    lines += ["[cell]", 'share = "wattlog"'] if workers else []
    config = folder / "host.toml"
    config.write_text("\n".join(lines) + "\n")
    start = [sys.executable, "-m", "wattlog_host"]
    is_well = health_check(http_port)
    names = [f"worker-{number + 1}" for number in range(workers)]
    rows: list[tuple[str, list[str], IsReady]] = [("host", [], lambda _: is_well())]
    rows += [(name, ["worker"], lambda part: part.said(CONNECTED)) for name in names]
    return [
        Part(name, [*start, *words, "--config", str(config)], folder, asks)
        for name, words, asks in rows
    ]
