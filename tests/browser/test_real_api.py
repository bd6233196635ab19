"""The page before the host's own API; and the stand-in answers as that does."""

from pathlib import Path

import pytest

import standin
import standin_server
from api_world import BERLIN, ApiWorld
from browser_helpers import expect, ink, ready_again
from memory_history import EXPORT, IMPORT, POWER, WH, W
from serving import serving
from wattlog_host.history.tariff import Tariff

STEP_MS = 240_000
DAYS = 20


def house_rows():
    """What the stand-in's house would have sent, every four minutes."""
    rows = []
    for at in range(standin.NOW_MS - DAYS * standin.DAY_MS, standin.NOW_MS + 1, STEP_MS):
        if standin.GAP[0] <= at < standin.GAP[1]:
            continue
        taken, given = standin.counters(at)
        values = {
            POWER: round(standin.power_w(at) * W),
            IMPORT: round(taken * 1000) * WH,
            EXPORT: round(given * 1000) * WH,
        }
        rows.append((at, values))
    return rows


@pytest.fixture(scope="module")
def world():
    from datetime import date
    from decimal import Decimal

    tariff = Tariff(date(2026, 1, 1), None, Decimal("31.02"), Decimal(8), Decimal(120))
    return ApiWorld({1: house_rows()}, standin.NOW_MS + 1000, BERLIN, (tariff,))


@pytest.fixture
def host(world, visitor):
    """The application in a thread, as a server."""
    with serving(world.app) as server:
        yield server
        visitor.close()


def test_the_page_shows_what_the_host_knows(visitor, host, world, screenshot):
    page = visitor.open(host)
    expect(page.locator("#link")).to_have_text("live")
    expect(page.locator("#now-watts")).to_have_text("1.067")
    expect(page.locator("[data-stat=energy] strong")).to_contain_text("kWh")
    assert ink(page, "power") > 200 and ink(page, "energy") > 1000
    periods = world.json("/api/summary")["periods"]
    today = f"{periods['today']['import_kwh']:.2f}".replace(".", ",")
    expect(page.locator("[data-period=today] [data-cell=kwh]")).to_have_text(today)
    expect(page.locator("#days-rows tr")).not_to_have_count(0)
    expect(page.locator("#compare-rows tr")).not_to_have_count(0)
    for key in "13452":
        page.keyboard.press(key)
        ready_again(page)
        expect(page.locator("#chart-message")).to_be_hidden()
        expect(page.locator("[data-stat=energy] strong")).to_contain_text("kWh")
    page.locator("[data-trace=meter]").click()
    ready_again(page)
    for preset in ("previous_day", "previous_month", "same_month_last_year"):
        page.locator("#compare-preset").select_option(preset)
        expect(page.locator("#compare-result")).to_have_attribute("aria-busy", "false")
    expect(page.locator("#compare-hint")).to_contain_text("wurde nichts gemessen")
    page.locator("[data-archive=year]").click()
    expect(page.locator("#days-rows tr")).to_have_count(1)
    with page.expect_download() as found:
        page.get_by_role("link", name="CSV").click()
    lines = Path(found.value.path()).read_text().splitlines()
    assert lines[0].startswith("date,import_kwh") and lines[1].startswith("2026-10,")
    screenshot(page, "real-desktop")


def test_the_first_numbers_come_with_the_page(visitor, host, world):
    page = visitor.open(host, wait=False, java_script_enabled=False)
    periods = world.json("/api/summary")["periods"]
    today = f"{periods['today']['import_kwh']:.2f}".replace(".", ",")
    expect(page.locator("[data-now='today.kwh']")).to_have_text(today)
    expect(page.locator("#days-rows tr")).to_have_count(7)


SPAN = f"start={standin.NOW_MS - standin.DAY_MS}&end={standin.NOW_MS}"
QUESTIONS = (
    "/api/meters",
    f"/api/readings?{SPAN}&points=300",
    f"/api/readings?start={standin.NOW_MS - 3_600_000}&end={standin.NOW_MS}",
    f"/api/readings?{SPAN}&points=300&channel=import_wh",
    f"/api/energy?{SPAN}&per=hour",
    f"/api/stats?{SPAN}",
    f"/api/energy_summary?{SPAN}",
    "/api/summary",
    "/api/compare?preset=previous_week",
    "/api/days?month=2026-10",
    "/api/days?year=2026",
)


def shape(data):
    """Names and kinds, without how many and how much."""
    if isinstance(data, dict):
        return {name: shape(value) for name, value in data.items()}
    if isinstance(data, list):
        found = [shape(value) for value in data]
        return [next((one for one in found if one is not None), None)]
    if isinstance(data, bool) or data is None or isinstance(data, str):
        return None if data is None else type(data).__name__
    return "number"


def missing(wanted, found, where=""):
    """What the first has and the second lacks."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        lost = [f"{where}.{name}" for name in wanted if name not in found]
        both = [name for name in wanted if name in found]
        return lost + [
            one for name in both for one in missing(wanted[name], found[name], f"{where}.{name}")
        ]
    if isinstance(wanted, list) and isinstance(found, list):
        return missing(wanted[0], found[0], f"{where}[]")
    return [] if None in (wanted, found) or wanted == found else [f"{where}: {wanted}, {found}"]


@pytest.mark.parametrize("path", QUESTIONS, ids=lambda path: path.partition("start")[0][5:])
def test_the_stand_in_says_nothing_that_the_api_does_not(world, path):
    import httpx2

    answer = world.client.get(path)
    assert answer.status_code == 200, answer.text
    with standin_server.running() as server:
        stood = httpx2.get(server.url + path).json()
    # Both kinds of curve are one answer of the stand-in.
    extra = {".first", ".last", ".rise", ".min", ".mean", ".max", ".energy_wh"}
    assert set(missing(shape(stood), shape(answer.json()))) - extra == set()
