"""/api/solar: readable like the page, settings only with the token."""

import json

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from jsonschema_rs import Draft202012Validator
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.testclient import TestClient

from dess_world import Readers, world
from sunny_house import SunnyHouse
from wattlog_host.access.accounts import Accounts, Token
from wattlog_host.access.secrets import digest_of
from wattlog_host.alerts import rules
from wattlog_host.dess import controls, ledger
from wattlog_host.dess.panel import Panel
from wattlog_host.live import HostView, LiveView
from wattlog_host.stream import Hub
from wattlog_host.web.app import make_app
from wattlog_host.web.door import Caller, Door

TOKEN = "canary-write-token-3"


def make_client(w, panel, door=None):
    view = LiveView(HostView("0", 0), {})
    return TestClient(
        make_app(view, Hub(dict), None, w.clock.now_ms, (), panel=panel, door=door),
        base_url="http://127.0.0.1",
    )


@pytest.fixture
def w(tmp_path):
    with world(tmp_path) as made:
        (tmp_path / "token").write_text(TOKEN + "\n")
        made.run(0.5)
        made.sn = made.cloud.devices[0].sn
        made.panel = Panel(
            made.worker, Readers(made.sink), controls.Audit(tmp_path / "changes", made.clock.now_ms),
            frozenset([made.sn]), tmp_path / "token", made.clock.wait_s, made.clock.now_ms,
            made.clock.monotonic_ms,
        )  # fmt: skip
        yield made


@pytest.fixture
def http(w):
    with make_client(w, w.panel) as client:
        yield client


def test_switched_off_it_says_so(w):
    with make_client(w, None) as client:
        for path in ("/api/solar", "/api/solar/devices", "/api/solar/settings"):
            answer = client.get(path)
            assert answer.status_code == 404
            assert "dessmonitor.enabled" in answer.json()["error"]


def test_the_state_is_shown(w, http):
    found = http.get("/api/solar").json()
    assert (found["state"], found["trouble"], found["devices"]) == ("ok", None, 3)
    assert found["last_cycle_calls"] <= 5
    assert found["plants"] == [{"pid": "512001", "name": "Hillside", "status": "online"}]


def test_every_device_is_shown_with_its_state_and_powers(w, http):
    devices = http.get("/api/solar/devices").json()["devices"]
    assert [one["alias"] for one in devices] == ["Garage", "Barn", "Shed"]
    for one in devices:
        assert one["connected"]
        assert not one["stale"]
        assert one["status"] == "online"
        assert 0 <= one["age_s"] < 600
        assert one["mode_class"] in ("hybrid", "grid", "offgrid", "battery")
        assert one["power_w"]["solar"] > 0
        assert one["battery"]["direction"] in ("charging", "discharging", "idle")


def test_readings_have_units_classes_ages_and_totals(w, http):
    found = http.get("/api/solar/latest", params={"device": w.sn}).json()
    by_channel = {one["channel"]: one for one in found["readings"]}
    assert by_channel["solar_power"]["unit"] == "W"
    assert by_channel["solar_power"]["device_class"] == "power"
    assert by_channel["energy_total"]["total"] > 0
    assert by_channel["pv2_input_current"]["value"] is None
    assert "output_priority" not in by_channel
    more = http.get("/api/solar/latest", params={"device": w.sn, "diagnostics": "yes"}).json()
    assert "output_priority" in {one["channel"] for one in more["readings"]}


def test_history_is_given(w, http):
    found = http.get(
        "/api/solar/history", params={"device": w.sn, "channel": "solar_power"}
    ).json()
    assert found["unit"] == "W"
    assert len(found["points"]) == len(w.sink.series(w.sn, "solar_power")) > 3
    assert all(value > 0 for _, value in found["points"])


WRONG = (
    ("an unknown device", "/api/solar/latest?device=no", 404),
    ("no device of three", "/api/solar/latest", 404),
    ("a parameter that is none", "/api/solar/history?device={sn}&channel=solar_power&from=5", 400),
    ("no channel", "/api/solar/history?device={sn}", 400),
    ("an unknown channel", "/api/solar/history?device={sn}&channel=no", 404),
    ("no time", "/api/solar/history?device={sn}&channel=solar_power&start=yesterday", 400),
    (
        "a span of years",
        "/api/solar/history?device={sn}&channel=solar_power&start=2020-01-01",
        400,
    ),
)


@pytest.mark.parametrize(
    ("path", "status"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG]
)
def test_a_wrong_question_is_one_line(w, http, path, status):
    answer = http.get(path.format(sn=w.sn))
    assert answer.status_code == status
    assert answer.json()["error"]


def test_alerts_look_at_what_the_page_shows(w):
    found = w.panel.standing()
    assert (found.state, found.trouble, len(found.inverters)) == ("ok", None, 3)
    for one in found.inverters:
        (mode,) = (reading for reading in one.readings if reading.key == rules.MODE)
        assert one.is_fresh and mode.text_class not in (None, rules.FAULT)
    w.cloud.order("http", 502)
    w.run(1)
    found = w.panel.standing()
    assert found.state == "trouble" and "502" in found.trouble
    assert not any(one.is_fresh for one in found.inverters)
    assert found.state not in (rules.WELL, rules.LOGIN, *rules.BEGINNING)


def test_trouble_is_shown_and_old_values_stay_with_their_age(w, http):
    w.cloud.order("http", 502)
    w.run(1)
    assert http.get("/api/solar").json()["state"] == "trouble"
    assert "502" in http.get("/api/solar").json()["trouble"]
    (one, *_) = http.get("/api/solar/devices").json()["devices"]
    assert one["stale"]
    assert not one["connected"]
    assert one["power_w"]["solar"] > 0
    assert one["age_s"] > 3000


# --- the document ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sunny(tmp_path_factory):
    made = SunnyHouse(tmp_path_factory.mktemp("sunny"))
    yield made
    made.close()


def form_of(document, path, method="get"):
    answer = document["paths"][path][method]["responses"]["200"]
    return Draft202012Validator(answer["content"]["application/json"]["schema"])


def test_answers_have_the_form_of_the_document(sunny):
    with TestClient(sunny.app, base_url="http://127.0.0.1") as client:
        document = client.get("/api/openapi.json").json()
        solar = {path for path in document["paths"] if path.startswith("/api/solar")}
        assert solar == {
            route.path for route in sunny.app.routes if route.path.startswith("/api/solar")
        }
        sn = sunny.dess.cloud.devices[0].sn
        history = f"/api/solar/history?device={sn}&channel="
        asked = ["/api/solar", "/api/solar/devices", "/api/solar/changes", "/api/solar/periods",
                 "/api/solar/flow", "/api/solar/house", "/api/solar/house?per=month",
                 f"/api/solar/latest?device={sn}", f"/api/solar/latest?device={sn}&diagnostics=yes",
                 f"{history}solar_power", f"{history}operating_mode"]  # fmt: skip
        for path in asked:
            answer = client.get(path)
            assert answer.status_code == 200, answer.text
            errors = list(form_of(document, path.partition("?")[0]).iter_errors(answer.json()))
            assert errors == [], (path, errors[:1])
        assert solar - {path.partition("?")[0] for path in asked} == {"/api/solar/settings"}


def test_settings_have_the_form_of_the_document(w, http):
    document = http.get("/api/openapi.json").json()
    path, query = "/api/solar/settings", {"device": w.sn}
    controls_of = http.get(path, params=query, headers=GOOD).json()
    form_of(document, path).validate(controls_of)
    for one in controls_of["settings"]:
        answer = http.get(path, params={**query, "id": one["id"]}, headers=GOOD)
        form_of(document, path).validate(answer.json())
    made = http.post(path, json=wish(w), headers=GOOD)
    form_of(document, path, "post").validate(made.json())
    form_of(document, "/api/solar/changes").validate(http.get("/api/solar/changes").json())
    body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert Draft202012Validator(body).is_valid(wish(w))
    for method in ("get", "post"):
        assert document["paths"][path][method]["security"] == [{"token": []}]
    # What is refused is refused with a status of the document.
    for _, headers, more, status in BAD_POSTS:
        refused = http.post(path, content=json.dumps(wish(w) | more), headers=headers)
        assert str(refused.status_code) in document["paths"][path]["post"]["responses"], status
    assert http.get(path, params={"devise": "x"}, headers=GOOD).status_code == 400


def test_no_question_of_the_document_breaks_it(sunny):
    """Each address with what its document allows, and with what it does not."""
    described = schemathesis.openapi.from_asgi("/api/openapi.json", sunny.app)
    tried = set()
    for found in described.get_all_operations():
        operation = found.ok()
        if not operation.path.startswith("/api/solar") or operation.method == "post":
            continue
        for mode in GenerationMode:

            @given(operation.as_strategy(generation_mode=mode))
            @settings(
                max_examples=6, deadline=None, database=None,
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            def ask(case):
                answer = case.call()
                assert answer.status_code < 500, answer.text
                if answer.status_code != 405:
                    # Which devices there are the document cannot say.
                    case.validate_response(answer, excluded_checks=[positive_data_acceptance])

            try:
                ask()
            except Unsatisfiable:
                continue  # there is nothing wrong to ask
            tried.add(operation.path)
    assert len(tried) == 9


# --- settings -------------------------------------------------------------------------------

GOOD = {"Authorization": f"Bearer {TOKEN}"}


def wish(w, value="SOL", **more):
    return {"device": w.sn, "id": "bse_eybond_ctrl_49", "value": value, **more}


def test_settings_are_read_and_changed_with_the_token(w, http):
    menu = http.get("/api/solar/settings", params={"device": w.sn}, headers=GOOD).json()[
        "settings"
    ]
    assert [one["kind"] for one in menu] == ["select", "number", "number", "button"]
    query = {"device": w.sn, "id": "bat_eybond_ctrl_68"}
    one = http.get("/api/solar/settings", params=query, headers=GOOD).json()
    assert (one["value"], one["range"], one["step"]) == ("56.4", [48.0, 61.0], 0.1)
    made = http.post("/api/solar/settings", json=wish(w), headers=GOOD)
    assert (made.status_code, made.json()["outcome"]) == (200, "confirmed")
    assert w.cloud.writes == [(w.sn, "bse_eybond_ctrl_49", "1")]
    changes = http.get("/api/solar/changes").json()["changes"]
    assert [one["event"] for one in changes] == ["confirmed", "asked"]
    assert changes[0]["by"] == "api"


BAD_POSTS = (
    ("no token", {}, {}, 403),
    ("a wrong token", {"Authorization": "Bearer x"}, {}, 401),
    ("a form of another site", {**GOOD, "Content-Type": "text/plain"}, {}, 415),
    ("another origin", {**GOOD, "Origin": "http://evil.example"}, {}, 403),
    ("a wrong value", GOOD, {"value": "XYZ"}, 422),
    ("another device", GOOD, {"device": "Q0045000100101651502"}, 422),
    ("an unknown device", GOOD, {"device": "no"}, 404),
    ("a number for a text", GOOD, {"value": 1}, 400),
    ("too much", GOOD, {"value": "x" * 9000}, 413),
)


@pytest.mark.parametrize(
    ("headers", "more", "status"), [row[1:] for row in BAD_POSTS], ids=[r[0] for r in BAD_POSTS]
)
def test_nothing_is_changed_by(w, http, headers, more, status):
    body = json.dumps(wish(w) | more)
    answer = http.post(
        "/api/solar/settings", content=body, headers={"Content-Type": "application/json"} | headers
    )
    assert answer.status_code == status
    assert TOKEN not in answer.text
    assert w.cloud.writes == []


def test_a_token_is_not_guessed_at_any_speed(w):
    with make_client(w, w.panel, Door(mono_ms=lambda: 0)) as client:
        wrong = {"Authorization": "Bearer guess"}
        said = [client.get("/api/solar/settings", headers=wrong).status_code for _ in range(7)]
        assert said == [401] * 5 + [429] * 2
        answer = client.post("/api/solar/settings", json=wish(w), headers=GOOD)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
    assert w.cloud.writes == []


def test_settings_are_for_who_may_change_what_the_page_shows(w):
    tokens = {digest_of(name): Token(name, name == "writes") for name in ("reads", "writes")}
    door = Door(lambda: Accounts("$argon2id$", tokens), lets_guests_in=True)
    session = door.sessions.begin(door.accounts().mark(), 0)
    csrf = Caller(True, True, session).csrf
    cookie = {"Cookie": f"wattlog={session}"}
    ours = {**cookie, "Origin": "http://127.0.0.1"}
    who = (
        ("a guest", {"Origin": "http://127.0.0.1"}, 401),
        ("a reading token", {"Authorization": "Bearer reads"}, 401),
        ("a session of another site", {**cookie, "Origin": "http://evil.example", "X-CSRF-Token": csrf}, 403),
        ("a session without its sign", ours, 403),
        ("a session with another's", {**ours, "X-CSRF-Token": "0" * 64}, 403),
        ("a changing token", {"Authorization": "Bearer writes"}, 200),
        ("a session", {**ours, "X-CSRF-Token": csrf}, 200),
        ("the token of the file", GOOD, 200),
    )  # fmt: skip
    with make_client(w, w.panel, door) as client:
        for name, headers, status in who:
            before = len(w.cloud.writes)
            answer = client.post("/api/solar/settings", json=wish(w), headers=headers)
            assert answer.status_code == status, (name, answer.text)
            if status != 200:
                assert len(w.cloud.writes) == before == 0, name
    assert w.cloud.writes
    with make_client(w, w.panel, door) as client:
        assert client.get("/api/solar/settings").status_code == 401
        assert client.get("/api/solar/settings", headers=cookie).status_code == 404


def test_without_a_token_file_settings_are_off(w):
    from dataclasses import replace

    with make_client(w, replace(w.panel, write_token_file=None)) as client:
        answer = client.post("/api/solar/settings", json=wish(w), headers=GOOD)
        assert answer.status_code == 403
        assert "write_token_file" in answer.json()["error"]


def test_other_pages_take_no_post(http):
    assert http.post("/api/solar/latest").status_code == 405
    assert http.post("/").status_code == 405
    refused = http.put("/api/solar/settings")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, POST")
    assert http.put("/api/solar").headers["allow"] == "GET, HEAD"


def test_the_ledger_is_the_truth_of_the_totals(w, http):
    found = http.get("/api/solar/latest", params={"device": w.sn}).json()
    totals = w.sink.totals(w.sn)
    assert isinstance(ledger.SERIES_MAX, int)
    for one in found["readings"]:
        if "total" in one:
            assert one["total"] == float(totals[one["channel"]].total)
