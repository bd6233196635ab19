"""`wattlog-host rebuild`: all buckets anew, whatever happens to it."""

import os
import signal
import subprocess
import sys

import pytest
import sqlalchemy as sa

from past import HOUR_MS
from wattlog_host.store import tables
from wattlog_host.store.records import Incoming
from wattlog_host.store.writer import Writer
from wattlog_host.wire import decode_batch

T0_MS = 1_760_000_400_000 // HOUR_MS * HOUR_MS
NOW_MS = T0_MS + 400 * HOUR_MS
HOURS = 30


@pytest.fixture
def database(tmp_path, wire):
    path = tmp_path / "data" / "wattlog.db"
    writer = Writer(path, "test", NOW_MS)
    for hour in range(HOURS):
        readings = [
            wire.reading(
                HOUR_MS * hour + 60_000 * minute, (1, 60 * hour + minute, 0, 10, minute, 0)
            )
            for minute in range(55)
        ]
        sync = [wire.sync(0, T0_MS)] if not hour else []
        payload = wire.batch(*sync, *readings, first_seq=1 + 100 * hour)
        writer.commit([Incoming("t", decode_batch(payload), NOW_MS, payload)])
    while writer.roll():
        pass
    writer.close(NOW_MS)
    return path


def buckets(path):
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        query = sa.select(tables.rollup).order_by(*tables.rollup.primary_key.columns)
        found = [tuple(row) for row in connection.execute(query)]
    engine.dispose()
    return found


def forget(path):
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(sa.delete(tables.rollup))
    engine.dispose()


def command(path, *words):
    config = path.parent / "host.toml"
    config.write_text(f'data = "{path.parent}"\n')
    return [sys.executable, "-m", "wattlog_host", "--config", str(config), *words]


def test_it_makes_them_again_and_says_how_many(database):
    good = buckets(database)
    forget(database)
    done = subprocess.run(command(database, "rebuild"), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    # The hour behind the last reading is looked at, too.
    assert done.stdout == f"the buckets of {HOURS + 1} hours are made anew from their readings\n"
    assert buckets(database) == good


@pytest.mark.parametrize("transactions", [1, 2, 5])
def test_killed_on_the_way_nothing_is_lost_and_it_goes_on(database, transactions):
    good = buckets(database)
    forget(database)
    ended = os.fork()
    if not ended:
        writer = Writer(database, "test", NOW_MS)
        writer.rebuild_begin()
        for _ in range(transactions):
            writer.roll(100)
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(ended, 0)[1]) == -signal.SIGKILL
    writer = Writer(database, "test", NOW_MS)
    while writer.roll():
        pass
    writer.close(NOW_MS)
    assert buckets(database) == good


def test_while_a_host_runs_it_says_so(database):
    writer = Writer(database, "test", NOW_MS)
    done = subprocess.run(command(database, "rebuild"), capture_output=True, text=True)
    writer.let_go()
    assert done.returncode == 2
    assert "another wattlog-host uses" in done.stderr
    assert done.stderr.count("\n") == 1
