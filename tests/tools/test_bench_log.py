"""The log's costs stay below their limits; the figures themselves are printed by the bench."""

from toolbox import require
from wattlog_tools import bench_log

HEADER_BYTES = 32


def test_wear_is_even_whenever_the_power_goes():
    for wraps in (1, 2, 37):
        _, most, least = bench_log.wear(wraps)
        assert most - least <= 1
        assert most >= wraps


def test_what_is_written_and_read_stays_below_its_limits():
    figures = bench_log.measure(with_device=False)
    assert figures.wear.wraps == 1_000
    assert figures.wear.most - figures.wear.least <= 1
    assert 1 < figures.writes.programmed <= figures.writes.erased <= 1.15
    assert figures.mount.header_bytes == HEADER_BYTES * bench_log.SECTORS
    assert 0 < figures.mount.other_bytes <= bench_log.SECTOR_BYTES + 4 * HEADER_BYTES
    printed = "\n".join(bench_log.lines(figures))
    assert "1000 wraps" in printed
    assert "MicroPython" not in printed


def test_the_heap_that_a_mount_takes(monkeypatch):
    require("micropython")
    monkeypatch.setattr(bench_log, "WRAPS", 3)
    figures = bench_log.measure()
    assert figures.memory.held < figures.memory.mount <= 2048
    assert figures.memory.append <= 512
    assert "heap on MicroPython" in bench_log.lines(figures)[-1]
