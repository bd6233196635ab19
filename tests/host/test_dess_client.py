"""The client against our fake cloud: logged in when it must be, repeated where it helps, safe."""

import json
import logging
import os
import stat
import threading
import time
import tracemalloc

import pytest

from dess_world import IMPATIENT, PASSWORD, world
from wattlog_host.dess import api, errors
from wattlog_host.dess.client import Account, Client
from wattlog_host.dess.errors import (
    Busy,
    DessError,
    Garbled,
    LoginMissing,
    LoginRefused,
    NothingThere,
    Rejected,
    SessionEnded,
    Unreachable,
)
from wattlog_host.dess.tokens import TokenFile
from wattlog_host.dess.transport import Transport

# Only so that a failure ends; what is bounded is bounded far below.
PATIENCE_S = 10.0


@pytest.fixture
def w(tmp_path):
    with world(tmp_path) as made:
        yield made


@pytest.fixture
def hasty(tmp_path):
    with world(tmp_path, limits=IMPATIENT) as made:
        yield made


# --- login ----------------------------------------------------------------------------------


def test_the_first_call_logs_in_and_the_token_serves_the_next_start(w):
    assert [plant.name for plant in api.plants(w.client)] == ["Hillside"]
    w.begin()
    api.plants(w.client)
    assert w.cloud.calls["authSource"] == 1


def test_the_token_is_its_owners_alone_and_holds_no_password(w):
    api.plants(w.client)
    path = w.folder / "token.json"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert PASSWORD not in path.read_text()
    assert len(json.loads(path.read_text())["token"]) == 64


def test_it_is_renewed_ahead_of_time_and_by_the_clouds_own_word(tmp_path):
    with world(tmp_path, life_s=1000) as w:
        api.plants(w.client)
        w.clock.go(899_000)
        api.plants(w.client)
        assert w.cloud.calls["authSource"] == 1
        w.clock.go(2_000)
        api.plants(w.client)
        assert w.cloud.calls["authSource"] == 2
        assert w.client.counts["session"] == 0


def test_a_revoked_token_costs_one_login_and_one_repeat(w):
    api.plants(w.client)
    w.cloud.revoke()
    assert api.plants(w.client)
    assert (w.cloud.calls["authSource"], w.cloud.calls["queryPlants"]) == (2, 3)


def test_err_10_that_a_login_does_not_cure_is_no_storm_of_logins(w):
    w.cloud.order("err", 10, action="queryPlants")
    for _ in range(20):
        with pytest.raises(SessionEnded):
            api.plants(w.client)
    assert w.cloud.calls["authSource"] == 2
    w.clock.go(400_000)
    with pytest.raises(SessionEnded):
        api.plants(w.client)
    assert w.cloud.calls["authSource"] == 3


@pytest.mark.parametrize("code", [15, 16, 17, 25, 261])
def test_a_login_that_is_refused_is_not_tried_again(w, code):
    w.cloud.order("err", code, action="authSource")
    for _ in range(5):
        with pytest.raises(LoginRefused) as raised:
            api.plants(w.client)
    assert w.cloud.calls["authSource"] == 1
    assert str(code) in str(raised.value)


@pytest.mark.parametrize("code", [1, 7, 12, 10, 9999])
def test_a_login_that_fails_otherwise_is_one_try_and_comes_back(w, code):
    w.cloud.order("err", code, action="authSource", count=1)
    w.cycle()
    assert w.cloud.calls["authSource"] == 1
    assert w.view.state == "login"
    w.cycle()
    assert w.view.state == "ok"


def test_another_password_is_tried(w):
    w.password = "wrong"
    with pytest.raises(LoginRefused) as raised:
        api.plants(w.client)
    assert raised.value.code == 16
    assert "e-mail" in str(raised.value)
    w.password = PASSWORD
    assert api.plants(w.client)
    assert w.cloud.calls["authSource"] == 2


def test_without_a_password_a_token_that_counts_is_enough(w):
    api.plants(w.client)
    w.password = None
    w.begin()
    assert api.plants(w.client)
    w.cloud.revoke()
    with pytest.raises(LoginMissing) as raised:
        api.plants(w.client)
    assert "wattlog-host dess login" in str(raised.value)


def test_a_token_that_is_due_but_cannot_be_renewed_goes_on(tmp_path):
    with world(tmp_path, life_s=1000) as w:
        api.plants(w.client)
        w.cloud.order("err", 3, action="authSource")
        w.clock.go(950_000)
        assert api.plants(w.client)
        assert api.plants(w.client)
        assert w.cloud.calls["authSource"] == 2  # and not for each call


@pytest.mark.parametrize("name", ["a b", "é@x.org", "a&b=c#d%e/f?g", "100%+"])
def test_any_name_and_any_password_log_in(tmp_path, name):
    with world(tmp_path) as w:
        w.cloud.users[name] = "pä ss&+%"
        client = Client(
            Account(w.server.url, name), w.transport, TokenFile(tmp_path / "t"),
            lambda: "pä ss&+%", w.clock.now_ms, w.clock.wait_s,
        )  # fmt: skip
        assert api.plants(client)


def test_the_other_platform_logs_in_its_own_way(w):
    client = Client(
        Account(w.server.url, "demo", "pv"), w.transport, TokenFile(w.folder / "t"),
        lambda: PASSWORD, w.clock.now_ms, w.clock.wait_s,
    )  # fmt: skip
    assert api.plants(client)
    assert w.cloud.calls["auth"] == 1
    assert client.source == "0"


def test_a_token_is_not_used_for_another_account(w):
    api.plants(w.client)
    assert TokenFile(w.folder / "token.json").read("http://other ess demo") is None
    for text in ("", "{", "[]", '{"token": 1}', "[" * 9000):
        (w.folder / "token.json").write_text(text)
        assert TokenFile(w.folder / "token.json").read(w.client.account.name) is None


def test_a_login_without_a_token_in_its_answer_is_an_error(w):
    w.cloud.order("null", action="authSource")
    with pytest.raises(Garbled):
        api.plants(w.client)


# --- repeating ------------------------------------------------------------------------------

ONCE_MORE = (
    ("a collector in no hurry", ("err", 2)),
    ("trouble in the cloud", ("err", 3)),
    ("a signature refused in maintenance", ("err", 4)),
    ("the proxy's 502", ("http", 502)),
    ("the proxy's 500", ("http", 500)),
    ("cut JSON", ("cut",)),
    ("a page", ("html",)),
    ("nothing", ("empty",)),
    ("garbage", ("garbage",)),
)


@pytest.mark.parametrize("fault", [row[1] for row in ONCE_MORE], ids=[row[0] for row in ONCE_MORE])
def test_a_read_is_repeated_once(w, fault):
    api.plants(w.client)
    w.cloud.order(*fault, action="queryPlants", count=1)
    assert api.plants(w.client)
    assert w.cloud.calls["queryPlants"] == 3
    w.cloud.order(*fault, action="queryPlants")
    with pytest.raises(DessError):
        api.plants(w.client)
    assert w.cloud.calls["queryPlants"] == 5
    assert w.clock.waited_s == 4.0


@pytest.mark.parametrize("code", [1, 5, 6, 7, 8, 9, 11, 12, 14, 256, 258, 262, 4321])
def test_a_plain_no_is_not_repeated(w, code):
    api.plants(w.client)
    w.cloud.order("err", code, action="queryPlants")
    with pytest.raises(Rejected) as raised:
        api.plants(w.client)
    assert raised.value.code == code
    assert w.cloud.calls["queryPlants"] == 2


def test_an_account_without_plants_has_none(w):
    w.cloud.devices.clear()
    assert api.plants(w.client) == []


@pytest.mark.parametrize(("value", "wanted_s"), [("90", 90), ("999999", 3600), ("soon", None)])
def test_a_pause_that_is_asked_for_is_passed_on(w, value, wanted_s):
    w.cloud.order("limit", value, action="queryPlants")
    with pytest.raises(Busy) as raised:
        api.plants(w.client)
    assert raised.value.retry_after_s == wanted_s
    assert w.cloud.calls["queryPlants"] == 1


def test_too_many_is_a_pause(w):
    w.cloud.order("err", 13, action="queryPlants")
    with pytest.raises(Busy):
        api.plants(w.client)
    assert w.cloud.calls["queryPlants"] == 1


def test_a_write_is_never_repeated(hasty):
    w = hasty
    device = api.devices(w.client, w.cloud.devices[0].pn, "512001")[0]
    for fault in (
        ("err", 1),
        ("err", 2),
        ("err", 3),
        ("err", 4),
        ("http", 502),
        ("hang",),
        ("cut",),
        ("err", 10),
    ):
        before = w.cloud.calls["ctrlDevice"]
        order = w.cloud.order(*fault, action="ctrlDevice")
        with pytest.raises(DessError):
            api.control_write(w.client, device, "bse_eybond_ctrl_49", "1")
        assert w.cloud.calls["ctrlDevice"] == before + 1, fault
        w.cloud.faults.remove(order)


def test_every_code_has_a_name_and_an_advice():
    documented = {*range(1, 18), 25, *range(256, 265), 386}
    assert set(errors.CODES) == documented
    for row in errors.CODES.values():
        assert row.name.startswith("ERR_")
        assert row.advice


TOLERATED = ("jsonp", "err-text", "object", "double")


@pytest.mark.parametrize("kind", TOLERATED)
def test_odd_shapes_are_read(w, kind):
    api.plants(w.client)
    device = api.devices(w.client, w.cloud.devices[0].pn, "512001")[0]
    w.cloud.order(kind, action="queryDeviceLastData")
    record = api.last_data(w.client, device)
    assert len(record.points) > 15
    assert record.local_time is not None


def test_no_data_is_an_empty_record(w):
    device = api.devices(w.client, w.cloud.devices[0].pn, "512001")[0]
    w.cloud.order("null", action="queryDeviceLastData")
    assert api.last_data(w.client, device).points == ()


def test_pages_end(w):
    w.cloud.devices += [
        type(one)(one.pn, 2376, at + 10, f"{one.pn}{at:03}", "", one.roof)
        for at in range(70)
        for one in w.cloud.devices[:1]
    ]
    assert len(api.summary(w.client, "512001")) == 73
    assert w.cloud.calls["webQueryDeviceEs"] == 2


def test_a_missing_menu_is_an_empty_one(w):
    devices = api.devices(w.client, w.cloud.devices[0].pn, "512001")
    assert api.control_fields(w.client, devices[1]) == []
    with pytest.raises(NothingThere):
        api.control_value(w.client, devices[0], "no_such")


# --- hostile --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["hang", "drip", "drip-head"])
def test_an_answer_that_never_ends_ends(hasty, kind):
    hasty.client.login()
    hasty.cloud.order(kind, action="queryPlants")
    began_s = time.monotonic()
    with pytest.raises(Unreachable) as raised:
        api.plants(hasty.client)
    assert time.monotonic() - began_s < PATIENCE_S
    assert "0.3 s" in str(raised.value)
    hasty.cloud.faults.clear()
    assert api.plants(hasty.client)


@pytest.mark.parametrize("kind", ["big", "deep"])
def test_an_answer_without_measure_costs_little_memory(hasty, kind):
    hasty.client.login()
    hasty.cloud.order(kind, action="queryPlants")
    tracemalloc.start()
    try:
        with pytest.raises(DessError):
            api.plants(hasty.client)
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()
    assert hasty.server.big_bytes_sent < 20_000_000


def test_a_redirect_is_not_followed(w, tmp_path):
    (tmp_path / "other").mkdir()
    with world(tmp_path / "other") as other:
        w.cloud.order("redirect", other.server.url + "?action=queryPlants&stolen=1")
        with pytest.raises(Garbled) as raised:
            api.plants(w.client)
        assert sum(other.cloud.calls.values()) == 0
    assert "elsewhere" in str(raised.value)


def test_an_abort_ends_a_call_that_waits(w):
    w.client.login()
    w.cloud.order("hang", action="queryPlants")
    caught = []

    def call():
        try:
            api.plants(w.client)
        except Unreachable as err:
            caught.append(err)

    thread = threading.Thread(target=call)
    thread.start()
    while not w.cloud.calls["queryPlants"]:
        thread.join(0.01)
    w.transport.abort()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert "wattlog stops" in str(caught[0])


def test_a_port_where_nothing_listens_is_one_line(tmp_path, free_port):
    transport = Transport(f"http://127.0.0.1:{free_port()}/public/")
    with pytest.raises(Unreachable) as raised:
        transport.get("sign=SECRET", 0)
    assert str(raised.value) == "no connection to the cloud"
    assert raised.value.__context__ is None
    transport.close()


def secrets_of(w):
    kept = json.loads((w.folder / "token.json").read_text())
    return [PASSWORD, kept["token"], kept["secret"]]


FAULTS = (
    ("http", 502),
    ("hang",),
    ("cut",),
    ("html",),
    ("echo",),
    ("redirect", "http://127.0.0.1:9/"),
    ("limit", 5),
    ("err", 10),
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault[0])
def test_no_secret_is_in_an_error_or_in_the_log(tmp_path, caplog, fault):
    with world(tmp_path, limits=IMPATIENT) as w:
        caplog.set_level(logging.DEBUG)
        w.client.login()
        secrets = secrets_of(w)
        w.cloud.order(*fault, action="queryPlants")
        with pytest.raises(DessError) as raised:
            api.plants(w.client)
        chain, err = "", raised.value
        while err is not None:
            chain += repr(err) + str(err.args)
            err = err.__context__
        log = caplog.text + "".join(str(record.__dict__) for record in caplog.records)
        for secret in [*secrets, *secrets_of(w)]:
            assert secret not in chain
            assert secret not in log
            assert secret not in w.client.hide(str(raised.value) + secret)


def test_a_token_in_the_data_is_hidden(w):
    w.client.login()
    token = secrets_of(w)[1]
    body = json.dumps({"err": 0, "dat": {"plant": [{"pid": 1, "name": token}]}}).encode()

    class Echo:
        def get(self, *_):
            return body

        def renew(self):
            return

    client = Client(
        w.client.account, Echo(), TokenFile(w.folder / "token.json"),
        lambda: PASSWORD, w.clock.now_ms, w.clock.wait_s,
    )  # fmt: skip
    assert api.plants(client)[0].name == "***"
