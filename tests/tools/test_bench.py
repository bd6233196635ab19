"""The bench runs, and its tables say what they should. Its figures are nobody's test."""

import json
import re

from toolbox import require
from wattlog_tools import bench
from wattlog_tools.bench import DECODER_MODULES
from wattlog_tools.cli import main


def test_the_pair_and_the_feeds(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("WATTLOG_CORPUS", str(tmp_path))
    path = tmp_path / "bench.json"
    arguments = [
        "--only",
        "decoder",
        "--frames",
        "6",
        "--rounds",
        "2",
        "--no-device",
        "--json",
        str(path),
    ]
    assert main(["bench", *arguments]) == 0
    printed = capsys.readouterr().out
    for model in ("mt681", "dzg", "edl"):
        assert f"{model}: 6 frames" in printed
    assert "MicroPython" not in printed
    results = json.loads(path.read_text())["streams"]["mt681"]
    assert results["frames"] == 6
    assert results["sides"]["smllib"]["times_smllib"] == [1, 1, 1]
    assert results["sides"]["learned layout"]["times_smllib"][0] > 1
    assert results["sides"]["full parse, fed 1 B"]["times_4096"][0] > 1


def test_captures_join_as_one_stream(capsys, corpus, monkeypatch):
    monkeypatch.setattr(bench, "CAPTURE_TIMES", 1)
    assert (
        main(["bench", "--only", "decoder", "--frames", "2", "--rounds", "1", "--no-device"]) == 0
    )
    match = re.search(
        r"^captures: (\d+) frames.*\((\d+) of (\d+) good", capsys.readouterr().out, re.M
    )
    assert int(match[1]) == int(match[2]) <= int(match[3])
    assert int(match[1]) > 100


def test_micropython(capsys, tmp_path, monkeypatch):
    require("micropython")
    monkeypatch.setenv("WATTLOG_CORPUS", str(tmp_path))
    path = tmp_path / "bench.json"
    assert (
        main(["bench", "--only", "decoder", "--frames", "2", "--rounds", "1", "--json", str(path)])
        == 0
    )
    results = json.loads(path.read_text())["device"]
    assert sorted(results["mpy_bytes"]) == sorted(DECODER_MODULES)
    assert [row["model"] for row in results["models"]] == ["mt681", "dzg", "edl"]
    for row in results["models"]:
        assert row["growth_bytes"] == 0
        assert 0 < row["learned"]["alloc_bytes"] <= 1024
        assert row["learned"]["alloc_bytes"] < row["full"]["alloc_bytes"]
    assert "fixed loop of 20000 steps" in capsys.readouterr().out


def test_a_mistake_is_one_line(capsys):
    assert main(["bench", "--frames", "0"]) == 2
    assert "at least 1" in capsys.readouterr().err
