"""What is lost for good is noted, shown, and forgotten when it comes after all."""

import pytest

from wattlog_host.store import lookup
from wattlog_host.store.records import BatchName, DeadLetter, Floor, Incoming
from wattlog_host.store.writer import Writer
from wattlog_host.wire import decode_batch
from wattlog_sim.lcg import Lcg

NOW_MS = 1_795_000_000_000


@pytest.fixture
def store(tmp_path):
    made = Writer(tmp_path / "wattlog.db", "1", NOW_MS)
    yield made
    made.close(NOW_MS)


def commit(store, *payloads, received_ms=NOW_MS):
    return store.commit([Incoming("t", decode_batch(one), received_ms, one) for one in payloads])


def settle(store, wire, first_seq, at_ms=NOW_MS, log=None):
    return store.settle([Floor("cellar", wire.log if log is None else log, first_seq, at_ms)])


def gaps(store):
    return sorted((one.first_seq, one.last_seq, one.reason) for one in store.losses(1000).newest)


def readings(wire, first_seq, count, **how):
    rows = [wire.reading(1000 * (first_seq + n)) for n in range(count)]
    return wire.batch(*rows, first_seq=first_seq, **how)


def test_what_lies_below_the_floor_and_did_not_come_is_lost(store, wire):
    commit(store, readings(wire, 4, 3), readings(wire, 10, 2))
    done = settle(store, wire, 15)
    assert gaps(store) == [(1, 3, "evicted"), (7, 9, "evicted"), (12, 14, "evicted")]
    assert dict(done.lost) == {("cellar", "evicted"): 9}
    assert (done.losses.runs, done.losses.records) == (3, 9)


def test_a_floor_is_settled_once_and_an_older_one_says_nothing(store, wire):
    settle(store, wire, 10)
    assert settle(store, wire, 10).losses is None
    assert settle(store, wire, 5).losses is None
    assert settle(store, wire, 1).losses is None
    assert gaps(store) == [(1, 9, "evicted")]


def test_what_is_settled_is_not_walked_again(store, wire, monkeypatch):
    walked = []
    missing = lookup.missing
    monkeypatch.setattr(
        lookup, "missing", lambda *how: walked.append(tuple(how[2])) or missing(*how)
    )
    for first_seq in (100, 100, 50, 120):
        settle(store, wire, first_seq)
    assert walked == [(1, 99), (100, 119)]


def test_what_a_long_outage_loses_is_one_gap(store, wire):
    for first_seq in (5, 9, 30):
        settle(store, wire, first_seq, NOW_MS + first_seq)
    assert gaps(store) == [(1, 29, "evicted")]
    assert store.losses().newest[0].noted_ms == NOW_MS + 30


def test_each_log_has_a_floor_of_its_own(store, wire):
    settle(store, wire, 5)
    settle(store, wire, 3, log=9)
    assert gaps(store) == [(1, 2, "evicted"), (1, 4, "evicted")]


LATE = (
    ("all of it", (5, 5), []),
    ("its beginning", (5, 2), [(7, 9, "evicted")]),
    ("its end", (7, 3), [(5, 6, "evicted")]),
    ("its middle", (6, 2), [(5, 5, "evicted"), (8, 9, "evicted")]),
    ("more than it", (3, 10), []),
    ("what touches it", (10, 2), [(5, 9, "evicted")]),
)


@pytest.mark.parametrize(("late", "left"), [c[1:] for c in LATE], ids=[c[0] for c in LATE])
def test_what_comes_late_is_no_gap_any_more(store, wire, late, left):
    commit(store, readings(wire, 1, 4))
    settle(store, wire, 10)
    done = commit(store, readings(wire, *late))
    assert gaps(store) == left
    assert (done.losses is None) == (left == [(5, 9, "evicted")])


def test_holes_are_damage_whether_they_come_before_or_after_the_floor(store, wire):
    early, late = readings(wire, 1, 5, holes=[1]), readings(wire, 6, 5, holes=[2, 3])
    commit(store, early)
    settle(store, wire, 11)
    assert gaps(store) == [(2, 2, "damaged"), (6, 10, "evicted")]
    done = commit(store, late)
    assert gaps(store) == [(2, 2, "damaged"), (8, 9, "damaged")]
    assert dict(done.lost) == {("cellar", "damaged"): 2}
    settle(store, wire, 12)
    assert gaps(store) == [(2, 2, "damaged"), (8, 9, "damaged"), (11, 11, "evicted")]


def refused(wire, first_seq, count, log=None):
    name = BatchName("cellar", wire.log if log is None else log, first_seq, count)
    return DeadLetter("t", "why", b"", NOW_MS, name)


def test_a_refused_batch_is_a_gap_unless_it_is_stored(store, wire):
    commit(store, readings(wire, 1, 3))
    done = store.add_aside([refused(wire, 2, 5), refused(wire, 9, 0)], [])
    assert gaps(store) == [(4, 6, "refused")]
    assert dict(done.lost) == {("cellar", "refused"): 3}
    settle(store, wire, 10)
    assert gaps(store) == [(4, 6, "refused"), (7, 9, "evicted")]
    commit(store, readings(wire, 4, 3))
    assert gaps(store) == [(7, 9, "evicted")]


def test_one_batch_of_a_name_and_another_one_lose_nothing(store, wire):
    other = wire.batch(wire.reading(7), wire.reading(8), wire.reading(9), first_seq=1)
    commit(store, readings(wire, 1, 2))
    commit(store, other)
    assert gaps(store) == []


def test_a_gap_has_the_times_beside_it(store, wire):
    commit(
        store, wire.batch(wire.sync(0), *[wire.reading(1000 * n) for n in (1, 2, 3)], holes=[2])
    )
    commit(store, wire.batch(wire.reading(9000), wire.reading(9500), first_seq=8))
    settle(store, wire, 12)
    at = wire.sync_epoch_ms
    found = {gap.first_seq: (gap.from_ms, gap.to_ms) for gap in store.losses().newest}
    assert found == {3: (at + 1000, at + 3000), 5: (at + 3000, at + 9000), 10: (at + 9500, None)}


def test_the_newest_come_first_and_are_bounded_and_the_totals_are_of_all(store, wire):
    for n in range(9):
        commit(store, readings(wire, 1 + 10 * n, 5))
        settle(store, wire, 11 + 10 * n, NOW_MS + n)
    found = store.losses(3)
    assert (found.runs, found.records) == (9, 45)
    assert [one.noted_ms - NOW_MS for one in found.newest] == [8, 7, 6]
    assert found.newest[0].count == 5


# --- whatever the order ------------------------------------------------------------------------


class Chance(Lcg):
    """What a test needs of chance; a number replays it."""

    def __init__(self, seed):
        super().__init__(seed, 4)

    def hits(self, percent):
        return self.below(100) < percent

    def among(self, things):
        return things[self.below(len(things))]

    def shuffle(self, things):
        for index in range(len(things) - 1, 0, -1):
            other = self.below(index + 1)
            things[index], things[other] = things[other], things[index]


class House:
    """Batches of several boots of one log: with and without clock, with holes, with steps."""

    def __init__(self, wire, chance):
        self.batches, self.first = [], {}
        seq, second = 1, 1000
        for boot in range(1, 5):
            uptime_s = 0
            has_clock = chance.hits(60)
            for part in range(1 + chance.below(3)):
                rows = []
                if has_clock and (part == 0 or chance.hits(40)):
                    stray_ms = chance.among((0, 0, 40, -700))
                    epoch_ms = wire.sync_epoch_ms + 1000 * second + stray_ms
                    rows.append(wire.sync(1000 * uptime_s, epoch_ms))
                for _ in range(1 + chance.below(5)):
                    uptime_s, second = uptime_s + 10, second + 10
                    meter = chance.among((wire.meter, b"second"))
                    rows.append(wire.reading(1000 * uptime_s, sec_index=second, meter=meter))
                payloads = wire.records(*rows, boot=boot)
                self.first[seq] = payloads
                self.batches.append((seq, payloads))
                seq += len(payloads)
            second += chance.among((5, 60, 3600))
        self.end_seq = seq

    def message(self, wire, seq, holes=()):
        payloads = list(self.first[seq])
        for index in holes:
            if index < len(payloads):
                payloads[index] = b""
        return wire.batch_of(payloads, first_seq=seq)


def state(store):
    """Everything that must not depend on the order; what came by arrival has no time of its own."""
    found = []
    for one in store.readings():
        time_ms = None if one.time_source == "arrival" else one.time_ms
        found.append((one.seq, one.boot, one.server_id, one.uptime_ms, time_ms, one.time_source))
    return sorted(found), gaps(store), store.counters["readings", ""]


@pytest.mark.parametrize("seed", range(25))
def test_order_repeats_and_losses_on_the_way_do_not_matter(tmp_path, wire, seed):
    chance = Chance(seed)
    house = House(wire, chance)
    lost = {seq for seq, _ in house.batches if chance.hits(15)}
    holed = {seq: (chance.below(6),) for seq, _ in house.batches if chance.hits(20)}
    final = [seq for seq, _ in house.batches if seq not in lost]
    states = []
    for attempt in range(3):
        store = Writer(tmp_path / f"{attempt}.db", "1", NOW_MS)
        # In order the first time; then shuffled, repeated, in groups of any size, with floors
        # in between; and some that had holes come whole, or the other way round.
        sends = [(seq, holed.get(seq, ())) for seq in final]
        if attempt:
            sends += [chance.among(sends) for _ in final]
            sends += [(seq, (chance.below(6), *holed.get(seq, ()))) for seq in final]
            chance.shuffle(sends)
        while sends:
            size = 1 + chance.below(4)
            group, sends = sends[:size], sends[size:]
            commit(store, *[house.message(wire, seq, holes) for seq, holes in group])
            if attempt and chance.hits(30):
                settle(store, wire, 1 + chance.below(house.end_seq))
        for seq in final:
            commit(store, house.message(wire, seq, holed.get(seq, ())))
        settle(store, wire, house.end_seq)
        states.append(state(store))
        store.close(NOW_MS)
    assert states[1] == states[0]
    assert states[2] == states[0]
    seqs = [row[0] for row in states[0][0]]
    assert len(set(seqs)) == len(seqs)
    missing = {seq for first, last, _ in states[0][1] for seq in range(first, last + 1)}
    syncs = {
        seq + index
        for seq, payloads in house.batches
        for index, payload in enumerate(payloads)
        if payload[0] >> 6 == 0
    }
    assert set(seqs) | missing | syncs == set(range(1, house.end_seq))
    assert not set(seqs) & missing
