"""Updates over the air, on the fake board: see board_update_tests.py."""

import re
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
    done = board.run("board_update_tests", "", RUN_S_MAX, HEAP_KIB)
    assert done.returncode == 0, done.stdout
    assert re.search(r"^[1-9]\d* passed, 0 failed$", done.stdout, re.MULTILINE), done.stdout
    cut = re.search(r"^(\d+) writes cut$", done.stdout, re.MULTILINE)
    assert cut, done.stdout
    print(f"{cut[1]} writes cut")
