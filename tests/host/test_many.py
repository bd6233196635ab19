"""A group of batches asks PostgreSQL the same few questions, however many heads are in it."""

from contextlib import contextmanager

import pytest
from sqlalchemy import event

from past import Rng
from stored import stored_readings
from wattlog_host.store import batches, many, places, rollups
from wattlog_host.store.kinds import kind_of
from wattlog_host.store.records import Incoming
from wattlog_host.store.role import Role
from wattlog_host.wire import decode_batch

NOW_MS = 1_795_000_000_000
MINUTE_MS = 60_000
SMALL, LARGE = 3, 40
ACTS = ("first", "second", "the same again", "buckets")


def meter_of(head):
    return b"\x0a\x01TRP" + head.to_bytes(5, "big")


def group(wire, heads, minute):
    """A minute of each of these heads; the first one with its time."""
    found = []
    for head in heads:
        records = [
            wire.reading(
                minute * MINUTE_MS + second * 10_000, (10, 100 + second, 0), meter_of(head)
            )
            for second in range(6)
        ]
        if minute == 0:
            records.insert(0, wire.sync(0, NOW_MS))
        first_seq = 1 if minute == 0 else 2 + 6 * minute
        payload = wire.batch(*records, first_seq=first_seq, edge=f"head-{head}")
        topic = f"wattlog/1/head-{head}/b"
        now_ms = NOW_MS + (minute + 1) * MINUTE_MS
        found.append(Incoming(topic, decode_batch(payload), now_ms, payload))
    return found


@contextmanager
def counted(store):
    """Have a list of what the database is asked meanwhile."""
    asked = []

    def note(_connection, _cursor, statement, _parameters, _context, _is_many):
        asked.append(statement)

    event.listen(store._write_engine, "before_cursor_execute", note)
    yield asked
    event.remove(store._write_engine, "before_cursor_execute", note)


@pytest.mark.parametrize("role", [Role.ALONE, Role.WORKER])
def test_a_group_asks_no_more_than_its_first_head(url, writer_of, wire, role):
    if role is Role.WORKER:
        writer_of(Role.LEAD)
    store = writer_of(role)
    asked = {}
    # The first head of all also makes the day, and rows for what is counted.
    for heads in (range(1), range(10, 10 + SMALL), range(100, 100 + LARGE)):
        for act in ACTS:
            with counted(store) as asked[len(heads), act]:
                if act == "buckets":
                    assert store.roll() == len(heads)
                else:
                    store.commit(group(wire, heads, 0 if act == "first" else 1))
    assert len(stored_readings(url)) == 12 * (1 + SMALL + LARGE)
    for act in ACTS:
        few, much = ([*told(asked[count, act])] for count in (SMALL, LARGE))
        assert len(few) == len(much), (act, few, much)


def told(asked):
    """What was asked, but for the newest reading of each meter, which who is alone tells."""
    return (one.split("IN (")[0] for one in asked if "edge.name, edge_log.log" not in one)


# --- one question of many -------------------------------------------------------------------------

QUESTIONS = {
    "stored": (batches._STORED, ("log_id", "after", "last", "from_day")),
    "following": (batches._FOLLOWING, ("log_id", "last_seq", "from_day")),
    "syncs": (places._SYNCS_FROM, ("log_id", "boot", "uptime_ms")),
    "neighbours": (places._NEIGHBOURS, ("log_id", "low", "high", "from_day")),
    "in time": (rollups._IN_TIME, ("meter_id", "start_ms", "end_ms", "from_day")),
}


BOUNDS = {
    "log_id": (0, 6),
    "meter_id": (0, 6),
    "boot": (16, 2),
    "uptime_ms": (0, 300_000),
    "first_seq": (1, 40),
    "last_seq": (1, 40),
    "after": (0, 20),
    "low": (0, 40),
    "high": (0, 40),
    "last": (20, 20),
    "start_ms": (NOW_MS, 300_000),
    "end_ms": (NOW_MS + 100_000, 300_000),
    "from_day": (NOW_MS // 86_400_000 - 1, 3),
}
"""parameter -> (least, how many from there on)."""


@pytest.mark.parametrize("name", QUESTIONS)
def test_all_at_once_finds_what_one_after_another_does(url, writer_of, wire, name):
    query, names = QUESTIONS[name]
    store = writer_of(Role.ALONE)
    for minute in range(5):
        store.commit(group(wire, range(4), minute))
    count = 0
    engine = kind_of(url).engine(url, None)
    for seed in range(20):
        rng = Rng(seed)
        asked = [
            {key: base + rng.randrange(size) for key, (base, size) in BOUNDS.items()}
            for _ in range(1 + rng.randrange(9))
        ]
        asked = [{key: one[key] for key in names} for one in asked]
        with engine.begin() as connection:
            found = many.of_each(connection, query, asked)
            for one, rows in zip(asked, found, strict=True):
                alone = connection.execute(query, one).all()
                assert [tuple(row)[1:] for row in rows] == [tuple(row) for row in alone], seed
                count += len(alone)
    engine.dispose()
    assert count > 20
