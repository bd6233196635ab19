"""A backup is a whole database or it is not there; put back, nothing of it is missing."""

import io
import os
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stored import stored_readings
from waiting import wait_until
from wattlog_host.backup import keeper, rotation
from wattlog_host.backup.copying import PART, copy, verify
from wattlog_host.backup.keeper import Keeper, Stopped
from wattlog_host.backup.restoring import restore
from wattlog_host.backup.rotation import Keep
from wattlog_host.progress import Progress
from wattlog_host.settings import BackupSettings
from wattlog_host.store import database
from wattlog_host.store.records import Incoming, StoreError
from wattlog_host.store.writer import Writer
from wattlog_host.wire import decode_batch

NOW_MS = 1_795_000_000_000
HOUR_MS = 3_600_000
KEEP = Keep(24, 7, 4, 12)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "wattlog.db"


def commit(store, wire, first_seq=1, count=4):
    for seq in range(first_seq, first_seq + count):
        payload = wire.batch(*[wire.reading(seq * 1000 + n) for n in range(1)], first_seq=seq)
        done = store.commit(
            [Incoming("wattlog/1/cellar/b", decode_batch(payload), NOW_MS, payload)]
        )
        assert [one.reason for one in done.outcomes] == [None]


def fill(path, wire, first_seq=1, count=4):
    store = Writer(path, "1", NOW_MS)
    commit(store, wire, first_seq, count)
    store.close(NOW_MS)


def settings_for(folder, reserve_bytes=0, keep=KEEP):
    return BackupSettings(True, folder, keep, reserve_bytes)


def ms(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


# --- rotation -----------------------------------------------------------------------------------


def test_a_name_tells_the_time_and_others_tell_none():
    assert rotation.name_of(NOW_MS + 999) == "wattlog-20261118T110640Z.db"
    assert rotation.time_of("wattlog-20261118T110640Z.db") == NOW_MS
    for name in ("wattlog.db", "wattlog-20261118T110640Z.db.part", "wattlog-20261399T010640Z.db"):
        assert rotation.time_of(name) is None


def test_weeks_of_hourly_backups_leaves_one_of_each_period():
    left = set()
    for hour in range(24 * 70):
        left = rotation.kept({*left, NOW_MS + hour * HOUR_MS}, KEEP)
    ages_h = sorted((NOW_MS + (24 * 70 - 1) * HOUR_MS - one) // HOUR_MS for one in left)
    assert ages_h[:24] == list(range(24))
    assert len([age for age in ages_h if age < 7 * 24]) >= 24 + 5
    assert 30 * 24 < ages_h[-1] < 70 * 24
    assert len(left) <= sum(KEEP)


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        (Keep(2, 0, 0, 0), ["2026-03-29T02:30", "2026-03-29T01:10"]),
        (Keep(0, 2, 0, 0), ["2026-03-29T02:30", "2026-03-27T23:00"]),
        (Keep(0, 0, 0, 2), ["2026-03-29T02:30", "2026-02-01T00:00"]),
        (Keep(0, 0, 0, 0), []),
    ],
)
def test_of_each_period_the_newest_is_kept(keep, left):
    times = ["2026-02-01T00:00", "2026-03-27T23:00", "2026-03-29T01:00", "2026-03-29T01:10",
             "2026-03-29T02:00", "2026-03-29T02:30"]  # fmt: skip
    assert rotation.kept([ms(one) for one in times], keep) == {ms(one) for one in left}


@pytest.mark.parametrize(
    ("newest_ms", "wait_ms"),
    [(None, 0), (NOW_MS, HOUR_MS), (NOW_MS - HOUR_MS, 0), (NOW_MS - 5 * HOUR_MS, 0),
     (NOW_MS + 1, 0)],
)  # fmt: skip
def test_when_the_next_one_is_due(newest_ms, wait_ms):
    assert rotation.wait_ms(newest_ms, NOW_MS) == wait_ms


def test_old_ones_go_and_the_new_one_stays_whatever_its_clock_says(path, wire):
    fill(path, wire)
    folder = path.parent / "backups"
    kept = settings_for(folder, keep=Keep(2, 0, 0, 0))
    for hour in range(3):
        keeper.make(path, kept, NOW_MS + hour * HOUR_MS, lambda *_: None)
    (folder / "wattlog-mine.db").write_text("not ours")
    fell_back = ms("2020-01-01T00:00")
    keeper.make(path, kept, fell_back, lambda *_: None)
    wanted = [fell_back, NOW_MS + HOUR_MS, NOW_MS + 2 * HOUR_MS]
    assert sorted(one.name for one in folder.iterdir()) == [
        *(rotation.name_of(one) for one in wanted),
        "wattlog-mine.db",
    ]


# --- copying ------------------------------------------------------------------------------------


def test_what_is_committed_while_it_is_copied_neither_waits_nor_shows(
    path, tmp_path, wire, monkeypatch
):
    monkeypatch.setattr("wattlog_host.backup.copying._STEP_PAGES", 1)
    fill(path, wire)
    store = Writer(path, "1", NOW_MS)
    seqs = iter(range(100, 200))
    made = copy(path, tmp_path / "copy.db", 0, lambda *_: commit(store, wire, next(seqs), 1))
    assert next(seqs) > 120, "something was committed meanwhile"
    assert made.readings == 4
    assert len(stored_readings(tmp_path / "copy.db")) == 4
    assert len(list(store.readings())) > 4
    store.close(NOW_MS)
    assert [one for one in tmp_path.iterdir() if PART in one.name] == []


def test_it_is_for_the_owner_alone(path, tmp_path, wire):
    fill(path, wire)
    before = os.umask(0)
    try:
        copy(path, tmp_path / "copies" / "copy.db", 0)
    finally:
        os.umask(before)
    assert (tmp_path / "copies" / "copy.db").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "copies").stat().st_mode & 0o777 == 0o700


def spoil(path):
    """Overwrite the second half of a database, where its rows are."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2 // 4096 * 4096)
        file.write(b"\xa5" * (size // 2))


def test_a_damaged_database_takes_no_good_copy_away(path, tmp_path, wire):
    fill(path, wire)
    target = tmp_path / "copy.db"
    copy(path, target, 0)
    good = target.read_bytes()
    spoil(path)
    with pytest.raises(StoreError, match=r"damaged|malformed"):
        copy(path, target, 0)
    assert target.read_bytes() == good
    assert sorted(one.name for one in tmp_path.iterdir()) == ["copy.db", "data"]


def test_a_copy_that_is_not_what_was_copied_is_none(path, tmp_path, wire, monkeypatch):
    fill(path, wire)
    fill(tmp_path / "other.db", wire, count=2)
    monkeypatch.setattr(
        "wattlog_host.backup.copying.verify", lambda *_: verify(tmp_path / "other.db")
    )
    with pytest.raises(StoreError, match="does not hold what was copied"):
        copy(path, tmp_path / "copy.db", 0)
    assert not (tmp_path / "copy.db").exists()


def test_it_is_not_made_where_the_disk_is_short(path, tmp_path, wire):
    fill(path, wire)
    with pytest.raises(StoreError, match=r"MiB free, but a copy takes 1 MiB and 1073741824 MiB"):
        copy(path, tmp_path / "copy.db", 2**50)
    assert not (tmp_path / "copy.db").exists()


def test_the_database_is_no_place_for_its_backup(path, wire):
    fill(path, wire)
    with pytest.raises(StoreError, match="is the database itself"):
        copy(path, path, 0)
    assert len(stored_readings(path)) == 4


def test_a_stop_gives_it_up_at_once_and_leaves_nothing(path, wire):
    fill(path, wire)
    kept = Keeper(path, settings_for(path.parent / "backups"))
    kept.stop()
    with pytest.raises(Stopped):
        kept.make(NOW_MS)
    assert list((path.parent / "backups").iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from wattlog_host.backup import copying
def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[3] == "replace":
    copying.os.replace = kill
copying.copy(Path(sys.argv[1]), Path(sys.argv[2]), 0, kill if sys.argv[3] == "step" else copying._quiet)
"""


@pytest.mark.parametrize("where", ["step", "replace"])
def test_killed_it_leaves_what_was_there_and_the_next_one_cleans_up(path, tmp_path, wire, where):
    fill(path, wire)
    target = tmp_path / "copies" / "copy.db"
    copy(path, target, 0)
    good = target.read_bytes()
    fill(path, wire, 10)
    done = subprocess.run([sys.executable, "-c", KILLED, path, target, where], check=False)
    assert done.returncode == -signal.SIGKILL
    assert target.read_bytes() == good
    assert [one.name for one in target.parent.iterdir() if one != target] == ["copy.db" + PART]
    copy(path, target.with_name("next.db"), 0)
    assert sorted(one.name for one in target.parent.iterdir()) == ["copy.db", "next.db"]
    assert len(stored_readings(target.with_name("next.db"))) == 8


def test_a_part_that_is_being_written_is_left_alone(path, tmp_path, wire):
    fill(path, wire)
    seen = []

    def another(*_):
        if not seen:
            seen.append(1)
            copy(path, tmp_path / "two.db", 0)

    copy(path, tmp_path / "one.db", 0, another)
    assert (
        len(stored_readings(tmp_path / "one.db")) == len(stored_readings(tmp_path / "two.db")) == 4
    )


# --- putting back -------------------------------------------------------------------------------


def test_what_is_put_back_is_all_there_and_the_other_is_kept(path, tmp_path, wire):
    fill(path, wire)
    copy(path, tmp_path / "copy.db", 0)
    before = stored_readings(path)
    fill(path, wire, 10)
    made, aside = restore(tmp_path / "copy.db", path, NOW_MS, lambda *_: None)
    assert made.readings == 4
    assert stored_readings(path) == before
    assert aside == path.with_name("wattlog.db.before-20261118T110640Z")
    assert len(stored_readings(aside)) == 8
    assert path.stat().st_mode & 0o777 == 0o600
    fill(path, wire, 20)
    assert (len(stored_readings(path)), len(stored_readings(aside))) == (8, 8)
    assert len(stored_readings(tmp_path / "copy.db")) == 4


def test_a_journal_of_what_was_there_never_meets_what_is_put_back(
    path, tmp_path, wire, monkeypatch
):
    fill(path, wire)
    copy(path, tmp_path / "copy.db", 0)
    store = Writer(path, "1", NOW_MS)
    commit(store, wire, 10)
    journal = path.with_name("wattlog.db-wal").read_bytes()
    store.let_go()
    path.with_name("wattlog.db-wal").write_bytes(journal)

    def refuse(*_):
        raise sqlite3.DatabaseError("its journal cannot go into it")

    with monkeypatch.context() as patch:
        patch.setattr("wattlog_host.backup.restoring._empty_journal", refuse)
        _, aside = restore(tmp_path / "copy.db", path, NOW_MS, lambda *_: None)
    assert len(stored_readings(path)) == 4
    assert aside.with_name(aside.name + "-wal").read_bytes() == journal


def test_it_is_put_back_where_there_was_none(path, tmp_path, wire):
    fill(path, wire)
    copy(path, tmp_path / "copy.db", 0)
    _, aside = restore(
        tmp_path / "copy.db", tmp_path / "new" / "wattlog.db", NOW_MS, lambda *_: None
    )
    assert aside is None
    assert len(stored_readings(tmp_path / "new" / "wattlog.db")) == 4


def spoil_an_index(path):
    """Have an index that is not its table's."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute(
            "UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master WHERE "
            "name = 'ix_batch_log_id_time_source_first_seq') WHERE name = 'ix_gap_log_id_last_seq'"
        )
        connection.commit()


def make_newer(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()


def make_other(path):
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE energy_readings (t)")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (make_newer, "of a newer wattlog"),
        (spoil, "is damaged"),
        (spoil_an_index, "is damaged"),
        (make_other, "is no database of wattlog"),
        (lambda path: path.write_text("no"), "is no SQLite database"),
        (lambda path: path.unlink(), "there is no backup"),
        (lambda path: path.write_bytes(path.read_bytes()[:9000]), "is damaged"),
    ],
)
def test_what_is_not_sound_is_not_put_back(path, tmp_path, wire, change, words):
    fill(path, wire)
    target = tmp_path / "copy.db"
    copy(path, target, 0)
    change(target)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=words):
        restore(target, path, NOW_MS, lambda *_: None)
    assert path.read_bytes() == before
    assert sorted(one.name for one in path.parent.iterdir()) == ["wattlog.db", "wattlog.db.lock"]


RESTORED_UNTIL = """
import os, signal, sys
from pathlib import Path
from wattlog_host.backup import copying, restoring
left = int(sys.argv[3])
def counted(act):
    def call(*arguments, **more):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return act(*arguments, **more)
    return call
for name in ("link", "replace", "fsync", "unlink"):
    setattr(os, name, counted(getattr(os, name)))
Path.unlink = counted(Path.unlink)
restoring.restore(Path(sys.argv[1]), Path(sys.argv[2]), 0, lambda *_: None)
"""


def test_killed_at_any_step_there_is_the_old_or_the_new_one_and_the_old_is_never_lost(
    path, tmp_path, wire
):
    fill(path, wire)
    copy(path, tmp_path / "copy.db", 0)
    fill(path, wire, 10)
    old = path.read_bytes()
    for step in range(100):
        for file in path.parent.iterdir():
            file.unlink()
        path.write_bytes(old)
        done = subprocess.run(
            [sys.executable, "-c", RESTORED_UNTIL, tmp_path / "copy.db", path, str(step)],
            check=False,
        )
        count = len(stored_readings(path))
        assert count in (4, 8), step
        asides = list(path.parent.glob("*.before-*Z"))
        assert count == 8 or [len(stored_readings(one)) for one in asides] == [8], step
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        restore(tmp_path / "copy.db", path, NOW_MS, lambda *_: None)
        assert len(stored_readings(path)) == 4
    assert step > 5
    assert count == 4


# --- the commands and the host ------------------------------------------------------------------


@pytest.fixture
def config(tmp_path, path):
    file = tmp_path / "host.toml"
    file.write_text(f'data = "{path.parent}"\n')
    return file


def test_the_commands_copy_and_put_back(run_host, config, path, tmp_path, wire):
    fill(path, wire)
    done = run_host("backup", "--config", config)
    assert done.returncode == 0, done.stderr
    file = Path(re.match(r"(.*): \d+ bytes, 4 readings, read back and sound\n", done.stdout)[1])
    assert file.parent == path.parent / "backups"
    assert done.stderr == ""
    fill(path, wire, 10)
    done = run_host("--config", config, "backup", "--to", tmp_path / "own.db")
    assert "8 readings" in done.stdout
    done = run_host("--config", config, "restore", file)
    assert (done.returncode, len(stored_readings(path))) == (0, 4), done.stderr
    assert "what was there before is in" in done.stdout
    done = run_host("restore", tmp_path / "own.db", "--config", config)
    assert (done.returncode, len(stored_readings(path))) == (0, 8), done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["backup"], "there is no database"),
        (["restore", "nothing.db"], "there is no backup"),
    ],
)
def test_a_mistake_is_one_line(run_host, config, arguments, words):
    done = run_host("--config", config, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


def test_a_running_host_backs_up_at_once_and_says_so(make_host, run_host):
    host = make_host()
    host.start()
    folder = host.config_path.parent / "data" / "backups"
    known = wait_until(lambda: (one := host.json("/status")["host"]["backup"])["newest"] and one)
    assert [one.name for one in folder.iterdir()] == [known["newest"]]
    assert (known["folder"], known["trouble"]) == (str(folder), None)
    assert 0 <= known["age_s"] < 3600
    assert verify(folder / known["newest"]).readings == 0
    done = run_host("--config", host.config_path, "restore", folder / known["newest"])
    assert (done.returncode, done.stdout) == (2, "")
    assert "another wattlog-host uses" in done.stderr
    done = run_host("--config", host.config_path, "backup")
    assert done.returncode == 0, done.stderr
    host.end()
    host.start()
    again = host.json("/status")["host"]["backup"]
    assert again["time"] >= known["time"]
    assert host.end() == 0
    assert "Traceback" not in host.log()


def test_a_host_without_room_says_so_and_works_on(make_host):
    host = make_host()
    host.config_path.write_text(
        host.config_path.read_text() + "[backup]\nreserve_mib = 1073741824\n"
    )
    host.start()
    known = wait_until(lambda: (one := host.json("/status")["host"]["backup"])["trouble"] and one)
    assert "are to stay free" in known["trouble"]
    assert known["newest"] is None
    assert any("no backup" in text for text in host.events())
    assert host.get("/healthz")[0] == 200


def test_a_host_that_makes_none_has_none_to_show(make_host):
    host = make_host()
    host.config_path.write_text(host.config_path.read_text() + "[backup]\nenabled = false\n")
    host.start()
    assert host.json("/status")["host"]["backup"] is None
    assert not (host.config_path.parent / "data" / "backups").exists()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_is_for_those_who_look():
    out = Terminal()
    with Progress("copying", out) as bar:
        bar(0, 0)
        bar(1, 2)
        bar(1, 2)
        bar(3, 2)
    assert out.getvalue().count("copying") == 3
    assert "[###############               ] 50 %" in out.getvalue()
    assert out.getvalue().endswith(" \r")
    silent = io.StringIO()
    with Progress("copying", silent) as bar:
        bar(1, 2)
    assert silent.getvalue() == ""


def test_the_revisions_that_are_known_are_those_there_are():
    assert "0001" in database.revisions()
