"""The rest of the rim on the fake board, and the fakes themselves where tests lean on them."""

import os
import re
import socket
import subprocess
import tty
from contextlib import closing
from pathlib import Path

import pytest

from boards import Board
from toolbox import ROOT

HERE = Path(__file__).parent
RUN_S_MAX = 20
WATCHDOG_MS = 400
# A shell would say 142: ended by SIGALRM.
BITTEN = -14


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    programs = (HERE / "board_tests.py", HERE / "drive_hang.py", ROOT / "tests/portable/run.py")
    return Board(tmp_path_factory.mktemp("board"), programs)


def run(board, program, argument, pass_fds=(), **environment):
    return subprocess.run(
        board.command(program, argument),
        env=board.environment(**environment),
        stdin=subprocess.DEVNULL,
        pass_fds=pass_fds,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=RUN_S_MAX,
        check=False,
        text=True,
    )


def test_settings_clock_wifi_and_uart_on_the_board(board, tmp_path):
    master_fd, slave_fd = os.openpty()
    try:
        tty.setraw(slave_fd)
        done = run(
            board,
            "board_tests",
            str(tmp_path),
            pass_fds=[master_fd],
            BOARD_UART1=os.ttyname(slave_fd),
            BOARD_METER_FD=master_fd,
        )
    finally:
        os.close(master_fd)
        os.close(slave_fd)
    assert done.returncode == 0, done.stdout
    assert re.search(r"^[1-9]\d* passed, 0 failed$", done.stdout, re.MULTILINE), done.stdout


@pytest.mark.parametrize(
    ("way", "status", "printed"),
    [
        ("settimeout", 0, "timed out\n"),
        # The unix port would keep the timeout here, and hide that an ESP32 waits for ever.
        ("setblocking", BITTEN, ""),
        ("loop", BITTEN, "timed out\n"),
    ],
)
def test_the_fake_socket_forgets_and_the_fake_watchdog_bites(board, way, status, printed):
    with closing(socket.create_server(("127.0.0.1", 0))) as mute:
        port = mute.getsockname()[1]
        done = run(board, "drive_hang", f"{port} {way}", BOARD_WDT_MS=WATCHDOG_MS)
    assert done.returncode == status, done.stdout
    assert done.stdout == printed
