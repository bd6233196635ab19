"""Updates over the air, on the fake board: see board_update_tests.py."""

import re
import subprocess
from pathlib import Path

from boards import Board
from toolbox import ROOT

HERE = Path(__file__).parent
RUN_S_MAX = 120
HEAP_KIB = 4_000  # a file system and its copies are in there


def test_updates_on_the_board(tmp_path):
    programs = (
        HERE / "board_update_tests.py",
        ROOT / "tests/portable/run.py",
        ROOT / "firmware/wattlog_esp32/loader.py",
    )
    board = Board(tmp_path, programs)
    done = subprocess.run(
        board.command("board_update_tests", "", HEAP_KIB),
        env=board.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=RUN_S_MAX,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"^[1-9]\d* passed, 0 failed$", done.stdout, re.MULTILINE), done.stdout
    cut = re.search(r"^(\d+) writes cut$", done.stdout, re.MULTILINE)
    assert cut, done.stdout
    print(f"{cut[1]} writes cut")
