"""The simulator itself: it repeats itself byte for byte, and it notices what is broken on purpose."""

import pytest

from wattlog import uplink
from wattlog.ringlog import RingLog
from wattlog_host import desk
from wattlog_host.store.batches import Writing
from wattlog_host.store.records import Committed, Outcome
from wattlog_sim.world.day import Setup, run
from wattlog_sim.world.faults import KINDS
from wattlog_tools import sim
from wattlog_tools.cli import main

HOURS = 3
SEEDS = range(7, 19)
FOUND = (33657,)
"""Seeds that were findings once, of a whole day."""


def outcomes(seeds=SEEDS, hours=HOURS):
    return [run(Setup(seed, hours, 10)) for seed in seeds]


def test_days_of_trouble_end_with_every_reading_once():
    found = outcomes()
    assert [one.failure for one in found] == [None] * len(found), [str(one.setup) for one in found]
    assert sum(one.counts["readings"] for one in found) > 1000 * len(found) * HOURS / 4
    # The seeds of this test have all that can happen.
    assert {name for one in found for name in one.troubles} == set(KINDS)
    for what in ("power cuts", "host kills", "messages lost", "repeated", "rotten bits"):
        assert sum(one.counts[what] for one in found), what


def test_the_same_seed_does_the_same_byte_for_byte():
    assert [one.digest for one in outcomes(range(7, 10))] == [
        one.digest for one in outcomes(range(7, 10))
    ]
    assert outcomes([7])[0].digest != outcomes([8])[0].digest


def release_when_sent(patch):
    def send(self, flight, now_ms):
        SEND(self, flight, now_ms)
        self._log.release(flight.first_seq + flight.count - 1)

    SEND = uplink.Uplink._send
    patch.setattr(uplink.Uplink, "_send", send)


def answer_before_the_commit(patch):
    """The answer is out; the database is written a moment later, by who may be gone by then."""

    class Hasty:
        def __init__(self, store):
            self.store = store
            self.waiting = WAITING.setdefault(id(store), [])

        def __getattr__(self, name):
            return getattr(self.store, name)

        def commit(self, items):
            if self.waiting:
                self.store.commit(self.waiting.pop())
            self.waiting.append(items)
            outcomes = [Outcome(item, None) for item in items]
            return Committed(tuple(outcomes))

    WAITING = {}
    real = desk.work
    patch.setattr(
        "wattlog_sim.world.host.work", lambda one, store, now_ms: real(one, Hasty(store), now_ms)
    )


def forget_the_cursor(patch):
    """A release that frees one record more than it was told."""
    real = RingLog.release
    patch.setattr(RingLog, "release", lambda self, seq: real(self, seq + 1))


def never_send_again(patch):
    patch.setattr(uplink, "ACK_MS_MIN", 1 << 40)
    patch.setattr(uplink, "ACK_MS_MAX", 1 << 40)


def say_nothing_of_losses(patch):
    patch.setattr(Writing, "settle", lambda self, floors: None)


@pytest.mark.parametrize(
    "break_it",
    [
        release_when_sent,
        answer_before_the_commit,
        forget_the_cursor,
        never_send_again,
        say_nothing_of_losses,
    ],
)
def test_it_notices(break_it, monkeypatch):
    break_it(monkeypatch)
    seeds = (run(Setup(seed, HOURS, 10)) for seed in range(7, 40))
    assert any(one.failure for one in seeds)


def test_a_failing_seed_prints_the_line_that_repeats_it(monkeypatch, capsys):
    say_nothing_of_losses(monkeypatch)
    release_when_sent(monkeypatch)
    assert main(["sim", "--seed", "7", "--seeds", "8", "--hours", "3", "--jobs", "1"]) == 1
    out = capsys.readouterr().out
    line = next(line for line in out.splitlines() if line.startswith("FAIL "))
    words = line.split("again with: wattlog-tools ")[1].split()
    assert main(words) == 1
    assert "FAIL " in capsys.readouterr().out


def test_wrong_arguments_are_told(capsys):
    assert main(["sim", "--hours", "0"]) == 2
    assert "--hours" in capsys.readouterr().err


def test_what_is_asked_is_run_on_several_processes(capsys):
    assert sim.main(["--seed", "20", "--seeds", "3", "--hours", "1", "--jobs", "2"]) == 0
    assert "seeds             3 in" in capsys.readouterr().out


def test_what_was_a_finding_once_is_none_any_more():
    failures = [one.failure for one in outcomes(FOUND, 24)]
    assert failures == [None] * len(FOUND)
