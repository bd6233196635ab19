"""House, solar and battery on a sunny day with export, before a simulated cloud and a real page."""

import re

import pytest

from browser_helpers import expect, ink
from serving import serving
from sunny_house import DAY_MS, SunnyHouse
from wattlog_host.dess.transport import Limits


@pytest.fixture(scope="module")
def sunny(tmp_path_factory):
    made = SunnyHouse(tmp_path_factory.mktemp("sunny"), limits=Limits(connect_s=5.0, total_s=5.0))
    yield made
    made.close()


@pytest.fixture
def host(sunny, visitor):
    with serving(sunny.app) as server:
        yield server
        visitor.close()


def drawn(page):
    page.locator("#bars[aria-busy=false]").wait_for()
    expect(page.locator("#link")).to_have_text("live")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_the_house_fits_and_is_kept_as_a_picture(visitor, host, screenshot, size, theme):
    page = visitor.open(host, "/house", size=size, theme=theme, wait=False)
    drawn(page)
    assert ink(page, "production", colour="sun") > 500
    assert ink(page, "production", colour="sent") > 500
    assert ink(page, "production", colour="power") > 100
    assert ink(page, "consumption", colour="mains") > 500
    assert ink(page, "consumption", colour="power") == 0  # the battery gives in the evening
    shares = page.locator("#shares .scroll")
    assert shares.evaluate("(one) => one.scrollWidth - one.clientWidth") <= 0, "no figure is cut"
    wide = page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0, "the page is wider than the window"
    screenshot(page, f"house-{size}-{theme}")


@pytest.mark.parametrize("size", ["desktop", "phone"])
@pytest.mark.parametrize("has_script", [True, False])
def test_the_dashboard_says_where_the_power_comes_from(
    visitor, host, sunny, screenshot, size, has_script
):
    page = visitor.open(host, "/", size=size, wait=False, java_script_enabled=has_script)
    load_w = sum(one.load_w for one in sunny.moment(sunny.now_ms() - 60_000))
    parts = [
        int(re.sub(r"\D", "", page.locator(f"#origin-{name}").inner_text()))
        for name in ("house", "solar", "battery", "grid")
    ]
    assert parts[0] == pytest.approx(load_w, abs=5)
    assert parts[0] == pytest.approx(sum(parts[1:]), abs=2)
    assert float(page.locator("#origin rect.of-solar").get_attribute("width")) > 99
    expect(page.locator("#origin-age")).to_contain_text("min")
    if has_script:
        screenshot(page, f"origin-{size}")
    page.locator("#origin").click()
    page.wait_for_url("**/house")


def test_where_the_power_comes_from_is_not_said_of_what_is_old(visitor, host, sunny):
    page = visitor.open(host, "/", wait=False)
    expect(page.locator("#origin")).to_be_visible()
    page.clock.install()
    page.reload()
    expect(page.locator("#origin")).to_be_visible()
    page.route(
        "**/api/solar/flow*", lambda route: route.fulfill(json={"flows_w": None, "stale": True})
    )
    page.clock.run_for(61_000)
    expect(page.locator("#origin")).to_be_hidden()


def test_who_feeds_whom_is_what_the_meters_and_inverters_say(visitor, host, sunny):
    page = visitor.open(host, "/house", wait=False)
    drawn(page)
    true = sunny.moment(sunny.now_ms() - 60_000)
    solar, load = (sum(getattr(one, name) for one in true) for name in ("solar_w", "load_w"))
    shown = {
        name: int(re.sub(r"\D", "", page.locator(f"[data-power={name}] strong").inner_text()))
        for name in ("solar", "house", "grid")
    }
    assert shown["solar"] == pytest.approx(solar, abs=5)
    assert shown["house"] == pytest.approx(load, abs=5)
    assert shown["grid"] == pytest.approx(solar - load, abs=5)
    expect(page.locator("[data-power=grid]")).to_contain_text("ins Netz")
    expect(page.locator("[data-flow=solar_to_grid]")).to_have_class(re.compile(r"\bon\b"))
    expect(page.locator("[data-flow=solar_to_grid] text")).to_contain_text("W")
    expect(page.locator("[data-flow=grid_to_house]")).not_to_have_class(re.compile(r"\bon\b"))
    expect(page.locator("#now-flow")).not_to_have_class(re.compile("stale"))


def test_without_javascript_all_numbers_are_there_and_the_same(visitor, host):
    full = visitor.open(host, "/house", wait=False)
    drawn(full)
    bare = visitor.open(host, "/house", wait=False, java_script_enabled=False)
    expect(bare.locator("#bars noscript, #bars .message").first).to_be_attached()
    for place in ("#flow .node", "#flow .line", ".powers > div", "#shares-table tr", ".fleet li"):
        texts = [
            [re.sub(r"\s+", " ", text) for text in page.locator(place).all_text_contents()]
            for page in (bare, full)
        ]
        assert texts[0] == texts[1], place
    expect(bare.locator("[data-share=month] [data-cell=autarky]")).to_have_text(
        re.compile(r"\d+.%")
    )
    bare.goto(host.url + "/")
    bare.get_by_role("link", name="Haus", exact=True).click()
    expect(bare.locator("#flow-title")).to_have_text("Energiefluss")


def test_bars_of_a_day_a_month_and_a_year(visitor, host):
    page = visitor.open(host, "/house", wait=False)
    drawn(page)
    expect(page.locator("#bars-label")).to_have_text("Di 16. Juni 2026")
    page.locator("#bars details summary").click()
    # The hours up to now; of the last one only a part is known.
    expect(page.locator("#bars-rows tr")).to_have_count(14)
    page.locator("#bars-earlier").click()
    expect(page.locator("#bars-label")).to_have_text("Mo 15. Juni 2026")
    expect(page.locator("#bars-rows tr")).to_have_count(24)
    assert ink(page, "consumption", colour="power") > 300
    page.locator("[data-bars=month]").click()
    expect(page.locator("#bars-label")).to_have_text("Juni 2026")
    expect(page.locator("#bars-rows tr")).to_have_count(4)
    page.locator("[data-bars=year]").click()
    expect(page.locator("#bars-rows tr")).to_have_count(1)
    page.locator("#bars-earlier").click()
    expect(page.locator("#bars-empty")).to_be_visible()
    page.locator("#bars-later").click()
    page.locator("[data-bars=day]").click()
    drawn(page)
    box = page.locator("#plot-production .u-over").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 12.5 / 24, box["y"] + 20)
    expect(page.locator("#bars-readout")).to_contain_text("12:00–13:00")
    expect(page.locator("#bars-readout")).to_contain_text("ins Netz")
    page.mouse.move(box["x"] + box["width"] * 20.5 / 24, box["y"] + 20)
    expect(page.locator("#bars-readout")).to_contain_text("nichts bekannt")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_a_device_has_all_its_readings_and_their_history(
    visitor, host, sunny, screenshot, size, theme
):
    page = visitor.open(host, f"/house/{sunny.dess.cloud.devices[0].sn}", size, theme, wait=False)
    page.locator("#history[aria-busy=false] canvas").wait_for()
    expect(page.locator("#link")).to_have_text("live")
    expect(page.locator("#history-title")).to_contain_text("Solarleistung")
    told = sunny.dess.view.readings[sunny.dess.cloud.devices[0].sn]
    expect(page.locator("#sensors tr[data-channel]")).to_have_count(len(told))
    expect(page.locator("#diagnostics tr").first).to_be_hidden()
    assert ink(page, "history", colour="power") > 100
    wide = page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0, "the page is wider than the window"
    screenshot(page, f"device-{size}-{theme}")
    page.locator("#diagnostics summary").click()
    expect(page.locator("tr[data-channel=output_priority] [data-cell=value]")).to_contain_text(
        "Solar"
    )
    page.locator("[data-show=battery_power]").click()
    expect(page.locator("#history-title")).to_contain_text("Batterieleistung")
    page.locator("[data-span=week]").click()
    expect(page.locator("#history-title")).to_contain_text("9. Juni")
    page.locator("[data-show=operating_mode]").click()
    # A mode is no curve: its changes are a list.
    expect(page.locator("#plot-history")).to_be_hidden()
    expect(page.locator("#history-rows tr").first).to_contain_text("Hybrid operation")


def test_an_unknown_device_is_no_page(visitor, host):
    visitor.forgive("404")
    page = visitor.open(host, "/house/no", wait=False)
    expect(page.locator("body")).to_contain_text("no such device")


# What the page says of each.
HOSTILE = (
    ({"kind": "big"}, "larger than"),
    ({"kind": "drip"}, "within 1 s"),
    ({"kind": "redirect", "value": "http://evil.invalid/"}, "elsewhere"),
    ({"kind": "html"}, "is a page"),
    ({"kind": "deep"}, "JSON"),
)


def test_what_is_late_is_greyed_and_a_hostile_cloud_is_said(
    visitor, host, sunny, screenshot, monkeypatch
):
    cloud, clock = sunny.dess.cloud, sunny.dess.clock
    monkeypatch.setattr(sunny.dess.transport, "_limits", Limits(connect_s=5.0, total_s=1.0))
    page = visitor.open(host, "/house", wait=False)
    drawn(page)
    expect(page.locator("#solar-trouble")).to_be_hidden()
    for order, words in HOSTILE:
        fault = cloud.order(**order)
        clock.go(1_800_000)
        sunny.dess.cycle()
        cloud.faults.remove(fault)
        page.reload()
        drawn(page)
        expect(page.locator("#solar-trouble")).to_contain_text("Die Solar-Cloud antwortet nicht")
        expect(page.locator("#solar-trouble span")).to_contain_text(words)
    expect(page.locator("#now-flow")).to_have_class(re.compile("stale"))
    expect(page.locator("#flow-age")).to_contain_text("veraltet")
    expect(page.locator(".fleet li").first).to_contain_text("nicht verbunden")
    screenshot(page, "house-hostile")
    # What was told stays, with its age; the meter was not read at that moment: a part is missing.
    expect(page.locator("[data-power=solar] strong")).to_contain_text("W")
    clock.go(3_600_000)
    sunny.dess.run(0.2)
    page.reload()
    drawn(page)
    expect(page.locator("#solar-trouble")).to_be_hidden()
    expect(page.locator("#now-flow")).not_to_have_class(re.compile("stale"))
    expect(page.locator("[data-power=grid] strong")).to_have_text("fehlt")
    expect(page.locator("[data-power=house] strong")).to_have_text("fehlt")
    expect(page.locator("#flow-hint")).to_contain_text("nicht bekannt")
    expect(page.locator("#flow .line.on")).to_have_count(0)
    screenshot(page, "house-missing")
    assert clock.wall_ms < sunny.now_ms() + DAY_MS
