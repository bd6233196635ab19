"""The fake board that starts from a flash: its partitions, NOR's rules, and power cuts."""

import re
import subprocess
from pathlib import Path

import pytest

from boards import FAKES, Board, FlashBoard
from toolbox import ROOT
from wattlog_tools import partitions

HERE = Path(__file__).parent
RUN_S_MAX = 20
STATUS_CUT = 78
STATUS_NO_FILES = 79
SECTOR = 0x303000  # the fourth of the log


@pytest.fixture
def flash(tmp_path):
    """A blank chip with our partition table, and old data in the log."""
    path = tmp_path / "flash.bin"
    image = bytearray(b"\xff" * partitions.FLASH_BYTES)
    image[0x8000:0x8C00] = partitions.pack(partitions.TABLE)
    image[0x300000:0x400000] = b"\xa5" * 0x100000
    path.write_bytes(image)
    return path


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    programs = (*(FAKES / "flash").glob("*.py"), HERE / "board_flash_tests.py")
    return Board(tmp_path_factory.mktemp("board"), (*programs, ROOT / "tests/portable/run.py"))


def run(board, flash, program, argument="", **environment):
    return board.run(program, argument, RUN_S_MAX, BOARD_FLASH=flash, **environment)


def test_the_fake_flash_keeps_the_rules(board, flash):
    done = run(board, flash, "board_flash_tests")
    assert done.returncode == 0, done.stdout
    assert re.search(r"^[1-9]\d* passed, 0 failed$", done.stdout, re.MULTILINE), done.stdout


@pytest.mark.parametrize(
    ("act", "torn"),
    [
        ("cut_in_a_write", b"\x00" * 4 + b"\xa5" * 4092),
        ("cut_in_an_erase", b"\xff" * 2048 + b"\xa5" * 2048),
    ],
)
def test_a_power_cut_leaves_half_done_what_it_meets(board, flash, act, torn):
    before = flash.read_bytes()
    done = run(board, flash, "board_flash_tests", act, BOARD_CUT_AFTER=1)
    assert (done.returncode, done.stdout) == (STATUS_CUT, "")
    after = flash.read_bytes()
    assert after[SECTOR : SECTOR + 4096] == torn
    assert after[:SECTOR] + after[SECTOR + 4096 :] == before[:SECTOR] + before[SECTOR + 4096 :]
    assert run(board, flash, "board_flash_tests", act, BOARD_CUT_AFTER=2).returncode == 0


def test_a_blank_chip_says_that_it_has_no_file_system(tmp_path, flash):
    board = FlashBoard(tmp_path / "board", flash)
    done = subprocess.run(
        board.start(56),
        env=board.environment(),
        capture_output=True,
        timeout=RUN_S_MAX,
        check=False,
    )
    assert done.returncode == STATUS_NO_FILES
    assert done.stdout.startswith(b"no file system: ")
