"""How large the database is, how it grows, and what becomes of that."""

import pytest

from stored import execute, rows
from wattlog_host.forecast import DAY_MS, Forecast, Measured, forecast
from wattlog_host.store.records import Incoming
from wattlog_host.store.writer import Writer
from wattlog_host.wire import decode_batch

NOW_MS = 1_795_000_000_000
HOUR_MS = 3_600_000
MB = 10**6

# Ten days in which it grew by 1 MB each, a fifth of it buckets; the first reading is 100 days old.
GROWN = Measured(
    NOW_MS,
    120 * MB,
    (NOW_MS - 10 * DAY_MS, 110 * MB),
    NOW_MS - 100 * DAY_MS,
    400,
    100,
    10_000 * MB,
)
FORECASTS = (
    ("it grows until the first readings are let go, then more slowly", GROWN, 400,
     Forecast(MB, 420 * MB, 300, MB // 5, 10_000 * MB, 300 + 9_700 * 5)),
    ("the disk is full before", GROWN._replace(free_bytes=30 * MB), 400,
     Forecast(MB, 420 * MB, 300, MB // 5, 30 * MB, 30)),
    ("the disk is full on that very day", GROWN._replace(free_bytes=300 * MB), 400,
     Forecast(MB, 420 * MB, 300, MB // 5, 300 * MB, 300)),
    ("they are let go already: what grows is what stays",
     GROWN._replace(raw_from_ms=NOW_MS - 400 * DAY_MS), 400,
     Forecast(MB, 120 * MB, 0, MB, 10_000 * MB, 10_000)),
    ("they stay for ever", GROWN, 0,
     Forecast(MB, None, None, None, 10_000 * MB, 10_000)),
    ("the disk cannot be seen", GROWN._replace(free_bytes=None), 400,
     Forecast(MB, 420 * MB, 300, MB // 5, None, None)),
    ("nothing came in the last week: what stays of a day is not known",
     GROWN._replace(raw_bytes=0, bucket_bytes=0), 400,
     Forecast(MB, 420 * MB, 300, None, 10_000 * MB, None)),
    ("it does not grow: nobody knows an end",
     GROWN._replace(before=(NOW_MS - 10 * DAY_MS, 120 * MB)), 400,
     Forecast(0, 120 * MB, 300, 0, 10_000 * MB, None)),
    ("it became less", GROWN._replace(before=(NOW_MS - 10 * DAY_MS, 130 * MB)), 400,
     Forecast(-MB, -180 * MB, 300, -MB // 5, 10_000 * MB, None)),
    ("it is not known for a day yet", GROWN._replace(before=(NOW_MS - DAY_MS + 1, 110 * MB)), 400,
     Forecast(settled_days=300, free_bytes=10_000 * MB)),
    ("it is known since just now", GROWN._replace(before=None), 400,
     Forecast(settled_days=300, free_bytes=10_000 * MB)),
    ("there is no reading yet", GROWN._replace(raw_from_ms=None), 400,
     Forecast(MB, None, None, None, 10_000 * MB, 10_000)),
)  # fmt: skip


@pytest.mark.parametrize(("name", "measured", "raw_days", "wanted"), FORECASTS)
def test_what_becomes_of_it(name, measured, raw_days, wanted):
    assert forecast(measured, raw_days) == wanted


@pytest.fixture
def store(place):
    made = Writer(place, "1", NOW_MS)
    yield made
    made.let_go()


def fill(store, wire, at_ms, count=50, first_seq=1):
    """So many batches, a minute apart, up to this time; made into buckets."""
    sync = wire.sync(0, at_ms - count * 60_000)
    records = [wire.reading(60_000 * n, (1, 10**6 + n, -1, 10, 7 * n, 0)) for n in range(count)]
    for number in range(0, count, 10):
        head = [sync] if not number else []
        payload = wire.batch(
            *head, *records[number : number + 10], boot=first_seq, log=first_seq,
            first_seq=first_seq + number + (number > 0),
        )  # fmt: skip
        store.commit([Incoming("t", decode_batch(payload), at_ms, payload)])
    while store.roll():
        pass


def keep_size(store, now_ms):
    if store.size_is_due(now_ms):
        store.note_size(now_ms)


def test_a_size_is_kept_once_a_day_and_for_some_weeks(store, place):
    for hours in range(0, 24 * 45, 6):
        keep_size(store, NOW_MS + hours * HOUR_MS)
    kept = [row[0] for row in rows(place, "SELECT time_ms FROM size ORDER BY 1")]
    last_ms = NOW_MS + 44 * DAY_MS
    assert kept == [last_ms - day * DAY_MS for day in range(30, -1, -1)]


def test_a_size_of_a_clock_that_ran_ahead_is_forgotten(store, place):
    keep_size(store, NOW_MS + 1_000 * DAY_MS)
    keep_size(store, NOW_MS)
    assert rows(place, "SELECT time_ms FROM size") == [(NOW_MS,)]


def test_what_it_grew_is_what_it_takes_more(store, place, wire):
    keep_size(store, NOW_MS - 2 * DAY_MS)
    (before,) = rows(place, "SELECT bytes FROM size")
    assert store.measure(NOW_MS).before == (NOW_MS - 2 * DAY_MS, before[0])
    fill(store, wire, NOW_MS)
    execute(place, "CREATE TABLE much AS SELECT packed FROM batch")
    for _ in range(12):
        execute(place, "INSERT INTO much SELECT packed FROM much")
    measured = store.measure(NOW_MS)
    assert measured.used_bytes > before[0] + 1_000_000
    grown = forecast(measured, 400)
    assert grown.day_bytes == (measured.used_bytes - before[0]) // 2
    assert grown.settled_bytes == measured.used_bytes + grown.day_bytes * grown.settled_days


def test_pages_that_were_freed_are_not_in_use(tmp_path, wire):
    store = Writer(tmp_path / "data" / "wattlog.db", "1", NOW_MS)
    fill(store, wire, NOW_MS, 2_000)
    before = store.measure(NOW_MS).used_bytes
    with store._write_engine.begin() as connection:
        for table in ("rollup", "series", "batch"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    after = store.measure(NOW_MS)
    assert after.used_bytes < before - 20_000
    assert after.free_bytes > 0
    store.let_go()


def test_the_last_week_tells_what_stays_of_a_day(store, place, wire):
    fill(store, wire, NOW_MS - 9 * DAY_MS, first_seq=7_000)
    old = store.measure(NOW_MS)
    assert (old.raw_bytes, old.bucket_bytes) == (0, 0)
    assert old.raw_from_ms // DAY_MS == (NOW_MS - 9 * DAY_MS) // DAY_MS
    fill(store, wire, NOW_MS - DAY_MS)
    found = store.measure(NOW_MS)
    (raw,) = rows(place, "SELECT sum(length(packed)) FROM batch WHERE log_id = 2")
    (buckets,) = rows(
        place, f"SELECT sum(length(packed)) FROM rollup WHERE start_ms > {NOW_MS - 7 * DAY_MS}"
    )
    assert (found.raw_bytes, found.bucket_bytes) == (int(raw[0]), int(buckets[0]))
    assert found.raw_bytes > 0
    assert found.bucket_bytes > 0
    assert (found.free_bytes is None) == (not hasattr(place, "exists"))


def test_page_and_status_say_it_in_both_languages(make_host, wire, wait_until):
    host = make_host()
    database = host.config_path.parent / "data" / "wattlog.db"
    store = Writer(database, "1", NOW_MS)
    fill(store, wire, NOW_MS)
    store.let_go()
    host.start()
    told = wait_until(lambda: host.json("/status")["host"]["forecast"])
    assert told["day_bytes"] is None, "not before it was measured for a day"
    assert told["free_bytes"] > 0
    assert host.end() == 0
    execute(database, "UPDATE size SET bytes = 1, time_ms = time_ms - 172800000")
    host.start()
    told = wait_until(lambda: host.json("/status")["host"]["forecast"])
    assert told["day_bytes"] > 0
    for language, words in (("de", "am Tag"), ("en", "a day")):
        page = host.get(f"/state?lang={language}")[1]
        assert f"</span> {words}</dd>" in page
        assert 'data-field="host.forecast.day_bytes" data-as="size">–<' not in page
    assert host.end() == 0
