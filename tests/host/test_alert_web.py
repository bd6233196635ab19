"""What may be done about alerts on the page, and by whom."""

import asyncio

import jsonschema_rs
import pytest

from access_world import NOW_MS, OURS, House
from alert_world import FAST, HOUR_MS, World
from wattlog_host.access import passwords
from wattlog_host.web import schemas
from wattlog_host.web.languages import words

PASSWORD = "correct horse battery"
DISMISSED = f"silent {FAST.hex()}"


@pytest.fixture(scope="module")
def hashed():
    return passwords.hashed(PASSWORD)


@pytest.fixture
def world(tmp_path):
    """A house in which a meter is silent."""
    w = World(tmp_path)

    async def act():
        await w.run(4 * HOUR_MS)
        w.silent.add(FAST)
        await w.run(HOUR_MS)

    asyncio.run(act())
    return w


@pytest.fixture
def house(tmp_path, world, hashed):
    (tmp_path / "web").mkdir()
    made = House(tmp_path / "web", world.alerts)
    made.view.alerts = world.view.alerts
    made.kept.change(lambda data: data.update(password=hashed))
    made.start()
    assert made.login(PASSWORD).status_code == 303
    return made


def post(house, path, headers=OURS, **form):
    return house.visitor.post(path, data=form, headers=headers)


def test_the_page_shows_what_stands_and_what_was_told(house):
    for language in ("en", "de"):
        text = house.visitor.get(f"/state?lang={language}").text
        for key in ("alert.title", "alert.dismiss", "alert.try", "alert.messages"):
            assert words(language)[key] in text
        assert text.count("1 ISK00 53946681") >= 2
    assert house.visitor.get("/status").json()["alerts"] == house.view.alerts
    assert house.view.alerts["standing"] == 1


def test_the_api_says_the_same_in_the_language_asked_for(house):
    english = house.visitor.get("/api/alerts").json()
    german = house.visitor.get("/api/alerts?lang=de").json()
    jsonschema_rs.validate(schemas.ALERTS, english)
    assert english["standing"][0]["key"] == DISMISSED
    assert english["standing"][0]["text"].startswith("Meter 1 ISK00")
    assert german["messages"][0]["text"].startswith("Zähler 1 ISK00")
    assert house.visitor.get("/api/alerts?lang=fr").status_code == 400


def test_a_test_goes_to_each_target_and_then_not_for_a_while(house, world):
    csrf = house.csrf()
    answer = post(house, "/alerts/test", csrf=csrf)
    assert (answer.status_code, answer.headers["location"]) == (303, "/state#alerts")
    assert world.sent[-1][1] == words("en")["alert.test"]
    soon = post(house, "/alerts/test", csrf=csrf)
    assert soon.status_code == 429 and soon.headers["retry-after"] == "30"
    world.mono_ms += 30_000
    assert post(house, "/alerts/test", csrf=csrf).status_code == 303
    assert len(world.sent) == 3


def test_a_meter_is_dismissed(house):
    csrf = house.csrf()
    assert post(house, "/alerts/dismiss", csrf=csrf, key="silent 00").status_code == 404
    assert post(house, "/alerts/dismiss", csrf=csrf).status_code == 404
    assert post(house, "/alerts/dismiss", csrf=csrf, key=DISMISSED).status_code == 303
    assert house.visitor.get("/api/alerts").json()["standing"] == []


STRANGERS = (
    ("without the token of the form", OURS, {}, 403),
    ("from another page", {"origin": "https://elsewhere.example"}, {"csrf": True}, 403),
)


@pytest.mark.parametrize("path", ["/alerts/test", "/alerts/dismiss"])
@pytest.mark.parametrize(
    ("headers", "form", "status"), [s[1:] for s in STRANGERS], ids=[s[0] for s in STRANGERS]
)
def test_no_other_page_can_do_it(house, world, path, headers, form, status):
    form = {"key": DISMISSED, **({"csrf": house.csrf()} if form else {})}
    sent = len(world.sent)
    assert post(house, path, headers, **form).status_code == status
    assert house.visitor.get(path).status_code == 405
    assert len(world.sent) == sent and len(world.alerts.shown(None_())["standing"]) == 1


class None_:
    """Says nothing."""

    def text(self, *_, **__):
        return ""

    moment = span = size = term = number = exact = text


@pytest.mark.parametrize("path", ["/alerts/test", "/alerts/dismiss"])
def test_a_guest_may_look_and_do_nothing(tmp_path, world, path):
    """Nor may anybody where there is no password: nobody would know who it was."""
    (tmp_path / "web").mkdir()
    house = House(tmp_path / "web", world.alerts)
    text = house.visitor.get("/state").text
    assert "alerts/test" not in text and "wattlog-host alerts test" in text
    sent = len(world.sent)
    assert post(house, path, key=DISMISSED).status_code == 403
    assert len(world.sent) == sent
    assert house.now_ms == NOW_MS
