"""`wattlog-host move`: all that SQLite held is in PostgreSQL, exactly, whatever happens on the way."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from decimal import Decimal
from functools import partial
from itertools import product

import pytest
import sqlalchemy as sa

from past import Rng
from stored import execute, rows, stored_losses, stored_readings
from waiting import wait_until
from wattlog_host import cli
from wattlog_host.dess import ledger
from wattlog_host.dess.ledger import BY_DEVICE, Delivery
from wattlog_host.dess.mapping import Reading
from wattlog_host.dess.model import Device
from wattlog_host.moving import command as command_module
from wattlog_host.moving import move as move_module
from wattlog_host.moving import rows as rows_module
from wattlog_host.moving import target as target_module
from wattlog_host.moving.move import Move
from wattlog_host.moving.rows import compared, key_of, pieces
from wattlog_host.settings import STORE_PASSWORD
from wattlog_host.store import database, days, tables
from wattlog_host.store.kinds import kind_of
from wattlog_host.store.reader import Reader
from wattlog_host.store.records import DeadLetter, Event, Floor, Incoming, StoreError
from wattlog_host.store.role import Role
from wattlog_host.store.tables import METADATA
from wattlog_host.store.writer import Writer
from wattlog_host.wire import decode_batch

NOW_MS = 1_795_000_000_000
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
METER = "0a0149534b0003382939"
KILLS = 5 * int(os.environ.get("WATTLOG_KILLS", "1"))
SEED = int(os.environ.get("WATTLOG_SEED", "1"))
SESSIONS = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory'"
TEXTS = ("", "\\N", "\\.", "a\tb", "Ä⚡𝄞", "B", "b", "\n\r", "'\"", "ä", "z\\", "é")
BYTES = (b"", b"\\N", bytes(range(32)), b"\xff\x00", *(bytes((one,)) for one in range(1, 9)))
EDGES = {sa.SmallInteger: 2**15, sa.Integer: 2**31, sa.BigInteger: 2**63}
ROWS = len(TEXTS)
TABLES = METADATA.sorted_tables


@pytest.fixture
def path(tmp_path):
    """A data folder's database that is not there yet."""
    return tmp_path / "data" / "wattlog.db"


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    made = tmp_path_factory.mktemp("move") / "wattlog.db"
    fill_with_anything(made)
    return made


@pytest.fixture
def full(path, template):
    """A database with rows of all kinds in every table."""
    path.parent.mkdir()
    shutil.copy(template, path)
    return path


# --- databases ------------------------------------------------------------------------------------


def anything(column, index):
    """What a column can hold: each kind of value, and in a key each only once."""
    kind = column.type
    if column.nullable and index % 3 == 0:
        return None
    if isinstance(kind, sa.Boolean):
        return index % 2 == 1
    if isinstance(kind, sa.LargeBinary):
        return BYTES[index]
    if isinstance(kind, sa.String):
        return TEXTS[index][: kind.length]
    if column is column.table.autoincrement_column:
        return 7 * index + 1
    if column.name in ("received_ms", "first_ms", "last_ms"):  # of which days are made
        is_later = (column.name == "last_ms") == (index % 2 == 1)
        return DAY_MS * (20_000 + 3 * index + is_later) + index
    edge = EDGES[sa.BigInteger if kind is tables.ID else type(kind)]
    return (edge - 1, -edge, 0, -1)[index] if index < 4 else 3 * index


def fill_with_anything(path):
    """Rows of every table there is, made from its columns, that refer to one another."""
    Writer(path, "1", NOW_MS).close(NOW_MS)
    made = {table.name: [] for table in TABLES}
    engine = kind_of(path).engine(path, Role.ALONE)
    with engine.begin() as connection:
        for table in TABLES:
            connection.execute(sa.delete(table))
            for index in range(ROWS):
                row = {column.name: anything(column, index) for column in table.columns}
                for one in table.foreign_keys:
                    row[one.parent.name] = made[one.column.table.name][index][one.column.name]
                made[table.name].append(row)
            connection.execute(sa.insert(table), made[table.name])
    engine.dispose()


def incoming(payload):
    return Incoming("wattlog/1/cellar/b", decode_batch(payload), NOW_MS, payload)


def batch(wire, number, **more):
    """Ten minutes of two meters, with the first a sync point."""
    readings = [
        wire.reading(
            600_000 * number + 30_000 * index,
            (1, 100 * number + index, 0, 10, 7 * index - 50, -1),
            meter=wire.meter if index % 3 else b"\x0a\x01other",
        )
        for index in range(20)
    ]
    syncs = [] if number else [wire.sync(0)]
    return wire.batch(*syncs, *readings, first_seq=1 + 100 * number, **more)


def fill_as_lived(path, wire):
    """What a host leaves: readings, gaps, letters, buckets made and due, what was let go, solar."""
    store = Writer(path, "1", NOW_MS)
    for number in range(20):
        store.commit([incoming(batch(wire, number))])
    while store.roll():
        pass
    assert store.let_go_before(wire.sync_epoch_ms + 2 * HOUR_MS)
    store.commit([incoming(batch(wire, 20, holes=[3])), incoming(batch(wire, 0, edge="attic"))])
    store.settle([Floor("cellar", wire.log, 2001, NOW_MS)])
    letter = DeadLetter("wattlog/1/x/b", "no batch", b"\xc1\x00", NOW_MS, None)
    store.add_aside([letter], [Event(NOW_MS, "edge", "cellar", "Zähler\t\\N")])
    store.note_size(NOW_MS)
    device = Device("P1", 2376, 1, "S1", "One", "7")
    for index in range(9):
        one = Reading("pv", "pv", "W", Decimal(index), "PV", None, None, None, None, "")
        told = Delivery(device, NOW_MS + index, NOW_MS, BY_DEVICE, [one], "x", 7200)
        store.transact(lambda connection, told=told: ledger.put(connection, [told]))
    store.close(NOW_MS)


def day_of(received_ms, newest_ms):
    return max(1, received_ms // DAY_MS, newest_ms // DAY_MS)


def as_moved(path):
    """What of it must be in PostgreSQL: of batches and their parts the day, too."""
    found = all_rows(path)
    batch, series = (list(METADATA.tables[name].columns.keys()) for name in ("batch", "series"))
    newest = {}
    for row in found["series"]:
        one = dict(zip(series, row, strict=True))
        key = one["log_id"], one["first_seq"]
        newest[key] = max(newest.get(key, 0), one["last_ms"])
    days_of = {}
    for row in found["batch"]:
        one = dict(zip(batch, row, strict=True))
        key = one["log_id"], one["first_seq"]
        days_of[key] = day_of(one["received_ms"], newest.get(key, 0))
    for name, columns in (("batch", batch), ("series", series)):
        place = columns.index("day")
        found[name] = [
            (
                *row[:place],
                days_of[row[columns.index("log_id")], row[columns.index("first_seq")]],
                *row[place + 1 :],
            )
            for row in found[name]
        ]
    return found


def all_rows(place, but_for_the_move=False):
    """{table: its rows by their keys}"""
    engine = kind_of(place).engine(place, None)
    with engine.begin() as connection:
        found = {
            table.name: sorted(
                (
                    tuple(row)
                    for row in connection.execute(sa.select(*days.columns(connection, table)))
                ),
                key=lambda row, table=table: key_of(table, row),
            )
            for table in TABLES
        }
    engine.dispose()
    if but_for_the_move:
        assert found["event"].pop()[2] == "move"
    return found


# --- commands -------------------------------------------------------------------------------------


def address(url):
    return url.render_as_string().replace(":***@", "@")


def words(path, url):
    """What is typed."""
    config = path.parent.parent / "host.toml"
    config.write_text(f'data = "{path.parent}"\n')
    secret = path.parent.parent / "store-password"
    secret.write_text(f"{url.password}\n")
    return ["--config", str(config), "move", "--to", address(url), "--password-file", str(secret)]


def move(path, url, capsys):
    """Run it to its end; return status, output and errors, in which no secret is."""
    capsys.readouterr()
    status = cli.main(words(path, url))
    out, err = capsys.readouterr()
    assert url.password not in out + err
    return status, out, err


@pytest.fixture
def small(monkeypatch):
    """Pieces so small that even these databases have many."""
    monkeypatch.setattr(rows_module, "PIECE_ROWS", 5)


# --- what is moved --------------------------------------------------------------------------------


def test_every_table_is_moved_whatever_it_holds(full, url, capsys):
    before = all_rows(full)
    assert {len(found) for found in before.values()} == {ROWS}
    status, out, err = move(full, url, capsys)
    assert (status, err) == (0, "")
    assert all_rows(url, but_for_the_move=True) == as_moved(full)
    assert f"{ROWS * len(TABLES)} rows are in postgresql://wattlog@/" in out
    assert rows(url, "SELECT * FROM alembic_version") == rows(
        full, "SELECT * FROM alembic_version"
    )
    assert "moving" not in everything(url)


def test_every_table_has_a_key_that_can_be_gone_on_behind():
    for table in TABLES:
        kinds = {type(column.type) for column in table.primary_key.columns}
        assert kinds, table.name
        assert kinds <= {sa.SmallInteger, sa.Integer, sa.BigInteger, sa.String}, table.name


def test_what_numbers_itself_goes_on_behind_the_greatest(full, url, capsys):
    assert move(full, url, capsys)[0] == 0
    numbered = [table for table in TABLES if table.autoincrement_column is not None]
    assert len(numbered) >= 8
    for table in numbered:
        name = f"pg_get_serial_sequence('{table.name}', '{table.autoincrement_column.name}')"
        greatest = 7 * (ROWS - 1) + 1 + (table is tables.event)
        assert rows(url, f"SELECT nextval({name})") == [(greatest + 1,)], table.name


def test_a_host_goes_on_with_it(path, url, capsys, wire):
    fill_as_lived(path, wire)
    unused = {name for name, found in all_rows(path).items() if not found}
    assert unused == {"solar_counter", "solar_quarter"}
    before = Writer(path, "2", NOW_MS)
    known = answers(before)
    before.close(NOW_MS)
    exported = export(words(path, url)[1], capsys)
    status, out, err = move(path, url, capsys)
    assert (status, err) == (0, "")
    config = path.parent.parent / "host.toml"
    config.write_text(
        config.read_text() + "\n".join(re.findall(r"(?m)^\[store\]$|^\w+ = .*$", out))
    )
    assert export(str(config), capsys) == exported
    store = Writer(url, "2", NOW_MS)
    assert answers(store) == known
    (event,) = store.events(1)
    assert re.fullmatch(rf"moved from \S+:{path}", event.text)
    # What a head sends again is there already; what is new counts.
    done = store.commit([incoming(batch(wire, 19)), incoming(batch(wire, 21))])
    assert [(one.reason, one.is_new) for one in done.outcomes] == [(None, False), (None, True)]
    while store.roll():
        pass
    store.close(NOW_MS)
    assert len(stored_readings(url)) == len(known[0]) + 20
    assert stored_losses(url).records == stored_losses(path).records


def answers(store):
    latest = sorted(store.latest(), key=lambda one: one.server_id)
    hours = store.due_count(), store.aside_count()
    return [list(store.readings()), latest, store.losses(), store.counters, hours]


def export(config, capsys):
    found = []
    for meter, resolution in product((METER, "0a016f74686572"), ("raw", "1m", "1h")):
        given = ["export", "--meter", meter, "--resolution", resolution]
        assert cli.main(["--config", config, *given]) == 0
        found.append(capsys.readouterr().out)
    assert all(len(text.splitlines()) > 3 for text in found)
    return found


@pytest.mark.parametrize("has_journal", [False, True])
def test_the_source_stays_as_it_was(path, url, capsys, wire, has_journal):
    fill_as_lived(path, wire)
    store = Writer(path, "1", NOW_MS)
    store.commit([incoming(batch(wire, 30))])
    names = [path, path.with_name(path.name + "-wal")]
    left = {name: name.read_bytes() for name in names}
    store.close(NOW_MS)
    if has_journal:  # as a host that was killed leaves it
        for name, data in left.items():
            name.write_bytes(data)
    left = {name: name.read_bytes() for name in names if name.exists()}
    assert len(left) == 1 + has_journal
    assert move(path, url, capsys)[0] == 0
    assert {name: name.read_bytes() for name in names if name.exists()} == left
    assert len(stored_readings(url)) == len(stored_readings(path))


def test_what_to_do_next_is_said(full, url, capsys, monkeypatch):
    _, out, _ = move(full, url, capsys)
    secret = full.parent.parent / "store-password"
    assert f'[store]\nurl = "{address(url)}"\npassword_file = "{secret}"\n\n' in out
    assert f"{full} is as it was" in out
    execute(url, "DROP SCHEMA public CASCADE")
    execute(url, "CREATE SCHEMA public")
    monkeypatch.setenv(STORE_PASSWORD, url.password)
    assert cli.main(words(full, url)[:-2]) == 0
    out = capsys.readouterr().out
    assert f"in the environment, as {STORE_PASSWORD}" in out
    assert "password_file" not in out


def test_text_is_in_the_same_order_whatever_the_servers_language(full, postgres, capsys, small):
    postgres.execute(
        "CREATE DATABASE german TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de' LOCALE 'C'"
    )
    url = postgres.url("german")
    assert rows(url, "SELECT 'a' < 'B'") == [(True,)], "it is not the order of bytes"
    status, _, err = move(full, url, capsys)
    assert (status, err) == (0, "")
    assert all_rows(url, but_for_the_move=True) == as_moved(full)


def test_pieces_are_of_so_many_rows_or_bytes(monkeypatch):
    monkeypatch.setattr(rows_module, "PIECE_BYTES", 10)
    monkeypatch.setattr(rows_module, "PIECE_ROWS", 4)
    given = [
        (1, b"12345", None),
        (2, "1234"),
        (3, b"5"),
        *((n,) for n in range(4, 8)),
        (8, b"1" * 99),
    ]
    cut = partial(pieces, tables.edge)
    assert [[row[0] for row in piece] for piece in cut(given)] == [[1, 2, 3], [4, 5, 6, 7], [8]]
    assert [[row[0] for row in piece] for piece in cut(given[:1])] == [[1]]


def test_each_batch_is_in_the_partition_of_its_day(full, url, monkeypatch, capsys):
    monkeypatch.setattr(rows_module, "PIECE_DAYS", 3)
    pieces_of = []
    ensure = days.ensure

    def ensured(connection, some):
        pieces_of.append(len(some))
        ensure(connection, some)

    monkeypatch.setattr(days, "ensure", ensured)
    assert move(full, url, capsys)[0] == 0
    wanted = {
        row[list(tables.batch.columns).index(tables.batch.c.day)]
        for row in as_moved(full)["batch"]
    }
    assert len(wanted) > 5
    assert pieces_of == [3] * (2 * ROWS // 3)
    assert partitions(url) == sorted(wanted)
    for day in wanted:
        assert rows(url, f"SELECT day FROM ONLY {days._name('batch', day)} GROUP BY day") == [
            (day,)
        ]


def test_copied_anew_there_are_partitions_for_the_days_there_are_now(full, url, small):
    interrupted(full, url, ROWS * len(TABLES))
    execute(full, "UPDATE batch SET received_ms = received_ms + 86400000 * 9")
    execute(full, f"UPDATE run SET ended_ms = {NOW_MS + 1} WHERE id = {7 * (ROWS - 1) + 1}")
    with contextlib.closing(Move(full, url)) as work:
        assert work.rows_there == 0
        work.copy(lambda *_: None)
        work.finish(NOW_MS, lambda *_: None)
    check_moved(full, url)
    place = list(tables.batch.columns).index(tables.batch.c.day)
    assert partitions(url) == sorted({row[place] for row in all_rows(url)["batch"]})


def partitions(url):
    engine = kind_of(url).engine(url, None)
    with engine.begin() as connection:
        found = days.parts(connection)
    engine.dispose()
    return found


def test_a_part_without_its_batch_has_a_day(full, url, capsys):
    execute(full, "PRAGMA foreign_keys = OFF")
    execute(full, "UPDATE batch SET first_seq = 999 WHERE first_seq = 0")
    assert move(full, url, capsys)[0] == 0
    assert rows(url, "SELECT day = last_ms / 86400000 FROM series WHERE first_seq = 0") == [
        (True,)
    ]


# --- interrupted ----------------------------------------------------------------------------------


def killed(call, path, url):
    """Run it in a process of its own that ends at this call of a function; return how, and calls."""
    counted = path.parent / "calls"
    ended = os.fork()
    if not ended:
        status = 99
        try:
            left = call

            def step(*_):
                nonlocal left
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

            def opened(*arguments):
                sys.setprofile(step)
                return Move(*arguments)

            command_module.Move = opened
            status = cli.main(words(path, url))
            sys.setprofile(None)
            counted.write_text(str(call - left))
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(ended, 0)[1])
    return status, None if status else int(counted.read_text())


def test_killed_at_any_moment_it_goes_on_and_the_end_is_the_same(full, url, postgres, small):
    """Killed as it calls a function, its own or a library's, with each as likely as any other."""
    print(f"WATTLOG_SEED={SEED}")
    draw = Rng(SEED)
    other = postgres.fresh()
    status, calls = killed(2**40, full, other)
    postgres.drop(other)
    kills, there, left = 0, [], calls
    while kills < KILLS:
        status, _ = killed(1 + draw.randrange(left), full, url)
        assert status in (0, 2, -signal.SIGKILL)
        if status == -signal.SIGKILL:
            kills += 1
            there.append(rows_there(url))
        else:  # it had less to do than was thought
            check_moved(full, url)
            empty(url)
    if rows_there(url) >= 0 or not everything(url):
        with contextlib.closing(Move(full, url)) as work:
            work.copy(lambda *_: None)
            work.finish(NOW_MS, lambda *_: None)
    check_moved(full, url)
    print(f"{kills} kills within {calls} calls, left so many rows: {there}")


def test_the_real_command_is_killed_and_started_again(full, url, postgres):
    engine = kind_of(url).engine(url, Role.ALONE)
    database.upgrade(engine, "x")
    engine.dispose()
    command = [sys.executable, "-m", "wattlog_host", *words(full, url)]
    other = sa.create_engine(url.set(drivername="postgresql+psycopg"), poolclass=sa.NullPool)
    waits = "SELECT 1 FROM pg_locks WHERE NOT granted"
    with other.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE gap IN SHARE MODE")
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: rows(url, waits), "a move that waits for a table")
        process.kill()
        assert process.wait() == -signal.SIGKILL
    there = rows_there(url)
    assert there > 0
    # The server ends the session that waited before it looks at what was sent last.
    wait_until(lambda: not rows(url, SESSIONS), "the end of its session")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"going on: {there} of ")
    check_moved(full, url)


def empty(url):
    execute(url, "DROP SCHEMA public CASCADE")
    execute(url, "CREATE SCHEMA public")


def rows_there(url):
    """How many rows an interrupted move has noted; -1 where there is nothing to note it in."""
    with contextlib.suppress(sa.exc.ProgrammingError):
        return rows(url, "SELECT rows FROM moving")[0][0]
    return -1


def check_moved(path, url):
    assert all_rows(url, but_for_the_move=True) == as_moved(path)


class Stop(Exception):
    """Ends a move as a kill would, for who looks at its databases."""


def interrupted(path, url, at_rows):
    """A move that ends when so many rows are there."""

    def tell(done, _):
        if done >= at_rows:
            raise Stop

    with pytest.raises(Stop), contextlib.closing(Move(path, url)) as work:
        work.copy(tell)
    return rows_there(url)


def test_what_is_there_is_not_copied_again(full, url, capsys, small, monkeypatch):
    total = ROWS * len(TABLES)
    there = interrupted(full, url, total // 2)
    added = []
    add = target_module.Target.add

    def counted(self, table, piece):
        added.extend(piece)
        return add(self, table, piece)

    monkeypatch.setattr(target_module.Target, "add", counted)
    status, out, _ = move(full, url, capsys)
    assert status == 0
    assert out.startswith(f"going on: {there} of {total} rows are there\n")
    assert total // 2 <= there == total - len(added)
    check_moved(full, url)


def test_a_source_that_was_written_to_in_between_is_copied_anew(path, url, capsys, small, wire):
    fill_as_lived(path, wire)
    assert interrupted(path, url, 60) >= 60
    store = Writer(path, "1", NOW_MS + 5)
    store.commit([incoming(batch(wire, 25))])
    store.let_go_before(wire.sync_epoch_ms + 5_000_000)
    store.close(NOW_MS + 5)
    status, out, err = move(path, url, capsys)
    assert (status, err) == (0, "")
    assert "going on" not in out
    check_moved(path, url)


def test_a_connection_that_is_lost_is_said_and_it_goes_on(
    full, url, postgres, small, monkeypatch, capsys
):
    with monkeypatch.context() as patch:
        patch.setattr(days, "ensure", lambda *_: postgres.end_sessions(url))
        status, _, err = move(full, url, capsys)
    assert (status, err.count("\n")) == (2, 1)
    assert err.endswith("; run the command again, and it goes on where it was\n")
    there = rows_there(url)
    assert there > 0
    status, out, _ = move(full, url, capsys)
    assert (status, f"going on: {there} of" in out) == (0, True)
    check_moved(full, url)


def test_the_bar_ends_where_all_is_done(full, url, small):
    with contextlib.closing(Move(full, url)) as work:
        total = work.rows_total
        told = []
        work.copy(lambda *one: told.append(one))
        assert told == sorted(told)
        assert (told[0], told[-1]) == ((5, total), (total, total))
        told.clear()
        work.finish(NOW_MS, lambda *one: told.append(one))
        assert told == [(done, total) for done in range(1, total + 1)]


# --- compared -------------------------------------------------------------------------------------

KEY, LAST = 7 * 4 + 1, 7 * (ROWS - 1) + 1
CHANGES = (
    (f"UPDATE edge SET first_seen_ms = 1 WHERE id = {KEY}", f"edge ({KEY}) has other values"),
    ("UPDATE batch SET steps = '' WHERE steps IS NULL", "has other values"),
    (f"DELETE FROM gap WHERE id = {KEY}", f"gap ({KEY}) is missing"),
    (f"DELETE FROM run WHERE id = {LAST}", f"run ({LAST}) is missing"),
    ("INSERT INTO counter VALUES ('x', 'y', 1, 2)", "counter ('x', 'y', 2) is not of the source"),
    ("INSERT INTO watermark VALUES ('é.', 1)", "watermark ('é.') is not of the source"),
    ("UPDATE meter SET label = 'a' || label", "meter (1) has other values"),
    ("UPDATE counter SET name = 'Ä.' WHERE name = 'ä'", "counter ('ä', 'ä', 27) is missing"),
    ("UPDATE solar_channel SET is_generic = NOT is_generic", "has other values"),
)  # fmt: skip


def test_rows_that_differ_are_found_and_the_next_move_mends_them(full, url, capsys, monkeypatch):
    copy = Move.copy

    def meddled(self, tell):
        copy(self, tell)
        for change, _ in CHANGES:
            execute(url, change)

    with monkeypatch.context() as patch:
        patch.setattr(Move, "copy", meddled)
        patch.setattr(move_module, "_SHOWN", 1000)
        status, out, err = move(full, url, capsys)
    assert (status, out) == (2, "")
    for _, said in CHANGES:
        assert said in err
    assert err.count("has other values") == 1 + 4 + ROWS + ROWS
    assert err.endswith("; run the command again, and it begins anew\n")
    assert err.count("\n") == 1
    with pytest.raises(StoreError, match="is not finished"):
        Writer(url, "1", NOW_MS)
    status, out, _ = move(full, url, capsys)
    assert (status, "going on" in out) == (0, False)
    check_moved(full, url)


def test_of_many_rows_that_differ_the_first_are_named(full, url, monkeypatch):
    with contextlib.closing(Move(full, url)) as work:
        work.copy(lambda *_: None)
        execute(url, "DELETE FROM series")
        with pytest.raises(StoreError) as caught:
            work.finish(NOW_MS, lambda *_: None)
    assert str(caught.value).count("is missing") == move_module._SHOWN
    assert f", and {ROWS - move_module._SHOWN} more; run" in str(caught.value)


def test_two_streams_are_compared_by_key():
    table = sa.Table(
        "t", sa.MetaData(), sa.Column("v", sa.Text), sa.Column("k", sa.Integer, primary_key=True)
    )
    source, target = [("a", 1), ("b", 2), ("c", 4)], [("b", 2), ("x", 3), ("y", 4), ("z", 5)]
    found = compared(table, iter(source), iter(target))
    assert [one and str(one) for one in found] == [
        "t (1) is missing", None, "t (3) is not of the source", "t (4) has other values",
        "t (5) is not of the source",
    ]  # fmt: skip


# --- refused --------------------------------------------------------------------------------------


def in_use(path, url, _):
    Writer(url, "1", NOW_MS).close(NOW_MS)


def with_other_tables(path, url, _):
    execute(url, "CREATE TABLE others (x int)")


def of_older_tables(path, url, _):
    in_use(path, url, _)
    execute(url, "DELETE FROM run")
    execute(url, "UPDATE alembic_version SET version_num = '0006'")


def filled_by_another(path, url, tmp_path):
    other = tmp_path / "other" / "wattlog.db"
    Writer(other, "1", NOW_MS + 1).close(NOW_MS)
    Move(other, url).close()


def begun_with_older_tables(path, url, _):
    Move(path, url).close()
    execute(url, "UPDATE alembic_version SET version_num = '0006'")


def moved_already(path, url, _):
    with contextlib.closing(Move(path, url)) as work:
        work.copy(lambda *_: None)
        work.finish(NOW_MS, lambda *_: None)


REFUSED = (
    (in_use, "has readings of its own, or settings: name an empty database"),
    (with_other_tables, "has tables of something else, like others: name an empty database"),
    (of_older_tables, "has the tables of another wattlog: name an empty database"),
    (filled_by_another, "/other/wattlog.db: finish that move, or name an empty database"),
    (begun_with_older_tables, "has the tables of another wattlog: name an empty database"),
    (moved_already, "is finished: put its url into [store], and start wattlog-host"),
)


@pytest.mark.parametrize(("prepare", "said"), REFUSED, ids=[one[0].__name__ for one in REFUSED])
def test_a_target_that_holds_anything_else_is_refused_as_it_is(
    full, url, capsys, tmp_path, prepare, said
):
    prepare(full, url, tmp_path)
    before = everything(url)
    status, out, err = move(full, url, capsys)
    assert (status, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert everything(url) == before


def everything(url):
    """Each table with its rows."""
    named = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    return {
        name: sorted(map(str, rows(url, f"SELECT * FROM {name}"))) for (name,) in rows(url, named)
    }


def test_tables_without_a_row_are_as_good_as_none(full, url, capsys):
    """As a move leaves them that is killed before it has made its mark."""
    engine = kind_of(url).engine(url, Role.ALONE)
    database.upgrade(engine, "x")
    engine.dispose()
    assert move(full, url, capsys)[0] == 0
    check_moved(full, url)


def test_while_a_host_runs_on_either_it_is_refused(full, url, capsys):
    for place, words_ in ((full, f"another wattlog-host uses {full.parent}; stop it"),
                          (url, "another wattlog-host uses postgresql://")):  # fmt: skip
        store = Writer(place, "1", NOW_MS)
        assert words_ in move(full, url, capsys)[2]
        store.close(NOW_MS)


def test_a_move_keeps_hosts_from_both(full, url):
    with contextlib.closing(Move(full, url)):
        for place in (full, url):
            with pytest.raises(StoreError, match="another wattlog-host uses"):
                Writer(place, "1", NOW_MS)


def test_a_host_does_not_start_on_what_is_not_finished(full, url, capsys, small):
    interrupted(full, url, 50)
    before = everything(url)
    for start in (
        lambda: Writer(url, "1", NOW_MS),
        lambda: Writer(url, "1", NOW_MS, Role.LEAD),
        lambda: Writer(url, "1", NOW_MS, Role.WORKER),
        lambda: Reader(url),
    ):
        with pytest.raises(StoreError) as caught:
            start()
        assert re.fullmatch(
            rf"the move from \S+:{full} into postgresql://\S+ is not finished: "
            r"leave url out of \[store\] and run wattlog-host move again",
            str(caught.value),
        )
        assert url.password not in str(caught.value)
    assert everything(url) == before


SOURCES = (
    (lambda full: full.unlink(), "there is no database"),
    (lambda full: execute(full, "UPDATE alembic_version SET version_num = '0006'"),
     "an older one is brought up to date by starting wattlog-host"),
    (lambda full: full.write_bytes(b"x" * 5000), "cannot read"),
)  # fmt: skip


@pytest.mark.parametrize(("spoil", "said"), SOURCES, ids=["none", "older", "damaged"])
def test_a_source_that_cannot_be_moved_is_refused(full, url, capsys, spoil, said):
    spoil(full)
    status, _, err = move(full, url, capsys)
    assert (status, said in err, err.count("\n")) == (2, True, 1), err
    assert everything(url) == {}


MISTAKES = (
    (["--to", "postgresql://a:secret@x/y"], "--to must not hold the password: put it in a file and name that in --password-file"),
    (["--to", "sqlite:////x.db"], "--to must be like"),
    (["--to", "postgresql://x"], "--to must be like"),
    (["--to", "postgresql://x/y", "--password-file", "/dev/null"], "--password-file /dev/null is empty"),
    (["--to", "postgresql://x/y", "--password-file", "/nowhere"], "--password-file: cannot read /nowhere"),
)  # fmt: skip


@pytest.mark.parametrize(("options", "said"), MISTAKES)
def test_a_mistake_is_one_line_without_the_secret(path, capsys, tmp_path, options, said):
    config = tmp_path / "host.toml"
    config.write_text(f'data = "{path.parent}"\n')
    assert cli.main(["--config", str(config), "move", *options]) == 2
    err = capsys.readouterr().err
    assert (said in err, err.count("\n"), "secret" in err) == (True, 1, False), err


def test_a_wrong_password_is_not_said(full, url, capsys):
    status, _, err = move(full, url.set(password="a wrong one"), capsys)
    assert (status, err.count("\n")) == (2, 1)
    assert "password authentication failed" in err


def test_settings_that_name_postgresql_already_are_refused(path, url, capsys):
    given = words(path, url)
    config = path.parent.parent / "host.toml"
    config.write_text(config.read_text() + f'[store]\nurl = "{address(url)}"\n')
    assert cli.main(given) == 2
    err = capsys.readouterr().err
    assert f"{config} names {address(url)} already: leave url out of [store]" in err


def test_a_database_that_cannot_hold_every_letter_is_refused(full, postgres, capsys):
    postgres.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    url = postgres.url("latin")
    assert "has the encoding LATIN1: name a database that has UTF8" in move(full, url, capsys)[2]
    assert everything(url) == {}


MISFITS = (
    ("a letter 0", "UPDATE event SET text = 'a' || char(0) || 'b' WHERE id = 29", "event (29)"),
    ("too long", "UPDATE run SET version = printf('%.*c', 99, 'x') WHERE id = 29", "run (29)"),
    ("no number", "UPDATE gap SET noted_ms = 'soon' WHERE id = 29", "gap (29)"),
    ("of nobody", "PRAGMA foreign_keys = OFF; UPDATE gap SET log_id = 5000 WHERE id = 29", "gap (29)"),
)  # fmt: skip


@pytest.mark.parametrize(("name", "statements", "said"), MISFITS, ids=[one[0] for one in MISFITS])
def test_a_row_that_does_not_fit_is_named(full, url, capsys, name, statements, said):
    for statement in statements.split("; "):
        execute(full, statement)
    status, _, err = move(full, url, capsys)
    assert (status, err.count("\n")) == (2, 1)
    assert f"{said} does not fit into postgresql://" in err
    # Mended, it goes on.
    table = said.partition(" ")[0]
    execute(full, f"DELETE FROM {table} WHERE id = 29")
    assert move(full, url, capsys)[0] == 0
    check_moved(full, url)
