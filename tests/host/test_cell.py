"""Several writers of one PostgreSQL database: who may be there, and that together they are one."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading

import aiomqtt
import msgpack
import pytest

from past import Rng
from stored import execute, rows, stored_losses, stored_readings
from waiting import wait_until
from wattlog_host import settings
from wattlog_host.store import batches, database, days, rollups
from wattlog_host.store.others import Others
from wattlog_host.store.records import Event, Floor, Incoming, StoreError
from wattlog_host.store.role import Role
from wattlog_host.store.writer import Writer
from wattlog_host.wire import decode_batch

NOW_MS = 1_795_000_000_000
HOUR_MS = 3_600_000
SEED = int(os.environ.get("WATTLOG_SEED", "2027"))
PATIENCE_S = 60


def incoming(*payloads):
    return [
        Incoming("wattlog/1/x/b", decode_batch(payload), NOW_MS, payload) for payload in payloads
    ]


# --- who may be there -----------------------------------------------------------------------------

A, L, W = Role.ALONE, Role.LEAD, Role.WORKER
BESIDE = (
    (A, A, "another wattlog-host uses postgresql://"),
    (A, L, "not of this cell uses postgresql://"),
    (A, W, "not of this cell uses postgresql://"),
    (L, A, "another wattlog-host uses postgresql://"),
    (L, L, "another wattlog-host leads the cell at postgresql://"),
    (L, W, None),
    (W, A, "another wattlog-host uses postgresql://"),
    (W, L, None),
    (W, W, None),
)


@pytest.mark.parametrize(("first", "second", "words"), BESIDE)
def test_who_may_write_beside_whom(url, writer_of, first, second, words):
    Writer(url, "1", NOW_MS).close(NOW_MS)
    writer_of(first)
    if words is None:
        writer_of(second)
        return
    with pytest.raises(StoreError, match=words) as caught:
        writer_of(second)
    assert url.password not in str(caught.value)


def test_a_worker_makes_no_tables_and_no_run(url, writer_of):
    with pytest.raises(StoreError, match="is of another wattlog"):
        writer_of(W)
    writer_of(L)
    worker = writer_of(W)
    worker.close(NOW_MS)
    assert rows(url, "SELECT count(*) FROM run") == [(1,)]


def test_tables_are_not_changed_while_workers_of_before_run(url, writer_of):
    writer_of(L).let_go()
    worker = writer_of(W)
    newest = max(database.revisions())
    execute(url, "UPDATE alembic_version SET version_num = '0006'")
    with pytest.raises(StoreError, match="whose workers still run: stop them"):
        writer_of(L)
    worker.let_go()
    # Now it would be upgraded; what fails is that it is not really of that revision.
    with pytest.raises(StoreError, match="already exists"):
        writer_of(L)
    execute(url, f"UPDATE alembic_version SET version_num = '{newest}'")
    writer_of(L)


def test_a_slot_is_free_again_when_its_worker_has_gone(url, writer_of, wire, monkeypatch):
    monkeypatch.setattr("wattlog_host.store.sharing.SLOTS", range(1, 3))
    writer_of(L)
    first, _ = writer_of(W), writer_of(W)
    with pytest.raises(StoreError, match="has 2 workers"):
        writer_of(W)
    first.let_go()
    third = writer_of(W)
    third.commit(incoming(wire.batch(wire.reading())))
    assert rows(url, "SELECT slot, value FROM counter WHERE name = 'readings'") == [(1, 1)]


# --- together they are one --------------------------------------------------------------------------


def days_of(wire, rng):
    """What six heads send: groups that overlap by repeats, out of order, of eight meters."""
    messages = []
    for head in range(6):
        # No two heads at the same moment: which comes first is by numbers that the database gives.
        seq, uptime_ms = 1, head
        while seq < 160:
            records = (
                [wire.sync(uptime_ms, wire.sync_epoch_ms + uptime_ms)]
                if rng.randrange(3) == 0
                else []
            )
            for _ in range(1 + rng.randrange(8)):
                uptime_ms += 10_000 + 10 * rng.randrange(20_000)
                meter = bytes([10, head + rng.randrange(3)])
                values = (1, 1_000_000 + uptime_ms, -1, 10, rng.randrange(900), 0)
                records.append(wire.reading(uptime_ms, values, meter))
            name = {"edge": f"head-{head}", "log": 77, "first_seq": seq}
            messages.append(wire.batch(*records, **name))
            seq += len(records)
    sent = messages + [messages[rng.randrange(len(messages))] for _ in range(len(messages) // 2)]
    for at in range(len(sent) - 1, 0, -1):  # neighbours far apart are rare, near ones are not
        to = max(0, at - rng.randrange(12))
        sent[at], sent[to] = sent[to], sent[at]
    return sent


def share(work, writers, act):
    """Have each writer take from the work in a thread of its own until nothing is left."""
    waiting, lock, failed = list(reversed(work)), threading.Lock(), []

    def run(writer, number):
        rng = Rng(SEED + number)
        while True:
            with lock:
                group = [waiting.pop() for _ in range(min(len(waiting), 1 + rng.randrange(9)))]
            if not group:
                return
            try:
                act(writer, group)
            except StoreError as err:
                failed.append(str(err))
                with lock:
                    waiting.extend(group)

    threads = [
        threading.Thread(target=run, args=(one, number)) for number, one in enumerate(writers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failed


def image(place):
    """All that is stored, whatever numbers the database gave it."""
    readings = sorted(
        (one.edge, one.log, one.boot, one.seq, one.server_id, one.time_ms, one.time_source,
         sorted(one.values.items()))
        for one in stored_readings(place)
    )  # fmt: skip
    blocks = rows(
        place,
        "SELECT meter.server_id, channel, step_s, start_ms, packed"
        " FROM rollup JOIN meter ON meter.id = meter_id",
    )
    totals = rows(place, "SELECT name, reason, sum(value) FROM counter GROUP BY name, reason")
    gaps = [
        (one.edge, one.log, one.first_seq, one.last_seq) for one in stored_losses(place).newest
    ]
    return (
        readings,
        sorted((bytes(row[0]), *row[1:4], bytes(row[4])) for row in blocks),
        sorted((name, reason, int(value)) for name, reason, value in totals),
        sorted(gaps),
    )


def test_three_writers_and_their_buckets_are_what_one_would_have_stored(
    url, writer_of, wire, tmp_path
):
    print(f"seed {SEED}")
    sent = days_of(wire, Rng(SEED))
    writers = [writer_of(L), writer_of(W), writer_of(W)]

    def act(writer, group):
        done = writer.commit(incoming(*group))
        assert all(one.reason is None for one in done.outcomes)
        writer.roll(20)

    failed = share(sent, writers, act)
    assert failed == [], "nobody waits in a circle"
    floors = [Floor(f"head-{head}", 77, 150, NOW_MS) for head in range(6)]
    writers[0].settle(floors)
    while sum([one.roll() for one in writers]):
        pass
    assert [one.due_count() for one in writers] == [0, 0, 0]
    alone = tmp_path / "alone.db"
    only = Writer(alone, "1", NOW_MS)
    for payload in sent:
        only.commit(incoming(payload))
    only.settle(floors)
    while only.roll():
        pass
    only.let_go()
    ours, theirs = image(url), image(alone)
    assert ours[0] == theirs[0]
    assert len(ours[0]) > 600
    assert ours[1] == theirs[1]
    assert ours[2] == theirs[2]
    assert ours[3] == theirs[3]
    assert sum(writers[0].counters.values()) < sum(row[2] for row in ours[2])
    writers[0].recount()
    assert sum(writers[0].counters.values()) == sum(row[2] for row in ours[2])


def test_one_batch_that_two_writers_get_at_once_is_stored_once(url, writer_of, wire):
    writers = [writer_of(L), writer_of(W)]
    payloads = [wire.batch(wire.reading(seq), first_seq=seq) for seq in range(1, 41)]
    start = threading.Barrier(2)
    news = []

    def act(writer):
        for payload in payloads:
            start.wait(PATIENCE_S)
            done = writer.commit(incoming(payload))
            news.append(done.counts.get(("batches", ""), 0))

    threads = [threading.Thread(target=act, args=(one,)) for one in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(news) == 40
    assert [one.seq for one in stored_readings(url)] == list(range(1, 41))


def test_what_is_committed_while_an_hour_is_made_is_not_forgotten(
    url, writer_of, wire, monkeypatch
):
    lead, worker = writer_of(L), writer_of(W)
    lead.commit(incoming(wire.batch(wire.sync(0), wire.reading(5_000))))
    late = wire.batch(wire.reading(6_000), edge="attic", log=5, first_seq=1)
    sync = wire.batch(wire.sync(0), edge="attic", log=5, first_seq=2)
    as_it_is = rollups._roll_hours

    def roll_hours(*arguments):
        made = as_it_is(*arguments)
        monkeypatch.setattr(rollups, "_roll_hours", as_it_is)
        worker.commit(incoming(late, sync))
        return made

    monkeypatch.setattr(rollups, "_roll_hours", roll_hours)
    assert lead.roll() == 1
    assert lead.due_count() > 0
    while lead.roll():
        pass
    with lead._reading() as connection:
        found = connection.exec_driver_sql(
            "SELECT packed FROM rollup WHERE step_s = 60 AND channel = 1"
        ).scalar_one()
    block = rollups._unpacked(bytes(found), 60)
    assert sum(block.columns["readings"]) == 2


def test_who_waits_while_another_makes_a_day_finds_it_made(url, writer_of):
    lead, worker = writer_of(L), writer_of(W)
    day = NOW_MS // 86_400_000 + 400
    made = []

    def make():
        with worker._write_engine.begin() as connection:
            days.ensure(connection, [day])
        made.append(day)

    thread = threading.Thread(target=make)
    waiting = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with lead._write_engine.begin() as connection:
        days.ensure(connection, [day])
        thread.start()
        wait_until(lambda: rows(url, waiting), "that the worker waits")
    thread.join(PATIENCE_S)
    assert made == [day]


def test_a_meter_that_is_being_rolled_is_left_to_who_is_at_it(url, writer_of, wire):
    lead, worker = writer_of(L), writer_of(W)
    lead.commit(incoming(wire.batch(wire.sync(0), wire.reading(5_000))))
    with lead._write_engine.begin() as connection:
        assert len(rollups.roll(connection)) == 1
        assert worker.roll() == 0
        # And its batches are taken all the same.
        worker.commit(incoming(wire.batch(wire.reading(9_000), edge="attic", log=5)))
    assert worker.roll() == 1


def test_a_writer_that_waits_for_a_head_goes_on_when_the_other_is_done(url, writer_of, wire):
    lead, worker = writer_of(L), writer_of(W)
    lead.commit(incoming(wire.batch(wire.reading())))
    done = []
    thread = threading.Thread(
        target=lambda: done.append(worker.commit(incoming(wire.batch(wire.reading()))))
    )
    with lead._write_engine.begin() as connection:
        writing = batches.Writing(connection)
        writing.write(incoming(wire.batch(wire.reading(2_000), first_seq=2)))
        thread.start()
        thread.join(0.2)
        assert not done
    thread.join(PATIENCE_S)
    assert done[0].counts == {("duplicates", ""): 1}


# --- settings -------------------------------------------------------------------------------------

MISTAKES = (
    ('[cell]\nshare = "Ä"\n', "cell.share may have only a to z"),
    ('[cell]\nshare = "a"\n', "cell.share needs a database that several can write to"),
    (
        '[store]\nurl = "postgresql://wattlog@/x"\n[cell]\nshare = "a"\n',
        "cell.share needs a broker that all of them reach",
    ),
)


@pytest.mark.parametrize(("text", "words"), MISTAKES)
def test_a_cell_that_cannot_be_is_refused(tmp_path, text, words):
    path = tmp_path / "host.toml"
    path.write_text(text)
    with pytest.raises(settings.ConfigError, match=words):
        settings.load(path, {})


def test_a_worker_without_a_cell_says_what_it_lacks(run_host, tmp_path):
    path = tmp_path / "host.toml"
    path.write_text(f'data = "{tmp_path}"\n')
    done = run_host("worker", "--config", path)
    # As of a host: a service does not try it again.
    assert (done.returncode, done.stdout) == (os.EX_CONFIG, "")
    assert done.stderr == f"wattlog-host: {path}: a worker is of a cell: set cell.share\n"


# --- real processes ---------------------------------------------------------------------------------


class Worker:
    """A real `wattlog-host worker`."""

    def __init__(self, config, log_path):
        self._words = [sys.executable, "-m", "wattlog_host", "worker", "--config", str(config)]
        self.log_path = log_path
        self.start()

    def start(self):
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self._words, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def log(self):
        return self.log_path.read_text()

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


async def until_acked(port, payloads, after):
    """Publish all again and again until each is acknowledged; call after(count) in between."""
    missing = {}
    for payload in payloads:
        _, edge, log, first_seq, _ = msgpack.unpackb(payload)
        missing[f"wattlog/1/{edge}/a", log, first_seq] = payload
    async with asyncio.timeout(PATIENCE_S), aiomqtt.Client("127.0.0.1", port) as client:
        await client.subscribe("wattlog/1/+/a")
        while missing:
            for (topic, _, _), payload in list(missing.items()):
                await client.publish(topic[:-1] + "b", payload)
            try:
                async with asyncio.timeout(1):
                    async for message in client.messages:
                        _, log, first_seq, _, reason = msgpack.unpackb(message.payload)
                        assert reason is None
                        missing.pop((str(message.topic), log, first_seq), None)
                        after(len(missing))
                        if not missing:
                            break
            except TimeoutError:
                pass


@pytest.fixture
def cell(make_host, mosquitto, url, tmp_path, wait_until):
    """A lead and two workers at a real broker, with a real database."""
    lead = make_host(mosquitto.port)
    (tmp_path / "secret").write_text(url.password)
    text = url.render_as_string().replace(":***@", "@")
    store = f'[store]\nurl = "{text}"\npassword_file = "{tmp_path / "secret"}"\n'
    config = re.sub(r"\[store\]\n", store, lead.config_path.read_text())
    lead.config_path.write_text(config + '[cell]\nshare = "house"\n')
    lead.start()
    made = [Worker(lead.config_path, tmp_path / f"worker{number}.log") for number in (1, 2)]
    for one in made:
        wait_until(lambda one=one: "broker: connected" in one.log(), "a worker", PATIENCE_S)
    yield lead, made
    for one in made:
        one.process.kill()
        one.process.wait()


def test_a_cell_stores_each_reading_once_though_a_worker_is_killed(
    cell, mosquitto, url, wire, wait_until
):
    lead, (first, second) = cell
    payloads = [
        wire.batch(wire.sync(), wire.reading(1000 * seq, meter=bytes([9, head])),
                   edge=f"head-{head}", log=9, first_seq=2 * seq - 1)
        for seq in range(1, 21)
        for head in range(10)
    ]  # fmt: skip
    killed = []

    def after(missing):
        if missing < 150 and not killed:
            killed.append(first.end(signal.SIGKILL))
            first.start()

    def is_back(one, times):
        return one.log().count("broker: connected") == times

    asyncio.run(until_acked(mosquitto.port, payloads, after))
    assert killed == [-signal.SIGKILL]
    found = [(one.edge, one.seq) for one in stored_readings(url)]
    assert sorted(found) == sorted(
        (f"head-{head}", 2 * seq) for seq in range(1, 21) for head in range(10)
    )
    assert len({slot for (slot,) in rows(url, "SELECT slot FROM counter")}) > 1
    # The lead shows what others have stored: totals, meters, and what happened.
    wait_until(
        lambda: lead.json("/status")["counters"]["readings"] == 200, "all readings", PATIENCE_S
    )
    wait_until(lambda: len(lead.json("/status")["meters"]) == 10)
    # What the one that was killed had not said yet is not among it.
    said = {text for (text,) in rows(url, "SELECT text FROM event WHERE kind = 'meter'")}
    assert said
    wait_until(lambda: said <= set(lead.events()))
    wait_until(lambda: is_back(first, 2), "the worker", PATIENCE_S)
    assert [one.end() for one in (first, second)] == [0, 0]
    assert lead.end() == 0
    for one in (lead, first, second):
        assert "Traceback" not in one.log()
        assert url.password not in one.log()


def test_what_others_say_is_told_once_also_if_it_is_committed_late(url, writer_of):
    lead, worker = writer_of(L), writer_of(W)
    lead.add_aside([], [Event(1, "host", None, "before")])
    others = Others(9)
    assert lead.look(others.look).events == []
    insert = "INSERT INTO event (time_ms, kind, text) VALUES (2, 'agent', 'late')"
    with worker._write_engine.begin() as connection:
        connection.exec_driver_sql(insert)
        lead.add_aside([], [Event(3, "agent", "a", "soon")])
        assert [one.text for one in lead.look(others.look).events] == ["soon"]
    assert [one.text for one in lead.look(others.look).events] == ["late"]
    assert lead.look(others.look).events == []
