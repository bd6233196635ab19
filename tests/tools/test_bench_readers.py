"""A head's wait, alone and beside readers, is measured at a real host."""

import pytest

from wattlog_tools import bench_readers
from wattlog_tools.console import ToolError


def test_a_head_is_answered_while_others_load_years():
    figures = bench_readers.measure(days=12, readers=2, batches=6, rounds=1)
    assert (figures.batches, figures.readers) == (6, 2)
    for waits in (figures.alone, figures.beside):
        assert 0 < waits.p50_ms <= waits.p99_ms <= waits.max_ms
    assert figures.years_per_s > 0
    text = "\n".join(bench_readers.lines(figures))
    assert "beside 2 readers" in text


def test_nothing_is_sent_from_the_future():
    with pytest.raises(ToolError, match="in the future"):
        bench_readers.measure(batches=10_000)
