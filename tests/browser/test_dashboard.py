"""The dashboard as people use it: looking, choosing a time, reading values, keys and fingers."""

import re

import pytest

import standin
from browser_helpers import (
    drag,
    expect,
    ink,
    label,
    part,
    pinch,
    ready_again,
    scroll_to,
    tap,
    value_of,
)

DAY = "So 25. Okt., 18:07 – Mo 26. Okt. 2026, 18:07"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", ["desktop", "tablet", "phone"])
def test_the_whole_page_fits_and_is_kept_as_a_picture(visitor, house, screenshot, size, theme):
    page = visitor.open(house, size=size, theme=theme)
    expect(page.locator("#now-watts")).to_have_text("1.067")
    expect(page.locator("#range-label")).to_have_text(DAY)
    expect(page.locator("#days-total th")).to_have_text("Summe")
    expect(page.locator("#compare-rows tr")).not_to_have_count(0)
    assert ink(page, "power") > 200 and ink(page, "energy") > 2000
    # What was sent hangs below the line of nothing.
    assert ink(page, "energy", colour="sent") > 2000
    wide = page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0, "the page is wider than the window"
    # Whatever a table has to say can be seen without pushing it.
    page.get_by_text("Als Tabelle", exact=True).click()
    cut = page.evaluate(
        "() => [...document.querySelectorAll('.scroll')].filter((one) => one.scrollWidth > one.clientWidth).map((one) => [one.firstElementChild.id, one.scrollWidth, one.clientWidth])"
    )
    assert cut == []
    page.get_by_text("Als Tabelle", exact=True).click()
    # The current number is what a phone shows first.
    assert page.locator("#now-watts").bounding_box()["y"] < 200
    screenshot(page, f"{size}-{theme}")


def test_without_javascript_the_first_numbers_are_there(visitor, house):
    page = visitor.open(house, wait=False, java_script_enabled=False)
    expect(page.locator("#now-watts")).to_have_text("1.067")
    expect(page.locator("[data-now='today.kwh']")).to_have_text("3,98")
    row = page.locator("[data-period=this_month]")
    expect(row.locator("[data-cell=kwh]")).to_have_text("232,5")
    expect(row.locator("[data-cell=cost]")).to_have_text("69,90\u00a0€")
    expect(page.locator("#days-rows tr")).to_have_count(7)
    expect(page.locator("#days-rows tr").first).to_contain_text("Mo 26. Okt.")


def test_server_and_script_write_the_same_numbers(visitor, house):
    bare = visitor.open(house, wait=False, java_script_enabled=False)
    full = visitor.open(house)
    expect(full.locator("#days-total th")).to_be_visible()
    for place in ("#periods tbody", "#peaks", "#base-load", "#now .tiles"):
        texts = [
            [re.sub(r"\s+", " ", text) for text in page.locator(place).all_inner_texts()]
            for page in (bare, full)
        ]
        assert texts[0] == texts[1], place


RANGES = (
    ("1", "hour", "Mo 26. Okt. 2026, 17:07–18:07"),
    ("2", "day", DAY),
    # The week in which summer time ended is an hour longer by the clock.
    ("3", "week", "Mo 19. Okt., 19:07 – Mo 26. Okt. 2026, 18:07"),
    ("4", "month", "Sa 26. Sep., 19:07 – Mo 26. Okt. 2026, 18:07"),
    ("5", "year", "26. Okt. 2025 – 26. Okt. 2026"),
)


@pytest.mark.parametrize(("key", "name", "text"), RANGES)
def test_a_range_is_chosen_by_key_or_button_and_remembered(visitor, house, key, name, text):
    page = visitor.open(house)
    page.keyboard.press(key)
    expect(page.locator("#range-label")).to_have_text(text)
    expect(page.locator(f"[data-range={name}]")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("[data-range][aria-pressed=true]")).to_have_count(1)
    page.locator("[data-range=week]").click()
    expect(page.locator("#range-label")).to_have_text(RANGES[2][2])
    page.locator(f"[data-range={name}]").click()
    page.reload()
    expect(page.locator("#range-label")).to_have_text(text)


def test_numbers_are_always_of_what_is_shown(visitor, house):
    page = visitor.open(house)
    ready_again(page)
    before = value_of(page, "energy")
    house.held.add("stats")
    page.keyboard.press("3")
    expect(page.locator("#range-label")).to_have_text(RANGES[2][2])
    # While they are asked for there are none: last time's would stand below this one's name.
    expect(page.locator("#stats")).to_have_attribute("aria-busy", "true")
    expect(page.locator("[data-stat=energy] strong")).to_have_text("–")
    house.release()
    expect(page.locator("#stats")).to_have_attribute("aria-busy", "false")
    assert value_of(page, "energy") != before
    start, end = house.now_ms - 7 * standin.DAY_MS, house.now_ms
    wanted = standin.stats(start, end, end)["stats"]
    assert value_of(page, "energy") == pytest.approx(wanted["energy_used_kwh"], abs=0.02)
    assert value_of(page, "export") == pytest.approx(wanted["export_kwh"], abs=0.02)
    assert value_of(page, "coverage") == int(100 * wanted["coverage"])
    assert value_of(page, "estimated") == pytest.approx(wanted["estimated_kwh"], abs=0.02)


def test_drag_selects_and_zooms_and_escape_goes_back(visitor, house):
    page = visitor.open(house)
    drag(page, 0.25, 0.5)
    expect(page.locator("#range-label")).not_to_have_text(DAY)
    # 24 h from 18:07, an hour back in the night: a quarter is six hours.
    assert re.match(r"Mo 26. Okt. 2026, 00:0\d–06:0\d", label(page))
    expect(page.locator("[data-range][aria-pressed=true]")).to_have_count(0)
    expect(page.locator("#live-mark")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(page.locator("#range-label")).to_have_text(DAY)


def test_a_small_drag_is_none_and_a_double_click_goes_back(visitor, house):
    page = visitor.open(house)
    drag(page, 0.5, 0.505)
    expect(page.locator("#range-label")).to_have_text(DAY)
    drag(page, 0.2, 0.3)
    expect(page.locator("#range-label")).not_to_have_text(DAY)
    x, y = part(page, 0.5)
    page.mouse.dblclick(x, y)
    expect(page.locator("#range-label")).to_have_text(DAY)


def test_wheel_with_ctrl_zooms_and_without_it_the_page_scrolls(visitor, house):
    page = visitor.open(house)
    x, y = part(page, 0.5)
    page.mouse.move(x, y)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -400)
    page.keyboard.up("Control")
    expect(page.locator("#range-label")).not_to_have_text(DAY)
    assert page.evaluate("() => scrollY") == 0
    zoomed = label(page)
    page.mouse.wheel(0, 300)
    assert scroll_to(page, lambda: page.evaluate("() => scrollY") > 0)
    expect(page.locator("#range-label")).to_have_text(zoomed)


def test_shift_drag_and_the_arrows_move_through_time(visitor, house):
    page = visitor.open(house)
    page.locator("#earlier").click()
    expect(page.locator("#range-label")).to_have_text(
        "Sa 24. Okt., 19:07 – So 25. Okt. 2026, 18:07"
    )
    expect(page.locator("#later")).to_be_enabled()
    page.locator("#later").click()
    expect(page.locator("#range-label")).to_have_text(DAY)
    expect(page.locator("#later")).to_be_disabled()
    page.keyboard.down("Shift")
    drag(page, 0.2, 0.7)
    page.keyboard.up("Shift")
    assert re.match(r"So 25. Okt., 0\d:\d\d – Mo 26. Okt. 2026, 06:\d\d", label(page))


def test_the_readout_says_what_is_at_the_pointer_and_covers_nothing(visitor, house):
    page = visitor.open(house)
    page.keyboard.press("3")
    expect(page.locator("#range-label")).to_have_text(RANGES[2][2])
    ready_again(page)
    page.mouse.move(*part(page, 0.25))
    box = page.locator("#readout")
    expect(box).to_contain_text("Leistung")
    expect(box).to_contain_text("Mi 21. Okt.")
    day = standin.energy(
        standin.at("2026-10-21T00:00"), standin.at("2026-10-22T00:00"), house.now_ms
    )
    expect(box).to_contain_text(f"{day['import_kwh']:.2f} kWh".replace(".", ","))
    expect(box).to_contain_text(f"Eingespeist {day['export_kwh']:.2f} kWh".replace(".", ","))
    expect(box).to_contain_text("Üblich")
    over, said = page.locator("#plot-power .u-over").bounding_box(), box.bounding_box()
    assert said["y"] + said["height"] <= over["y"]
    page.mouse.move(5, 5)
    expect(box).to_have_text("Auf das Diagramm zeigen oder einen Bereich aufziehen")


def test_a_gap_is_a_gap_and_what_is_estimated_is_hatched(visitor, house):
    page = visitor.open(house)
    page.keyboard.press("3")
    expect(page.locator("#range-label")).to_have_text(RANGES[2][2])
    ready_again(page)
    page.locator("[data-trace=average]").click()
    span = 7 * standin.DAY_MS
    start = house.now_ms - span
    gap = [(time - start) / span for time in standin.GAP]
    assert ink(page, "power", gap[0] + 0.005, gap[1] - 0.005) == 0
    assert ink(page, "power", gap[0] - 0.05, gap[0]) > 20
    page.mouse.move(*part(page, (gap[0] + gap[1]) / 2))
    expect(page.locator("#readout")).to_contain_text("nichts gemessen")
    expect(page.locator("#readout")).to_contain_text("Geschätzt")
    page.mouse.move(5, 5)
    # Hatched is paler: of the day with the gap less is of the full colour than of the day before.
    day = 1 / 7
    whole = ink(page, "energy", gap[0] - 1.5 * day, gap[0] - 0.7 * day)
    assert 0 < ink(page, "energy", gap[0] - 0.55 * day, gap[0] + 0.2 * day) < 0.75 * whole


def test_traces_are_switched_and_remembered(visitor, house):
    page = visitor.open(house)
    button = page.get_by_role("button", name="Leistung", exact=True)
    expect(button).to_have_attribute("aria-pressed", "true")
    assert ink(page, "power") > 200
    button.click()
    page.get_by_role("button", name="Kleinste bis größte").click()
    expect(button).to_have_attribute("aria-pressed", "false")
    assert ink(page, "power") == 0
    page.get_by_role("button", name="Energie", exact=True).click()
    assert ink(page, "energy") == 0
    page.get_by_role("button", name="Zählerstand").click()
    expect(page.locator("#plot-power .u-axis")).to_have_count(3)
    ready_again(page)
    page.mouse.move(*part(page, 0.5))
    expect(page.locator("#readout")).to_contain_text("Zählerstand 17.8")
    page.reload()
    expect(page.get_by_role("button", name="Energie", exact=True)).to_have_attribute(
        "aria-pressed", "false"
    )
    ready_again(page)
    assert ink(page, "power") == 0
    expect(page.locator("#plot-power .u-axis")).to_have_count(3)


def test_the_axis_is_fixed_at_a_value_that_can_be_typed(visitor, house):
    page = visitor.open(house)
    page.keyboard.press("3")
    ready_again(page)
    field = page.locator("#axis-max")
    expect(field).to_be_hidden()
    page.locator("#axis").select_option("fixed")
    expect(field).to_have_value("2.000")
    for text, shown in (("3500,5", "3.501"), ("2.500", "2.500"), ("800", "800")):
        field.fill(text)
        field.press("Enter")
        expect(field).to_have_value(shown)
        expect(field).to_have_attribute("aria-invalid", "false")
    for text in ("", "-5", "viel", "0"):
        field.fill(text)
        field.press("Enter")
        expect(field).to_have_attribute("aria-invalid", "true")
    page.reload()
    expect(page.locator("#axis-max")).to_have_value("800")


def test_typical_is_by_thirty_days_or_by_all(visitor, house):
    page = visitor.open(house)
    texts = []
    for name in ("30d", "total"):
        page.locator("#baseline").select_option(name)
        page.mouse.move(5, 5)
        page.mouse.move(*part(page, 0.5))
        item = page.locator("#readout .trace-baseline")
        expect(item).to_be_visible()
        texts.append(item.inner_text())
    daily = standin.typical_day(house.now_ms)
    assert texts[1] == f"Üblich {daily / 24:.2f} kWh".replace(".", ",")
    assert texts[0] != texts[1]


def test_keys_read_value_by_value(visitor, house):
    page = visitor.open(house)
    page.locator("#plots").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#spoken")).to_contain_text("Mo 26. Okt., 18:0")
    expect(page.locator("#spoken")).to_contain_text("Leistung")
    said = page.locator("#spoken").inner_text()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#spoken")).not_to_have_text(said)
    page.keyboard.press("+")
    expect(page.locator("#range-label")).to_have_text("Mo 26. Okt. 2026, 00:07–12:07")
    page.keyboard.press("Shift+ArrowLeft")
    expect(page.locator("#range-label")).to_have_text(
        "So 25. Okt., 21:07 – Mo 26. Okt. 2026, 09:07"
    )
    page.keyboard.press("-")
    page.keyboard.press("Escape")
    expect(page.locator("#range-label")).to_have_text(DAY)


def test_help_tells_the_keys_and_they_rest_meanwhile(visitor, house):
    page = visitor.open(house)
    page.keyboard.press("3")
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("1")
    page.keyboard.press("Escape")
    expect(page.locator("#help")).to_be_hidden()
    expect(page.locator("#range-label")).to_have_text(RANGES[2][2])
    page.locator("#open-help").click()
    page.get_by_role("button", name="Schließen").click()
    expect(page.locator("#help")).to_be_hidden()
    page.locator("#compare-preset").focus()
    page.keyboard.press("1")
    expect(page.locator("#range-label")).to_have_text(RANGES[2][2])


# -- fingers --------------------------------------------------------------------------------


def test_one_finger_sideways_selects_and_a_double_tap_goes_back(visitor, house):
    page = visitor.open(house, size="phone")
    drag(page, 0.25, 0.5, touch=True)
    assert re.match(r"Mo 26. Okt. 2026, 0[0-6]:\d\d–0[0-6]:\d\d", label(page, DAY))
    tap(page, 0.5)
    tap(page, 0.5)
    expect(page.locator("#range-label")).to_have_text(DAY)


def test_a_tap_reads_a_value(visitor, house):
    page = visitor.open(house, size="phone")
    tap(page, 0.5)
    expect(page.locator("#readout")).to_contain_text("Leistung")


def test_two_fingers_zoom(visitor, house):
    page = visitor.open(house, size="phone")
    pinch(page, (0.45, 0.55), (0.25, 0.75))
    found = re.match(r"Mo 26. Okt. 2026, (\d\d):\d\d–(\d\d):\d\d", label(page, DAY))
    assert found and int(found[2]) - int(found[1]) in (4, 5)


def test_two_fingers_move_the_time(visitor, house):
    page = visitor.open(house, size="phone")
    page.locator("#earlier").click()
    before = label(page, DAY)
    pinch(page, (0.3, 0.5), (0.55, 0.75))
    after = label(page, before)
    # A quarter of a day back; as long as before but for the hour that came twice.
    assert re.match(r"Sa 24. Okt., 1[23]:\d\d – So 25. Okt. 2026, 1[12]:\d\d", after), after


def test_one_finger_upwards_scrolls_the_page(visitor, house):
    page = visitor.open(house, size="phone")
    drag(page, 0.5, 0.5, dy=-250, touch=True)
    assert scroll_to(page, lambda: page.evaluate("() => scrollY") > 50)
    expect(page.locator("#range-label")).to_have_text(DAY)
