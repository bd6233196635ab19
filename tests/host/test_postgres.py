"""What is peculiar to PostgreSQL: its one writer, its secrets, and a server that is killed."""

import asyncio
import contextlib
import logging
import os
import re
import threading

import aiomqtt
import msgpack
import pytest
import sqlalchemy as sa

from foreign import energy_monitor
from postgres import Server
from stored import execute, rows, stored_readings
from toolbox import require
from waiting import wait_until
from wattlog_host import cli, settings
from wattlog_host.store import database, tables
from wattlog_host.store import postgres as postgres_module
from wattlog_host.store.kinds import kind_of
from wattlog_host.store.records import Incoming, StoreError
from wattlog_host.store.role import Role
from wattlog_host.store.writer import Writer
from wattlog_host.wire import decode_batch

NOW_MS = 1_795_000_000_000
METER = "0a0149534b0003382939"
KILLS = 5 * int(os.environ.get("WATTLOG_KILLS", "1"))


@pytest.fixture(name="server")
def own_server():
    """A server of this test's own, which it may kill."""
    made = Server(require("postgres") / "postgres")
    yield made
    made.remove()


def incoming(payload):
    return Incoming("wattlog/1/cellar/b", decode_batch(payload), NOW_MS, payload)


def send(port, *payloads):
    """Publish batches as an agent, again and again until they are acknowledged; return that."""

    async def run():
        acks = []
        async with asyncio.timeout(60), aiomqtt.Client("127.0.0.1", port) as client:
            await client.subscribe("wattlog/1/cellar/a")
            for payload in payloads:
                while len(acks) == payloads.index(payload):
                    await client.publish("wattlog/1/cellar/b", payload)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(1):
                            ack = msgpack.unpackb((await anext(client.messages)).payload)
                        if ack not in acks:
                            acks.append(ack)
        return acks

    return asyncio.run(run())


def config_of(folder, url, more=""):
    """Settings with the password in a file beside them."""
    (folder / "secret").write_text(f"{url.password}\n")
    text = url.render_as_string().replace(":***@", "@")
    path = folder / "host.toml"
    where = f'[store]\nurl = "{text}"\npassword_file = "secret"\n'
    more = more if "[store]\n" in more else f"{more}[store]\n"
    path.write_text(f'data = "{folder}"\n' + more.replace("[store]\n", where))
    return path


# --- one writer ---------------------------------------------------------------------------------


def test_a_session_that_was_ended_is_made_anew_and_holds_the_lock(url, wire, postgres):
    store = Writer(url, "1", NOW_MS)
    store.commit([incoming(wire.batch(wire.reading()))])
    postgres.end_sessions(url)
    done = store.commit([incoming(wire.batch(wire.reading(), first_seq=2))])
    assert done.outcomes[0].is_new
    store.check()
    with pytest.raises(StoreError, match="another wattlog-host uses postgresql://"):
        Writer(url, "1", NOW_MS)
    store.close(NOW_MS)


def test_who_lost_the_lock_to_another_commits_nothing_more(url, wire, postgres):
    store = Writer(url, "1", NOW_MS)
    postgres.end_sessions(url)
    other = Writer(url, "1", NOW_MS)
    with pytest.raises(StoreError, match="another wattlog-host uses"):
        store.commit([incoming(wire.batch(wire.reading()))])
    other.close(NOW_MS)
    assert store.commit([incoming(wire.batch(wire.reading()))]).outcomes[0].is_new
    store.close(NOW_MS)


def test_who_is_about_to_end_is_waited_for(url):
    first = Writer(url, "1", NOW_MS)
    opened = []
    thread = threading.Thread(target=lambda: opened.append(Writer(url, "1", NOW_MS)))
    waiting = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    try:
        thread.start()
        wait_until(lambda: rows(url, waiting), "that the second one waits")
    finally:
        first.close(NOW_MS)
        thread.join()
    (second,) = opened
    second.close(NOW_MS)


@pytest.mark.parametrize("role", [Role.ALONE, None])
def test_no_plan_is_compiled(url, role):
    engine = kind_of(url).engine(url, role)
    with engine.begin() as connection:
        assert connection.exec_driver_sql("SHOW jit").scalar() == "off"
    engine.dispose()


def test_a_reader_needs_no_lock_and_writes_nothing(url):
    store = Writer(url, "1", NOW_MS)
    engine = kind_of(url).engine(url, None)
    with pytest.raises(sa.exc.DBAPIError, match="read-only"), engine.begin() as connection:
        connection.execute(sa.delete(tables.run))
    engine.dispose()
    store.close(NOW_MS)


def test_what_waits_for_a_lock_waits_no_longer_than_in_sqlite(url, wire):
    store = Writer(url, "1", NOW_MS)
    other = sa.create_engine(url.set(drivername="postgresql+psycopg"))
    with other.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE batch")
        with pytest.raises(StoreError, match="lock timeout"):
            store.commit([incoming(wire.batch(wire.reading()))])
    other.dispose()
    assert store.commit([incoming(wire.batch(wire.reading()))]).outcomes[0].is_new
    store.close(NOW_MS)


def test_a_server_that_does_not_flush_is_refused(url, postgres):
    postgres.execute("ALTER SYSTEM SET fsync = off; SELECT pg_reload_conf()")
    try:

        def refused():
            try:
                Writer(url, "1", NOW_MS).close(NOW_MS)
            except StoreError as err:
                return str(err)
            return None

        said = wait_until(refused, "a refusal")
        assert "fsync = off" in said
        assert url.password not in said
    finally:
        postgres.execute("ALTER SYSTEM RESET fsync; SELECT pg_reload_conf()")


def test_an_acknowledged_batch_survives_a_power_cut_of_the_server(url):
    store = Writer(url, "1", NOW_MS)
    with store._write_engine.begin() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
    store.close(NOW_MS)


def test_tables_that_were_begun_are_made_whole_or_not_at_all(place, monkeypatch):
    def fail(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(database.command, "stamp", fail)
        with pytest.raises(KeyboardInterrupt):
            Writer(place, "1", NOW_MS)
    Writer(place, "1", NOW_MS).close(NOW_MS)
    assert rows(place, "SELECT count(*) FROM run") == [(1,)]


def test_the_size_is_measured_now_and_then(url, monkeypatch):
    monkeypatch.setattr(postgres_module, "_CALLS", 2)
    store = Writer(url, "1", NOW_MS)
    before = store.size_bytes()
    execute(
        url, "CREATE TABLE much AS SELECT repeat(md5(i::text), 9) FROM generate_series(1, 9999) i"
    )
    store.check()
    store.check()
    assert store.size_bytes() > before + 1_000_000
    store.close(NOW_MS)


def test_the_driver_says_nothing_of_a_lost_connection_that_we_say_ourselves(url):
    Writer(url, "1", NOW_MS).close(NOW_MS)
    assert not logging.getLogger("psycopg").isEnabledFor(logging.WARNING)


# --- settings and secrets -----------------------------------------------------------------------


def test_the_password_comes_from_a_file_or_the_environment_and_is_never_shown(
    tmp_path, url, capsys, monkeypatch
):
    path = config_of(tmp_path, url)
    chosen = settings.load(path, {})
    assert chosen.database.password == url.password
    assert cli.main(["--config", str(path), "--check-config"]) == 0
    out = capsys.readouterr().out
    assert 'url = "postgresql://wattlog@/' in out
    assert "# password: read from its file" in out
    for text in (out, repr(chosen), "\n".join(chosen.lines())):
        assert url.password not in text
    path.write_text(path.read_text().replace('password_file = "secret"\n', ""))
    chosen = settings.load(path, {settings.STORE_PASSWORD: "from outside"})
    assert chosen.database.password == "from outside"
    monkeypatch.setenv(settings.STORE_PASSWORD, "a wrong one")
    assert cli.main(["--config", str(path), "export"]) == 2
    err = capsys.readouterr().err
    assert "password authentication failed" in err
    assert "a wrong one" not in err
    assert err.count("\n") == 1


MISTAKES = (
    ('url = "postgresql://a:secret@x/y"', "must not hold the password"),
    ('url = "postgresql://x"', "must be like"),
    ('url = "postgresql://x:port/y"', "must be like"),
    ('url = "mysql://x/y"', "must be like"),
    ('url = "postgresql://x/y"\npassword_file = "/dev/null"', "is empty"),
    ('password_file = "/dev/null"', "store.password_file"),
)


@pytest.mark.parametrize(("text", "words"), MISTAKES)
def test_a_mistake_is_one_line_without_the_secret(tmp_path, capsys, text, words):
    path = tmp_path / "host.toml"
    path.write_text(f"[store]\n{text}\n")
    assert cli.main(["--config", str(path), "--check-config"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert words in err
    assert "secret@" not in err


# --- the commands -------------------------------------------------------------------------------


def test_the_commands_work_on_it_but_for_those_that_the_server_has_itself(tmp_path, url, capsys):
    path = str(config_of(tmp_path, url, ""))
    file = energy_monitor(
        tmp_path / "energy.db",
        [(f"2025-06-01 00:00:{n:02}.000000", METER, float(n)) for n in range(30)],
    )
    for options in (["--dry-run"], []):
        status = cli.main(["--config", path, "import", "--zone", "+01:00", *options, str(file)])
        out, err = capsys.readouterr()
        if options:
            # A database without tables cannot be looked into.
            assert (status, "is of another wattlog" in err) == (2, True)
        else:
            assert (status, "30 readings are new" in out) == (0, True), err
    assert cli.main(["--config", path, "import", "--zone", "+01:00", str(file)]) == 0
    assert "nothing is new" in capsys.readouterr().out
    assert cli.main(["--config", path, "export"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 31
    for command in (["backup"], ["restore", str(file)]):
        assert cli.main(["--config", path, *command]) == 2
        err = capsys.readouterr().err
        assert "pg_dump" in err
        assert url.password not in err
    assert len(stored_readings(url)) == 30


# --- a server that is killed ----------------------------------------------------------------------


def test_however_often_the_server_is_killed_what_was_committed_is_there_once(server, wire):
    url = server.fresh()
    store = Writer(url, "1", NOW_MS)
    committed, failed = [], 0
    stop = threading.Event()

    def ingest():
        nonlocal failed
        seq = 1
        while not stop.is_set():
            payload = wire.batch(wire.sync(), wire.reading(1000 * seq), first_seq=2 * seq - 1)
            try:
                done = store.commit([incoming(payload)])
            except StoreError:
                failed += 1  # as an agent: the same again
                stop.wait(0.01)
                continue
            assert done.outcomes[0].reason is None
            committed.append(2 * seq)
            seq += 1

    thread = threading.Thread(target=ingest)
    thread.start()
    try:
        for _ in range(KILLS):
            before = len(committed)
            wait_until(lambda: len(committed) > before + 20, "more batches", 60)
            server.kill()
            server.start()
        before = len(committed)
        wait_until(lambda: len(committed) > before + 5, "batches behind the last kill", 60)
    finally:
        stop.set()
        thread.join()
    assert failed > 0
    store.close(NOW_MS)
    assert [one.seq for one in stored_readings(url)] == committed
    print(f"{KILLS} kills, {failed} commits failed, {len(committed)} batches")


def test_a_host_says_that_its_server_is_gone_and_acknowledges_nothing_until_it_is_back(
    server, wire, make_host
):
    host = make_host()
    url = server.fresh()
    folder = host.config_path.parent
    more = re.sub(r'^data = ".*"\n', "", host.config_path.read_text())
    config_of(folder, url, more)
    host.start()
    first, second = (wire.batch(wire.reading(n), first_seq=n) for n in (1, 2))
    assert send(host.mqtt_port, first) == [wire.ack(first)]
    assert host.json("/status")["host"]["backup"] is None
    assert host.json("/status")["host"]["database_bytes"] > 1_000_000
    server.kill()
    wait_until(lambda: host.get("/healthz")[0] == 503, "the trouble")
    server.start()
    assert send(host.mqtt_port, first, second) == [wire.ack(first), wire.ack(second)]
    assert host.get("/healthz") == (200, "ok\n")
    assert host.end() == 0
    assert [one.seq for one in stored_readings(url)] == [1, 2]
    assert "Traceback" not in host.log()
    assert "\n\t" not in host.log(), "an event is one line"
    assert server.password not in host.log()
