"""The fleet: its heads, its figures, and a small one end to end, with a host that is killed."""

import json
import os
import resource
import signal
from binascii import crc32
from collections import Counter, deque
from pathlib import Path

import msgpack
import pytest

from stored import execute
from toolbox import require
from waiting import wait_until
from wattlog.records import BATCH_BYTES, topic
from wattlog_host.ingest import stored_values
from wattlog_host.status import decode_status
from wattlog_host.store.records import StoredReading
from wattlog_host.wire import decode_batch, decode_live
from wattlog_sim.lcg import Lcg
from wattlog_tools import fleet_check
from wattlog_tools.cli import main
from wattlog_tools.fleet_check import Books
from wattlog_tools.fleet_head import EXPORT, IMPORT, POWER, Head, Meter, Plan
from wattlog_tools.fleet_link import Login, Post
from wattlog_tools.fleet_load import Begin, Load, Order, bucket, bucket_end, quantile

PLAN = Plan(7, 8, 10_000, 30_000, 30_000, 10_000, 10_000)
EPOCH_MS = 1_795_000_000_000


# ---- the meter ---------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(8))
def test_registers_are_what_the_power_adds_up_to(number):
    meter = Meter(PLAN, number)
    up_ws = down_ws = 0
    first = meter.values(0)
    for index in range(500):
        import_e1, export_e1, power_e1 = meter.values(index)
        assert abs(import_e1 - first[0] - up_ws / 360) <= 1
        assert abs(export_e1 - first[1] - down_ws / 360) <= 1
        up_ws += max(0, power_e1)  # W e1 for 10 s
        down_ws += max(0, -power_e1)
    assert up_ws or down_ws


def test_some_heads_feed_in_and_no_two_are_alike():
    meters = [Meter(PLAN, number) for number in range(8)]
    assert any(meter.values(index)[2] < 0 for meter in meters for index in range(64))
    for name in ("edge", "server_id", "boot", "log_id", "uptime_ms"):
        assert len({getattr(meter, name) for meter in meters}) == len(meters), name
    assert len({meter.values(5) for meter in meters}) == len(meters)
    assert Meter(PLAN, 3).values(9) == Meter(PLAN, 3).values(9)
    assert Meter(PLAN._replace(seed=8), 3).boot != Meter(PLAN, 3).boot


def test_what_a_number_in_the_log_stands_for():
    meter = Meter(PLAN, 1)
    places = [meter.index_of(seq) for seq in range(1, 800)]
    assert [place for place in places if place is not None] == list(range(796))
    assert [seq for seq, place in enumerate(places, 1) if place is None] == [1, 362, 723]
    assert [index for index in range(800) if meter.is_sync_due(index)] == [0, 360, 720]


# ---- a head ------------------------------------------------------------------------------------


class Wire:
    """A link that is up at once, and a host that answers when it is told to."""

    def __init__(self, edge):
        self.edge = edge
        self.sent = []
        self.inbox = deque()

    def open(self, will):
        assert decode_status(will).state == "offline"

    def is_up(self):
        return True

    def publish(self, where, payload, retain):
        self.sent.append((where, bytes(payload)))

    def receive(self):
        return self.inbox.popleft() if self.inbox else None

    def close(self):
        pass

    def take(self, leaf):
        found = [payload for where, payload in self.sent if where == topic(self.edge, leaf)]
        self.sent = [one for one in self.sent if one[0] != topic(self.edge, leaf)]
        return found

    def acknowledge(self, payload):
        _, _, log, first_seq, _ = msgpack.unpackb(payload)
        ack = msgpack.packb([2, log, first_seq, crc32(payload), None])
        self.inbox.append((topic(self.edge, "a"), ack))


@pytest.fixture
def head():
    meter = Meter(PLAN, 2)
    made = Head(PLAN, 2, Wire(meter.edge), EPOCH_MS, bytearray(BATCH_BYTES), Lcg(1, 1))
    made.wire = made.uplink._link
    made.late = []
    made.now_ms = meter.begin_ms

    def until(now_ms, end_ms=1 << 40):
        while made.now_ms <= now_ms:
            made.now_ms = max(made.now_ms + 1, made.step(made.now_ms, end_ms, made.late.append))

    made.until = until
    return made


def test_a_head_sends_what_an_agent_sends_and_keeps_it_until_it_is_acknowledged(head):
    meter = head.meter
    head.until(meter.begin_ms + 65_000)
    batches = head.wire.take("b")
    first = decode_batch(batches[0])
    assert (first.edge, first.log, first.boot) == (meter.edge, meter.log_id, meter.boot)
    rows = [row for payload in batches for row in decode_batch(payload).records]
    sync = rows[0]
    assert sync.is_sure
    assert sync.epoch_ms - sync.uptime_ms == EPOCH_MS + meter.begin_ms - meter.uptime_ms
    assert rows[1].uptime_ms == meter.uptime_ms
    values = {IMPORT: 0, EXPORT: 1, POWER: 2}
    assert [row[1] for row in rows[1].values] == [meter.values(0)[at] for at in values.values()]
    assert head.waiting() == head.made + 1
    # Not answered: the same bytes again.
    head.until(head.now_ms + 31_000)
    assert batches[0] in head.wire.take("b")
    for payload in batches:
        head.wire.acknowledge(payload)
    head.until(head.now_ms + 1)
    assert head.waiting() < head.made + 1
    status = decode_status(head.wire.take("s")[-1])
    assert (status.state, status.edge, status.boot) == ("online", meter.edge, meter.boot)
    assert status.log.id == meter.log_id
    assert [port.server_id for port in status.meters] == [meter.server_id]
    assert {decode_live(one).server_id for one in head.wire.take("l")} == {meter.server_id}


def test_a_reading_that_is_made_late_has_the_time_at_which_it_was_due(head):
    begin_ms = head.meter.begin_ms
    head.step(begin_ms + 25_123, 1 << 40, head.late.append)
    assert (head.made, head.late) == (3, [25_123, 15_123, 5_123])
    head.step(begin_ms + 99_000, begin_ms + 40_000, head.late.append)
    assert head.made == 4, "none is due at the end or later"


def test_an_acknowledgement_counts_once_and_a_batch_that_goes_again_is_the_same(head):
    head.until(head.meter.begin_ms + 40_000)
    payload = head.wire.take("b")[0]
    post = Post()
    post.sends("fleet-000002", payload)
    post.sends("fleet-000002", payload)
    assert post.resent == 1
    head.wire.acknowledge(payload)
    ack = head.wire.inbox[0][1]
    post.hears("fleet-000003", ack)
    assert post.settled == []
    post.hears("fleet-000002", ack)
    post.hears("fleet-000002", ack)
    ((edge, sent, _, reason),) = post.settled
    assert (edge, sent.first_seq, sent.readings, reason) == ("fleet-000002", 1, 1, None)
    assert post.on_way == {}


def test_heads_that_share_connections_share_no_client_id():
    begin, login = Begin(0.0, EPOCH_MS, 0), Login(1, "secret")
    names = []
    for numbers in (range(0, 8, 2), range(1, 8, 2)):
        load = Load(Order(PLAN, numbers, 2, login), begin)
        links = [one.uplink._link for one in load._heads]
        names.append([link._wire.client_id for link in links])
        assert {link._wire.name for link in links} == {"wattlog-fleet"}
        load.close()
    assert [len(set(one)) for one in names] == [2, 2]
    assert len({*names[0], *names[1]}) == 4
    load = Load(Order(PLAN, range(8), 8, login), begin)
    links = [one.uplink._link for one in load._heads]
    assert [link._wire.name for link in links] == [Meter(PLAN, number).edge for number in range(8)]
    assert len({link._client_id for link in links}) == 8
    load.close()


# ---- figures -----------------------------------------------------------------------------------


def test_a_bucket_is_three_percent_wide():
    for value in [*range(3_000), *(3**power for power in range(8, 30))]:
        end = bucket_end(bucket(value))
        assert value <= end <= value * 33 / 32, value
        assert bucket(end) == bucket(value)
        assert bucket(end + 1) == bucket(value) + 1


def test_shares_are_told_from_the_greater_side():
    counts = Counter(bucket(value) for value in range(1, 1_001))
    for share, value in ((0.5, 500), (0.99, 990), (1.0, 1_000)):
        assert value <= quantile(counts, share) <= value * 33 / 32
    assert quantile(Counter(), 0.5) is None


# ---- the comparison ----------------------------------------------------------------------------


def stored(number, index, **others):
    meter = Meter(PLAN, number)
    reading = meter.reading(index)
    seq = next(seq for seq in range(1, 99) if meter.index_of(seq) == index)
    values = stored_values(reading.values)
    told = {
        "edge": meter.edge, "log": meter.log_id, "boot": meter.boot, "seq": seq,
        "server_id": meter.server_id, "uptime_ms": meter.uptime_of(index),
        "sec_index": reading.sec_index, "time_ms": EPOCH_MS + meter.due_ms(index),
        "time_source": "sync", "values": values,
    }  # fmt: skip
    return StoredReading(**(told | others))


def compared(readings, made=(3, 2, 0, 0, 0, 0, 0, 0)):
    books = Books(PLAN, made, EPOCH_MS)
    for one in readings:
        books.take(one)
    books.close()
    return books.lost, books.duplicated, books.invented, books.misplaced


ALL = [stored(0, 0), stored(0, 1), stored(0, 2), stored(1, 0), stored(1, 1)]
FINDS = (
    ("all is there", ALL, (0, 0, 0, 0)),
    ("one is missing", [*ALL[:1], *ALL[2:]], (1, 0, 0, 0)),
    ("a head is missing", ALL[:3], (2, 0, 0, 0)),
    ("nothing is there", [], (5, 0, 0, 0)),
    ("one is there twice", [*ALL[:2], ALL[1], *ALL[2:]], (0, 1, 0, 0)),
    ("one was never made", [*ALL, stored(1, 2)], (0, 0, 1, 0)),
    ("a value is another", [*ALL[:4], stored(1, 1, values={IMPORT: 5})], (1, 0, 1, 0)),
    ("a boot is another", [*ALL[:4], stored(1, 1, boot=1)], (1, 0, 1, 0)),
    ("a meter is another", [*ALL[:4], stored(1, 1, server_id=b"x")], (1, 0, 1, 0)),
    ("a number is another", [*ALL[:4], stored(1, 1, seq=2)], (1, 0, 1, 0)),
    ("a sync point's number", [*ALL[:4], stored(1, 1, seq=1)], (1, 0, 1, 0)),
    ("a log is another", [*ALL[:4], stored(1, 1, log=5)], (1, 0, 1, 0)),
    ("nobody's", [*ALL, stored(1, 1, edge="cellar")], (0, 0, 1, 0)),
    ("a time is another", [*ALL[:4], stored(1, 1, time_ms=EPOCH_MS)], (0, 0, 0, 1)),
)


@pytest.mark.parametrize(
    ("readings", "wanted"), [row[1:] for row in FINDS], ids=[r[0] for r in FINDS]
)
def test_what_the_comparison_finds(readings, wanted):
    assert compared(readings) == wanted


# ---- the command -------------------------------------------------------------------------------


@pytest.fixture
def broker():
    require("mosquitto")


def test_a_fleet_whose_host_is_killed_loses_nothing_and_what_is_broken_is_found(
    broker, tmp_path, monkeypatch, capsys
):
    asked = []
    look = fleet_check.look
    monkeypatch.setattr(fleet_check, "look", lambda *given: asked.append(given) or look(*given))
    figures = tmp_path / "figures.json"
    status = main(
        [
            "fleet", "--heads", "40", "--interval", "0.2", "--batch", "0.5", "--minutes", "0.12",
            "--kill", "host", "--folder", str(tmp_path), "--keep", "--json", str(figures),
        ]
    )  # fmt: skip
    shown = capsys.readouterr().out
    told = json.loads(figures.read_text())
    assert status == 0, shown
    assert told["verdict"] == "clean"
    assert "verdict       clean" in shown
    assert told["readings_made"] == told["readings_stored"] > 1_000
    assert [kill["part"] for kill in told["kills"]] == ["host"]
    assert told["kills"][0]["caught_up_after_s"] >= told["kills"][0]["back_after_s"] > 0
    assert told["ack_ms"]["p99"] > 0
    for part in ("broker", "host", "generator"):
        assert told["parts"][part]["rss_peak_mb"] > 1
    (folder,) = tmp_path.glob("wattlog-fleet-*")
    assert "Traceback" not in (folder / "host.log").read_text()
    # Who is not that head may not write for it.
    assert "pattern write wattlog/1/%u/b" in (folder / "wattlog.acl").read_text()
    assert (folder / "wattlog.passwd").read_text().count("$7$") == 41
    ((place, *others),) = asked
    assert look(place, *others).is_clean()
    execute(place, "ALTER TABLE batch RENAME TO truth")
    every = "CREATE TABLE batch AS SELECT * FROM truth"
    one = "SELECT * FROM truth ORDER BY log_id, first_seq LIMIT 1"
    execute(place, f"{every} UNION ALL SELECT * FROM ({one})")
    assert look(place, *others).duplicated > 0
    execute(place, "DROP TABLE batch")
    execute(place, f"{every} EXCEPT {one}")
    assert look(place, *others).lost > 0


def test_ctrl_c_ends_all_that_was_started(broker, start, tmp_path):
    program = start("fleet", "--heads", "5", "--folder", tmp_path)
    wait_until(lambda: list(tmp_path.glob("*/data/wattlog.db")), "the host")
    (folder,) = tmp_path.glob("wattlog-fleet-*")
    assert len(users_of(folder)) >= 2
    assert program.end(signal.SIGINT) == 1
    assert any("stopped" in line for line in program.lines)
    assert users_of(folder) == []
    assert not folder.exists()


def users_of(folder):
    """The processes that were started with something of this folder."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in words:
            found.append(int(pid))
    return found


MISTAKES = (
    (["--heads", "0"], "--heads must be from 1"),
    (["--heads", "5", "--connections", "6"], "--connections must be from 1 to 5"),
    (["--heads", "5000"], "fewer --connections"),
    (["--folder", "/no/such"], "there is no folder /no/such"),
    (["--json", "/no/such/file"], "there is no folder /no/such"),
    (["--workers", "2"], "--workers needs --postgres"),
    (["--kill", "worker"], "--kill worker needs --workers"),
    (["--kill", "postmaster"], "--kill postmaster needs --postgres"),
    (["--postgres", "--database", "postgresql://x/y"], "either --postgres or --database"),
    (["--database", "mysql"], "--database must be like"),
    (["--database", "postgresql://a:secret@x/y"], "must not hold the password"),
)


@pytest.mark.parametrize(("options", "words"), MISTAKES)
def test_a_mistake_is_one_line(options, words, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_024, 4_096))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    assert main(["fleet", "--folder", str(tmp_path), *options]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
    assert "secret" not in err
    assert list(tmp_path.iterdir()) == []
