"""Fixtures that all tests share, and the rule that a test's log is quiet."""

import inspect
import logging
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from mpy import compile_portable, has_compiler
from toolbox import find_corpus, require, select_briefly, unavailable

BROKER_START_S_MAX = 10
BROKER_STOP_S_MAX = 5


def pytest_configure(config: pytest.Config) -> None:
    # The portable tests cannot ask for a fixture: on MicroPython they read this variable.
    folder = find_corpus()
    if folder:
        os.environ["WATTLOG_CORPUS"] = str(folder)


def pytest_report_header(config: pytest.Config) -> str:
    return f"corpus: {os.environ.get('WATTLOG_CORPUS', 'none, its tests are skipped')}"


class FilesAndE2e(LoadScopeScheduling):
    """Deals out files to workers that run beside each other, and all of e2e as one.

    Those take long because they wait, for real clocks and real processes: one worker has them, and
    meanwhile the other does all that computes.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "e2e" if file.startswith("tests/e2e/") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FilesAndE2e:
    return FilesAndE2e(config, log)


def free_port() -> int:
    """A TCP port that was free on 127.0.0.1 just now."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(name="free_port")
def free_port_fixture() -> Callable[[], int]:
    """Call it for each port that the test needs."""
    return free_port


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of real SML captures with golden.json; WATTLOG_CORPUS names another place."""
    folder = find_corpus()
    if folder is None:
        unavailable("no corpus: set WATTLOG_CORPUS to a folder of captures with golden.json")
    assert folder is not None
    return folder


@pytest.fixture(scope="session")
def micropython() -> Path:
    """The MicroPython of .tools; what it is, says toolbox.micropython_facts()."""
    return require("micropython") / "bin/micropython"


@pytest.fixture(scope="session")
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """A folder with the portable files and tests compiled; None where there is no compiler."""
    return compile_portable(tmp_path_factory.mktemp("mpy")) if has_compiler() else None


class Broker:
    """A mosquitto on a loopback port of its own; may be stopped, killed and started again."""

    def __init__(self, program: Path, folder: Path):
        self.port = free_port()
        self.log_path = folder / "mosquitto.log"
        self._program = program
        self._config_path = folder / "mosquitto.conf"
        self._process: subprocess.Popen[bytes] | None = None
        self.tls_port: int | None = None
        # Started as root, mosquitto would become a user who may not read the test's folder.
        self._config_path.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence false\nuser root\n"
        )

    def add_tls(self, certificate: Path, key: Path) -> int:
        """Start again with TLS on a second port, which is returned."""
        self.stop()
        self.tls_port = self.tls_port or free_port()
        plain = self._config_path.read_text().partition(f"listener {self.tls_port} ")[0]
        self._config_path.write_text(
            f"{plain}listener {self.tls_port} 127.0.0.1\n"
            f"certfile {certificate}\nkeyfile {key}\nallow_anonymous true\n"
        )
        self.start()
        return self.tls_port

    @property
    def pid(self) -> int:
        assert self._process is not None, "the broker runs"
        return self._process.pid

    def start(self) -> None:
        """Return once it accepts connections."""
        assert self._process is None, "one broker at a time"
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "-c", self._config_path],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline_s = time.monotonic() + BROKER_START_S_MAX
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                ended = self._process.poll() is not None
                if ended or time.monotonic() > deadline_s:
                    self.stop()
                    pytest.fail("mosquitto does not start:\n" + self.log_path.read_text())
                select_briefly()

    def stop(self) -> None:
        """End it in order; nothing happens if it is not running."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.terminate()
        try:
            process.wait(BROKER_STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self._process is not None, "the broker runs"
        self._process.kill()
        self._process.wait()
        self._process = None


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Broker]:
    """A running mosquitto: .port, .pid, .stop(), .kill(), .start()."""
    folder = tmp_path / "mosquitto"
    folder.mkdir()
    broker = Broker(require("mosquitto") / "bin/mosquitto", folder)
    broker.start()
    yield broker
    broker.stop()


class _Warnings(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def _expects_warnings(item: pytest.Item) -> bool:
    """A test says so by its marker, or by taking caplog to look at them itself."""
    if item.get_closest_marker("logs_warnings"):
        return True
    function = getattr(item, "function", None)
    return function is not None and "caplog" in inspect.signature(function).parameters


# A hook and not an autouse fixture: hypothesis refuses tests that depend on one of those.
@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    handler = _Warnings()
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        result = yield
    finally:
        root.removeHandler(handler)
    if handler.records and not _expects_warnings(item):
        lines = [f"{record.name}: {record.getMessage()}" for record in handler.records]
        pytest.fail("unasked-for warnings in the log:\n" + "\n".join(lines), pytrace=False)
    return result
