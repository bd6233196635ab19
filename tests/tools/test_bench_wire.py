"""The figures of wire and log, in a log that is a sixteenth of the real one."""

from wattlog_tools import bench_wire
from wattlog_tools.bench_wire import DAY_S, LOG_BYTES, kept

PARTS = 16


def test_a_mebibyte_holds_a_day_of_seconds_and_a_week_of_ten():
    seconds, tens = kept(1, LOG_BYTES // PARTS), kept(10, LOG_BYTES // PARTS)
    assert seconds.readings * PARTS >= DAY_S
    assert tens.readings * 10 * PARTS >= 7 * DAY_S
    assert seconds.flash_bytes < 12


def test_a_reading_takes_ten_bytes_on_the_wire():
    message_bytes, mqtt_bytes = bench_wire._wire(1, bench_wire.BATCH_S)
    assert message_bytes < mqtt_bytes <= 10


def test_the_figures_are_lines():
    wire = bench_wire.Wire("1 s", 8.304, 9.07)
    lines = bench_wire.lines(bench_wire.Figures([wire], [bench_wire.Kept("1 s", 100, 1.2, 9.9)]))
    assert len(lines) == 4
    assert "8.30    9.07" in lines[1]
