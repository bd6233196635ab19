"""Batches as an agent packs them, and a running host in a process of its own."""

import http.client
import importlib.util
import json
import os
import signal
import subprocess
import sys
from binascii import crc32
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import sqlalchemy as sa

from access_world import PASSWORD, House
from api_world import NOW, ApiWorld, two
from api_world import house as plain_house
from postgres import Server
from toolbox import find_facts, require, unavailable
from waiting import wait_until
from wattlog.records import GroupWriter
from wattlog_host.access import passwords
from wattlog_host.store.kinds import kind_of
from wattlog_host.store.role import Role
from wattlog_host.store.writer import Writer
from wattlog_host.wire import pack_records

# Only so that a failure ends: nothing is measured.
PATIENCE_S = 30

METER = bytes.fromhex("0a0149534b0003382939")
Measured = namedtuple("Measured", ("server_id", "sec_index", "values"))
# Before any clock that the tests run by: the host believes no sync point ahead of its own clock.
SYNC_EPOCH_MS = 1_760_000_000_000
# When writers of a cell start.
NOW_MS = 1_795_000_000_000


Noted = namedtuple("Noted", ("epoch_ms", "is_sure"))


class ListLog:
    """A log that takes everything and has no sectors."""

    def __init__(self):
        self.payloads = []

    def append(self, payload):
        self.payloads.append(payload)
        return len(self.payloads)

    def fits(self, size):
        return True


class Wire:
    """Messages as an agent packs them."""

    meter = METER
    sync_epoch_ms = SYNC_EPOCH_MS
    log = 4_000_000_099

    def reading(self, uptime_ms=1000, values=(1, 1989275, -1), meter=METER, sec_index=7):
        flat = list(values)
        triples = list(zip(flat[::3], flat[1::3], flat[2::3], strict=True))
        return uptime_ms, Measured(meter, sec_index, triples)

    def sync(self, uptime_ms=0, epoch_ms=SYNC_EPOCH_MS, is_sure=True):
        return uptime_ms, Noted(epoch_ms, is_sure)

    def records(self, *records, boot=17, holes=(), wrong=()):
        """The payloads of one group; at these indices holes, or bytes that are no record."""
        log = ListLog()
        writer = GroupWriter(log, boot)
        for uptime_ms, what in records:
            if isinstance(what, Noted):
                writer.sync(uptime_ms, *what)
            else:
                writer.reading(uptime_ms, what)
        for index in holes:
            log.payloads[index] = b""
        for index in wrong:
            log.payloads[index] += b"!"
        return log.payloads

    def batch(self, *records, boot=17, holes=(), wrong=(), **name):
        return self.batch_of(self.records(*records, boot=boot, holes=holes, wrong=wrong), **name)

    def batch_of(self, payloads, edge="cellar", log=log, first_seq=1):
        return msgpack.packb([2, edge, log, first_seq, pack_records(payloads)])

    def ack(self, batch, reason=None):
        """What a host says to it."""
        _, _, log, first_seq, _ = msgpack.unpackb(batch)
        return [2, log, first_seq, crc32(batch), reason]

    def live(self, uptime_ms=1000, values=(1, 1989275, -1), boot=17, edge="cellar", meter=METER):
        return msgpack.packb([2, edge, boot, uptime_ms, meter, 7, list(values)])

    def status(self, state="online", edge="cellar", boot=17, **more):
        return msgpack.packb({"v": 2, "state": state, "edge": edge, "boot": boot, **more})

    def meter_status(self, **more):
        return {
            "port": "/dev/ttyUSB0",
            "state": "open",
            "trouble": None,
            "server_id": METER,
            "frames": 5,
            "drops": {"crc": 2},
            "bytes": 4000,
            "frame_age_ms": 300,
            "full_dataset": True,
            "hint": None,
            "quarantine": {"held": 0},
            **more,
        }


# Of the API, the same for all its tests: who spoils one mends it again.
@pytest.fixture(scope="session")
def world() -> ApiWorld:
    """A house with one meter."""
    return plain_house()


@pytest.fixture(scope="session")
def pair() -> ApiWorld:
    """A house with two meters, of which the second came a week later."""
    return two()


@pytest.fixture(scope="session")
def empty() -> ApiWorld:
    """A host that has not heard anything yet."""
    return ApiWorld({}, NOW)


@pytest.fixture(scope="session")
def argon() -> str:
    """The hash of PASSWORD, made once."""
    return passwords.hashed(PASSWORD)


@pytest.fixture
def house(tmp_path: Path, argon: str) -> House:
    """One with a password, seen by somebody who does not know it."""
    made = House(tmp_path)
    made.kept.change(lambda data: data.update(password=argon))
    return made


@pytest.fixture(scope="session")
def facts() -> Path:
    """The folder with what is known of the solar cloud, as data; WATTLOG_FACTS names another."""
    folder = find_facts()
    if folder is None:
        unavailable("no facts: set WATTLOG_FACTS to a folder with dessmonitor-devcodes.json")
    assert folder is not None
    return folder


@pytest.fixture(scope="session")
def wire() -> Wire:
    return Wire()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL that all tests share; each has databases of its own there."""
    programs = require("postgres") / "postgres"
    if importlib.util.find_spec("psycopg") is None:
        unavailable("psycopg is missing: install wattlog[postgres]")
    server = Server(programs)
    yield server
    server.remove()


@pytest.fixture
def url(request: pytest.FixtureRequest) -> Iterator[sa.URL]:
    """A database of PostgreSQL with nothing in it."""
    server = request.getfixturevalue("postgres")
    made = server.fresh()
    yield made
    server.drop(made)


@pytest.fixture
def writer_of(url: sa.URL) -> Iterator[Callable[..., Writer]]:
    """Call it for a writer of this role in that database; what is left open is let go of."""
    made: list[Writer] = []

    def make(role: Role = Role.ALONE) -> Writer:
        made.append(Writer(url, "1", NOW_MS, role))
        return made[-1]

    yield make
    for one in made:
        one.let_go()


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path | sa.URL]:
    """Where there is no database yet, of each kind."""
    if request.param == "sqlite":
        yield tmp_path / "data" / "wattlog.db"
        return
    yield request.getfixturevalue("url")


@pytest.fixture
def connection(place: Path | sa.URL) -> Iterator[sa.Connection]:
    """A transaction in a database with all tables, of each kind."""
    Writer(place, "1", 0).let_go()
    engine = kind_of(place).engine(place, Role.ALONE)
    with engine.begin() as made:
        yield made
    engine.dispose()


@pytest.fixture(name="wait_until")
def wait_until_fixture() -> Callable[[Callable[[], Any]], Any]:
    return wait_until


class Host:
    """A wattlog-host with a folder and ports of its own."""

    def __init__(
        self,
        folder: Path,
        http_port: int,
        mqtt_port: int,
        more_mqtt: str = "",
        more_announce: str = "",
    ):
        self.http_port = http_port
        self.mqtt_port = mqtt_port
        self.log_path = folder / "host.log"
        self.config_path = folder / "host.toml"
        self.config_path.write_text(
            f'data = "{folder / "data"}"\n[http]\nport = {http_port}\n'
            f"[mqtt]\nport = {mqtt_port}\n{more_mqtt}"
            # The clock that tests give their agents stands still, and ours goes on.
            "[store]\nraw_days = 0\n"
            f"[announce]\n{more_announce}"
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(
        self, *words: str, healthy: bool = True, environ: dict[str, str] | None = None
    ) -> None:
        """Return once the page answers, and by default once all is well."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "wattlog_host", "--config", self.config_path, *words],
                env=os.environ | (environ or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(lambda: self._answers(healthy))

    def _answers(self, healthy: bool) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            pytest.fail("the host ended:\n" + self.log())
        try:
            return self.get("/healthz")[0] == 200 or not healthy
        except OSError:
            return False

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=PATIENCE_S)
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def json(self, path: str) -> Any:
        return json.loads(self.get(path)[1])

    def events(self) -> list[str]:
        return [event["text"] for event in self.json("/status")["events"]]

    def log(self) -> str:
        return self.log_path.read_text()

    def end(self, number: int = signal.SIGTERM) -> int:
        """Return the exit status."""
        assert self.process is not None
        process, self.process = self.process, None
        process.send_signal(number)
        return process.wait(PATIENCE_S)

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture
def make_host(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Callable[..., Host]]:
    """Call it for a host that is not started; mqtt_port is another broker's, or its own."""
    made: list[Host] = []

    def make(mqtt_port: int | None = None, announce: str = "") -> Host:
        more = "" if mqtt_port is None else "embedded = false\n"
        host = Host(tmp_path, free_port(), mqtt_port or free_port(), more, announce)
        made.append(host)
        return host

    yield make
    for host in made:
        host.close()


@pytest.fixture
def run_host(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run wattlog-host to its end."""

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "wattlog_host", *map(str, arguments)],
            env={**os.environ, "HOME": str(tmp_path), **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    return run
