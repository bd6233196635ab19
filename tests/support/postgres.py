"""A PostgreSQL of our own: its data in a folder, reached by a socket there, ended by its pid."""

import itertools
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from waiting import wait_until

START_S_MAX = 60
STOP_S_MAX = 30
PORT = 5432  # only names the socket
_CONFIG = """
listen_addresses = ''
shared_buffers = 32MB
max_connections = 40
log_min_messages = fatal
"""


class Server:
    """A running server; may be killed and started again."""

    def __init__(self, programs: Path):
        # A socket's path is short, and its folder readable to whom the server runs as.
        self.folder = Path(tempfile.mkdtemp(prefix="wattlog-pg-", dir="/tmp"))
        self.password = secrets.token_hex(8)
        self.process: subprocess.Popen[bytes] | None = None
        self._programs = programs
        self._names = itertools.count()
        self._free: list[sa.URL] = []
        # PostgreSQL does not run as root.
        self._as: dict[str, object] = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self._as = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
        secret = self.folder / "password"
        secret.write_text(self.password)
        secret.chmod(0o644)
        try:
            done = self._run(
                "initdb", "-D", self.folder / "data", "-U", "wattlog", "--pwfile", secret,
                "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync",
            )  # fmt: skip
            assert done.returncode == 0, done.stderr.decode()
            with (self.folder / "data/postgresql.conf").open("a") as file:
                file.write(f"{_CONFIG}unix_socket_directories = '{self.folder}'\n")
            self.start()
        except BaseException:
            self.remove()
            raise

    def url(self, database: str = "postgres") -> sa.URL:
        """Where a database of it is."""
        return sa.URL.create(
            "postgresql", "wattlog", self.password, database=database,
            query={"host": str(self.folder), "port": str(PORT)},
        )  # fmt: skip

    def fresh(self) -> sa.URL:
        """A database with nothing in it."""
        if self._free:
            return self._free.pop()
        name = f"test_{next(self._names)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def drop(self, url: sa.URL) -> None:
        """Give it back, whoever uses it; to empty one takes less time than to make one."""
        self.end_sessions(url)
        self.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public", url)
        self._free.append(url)

    def end_sessions(self, url: sa.URL) -> None:
        """End all connections to a database."""
        self.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            f"WHERE datname = '{url.database}'"
        )

    def execute(self, sql: str, url: sa.URL | None = None) -> None:
        """Run statements, each a transaction of its own."""
        engine = sa.create_engine(
            (url or self.url()).set(drivername="postgresql+psycopg"),
            isolation_level="AUTOCOMMIT",
            poolclass=sa.NullPool,
        )
        with closing(engine.connect()) as connection:
            for statement in sql.split(";"):
                connection.exec_driver_sql(statement)

    def start(self) -> None:
        """Return once it takes connections."""
        wait_until(self._answers, "PostgreSQL", START_S_MAX)

    def _answers(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            # Behind a kill it does not start while those that it had started still end.
            with (self.folder / "log").open("ab") as log:
                self.process = subprocess.Popen(
                    [self._programs / "postgres", "-D", self.folder / "data"],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", **self._as,
                )  # fmt: skip
            return False
        try:
            self.execute("SELECT 1")
        except sa.exc.OperationalError:
            return False
        return True

    def kill(self) -> None:
        """End it as a power cut would: the others notice by themselves that it is gone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def remove(self) -> None:
        """End it and take its data away."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.folder)

    def _run(self, program: str, *arguments: object) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [self._programs / program, *map(str, arguments)], capture_output=True, cwd="/",
            check=False, **self._as,
        )  # fmt: skip
