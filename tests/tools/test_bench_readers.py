"""A head's wait, alone and beside readers, is measured at a real host."""

import pytest

from wattlog_tools import bench_readers
from wattlog_tools.console import ToolError


def test_a_head_is_answered_while_others_load_years():
    figures = bench_readers.measure(days=12, readers=2, batches=6, rounds=1)
    assert (figures.batches, figures.readers) == (6, 2)
    for waits in (figures.alone, figures.beside):
        assert 0 < waits.p50_ms <= waits.p99_ms <= waits.max_ms
        assert 0 < waits.commit_p50_ms <= waits.commit_p99_ms
    assert figures.years_per_s > 0
    text = "\n".join(bench_readers.lines(figures))
    assert "beside 2 readers" in text


def test_nothing_is_sent_from_the_future():
    with pytest.raises(ToolError, match="in the future"):
        bench_readers.measure(batches=10_000)


def test_a_share_lies_evenly_between_the_edges():
    counts = {0.01: 0, 0.02: 50, 0.05: 48, 1: 1, float("inf"): 1}
    assert bench_readers.quantile_s(counts, 0.25) == pytest.approx(0.015)
    assert bench_readers.quantile_s(counts, 0.5) == pytest.approx(0.02)
    assert bench_readers.quantile_s(counts, 0.98) == pytest.approx(0.05)
    assert bench_readers.quantile_s(counts, 0.985) == pytest.approx(0.05 + 0.95 / 2)
    assert bench_readers.quantile_s(counts, 1) == 1, "more than the last edge is not known"
