"""Buckets say what the readings say, whichever way these came."""

import struct
import zlib
from collections import defaultdict

import pytest
import sqlalchemy as sa

from past import HOUR_MS, Rng, counter_buckets, gauge_buckets
from wattlog_host.history.blocks import (
    BUCKETS,
    COUNTER_COLUMNS,
    GAUGE_COLUMNS,
    Block,
    BlockError,
)
from wattlog_host.history.columns import STEPS_S
from wattlog_host.store import due, tables
from wattlog_host.store.history import SqlHistory
from wattlog_host.store.records import Incoming
from wattlog_host.store.writer import Writer
from wattlog_host.units import BY_KEY
from wattlog_host.wire import decode_batch

POWER, IMPORT = BY_KEY["power_w"].id, BY_KEY["import_wh"].id
T0_MS = 1_760_000_400_000 // HOUR_MS * HOUR_MS
NOW_MS = T0_MS + 400 * HOUR_MS
METER = bytes.fromhex("0a0149534b0003382939")
OTHER = b"\x06other"


@pytest.fixture
def writer(tmp_path):
    made = Writer(tmp_path / "data" / "wattlog.db", "test", NOW_MS)
    yield made
    made.let_go()


def commit(writer, payload, received_ms=NOW_MS):
    batch = decode_batch(payload)
    return writer.commit([Incoming("t", batch, received_ms, payload)])


def roll_all(writer, readings_max=4_000):
    while writer.roll(readings_max):
        pass


def all_rollups(writer):
    with writer._reading() as connection:
        query = sa.select(tables.rollup).order_by(*tables.rollup.primary_key.columns)
        return [tuple(row) for row in connection.execute(query)]


def points_of(writer, meter, channel):
    """(time_ms, value) in order; of one ms in the order of logs."""
    with writer._reading() as connection:
        query = sa.select(tables.edge.c.name, tables.edge_log.c.log, tables.edge_log.c.id)
        logs = connection.execute(query.select_from(tables.edge_log.join(tables.edge))).all()
    places = {(edge, log): number for edge, log, number in logs}
    found = sorted(
        (row.time_ms, places[row.edge, row.log], row.seq, dict(row.values)[channel])
        for row in writer.readings()
        if row.server_id == meter and channel in dict(row.values)
    )
    return [(time_ms, value) for time_ms, _, _, value in found]


def judge(writer, meter=METER):
    """Compare all buckets of a meter with what its readings say."""
    with writer._reading() as connection:
        history = SqlHistory(connection)
        number = next((one.id for one in history.meters() if one.server_id == meter), None)
        for step_s in STEPS_S:
            points = points_of(writer, meter, POWER)
            wanted = gauge_buckets(points, step_s * 1000)
            found = history.gauges(number, POWER, 0, 2**62, step_s) if number else ()
            rows = {row[0]: list(row[1:]) for row in zip(*found, strict=True)}
            assert rows == wanted
            wanted = counter_buckets(points_of(writer, meter, IMPORT), step_s * 1000)
            found = history.registers(number, IMPORT, 0, 2**62, step_s) if number else ()
            rows = {row[0]: [*row[1:7], row[8]] for row in zip(*found, strict=True)}
            assert rows == wanted


class Life:
    """A head that reads a meter, and its batches."""

    def __init__(self, wire, rng, edge="cellar"):
        self.wire, self.rng, self.edge = wire, rng, edge
        self.seq, self.uptime_ms = 1, 1_000
        self.import_e1 = rng.randrange(10**6)
        self.boot = 1 + rng.randrange(1 << 30)

    def batch(self, count=None):
        rng = self.rng
        records = [self.wire.sync(self.uptime_ms, T0_MS + self.uptime_ms)]
        for _ in range(count or rng.choice((1, 3, 12, 40))):
            self.uptime_ms += rng.choice((1_000, 10_000, 10_000, 59_999, 60_000, 300_000, 300_001))
            if rng.chance(3):
                self.uptime_ms += rng.randrange(3 * HOUR_MS)
            self.import_e1 += rng.randrange(40)
            if rng.chance(1):
                self.import_e1 = rng.randrange(1000)
            values = []
            if rng.chance(95):
                values += [1, self.import_e1, -1]
            if rng.chance(90):
                values += [10, rng.randrange(120_000) - 30_000, -1]
            records.append(self.wire.reading(self.uptime_ms, values, rng.choice((METER, OTHER))))
        payload = self.wire.batch(*records, boot=self.boot, edge=self.edge, first_seq=self.seq)
        self.seq += len(records)
        return payload


@pytest.mark.parametrize("seed", range(8))
def test_buckets_are_what_the_readings_say(writer, wire, seed):
    rng = Rng(seed)
    life = Life(wire, rng)
    batches = [life.batch() for _ in range(40)]
    late = [batches.pop(rng.randrange(len(batches))) for _ in range(6)]
    for payload in batches + late:
        commit(writer, payload)
        if rng.chance(30):
            writer.roll(rng.choice((1, 30, 4000)))
    roll_all(writer)
    judge(writer)
    judge(writer, OTHER)


@pytest.mark.parametrize("seed", range(4))
def test_made_again_they_are_the_same_bytes(writer, wire, seed):
    rng = Rng(100 + seed)
    heads = [Life(wire, rng), Life(wire, rng, "attic")]
    for _ in range(50):
        commit(writer, rng.choice(heads).batch())
        roll_all(writer)
    grown = all_rollups(writer)
    writer.rebuild_begin()
    roll_all(writer)
    assert all_rollups(writer) == grown
    with writer._write_engine.begin() as connection:
        connection.execute(sa.delete(tables.rollup))
    writer.rebuild_begin()
    roll_all(writer, 5)
    assert all_rollups(writer) == grown


def test_a_clock_that_turns_out_late_takes_the_buckets_along(writer, wire):
    readings = [wire.reading(1000 + 10_000 * i, (10, 5000 + i, -1)) for i in range(30)]
    commit(writer, wire.batch(*readings), NOW_MS)
    roll_all(writer)
    before = {row[3] for row in all_rollups(writer)}
    commit(writer, wire.batch(wire.sync(400_000, T0_MS), first_seq=31), NOW_MS + 1000)
    roll_all(writer)
    judge(writer)
    with writer._reading() as connection:
        found = SqlHistory(connection).gauges(1, POWER, T0_MS - HOUR_MS, T0_MS, 60)
        assert sum(found.readings) == 30
    assert before - {row[3] for row in all_rollups(writer)}, "the hours it was in before are empty"


def test_a_rotten_block_is_made_again(writer, wire):
    life = Life(wire, Rng(7))
    for _ in range(30):
        commit(writer, life.batch())
    roll_all(writer)
    good = all_rollups(writer)
    with writer._write_engine.begin() as connection:
        connection.execute(sa.update(tables.rollup).values(packed=b"\x01rot"))
        hours = connection.execute(sa.select(tables.series.c.meter_id, tables.series.c.last_ms))
        due.mark(connection, [due.Span(*row, row[1]) for row in hours.all()])
    roll_all(writer)
    assert {row[:4] for row in all_rollups(writer)} == {row[:4] for row in good}
    writer.rebuild_begin()
    roll_all(writer)
    assert all_rollups(writer) == good


def as_before(packed, size):
    """A block as format 1 wrote it: all places of each number."""
    block = Block.unpack(packed, size)
    columns = {name: list(values) for name, values in block.columns.items()}
    if block.is_counter:
        told = zip(columns["last"], columns["first"], columns["rise"], strict=True)
        columns["last"] = [last - first - rise for last, first, rise in told]
    else:
        told = zip(*(columns[name] for name in ("integral", "minimum", "covered_ms")), strict=True)
        columns["integral"] = [integral - low * length for integral, low, length in told]
    raw = b""
    for name, values in columns.items():
        code = block.columns[name].typecode
        octets = struct.pack(f"<{size}{code}", *values)
        width = struct.calcsize(f"<{code}")
        raw += b"".join(octets[place::width] for place in range(width))
    head = struct.pack("<BBqq", 1, block.is_counter, block.tail_ms, block.high)
    return head + zlib.compress(raw, 6)


def test_blocks_of_before_are_read_and_go_on_as_todays(writer, wire):
    life = Life(wire, Rng(21))
    batches = [life.batch() for _ in range(30)]
    for payload in batches[:20]:
        commit(writer, payload)
    roll_all(writer)
    grown = all_rollups(writer)
    with writer._write_engine.begin() as connection:
        for meter, channel, step_s, start_ms, packed in grown:
            old = as_before(packed, BUCKETS[step_s])
            assert len(old) >= len(packed) - len(GAUGE_COLUMNS | COUNTER_COLUMNS)
            name = {"meter_id": meter, "channel": channel, "step_s": step_s, "start_ms": start_ms}
            row = sa.update(tables.rollup).values(packed=old).where(
                *(tables.rollup.c[key] == value for key, value in name.items())
            )  # fmt: skip
            connection.execute(row)
    assert {row[4][0] for row in all_rollups(writer)} == {1}
    judge(writer)
    judge(writer, OTHER)
    for payload in batches[20:]:
        commit(writer, payload)
        roll_all(writer)
    judge(writer)
    assert {row[4][0] for row in all_rollups(writer)} == {1, 2}, "what did not change stays"
    writer.rebuild_begin()
    roll_all(writer)
    rebuilt = all_rollups(writer)
    assert {row[4][0] for row in rebuilt} == {2}
    judge(writer)
    with writer._write_engine.begin() as connection:
        connection.execute(sa.delete(tables.rollup))
    writer.rebuild_begin()
    roll_all(writer)
    assert all_rollups(writer) == rebuilt


@pytest.mark.parametrize("is_counter", [False, True])
@pytest.mark.parametrize("unit", [1, 10, 1000, 10**9])
def test_any_numbers_are_in_a_block_what_they_were(is_counter, unit):
    rng = Rng(unit)
    for size in BUCKETS.values():
        block = Block(size, is_counter)
        for name, column in block.columns.items():
            most = 10**9 if column.typecode == "i" else 10**15
            for at in range(size):
                if name in ("covered_ms", "readings"):
                    column[at] = rng.randrange(61) * 1000
                elif rng.chance(80):
                    column[at] = (rng.randrange(2 * most // unit + 1) - most // unit) * unit
        again = Block.unpack(block.pack(), size)
        assert again.columns == block.columns
        assert again.pack() == block.pack()


def test_a_block_of_minutes_takes_no_room_for_places_that_are_never_used():
    sizes = []
    for unit in (1, 100):
        rng, block = Rng(5), Block(60, False)
        for at in range(60):
            low = rng.randrange(9_000) * unit
            block.put(
                at, (low, low + rng.randrange(900) * unit, 60_000 * (low + 7 * unit), 60_000, 6)
            )
        sizes.append(len(block.pack()))
    assert sizes[1] <= sizes[0] + 3


HEAD = b"\x02\x00" + bytes(16)
ROTTEN = (
    ("nothing", b""),
    ("less than a head", HEAD[:-1]),
    ("a format that is none", b"\x03" + HEAD[1:] + bytes(5) + zlib.compress(bytes(60 * 24))),
    ("no places", HEAD),
    ("not all places", HEAD + bytes(4)),
    ("more places than a number has", HEAD + b"\x13\0\0\0\0" + zlib.compress(bytes(60 * 24))),
    ("too few numbers", HEAD + bytes(5) + zlib.compress(bytes(60 * 24 - 1))),
    ("too many numbers", HEAD + bytes(5) + zlib.compress(bytes(60 * 24 + 1))),
    ("a bomb", HEAD + bytes(5) + zlib.compress(bytes(10**8))),
    ("numbers that no column has", HEAD + b"\x09\0\0\0\0" + zlib.compress(b"\x7f" * 60 * 24)),
)


@pytest.mark.parametrize(("name", "packed"), ROTTEN)
def test_what_is_no_block_is_refused(name, packed):
    with pytest.raises(BlockError):
        Block.unpack(packed, 60)
    assert Block.unpack(HEAD + bytes(5) + zlib.compress(bytes(60 * 24)), 60).used() == []


def test_neighbours_are_found_however_far(writer, wire):
    payload = wire.batch(
        wire.sync(0, T0_MS),
        wire.reading(1_000, (1, 100, 0)),
        wire.reading(30 * HOUR_MS, (1, 900, 0)),
    )
    commit(writer, payload)
    roll_all(writer)
    with writer._reading() as connection:
        for step_s in STEPS_S:
            found = SqlHistory(connection).registers(
                1, IMPORT, T0_MS + 10 * HOUR_MS, T0_MS + 11 * HOUR_MS, step_s
            )
            assert list(found.first) == [100 * 10**5, 900 * 10**5]
            assert list(found.last_ms) == [T0_MS + 1_000, T0_MS + 30 * HOUR_MS]


def test_readings_come_in_order_and_across_long_silence(writer, wire):
    life = Life(wire, Rng(3))
    for _ in range(25):
        commit(writer, life.batch())
    wanted = defaultdict(list)
    for row in writer.readings():
        wanted[row.server_id].append((row.time_ms, dict(row.values)))
    with writer._reading() as connection:
        history = SqlHistory(connection)
        roll_all(writer)
        for meter in history.meters():
            every = [
                (one.time_ms, one.values) for one in history.readings(meter.id, 0, 2**62, 10**6)
            ]
            assert every == sorted(wanted[meter.server_id], key=lambda one: one[0])
            few = history.readings(meter.id, every[3][0], 2**62, 5)
            assert [(one.time_ms, one.values) for one in few] == every[3:8]
            assert (meter.first_ms // HOUR_MS, meter.last_ms) == (
                every[0][0] // HOUR_MS,
                every[-1][0],
            )


def test_what_is_let_go_leaves_its_buckets(writer, wire):
    life = Life(wire, Rng(11))
    for _ in range(40):
        commit(writer, life.batch())
    assert writer.let_go_before(NOW_MS) == 0, "nothing goes before its buckets are made"
    roll_all(writer)
    good = all_rollups(writer)
    times = sorted(row.time_ms for row in writer.readings())
    middle_ms = times[len(times) // 2]
    with writer._reading() as connection:
        meters = SqlHistory(connection).meters()
    while writer.let_go_before(middle_ms):
        pass
    left = sorted(row.time_ms for row in writer.readings())
    assert 0 < len(left) < len(times)
    assert [at for at in times if at >= middle_ms] == [at for at in left if at >= middle_ms]
    assert all_rollups(writer) == good
    writer.rebuild_begin()
    late = wire.batch(wire.sync(1, T0_MS), wire.reading(5_000, (10, 1, 0)), first_seq=5000)
    commit(writer, late)
    roll_all(writer)
    before = middle_ms - middle_ms % HOUR_MS
    assert [row for row in all_rollups(writer) if row[3] < before and row[2] == 60] == [
        row for row in good if row[3] < before and row[2] == 60
    ]
    with writer._reading() as connection:
        assert SqlHistory(connection).meters() == meters
    while writer.let_go_before(NOW_MS):
        pass
    assert not list(writer.readings())
    with writer._reading() as connection:
        history = SqlHistory(connection)
        ends = [
            one.last_ms - old.last_ms for one, old in zip(history.meters(), meters, strict=True)
        ]
        assert all(0 <= end < HOUR_MS for end in ends), "to the hour, where readings are gone"


def test_what_comes_late_for_a_time_that_was_let_go_still_counts(writer, wire):
    for hours in (0, 200):
        at_ms = T0_MS + hours * HOUR_MS
        commit(
            writer, wire.batch(wire.sync(0, at_ms), wire.reading(9, (10, 7, 0)), log=9_000 * hours)
        )
    roll_all(writer)
    while writer.let_go_before(T0_MS + 100 * HOUR_MS):
        pass
    assert len(list(writer.readings())) == 1
    for first_seq, at_ms in ((5, T0_MS + 50 * HOUR_MS), (9, T0_MS + 60_000)):
        late = [wire.sync(0, at_ms), wire.reading(9, (10, 8, 0))]
        commit(writer, wire.batch(*late, boot=18 + first_seq, first_seq=first_seq, log=9_000))
    roll_all(writer)
    with writer._reading() as connection:
        found = SqlHistory(connection).gauges(1, POWER, 0, 2**62, 3600)
        assert [(at - T0_MS) // HOUR_MS for at in found.start_ms] == [0, 50, 200]
        assert list(found.readings) == [2, 1, 1]


def test_of_two_readings_in_one_ms_the_same_one_counts_whichever_came_first(writer, wire):
    sync = wire.sync(0, T0_MS)
    commit(writer, wire.batch(sync, wire.reading(5_000, (10, 3, 0)), edge="attic"))
    commit(writer, wire.batch(sync, wire.reading(9_000, (10, 1, 0)), edge="cellar"))
    roll_all(writer)
    commit(writer, wire.batch(wire.reading(9_000, (10, 2, 0)), edge="attic", first_seq=3))
    roll_all(writer)
    grown = all_rollups(writer)
    judge(writer)
    with writer._reading() as connection:
        assert SqlHistory(connection).gauges(1, POWER, 0, 2**62, 3600).readings == [3]
    writer.rebuild_begin()
    roll_all(writer)
    assert all_rollups(writer) == grown


def test_a_channel_that_comes_late_in_an_hour_speaks_since_the_hour_before(writer, wire):
    hour = HOUR_MS
    power, counter = (10, 3, 0), (1, 100, 0)
    commit(writer, wire.batch(wire.sync(0, T0_MS), wire.reading(hour - 60_000, counter + power)))
    commit(writer, wire.batch(wire.reading(hour + 10_000, power), first_seq=3))
    roll_all(writer)
    commit(writer, wire.batch(wire.reading(hour + 30_000, counter), first_seq=4))
    roll_all(writer)
    with writer._reading() as connection:
        found = SqlHistory(connection).registers(1, IMPORT, 0, 2**62, 3600)
        assert found.covered_ms == [60_000, 30_000]


def test_the_first_hour_that_is_kept_knows_who_spoke_when_it_began(writer, wire):
    uptimes = (HOUR_MS - 100_000, HOUR_MS + 100_000, 2 * HOUR_MS)
    for first_seq, uptime_ms in enumerate(uptimes, 2):
        records = [wire.reading(uptime_ms, (10, 3, 0), meter) for meter in (METER, OTHER)]
        commit(writer, wire.batch(*records, first_seq=2 * first_seq))
    commit(writer, wire.batch(wire.sync(0, T0_MS)))
    roll_all(writer)
    good = all_rollups(writer)
    while writer.let_go_before(T0_MS + HOUR_MS):
        pass
    assert not writer.let_go_before(T0_MS + HOUR_MS)
    writer.rebuild_begin()
    roll_all(writer)
    assert all_rollups(writer) == good


def test_a_batch_stays_as_long_as_one_of_its_meters_needs_it(writer, wire):
    commit(
        writer,
        wire.batch(
            wire.sync(0, T0_MS),
            wire.reading(1_000, (10, 3, 0), OTHER),
            wire.reading(5 * HOUR_MS, (10, 4, 0), METER),
        ),
    )
    roll_all(writer)
    while writer.let_go_before(T0_MS + 3 * HOUR_MS):
        pass
    assert [row.values for row in writer.readings()] == [{POWER: 3_000}, {POWER: 4_000}]
    while writer.let_go_before(T0_MS + 9 * HOUR_MS):
        pass
    assert not list(writer.readings())
