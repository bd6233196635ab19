"""The API over HTTP: how it refuses, caches and streams, and that it does what its document says."""

import asyncio
import gc
import gzip
import json
from collections import Counter

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from jsonschema_rs import Draft202012Validator
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.testclient import TestClient

from api_world import DAY_MS, HOUR_MS, MINUTE_MS, NOW, START, ApiWorld, steady
from memory_history import IMPORT, POWER
from wattlog_host.access.accounts import Accounts
from wattlog_host.store.records import Losses, LostRun
from wattlog_host.stream import Hub
from wattlog_host.web import gate
from wattlog_host.web.app import make_app
from wattlog_host.web.door import Door
from wattlog_host.web.gate import Gate, TooBusy
from wattlog_host.web.questions import QUESTIONS

# --- refusals --------------------------------------------------------------------------------

REFUSED = (
    ("/api/stats", 400, "start is missing"),
    ("/api/stats?start=2026-11-01", 400, "end is missing"),
    ("/api/stats?start=garbage&end=2026-11-02", 400, 'start: "garbage" is no time'),
    ("/api/stats?start=1767225600&end=2026-11-02", 400, "multiply it by 1000"),
    ("/api/stats?start=2026-11-02&end=2026-11-01", 400, "start must lie before end"),
    ("/api/stats?start=2026-11-02&end=2026-11-02", 400, "start must lie before end"),
    ("/api/stats?start=2026-11-02&start=2026-11-03&end=2026-11-04", 400, "start is there twice"),
    ("/api/energy?strat=2026-11-02", 400, "there is no parameter"),
    ("/api/energy?per=fortnight", 400, "must be one of hour, day"),
    ("/api/energy?start=2900-01-01", 400, "lies in the future"),
    ("/api/readings?points=9", 400, "whole number from 10 to 4000"),
    ("/api/readings?points=1e3", 400, "whole number from 10 to 4000"),
    ("/api/readings?points=4001", 400, "whole number from 10 to 4000"),
    ("/api/readings?channel=power_w", 400, "channel needs points="),
    ("/api/readings?channel=nonsense&points=10", 404, "there is no channel"),
    ("/api/readings?channel=voltage_l1_v&points=10&meter=1", 404, "no channel voltage_l1_v"),
    ("/api/summary?meter=9", 404, "there is no meter"),
    ("/api/summary?meter=", 400, "must be a text"),
    ("/api/days?month=2026-13", 400, "is no month"),
    ("/api/days?month=2026-11&year=2026", 400, "not both"),
    ("/api/days?year=26", 400, "is no year"),
    ("/api/compare", 400, "preset=previous_week"),
    ("/api/compare?preset=previous_week&a_start=2026-11-01", 400, "not both"),
    ("/api/compare?preset=yesterday", 400, "must be one of"),
    ("/api/compare?a_start=2026-11-02&a_end=2026-11-01&b_start=2026-11-01&b_end=2026-11-02", 400, "a_start must"),
    ("/api/gaps?start=2026-11-02&end=2026-11-01", 400, "start must lie before end"),
    ("/api/meters?x=1", 400, "known: none"),
    ("/api/tariffs?start=2026-11-02", 400, "there is no parameter"),
)  # fmt: skip


@pytest.mark.parametrize(("path", "status", "why"), REFUSED)
def test_what_cannot_be_asked_is_refused_and_says_why(world, path, status, why):
    found = world.error(path)
    assert found[0] == status
    assert why in found[1]
    assert "\n" not in found[1]


def test_a_visitors_words_come_back_as_one_short_line(world):
    _, why = world.error("/api/stats", start="<script>\u2028\x00" + "x" * 500, end="2026-01-01")
    assert len(why) < 250 and why.isprintable()


def test_a_database_that_fails_is_said(world):
    world.store_trouble = "disk gone"
    try:
        for question in QUESTIONS:
            path = question.path + (
                "?start=2026-11-01&end=2026-11-02" if "stats" in question.path else ""
            )
            path += "?preset=previous_day" if "compare" in path else ""
            assert world.error(path) == (503, "database: disk gone")
    finally:
        world.store_trouble = None


def test_before_the_first_reading_nothing_is_made_up(empty):
    assert empty.json("/api/meters")["meters"] == []
    assert empty.json("/api/readings") == []
    assert empty.json("/api/readings", points=100)["t"] == []
    assert empty.json("/api/readings", points=100, channel="import_wh")["t"] == []
    assert empty.json("/api/energy") == {
        "zone": "Europe/Berlin",
        "currency": "EUR",
        "buckets": [],
        "total": None,
    }
    assert empty.json("/api/energy_summary") == {
        "avg_daily": None,
        "daily": [],
        "moving_avg_30d": [],
    }
    assert empty.json("/api/summary") == {
        "currency": "EUR",
        "periods": {},
        "base_load_w": None,
        "peaks": [],
    }
    assert empty.json("/api/stats", start=START, end=NOW)["stats"]["energy_used_kwh"] is None
    assert empty.json("/api/days")["rows"] == empty.json("/api/days", year=2026)["rows"] == []
    assert empty.json("/api/live_power") == {"t": None, "w": None, "age_s": None, "stale": True}
    assert empty.error("/api/compare", preset="previous_day") == (404, "there is no reading yet")


def test_a_counter_without_power_and_power_without_a_counter():
    counter = [(at, {IMPORT: values[IMPORT]}) for at, values in steady(START, NOW, 4 * MINUTE_MS)]
    world = ApiWorld({1: counter}, NOW)
    assert world.json("/api/readings", points=10)["mean"] == []
    assert (
        world.json("/api/stats", start="2026-11-10", end="2026-11-11")["stats"]["energy_used_kwh"]
        == 14.4
    )
    power = [
        (at, {POWER: values[POWER]})
        for at, values in counter and steady(START, NOW, 4 * MINUTE_MS)
    ]
    world = ApiWorld({1: power}, NOW)
    found = world.json("/api/stats", start="2026-11-10", end="2026-11-11")["stats"]
    assert (found["energy_used_kwh"], found["avg_power_watts"], found["cost"]) == (
        None,
        600.0,
        None,
    )
    assert world.json("/api/summary")["periods"]["today"]["import_kwh"] is None
    assert world.json("/api/energy_summary")["moving_avg_30d"] == []


def test_two_tariff_registers_are_one_energy():
    rows = [
        (at, {2: values[IMPORT], 3: values[IMPORT] * 2})
        for at, values in steady(START, NOW, 4 * MINUTE_MS)
    ]
    world = ApiWorld({1: rows}, NOW)
    assert world.json("/api/stats", start="2026-11-10", end="2026-11-11")["stats"][
        "energy_used_kwh"
    ] == pytest.approx(43.2)
    assert world.json("/api/readings", after=NOW - 10 * MINUTE_MS)[0]["e"] is not None


# --- over HTTP -------------------------------------------------------------------------------


def test_an_answer_that_did_not_change_is_not_sent_again(world):
    first = world.get("/api/stats", start="2026-11-01", end="2026-11-02")
    etag = first.headers["etag"]
    again = world.client.get(first.url, headers={"if-none-match": f'"other", {etag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    other = world.client.get(first.url, headers={"if-none-match": '"other"'})
    assert other.status_code == 200


CACHING = (
    ("/api/stats?start=2026-11-01&end=2026-11-02", "private, max-age=60"),
    ("/api/energy?start=2026-11-01&end=2026-11-02", "private, max-age=60"),
    ("/api/energy?start=2026-10-20&end=2026-10-21", "no-cache"),  # partial
    ("/api/stats?start=2026-11-01&end=2026-11-28", "no-cache"),
    ("/api/summary", "no-cache"),
    ("/api/openapi.json", "no-cache"),
)


@pytest.mark.parametrize(("path", "wanted"), CACHING)
def test_only_what_is_over_and_complete_may_be_kept(world, path, wanted):
    assert world.get(path).headers["cache-control"] == wanted


def test_long_answers_are_compressed(world):
    answer = world.get("/api/readings", points=1000, start=START, end=NOW)
    assert answer.headers["content-encoding"] == "gzip"
    assert len(gzip.compress(answer.content)) < len(answer.content) / 4
    plain = world.client.get(answer.url, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers and plain.json() == answer.json()


@pytest.mark.parametrize(
    "path", [question.path for question in QUESTIONS] + ["/status", "/api/stream", "/mobile"]
)
def test_head_is_a_way_of_asking(world, path):
    with_parameters = {
        "/api/stats": "?start=2026-11-01&end=2026-11-02",
        "/api/compare": "?preset=previous_day",
    }
    assert world.client.head(path + with_parameters.get(path, "")).status_code == 200


def test_a_bookmark_of_the_phones_page_opens_the_page(world):
    assert world.get("/mobile").text == world.get("/").text


def test_one_asks_at_a_time_and_who_waits_too_long_is_told(monkeypatch):
    monkeypatch.setattr(gate, "WAIT_S_MAX", 0.01)

    async def act():
        door = Gate()
        async with door.turn():
            with pytest.raises(TooBusy):
                async with door.turn():
                    pass
        async with door.turn():
            pass
        monkeypatch.setattr(gate, "WAITING_MAX", 0)
        with pytest.raises(TooBusy):
            async with door.turn():
                pass

    asyncio.run(act())


def test_who_is_told_that_it_is_too_much_is_told_when_to_come_again(world, monkeypatch):
    monkeypatch.setattr(gate, "WAITING_MAX", 0)
    answer = world.get("/api/summary")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "at once" in answer.json()["error"]


LOST = (
    LostRun("cellar", 7, 11, 310, "evicted", NOW, START, START + HOUR_MS),
    LostRun("attic", 7, 1, 5, "damaged", NOW, NOW - HOUR_MS, NOW),
    LostRun("cellar", 7, 400, 400, "damaged", NOW, None, None),
)


def test_gaps_can_be_asked_for_by_time_and_meter(world):
    world.lost = Losses(3, 306, LOST)
    try:
        assert world.json("/api/gaps")["records"] == 306
        found = world.json("/api/gaps", end=START + DAY_MS)
        assert (
            [one["first_seq"] for one in found["newest"]],
            found["runs"],
            found["records"],
        ) == ([11], 1, 300)
        assert [
            one["first_seq"] for one in world.json("/api/gaps", start=NOW - DAY_MS)["newest"]
        ] == [1]
        assert [one["first_seq"] for one in world.json("/api/gaps", meter=1)["newest"]] == [
            11,
            400,
        ]
    finally:
        world.lost = Losses()


# --- exports ---------------------------------------------------------------------------------


def test_an_export_has_every_reading_of_any_time_a_page_at_a_time(world):
    before = world.questions
    answer = world.get("/api/export.csv", start=START, end=NOW)
    assert answer.headers["content-type"].startswith("text/csv")
    lines = answer.text.splitlines()
    assert lines[0] == "time,import_wh,export_wh,power_w,time_source"
    assert lines[1] == "2026-10-20T12:00:00.000+02:00,10000,5,600,sync"
    assert len(lines) - 1 == len(world.history.all[1])
    assert world.questions - before > 5
    rows = [
        json.loads(line)
        for line in world.get(
            "/api/export.jsonl", resolution="1d", start="2026-10-24", end="2026-10-26"
        ).text.splitlines()
    ]
    assert [(row["time"], row["end"]) for row in rows] == [
        ("2026-10-24T00:00:00+02:00", "2026-10-25T00:00:00+02:00"),
        ("2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00"),
    ]  # fmt: skip
    assert len(world.get("/api/export.csv").text.splitlines()) == 721
    assert world.get("/api/export.csv", start="1970-01-01", end="1970-01-02").text.count("\n") == 1


def test_an_export_that_cannot_be_is_refused(world, empty):
    assert world.error("/api/export.csv", resolution="2h")[0] == 400
    assert world.error("/api/export.csv", start=NOW, end=START) == (
        400,
        "start must lie before end",
    )
    assert world.error("/api/export.csv", meter=9)[0] == 404
    assert empty.error("/api/export.jsonl") == (404, "there is no reading yet")


# --- events ----------------------------------------------------------------------------------


def told(stream, count):
    """The names and data of so many messages."""

    async def read():
        return [await anext(stream) for _ in range(count)]

    return read()


def test_a_stream_tells_new_readings_by_name_and_the_view(world):
    async def act():
        hub = world.hub
        named, plain = hub.watch(is_named=True), hub.watch()
        first = [await anext(named), await anext(plain)]
        running = asyncio.create_task(hub.run())
        hub.changed()
        second = [await anext(named), await anext(plain)]
        running.cancel()
        return first + second

    first, plain_first, second, plain = asyncio.run(act())
    assert first.startswith(b"event: view\ndata: {") and plain_first == first.removeprefix(
        b"event: view\n"
    )
    reading, view = second.decode().split("\n\n")[:2]
    name, _, data = reading.partition("\ndata: ")
    assert name == "event: reading"
    found = json.loads(data)
    assert (found["meter"], found["p"], found["values"]["power_w"]) == ("0901", 600.0, 600.0)
    assert view.startswith("event: view") and plain.startswith(b"data: ")


def test_a_reading_is_told_once(world):
    hub = Hub(dict, lambda: [{"meter": "a", "t": times[0]}])
    times = [5]
    assert b"event: reading" in hub._news()
    assert hub._news() == b""
    times[0] = 4
    assert hub._news() == b""
    times[0] = 6
    assert b'"t":6' in hub._news()


def test_however_many_different_questions_leave_nothing_behind(world):
    paths = (
        "/api/stats?start={start}&end={end}",
        "/api/readings?points=50&start={start}&end={end}",
        "/api/compare?a_start={start}&a_end={end}&b_start={end}&b_end={later}",
        "/api/summary?meter={start}",
    )

    def ours_after(numbers):
        """How many objects of our own there are after so many different questions."""
        for number in numbers:
            start = START + number * 977_777
            times = {"start": start, "end": start + HOUR_MS + number, "later": start + DAY_MS}
            for path in paths:
                assert world.get(path.format(**times)).status_code in (200, 404)
        gc.collect()
        return Counter(
            type(one).__qualname__
            for one in gc.get_objects()
            if str(type(one).__module__).startswith("wattlog_host.")
        )

    before = ours_after(range(3))
    assert len(before) > 20
    assert ours_after(range(3, 15)) - before == Counter()


# --- the document ----------------------------------------------------------------------------


def test_every_address_and_parameter_is_in_the_document(world):
    paths = world.json("/api/openapi.json")["paths"]
    served = {
        route.path
        for route in world.app.routes
        if route.path.startswith(("/api/", "/status", "/events"))
    }
    assert served - {"/api/openapi.json"} == set(paths)
    for question in QUESTIONS:
        described = {one["name"]: one for one in paths[question.path]["get"]["parameters"]}
        assert set(described) == {parameter.name for parameter in question.parameters}
    assert "Berlin" not in json.dumps(paths)


def test_an_example_of_the_document_is_understood(world):
    for path, act in world.json("/api/openapi.json")["paths"].items():
        # Here solar is switched off; test_dess_web has one where it is on.
        if path in ("/api/stream", "/events") or path.startswith("/api/solar"):
            continue
        for parameter in act["get"]["parameters"]:
            needed = {"start": "2026-11-01", "end": "2026-11-28"} if path == "/api/stats" else {}
            if parameter["name"][:2] in ("a_", "b_"):
                needed = {
                    "a_start": "2026-11-01",
                    "a_end": "2026-12-01",
                    "b_start": "2026-11-05",
                    "b_end": "2026-12-01",
                }
            if path == "/api/compare" and parameter["name"] == "meter":
                needed = {"preset": "previous_day"}
            if parameter["name"] in ("channel", "after", "energy"):
                needed = {"points": 100}
            asked = {**needed, parameter["name"]: parameter["example"]}
            if parameter["name"] == "start" and path != "/api/stats":
                asked["end"] = "2026-11-29"
            assert world.get(path, **asked).status_code == 200, (
                path,
                asked,
                world.get(path, **asked).text,
            )


def test_a_stranger_gets_what_the_document_says_of_strangers(world):
    door = Door(lambda: Accounts("$argon2id$", {}), is_exposed=True)
    closed = TestClient(
        make_app(world.view, world.hub, world, lambda: NOW, (), door=door),
        base_url="http://127.0.0.1",
    )
    document = world.json("/api/openapi.json")
    for path, acts in document["paths"].items():
        for method, act in acts.items():
            answer = closed.request(method, path, headers={"authorization": "Bearer wrong"})
            assert answer.status_code == 401, path
            assert answer.headers["www-authenticate"] == "Bearer"
            said = act["responses"]["401"]["content"]["application/json"]["schema"]
            assert said == {"$ref": "#/components/schemas/Error"}
            assert Draft202012Validator(document["components"]["schemas"]["Error"]).is_valid(
                answer.json()
            )
            schemes = document["components"]["securitySchemes"]
            wanted = act.get("security", document["security"])
            assert all(name in schemes for one in wanted for name in one)
    assert closed.get("/api/openapi.json").status_code == 401


def test_answers_have_the_form_of_the_document(world, pair, empty):
    document = world.json("/api/openapi.json")
    span = "?start=2026-10-01&end=2026-12-01"
    asked = ["/status", "/api/gaps", "/api/live_power", "/api/meters", "/api/readings?points=50", "/api/readings",
             "/api/readings?points=50&channel=import_wh", f"/api/stats{span}", f"/api/energy{span}", f"/api/energy_summary{span}",
             "/api/summary", "/api/days", "/api/days?year=2026", "/api/tariffs", "/api/compare?preset=previous_week"]  # fmt: skip
    for one in (world, pair, empty):
        for path in asked:
            if one is empty and "compare" in path:
                continue
            schema = document["paths"][path.partition("?")[0]]["get"]["responses"]["200"][
                "content"
            ]["application/json"]["schema"]
            errors = list(Draft202012Validator(schema).iter_errors(one.json(path)))
            assert errors == [], (path, errors[:1])


@pytest.fixture(scope="module")
def described():
    few = ApiWorld({1: steady(NOW - 3 * DAY_MS, NOW, 10 * MINUTE_MS, export_wh=5)}, NOW)
    return schemathesis.openapi.from_asgi("/api/openapi.json", few.app)


def test_no_question_of_the_document_breaks_it(described):
    """Each address with what its document allows, and with what it does not."""
    tried = 0
    for found in described.get_all_operations():
        operation = found.ok()
        # Solar's are asked in test_dess_web.py, where there are inverters.
        if operation.path in ("/api/stream", "/events") or "solar" in operation.path:
            continue
        for mode in GenerationMode:

            @given(operation.as_strategy(generation_mode=mode))
            @settings(
                max_examples=8,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            def ask(case):
                answer = case.call()
                assert answer.status_code < 500, answer.text
                if answer.status_code != 405:
                    # That start lies before end, and a day exists, the document cannot say.
                    case.validate_response(answer, excluded_checks=[positive_data_acceptance])

            try:
                ask()
            except Unsatisfiable:
                continue  # there is nothing wrong to ask
            tried += 1
    assert tried > len(QUESTIONS)
