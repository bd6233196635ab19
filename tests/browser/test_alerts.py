"""Alerts on the state page: what stands, the test, what is dismissed; wide and narrow."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from alert_world import FAST, HOUR_MS, SLOW, World
from browser_helpers import expect
from wattlog_host.access import passwords
from wattlog_host.access.accounts import Accounts
from wattlog_host.alerts.config import Quiet
from wattlog_host.web.door import Door

PASSWORD = "correct horse battery"
LOOKS = [("desktop", "light", "de"), ("desktop", "dark", "en"), ("phone", "light", "en"), ("phone", "dark", "de")]  # fmt: skip


async def trouble(world):
    await world.run(40 * HOUR_MS)
    world.lose(12)
    world.view.host.store_trouble = "disk I/O error"
    await world.run(HOUR_MS)
    world.failing = "HTTP 503"
    world.view.host.store_trouble = None
    world.silent = {FAST, SLOW}
    await world.run(5 * HOUR_MS)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A house in which much was told."""
    made = World(tmp_path_factory.mktemp("alerts"), quiet=Quiet(22 * 60, 7 * 60))
    # The browser's own loop is in this thread.
    with ThreadPoolExecutor(1) as other:
        other.submit(lambda: asyncio.run(trouble(made))).result()
    return made


@pytest.fixture(scope="module")
def hashed():
    return passwords.hashed(PASSWORD)


@pytest.fixture
def closed(told, hashed, serve):
    server = serve(door=Door(lambda: Accounts(hashed, {}), is_exposed=True), alarms=told.alerts)
    server.view.alerts = told.view.alerts
    return server


def enter(page):
    page.locator("#password").fill(PASSWORD)
    page.locator("button").click()
    page.locator("#link.live").wait_for()


@pytest.mark.parametrize(("size", "theme", "language"), LOOKS)
def test_the_block_is_whole_and_fits(visitor, closed, screenshot, size, theme, language):
    page = visitor.open(closed, "/state", size, theme, language, wait=False)
    enter(page)
    block = page.locator("#alerts")
    expect(block.locator(".standing")).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    expect(block.locator(".failed")).to_contain_text("HTTP 503")
    screenshot(page, f"alerts-{size}-{theme}")


def test_one_tries_and_dismisses(visitor, closed, told):
    page = visitor.open(closed, "/state", language="en", wait=False)
    enter(page)
    told.failing = None
    sent = len(told.sent)
    page.get_by_role("button", name="Send a test message").click()
    page.wait_for_url("**/state#alerts")
    expect(page.locator("#alerts .targets")).to_contain_text("works")
    assert told.sent[sent][1] == "This is a test: alerts reach you here."
    page.get_by_role("button", name="Dismiss").first.click()
    expect(page.locator("#alerts .standing")).to_have_count(1)


def test_news_of_alerts_come_by_themselves(visitor, house):
    page = visitor.open(house, "/state", language="en", wait=False)
    page.locator("#link.live").wait_for()
    expect(page.locator("#alerts")).to_contain_text("Nothing is wrong")
    expect(page.locator("#alerts")).to_contain_text("Messages go nowhere yet")
    house.view.alerts = {"standing": 0, "mark": 7}
    house.hang_up()  # it connects again, and hears of it
    expect(page.locator("#alerts")).to_have_attribute("data-alerts", "7")


def test_the_dashboard_says_that_something_is_wrong_and_leads_there(visitor, house, screenshot):
    page = visitor.open(house)
    line = page.locator("#trouble-alerts")
    expect(line).to_be_hidden()
    house.view.alerts = {"standing": 2, "mark": 8}
    house.grow_old(1)
    expect(line).to_be_visible()
    expect(line).to_have_text("Meldungen: 2")
    expect(line.locator("a")).to_have_attribute("href", "/state#alerts")
    screenshot(page, "alerts-on-the-dashboard")
    house.view.alerts = {"standing": 0, "mark": 9}
    house.grow_old(1)
    expect(line).to_be_hidden()
