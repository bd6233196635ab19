"""A real host over a folder, for benches that ask it from outside."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from wattlog_tools.console import ToolError
from wattlog_tools.run import health_check

PATIENCE_S = 60
LOOK_S = 0.1


class Served(NamedTuple):
    """A running host: its process, and where it answers on the loopback."""

    pid: int
    http_port: int
    mqtt_port: int


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    """Serve the database in the folder's `data` with a host that lets nothing go."""
    config = folder / "host.toml"
    http_port, mqtt_port = _free_port(), _free_port()
    config.write_text(
        f'data = "{folder / "data"}"\n[http]\nport = {http_port}\n[mqtt]\nport = {mqtt_port}\n'
        "[store]\nraw_days = 0\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "wattlog_host", "--config", config],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(process, http_port)
        yield Served(process.pid, http_port, mqtt_port)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    answers = health_check(port)
    deadline_s = time.monotonic() + PATIENCE_S
    while not answers():
        with suppress(subprocess.TimeoutExpired):
            raise ToolError(f"the host ended with status {process.wait(LOOK_S)}")
        if time.monotonic() > deadline_s:
            raise ToolError("the host does not start")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
