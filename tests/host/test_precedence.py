"""Commits go before questions: a question in the middle of a commit waits for its end."""

import threading

import pytest

from past import HOUR_MS
from waiting import wait_until
from wattlog_host.history.columns import STEPS_S
from wattlog_host.store import precedence
from wattlog_host.store.history import SqlHistory
from wattlog_host.store.precedence import Precedence
from wattlog_host.store.records import Incoming
from wattlog_host.store.writer import Writer
from wattlog_host.units import BY_KEY
from wattlog_host.wire import decode_batch

POWER = BY_KEY["power_w"].id
LONG_S = 60
T0_MS = 1_760_000_400_000
VALUES = (1, 1_989_275, -1, POWER, 250, 0)


@pytest.fixture
def writer(tmp_path, wire):
    made = Writer(tmp_path / "data" / "wattlog.db", "test", T0_MS)
    first = wire.sync(0, T0_MS - HOUR_MS), wire.reading(1000, VALUES), wire.reading(2000, VALUES)
    payload = wire.batch(*first)
    made.commit([Incoming("t", decode_batch(payload), T0_MS, payload)])
    while made.roll():
        pass
    yield made
    made.let_go()


def test_nobody_waits_while_nobody_commits(monkeypatch):
    monkeypatch.setattr(precedence, "LET_PASS_S_MAX", LONG_S)
    one = Precedence()
    one.let_pass()
    with pytest.raises(ZeroDivisionError), one.taken():
        raise ZeroDivisionError
    one.let_pass()


def test_who_asks_waits_for_who_goes_first(monkeypatch):
    monkeypatch.setattr(precedence, "LET_PASS_S_MAX", LONG_S)
    one, steps = Precedence(), []

    def ask():
        steps.append("asked")
        one.let_pass()
        steps.append("answered")

    with one.taken():
        asker = threading.Thread(target=ask)
        asker.start()
        wait_until(lambda: steps, "the asker")
        steps.append("committed")
    asker.join(LONG_S)
    assert steps == ["asked", "committed", "answered"]


def test_a_question_is_answered_though_one_commits_for_ever(monkeypatch):
    monkeypatch.setattr(precedence, "LET_PASS_S_MAX", 0)
    one = Precedence()
    with one.taken():
        one.let_pass()


def test_a_commit_goes_first_and_gives_way_afterwards(writer, wire, monkeypatch):
    asked = []
    commit_apart = writer._commit_apart
    monkeypatch.setattr(precedence, "LET_PASS_S_MAX", 0)

    def commit(items):
        asked.append(writer._precedence._is_free.is_set())
        return commit_apart(items)

    monkeypatch.setattr(writer, "_commit_apart", commit)
    payload = wire.batch(wire.reading(3000, VALUES), first_seq=4)
    writer.commit([Incoming("t", decode_batch(payload), T0_MS, payload)])
    assert asked == [False]
    assert writer._precedence._is_free.is_set()


def test_a_question_looks_at_each_block_and_piece_who_commits(writer):
    with writer._reading() as connection:
        looks = []
        history = SqlHistory(connection, lambda: looks.append(1))
        (meter,) = history.meters()
        for step_s in STEPS_S:
            looks.clear()
            assert history.gauges(meter.id, POWER, 0, 2**62, step_s).readings
            assert looks == [1]
        looks.clear()
        assert len(history.readings(meter.id, T0_MS - HOUR_MS, T0_MS, 9)) == 2
        assert looks == [1]


def test_the_writer_hands_it_to_its_questions(writer, monkeypatch):
    looks = []
    monkeypatch.setattr(writer._precedence, "let_pass", lambda: looks.append(1))
    writer.ask(lambda history: history.gauges(1, POWER, 0, 2**62, 3600))
    assert looks == [1]
