"""The ingest bench runs, both sides store all, and its lines say what was measured."""

import re

from wattlog_tools import bench_ingest


def test_both_sides_store_everything_and_the_ratio_is_theirs(monkeypatch):
    monkeypatch.setattr(bench_ingest, "PEER_READINGS", 5)
    monkeypatch.setattr(bench_ingest, "OUR_BATCHES", 2 * bench_ingest.EDGES)
    figures = bench_ingest.measure(rounds=2)
    assert figures.ratio[1] <= figures.ratio[0] <= figures.ratio[2]
    assert figures.readings_per_s > figures.peer_per_s
    assert figures.bytes_per_reading > 0
    printed = "\n".join(bench_ingest.lines(figures))
    assert re.search(r"wattlog, synchronous=FULL +\d+ +[\d.]+ +[\d.]+\n", printed)
    assert re.search(r"times the peer: \d+ \(\d+ \.\. \d+\)", printed)
