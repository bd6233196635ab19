"""What the upper plot can show beside the power: phases, voltage, current, frequency."""

import re

import pytest

import standin
import standin_server
from browser_helpers import expect, ink, part, ready_again, tall
from layers import ROOT
from wattlog.channels import GAUGE, all_channels

TABLE = ROOT / "host/wattlog_host/web/static/js/quantities.js"


def choose(page, name):
    page.locator("#quantity").select_option(name)
    ready_again(page)


def offered(page):
    return page.locator("#quantity option").evaluate_all("all => all.map((one) => one.value)")


def test_every_gauge_that_a_meter_can_send_has_its_place():
    phases = re.sub(
        r'byPhase\("(\w+)", "(\w+)"\)',
        lambda found: " ".join(f'"{found[1]}_l{phase}_{found[2]}"' for phase in (1, 2, 3)),
        TABLE.read_text(),
    )
    shown = set(re.findall(r'"(\w+)"', phases))
    # The server tells power_avg_w where there is no power_w.
    wanted = {one.key for one in all_channels() if one.kind == GAUGE} - {"power_avg_w"}
    assert wanted - shown == set()


def test_the_voltage_of_each_phase_is_a_line_with_a_switch(visitor, house, screenshot):
    page = visitor.open(house)
    assert offered(page) == ["power", "phases", "voltage", "current", "frequency"]
    assert ink(page, "power", colour="energy") == 0
    house.asked.clear()
    choose(page, "voltage")
    expect(page.locator("#power-unit")).to_have_text("Spannung in V")
    asked = {one for one in house.asked if "channel=" in one}
    assert {re.search(r"channel=(\w+)", one)[1] for one in asked} == {
        "voltage_l1_v", "voltage_l2_v", "voltage_l3_v",
    }  # fmt: skip
    for colour in ("power", "energy", "sent"):
        assert ink(page, "power", colour=colour) > 50, colour
    # The axis lies around the values: from nothing on they would be one flat line.
    assert tall(page, "power", "power") > 0.25
    page.mouse.move(*part(page, 0.5))
    said = page.locator("#readout").inner_text()
    for name in ("L1", "L2", "L3"):
        assert re.search(name + r" 23\d,\d V \(23\d,\d – 23\d,\d\)", said), said
    page.mouse.move(5, 5)
    # Power has an average of its own and a fixed axis, a voltage has neither.
    expect(page.locator("#axis-label")).to_be_hidden()
    expect(page.locator("[data-trace=average]")).to_be_hidden()
    expect(page.locator("[data-trace=power]")).to_be_hidden()
    screenshot(page, "voltage")
    page.get_by_role("button", name="L2", exact=True).click()
    assert ink(page, "power", colour="energy") == 0
    assert ink(page, "power", colour="sent") > 50
    page.reload()
    expect(page.locator("#quantity")).to_have_value("voltage")
    expect(page.get_by_role("button", name="L2", exact=True)).to_have_attribute(
        "aria-pressed", "false"
    )
    ready_again(page)
    assert ink(page, "power", colour="energy") == 0


def test_numbers_are_of_the_quantity_that_is_shown(visitor, house):
    page = visitor.open(house)
    ready_again(page)
    power = page.locator("[data-stat=max] strong").inner_text()
    choose(page, "voltage")
    start, end = house.now_ms - standin.DAY_MS, house.now_ms
    query = {"start": start, "end": end, "points": 1000, "after": -1, "now_ms": house.now_ms}
    curves = {
        f"L{phase}": standin.columns(**query, channel=f"voltage_l{phase}_v") for phase in (1, 2, 3)
    }
    highest = {name: max(one["max"]) for name, one in curves.items()}
    name = max(highest, key=highest.get)
    tile = page.locator("[data-stat=max]")
    expect(tile.locator("strong")).to_have_text(re.compile(r"^23\d,\d V$"))
    expect(tile.locator(".quiet")).to_have_text(name)
    expect(page.locator("[data-stat=avg] .quiet")).to_have_text(
        re.compile(r"^L1 23\d,\d · L2 23\d,\d · L3 23\d,\d$")
    )
    # The line that is switched off is in no number.
    page.get_by_role("button", name=name, exact=True).click()
    expect(tile.locator(".quiet")).not_to_have_text(name)
    choose(page, "frequency")
    expect(tile.locator("strong")).to_have_text(re.compile(r"^50,0\d Hz$"))
    expect(tile.locator(".quiet")).to_have_text("")
    expect(page.get_by_role("button", name="Frequenz")).to_be_visible()
    choose(page, "power")
    expect(tile.locator("strong")).to_have_text(power)


def test_a_quantity_goes_on_with_what_is_new(visitor, house, wait_until):
    page = visitor.open(house)
    choose(page, "current")
    page.keyboard.press("1")
    ready_again(page)
    house.asked.clear()
    page.evaluate(
        "() => { const real = performance.now.bind(performance); const from = real(); performance.now = () => from + (real() - from) * 60; }"
    )

    def fetched():
        house.tick()
        page.evaluate("() => 0")
        return [one for one in house.asked if "channel=current" in one]

    first = wait_until(fetched)
    assert all("after=" in one and "points=" in one for one in first)


def test_of_several_meters_only_powers_are_summed(visitor, serve):
    house = serve(dict(list(standin_server.MANY.items())[:2]))
    page = visitor.open(house)
    assert offered(page) == ["power", "phases"]
    # Nor have they one reading.
    expect(page.locator("[data-trace=meter]")).to_be_hidden()
    page.locator("#meter").select_option(index=1)
    ready_again(page)
    page.locator("[data-trace=meter]").click()
    expect(page.locator("#plot-power .u-axis")).to_have_count(3)
    choose(page, "voltage")
    # What the house cannot show is not kept when it is chosen again.
    page.locator("#meter").select_option("")
    expect(page.locator("#quantity")).to_have_value("power")
    expect(page.locator("#power-unit")).to_have_text("Leistung in W")
    expect(page.locator("#plot-power .u-axis")).to_have_count(2)


@pytest.mark.parametrize("size", ["phone", "desktop"])
def test_keys_say_the_lines(visitor, house, size):
    page = visitor.open(house, size=size)
    choose(page, "phases")
    page.locator("#plots").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#spoken")).to_have_text(re.compile(r"L1 .*W.*L2 .*W.*L3 .*W"))
    wide = page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0
