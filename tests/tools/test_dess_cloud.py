"""`wattlog-tools dess-cloud`: a day that adds up, a signature that counts, faults as ordered."""

import hashlib
import http.client
import json
import signal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wattlog_sim.dess.cloud import FAULTS, Cloud
from wattlog_sim.dess.solar import CAPACITY_WH, FIRST_DAY, STEP_S, Roof, roof
from wattlog_tools import dess_cloud
from wattlog_tools.console import ToolError

NOW_MS = 1_781_517_600_000
DAY_S = 86_400


def sha1(text):
    return hashlib.sha1(text.encode()).hexdigest()


class Caller:
    """Asks as the facts say, without any of the host's code."""

    def __init__(self, cloud, password="demo-pass"):
        self.cloud = cloud
        action = "&action=authSource&usr=demo&company-key=bnrl_frRFjEz8Mkn&source=1"
        sign = sha1("1718000000000" + sha1(password) + action)
        self.found = self.ask(f"sign={sign}&salt=1718000000000{action}")

    def ask(self, query):
        return json.loads(self.cloud.answer("/public/?" + query).body)

    def call(self, action, salt="1718000000001", token=None):
        dat = self.found["dat"]
        sign = sha1(salt + dat["secret"] + dat["token"] + action)
        return self.ask(f"sign={sign}&salt={salt}&token={token or dat['token']}{action}")


@pytest.fixture
def cloud():
    return Cloud(lambda: NOW_MS, {"demo": "demo-pass"})


def test_a_right_signature_is_served_and_any_other_is_not(cloud):
    caller = Caller(cloud)
    assert caller.call("&action=queryPlants&pagesize=50")["dat"]["plant"][0]["pid"] == 512_001
    right = sha1(
        "1718000000001"
        + caller.found["dat"]["secret"]
        + caller.found["dat"]["token"]
        + "&action=queryPlants&x=a%20b"
    )
    token = caller.found["dat"]["token"]
    for action, err in (("&action=queryPlants&x=a%20b", 0), ("&action=queryPlants&x=a+b", 4)):
        assert caller.ask(f"sign={right}&salt=1718000000001&token={token}{action}")["err"] == err
    assert caller.call("&action=queryPlants", token="x" * 64)["err"] == 10
    assert caller.call("&action=queryPlants", salt="1")["err"] == 5


def test_a_wrong_password_a_stranger_and_a_wrong_key_are_told_apart(cloud):
    assert Caller(cloud, "wrong").found["err"] == 16
    cloud.users.clear()
    assert Caller(cloud).found["err"] == 261
    cloud.company_key = "another"
    assert Caller(cloud).found["err"] == 15


def test_tokens_end_and_may_be_revoked():
    now = [NOW_MS]
    cloud = Cloud(lambda: now[0], {"demo": "demo-pass"}, life_s=100)
    caller = Caller(cloud)
    now[0] += 99_000
    assert caller.call("&action=queryPlants")["err"] == 0
    now[0] += 2_000
    assert caller.call("&action=queryPlants")["err"] == 10
    caller = Caller(cloud)
    cloud.revoke()
    assert caller.call("&action=queryPlants")["err"] == 10


# Working out a day takes as long as the machine takes.
@settings(deadline=None)
@given(st.integers(0, 9), st.integers(FIRST_DAY, FIRST_DAY + 5), st.integers(0, 86_399))
def test_power_is_conserved_and_the_battery_stays_within_itself(seed, day, second):
    moment, _ = roof(seed).at(day * DAY_S + second)
    left = moment.solar_w + moment.grid_w - moment.battery_w - moment.load_w
    assert abs(left) < 1e-6
    assert moment.solar_w >= 0
    assert 19.9 <= moment.soc_percent <= 100.1


def test_counters_never_step_back_over_days_and_restarts():
    last = None
    for second in range((FIRST_DAY + 3) * DAY_S, (FIRST_DAY + 8) * DAY_S, 7 * STEP_S):
        _, totals = Roof(5).at(second) if second % 5 == 0 else roof(5).at(second)
        if last is not None:
            assert all(now >= then for now, then in zip(totals[1:], last[1:], strict=True))
        last = totals
    assert last.solar_wh > 1_000


def test_a_summer_day_exports_and_charges():
    moments = [roof(1).at(20_619 * DAY_S + second)[0] for second in range(0, DAY_S, STEP_S)]
    assert min(moment.grid_w for moment in moments) < -1_000
    assert max(moment.soc_percent for moment in moments) > 95
    assert CAPACITY_WH > 0
    assert moments[24].solar_w == 0


def test_every_fault_can_be_ordered_and_has_an_end(cloud):
    for kind in FAULTS:
        value = {"http": 502, "err": 13, "skew": 60, "freeze": 1}.get(kind)
        fault = cloud.order(kind, value, count=1)
        answer = cloud.answer("/public/?action=queryPlants&salt=12345678")
        assert answer.body or answer.how or answer.status != 200 or kind == "empty", kind
        if fault in cloud.faults:  # those of a device last until taken away
            assert kind in ("offline", "freeze", "skew", "ignore")
            cloud.faults.remove(fault)


ORDERS = (
    ("hang", ("hang", None, None, None, None)),
    ("http=502", ("http", 502, None, None, None)),
    ("err=13@queryPlants*3", ("err", 13, "queryPlants", None, 3)),
    ("skew=-3600@Q0045000100101094801", ("skew", -3600, None, "Q0045000100101094801", None)),
    ("redirect=http://127.0.0.1:1/", ("redirect", "http://127.0.0.1:1/", None, None, None)),
)


@pytest.mark.parametrize(("text", "wanted"), ORDERS)
def test_an_order_is_read(text, wanted):
    fault = dess_cloud._fault(text)
    assert (fault.kind, fault.value, fault.action, fault.sn, fault.count) == wanted


@pytest.mark.parametrize("text", ["no", "http", "err=x", "hang*often"])
def test_a_wrong_order_is_one_line(text):
    with pytest.raises(ToolError):
        dess_cloud._fault(text)


def test_it_serves_until_told_to_stop(start, free_port):
    port = free_port()
    program = start("dess-cloud", "--port", str(port), "--fault", "http=503@queryPlants*1")
    program.expect(rf"a cloud with 3 inverters: http://127.0.0.1:{port}/public/")
    statuses = []
    for _ in range(2):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/public/?salt=12345678&sign=x&action=queryPlants")
        answer = connection.getresponse()
        statuses.append((answer.status, b'"err": 10' in answer.read()))
        connection.close()
    assert statuses == [(503, False), (200, True)]
    assert program.end(signal.SIGTERM) == 0
    assert any("calls: queryPlants 2" in line for line in program.lines)


def test_a_port_in_use_is_one_line(start, free_port):
    port = free_port()
    first = start("dess-cloud", "--port", str(port))
    first.expect("a cloud")
    second = start("dess-cloud", "--port", str(port))
    assert second.end() == 2
    assert any("choose another --port" in line for line in second.lines)
