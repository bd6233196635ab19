"""What comes by itself, and what the page says when nothing comes: live, old, gone, empty, slow."""

import re

import standin
import standin_server
from browser_helpers import OVER, drag, expect, label, part, ready_again

DAY = "So 25. Okt., 18:07 – Mo 26. Okt. 2026, 18:07"


def asked_for(house, name):
    return [one for one in house.asked if one.startswith(f"/api/{name}?")]


def test_a_reading_moves_number_age_and_chart(visitor, house, wait_until):
    page = visitor.open(house)
    expect(page.locator("#link")).to_have_text("live")
    page.keyboard.press("1")
    expect(page.locator("#range-label")).to_have_text("Mo 26. Okt. 2026, 17:07–18:07")
    ready_again(page)
    house.asked.clear()
    for _ in range(6):
        house.tick()
    expect(page.locator("#range-label")).to_have_text("Mo 26. Okt. 2026, 17:08–18:08")
    expect(page.locator("#now-watts")).to_have_text(
        f"{standin.power_w(house.now_ms):.0f}".replace("1", "1.", 1)
    )
    expect(page.locator("#link")).to_have_class(re.compile("flash"))
    expect(page.locator("#live-mark")).to_be_visible()
    page.mouse.move(*part(page, 0.9999))
    expect(page.locator("#readout")).to_contain_text("18:08:0")
    expect(page.locator("#link")).not_to_have_class(re.compile("flash"))

    def asked():
        house.tick()
        page.evaluate("() => 0")
        return asked_for(house, "readings")

    # What is there is not asked for again.
    assert all("after=" in one for one in wait_until(asked))


def test_new_buckets_are_asked_for_by_what_is_there(visitor, house, wait_until):
    page = visitor.open(house)
    ready_again(page)
    house.asked.clear()

    def fetched():
        house.tick()
        page.evaluate("() => 0")
        return asked_for(house, "readings")

    # No more often than half a point lasts, which is why it takes a while here.
    page.evaluate(
        "() => { const real = performance.now.bind(performance); const from = real(); performance.now = () => from + (real() - from) * 60; }"
    )
    first = wait_until(fetched)[0]
    after = int(re.search(r"after=(\d+)", first)[1])
    assert house.now_ms - after < 15 * 60_000
    assert "points=" in first


def test_what_lies_in_the_past_stays(visitor, house):
    page = visitor.open(house)
    drag(page, 0.2, 0.4)
    shown = label(page, DAY)
    ready_again(page)
    house.asked.clear()
    for _ in range(3):
        house.tick()
    expect(page.locator("#link")).to_have_class(re.compile("flash"))
    expect(page.locator("#range-label")).to_have_text(shown)
    assert asked_for(house, "readings") == []


def test_a_tab_that_nobody_sees_asks_for_nothing(visitor, house, wait_until):
    page = visitor.open(house)
    wait_until(lambda: len(house.watchers) == 1)
    hide = """(hidden) => {
      Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(hide, True)
    house.tick()
    wait_until(lambda: not house.watchers)
    expect(page.locator("#link")).to_have_text("angehalten")
    ready_again(page)
    house.asked.clear()
    house.tick(60)
    page.evaluate(hide, False)
    expect(page.locator("#link")).to_have_text("live")
    expect(page.locator("#range-label")).to_have_text(
        re.compile(r"So 25. Okt., 18:17 – Mo 26. Okt. 2026, 18:17")
    )
    expect(page.locator("#now-age")).to_have_text(re.compile(r"vor \d s"))


def test_meter_agent_and_server_are_told_apart(visitor, house):
    page = visitor.open(house)
    meter, agent, server = (page.locator(f"#chip-{name}") for name in ("meter", "agent", "server"))
    for chip in (meter, agent, server):
        expect(chip).to_have_class(re.compile("good"))
    house.grow_old(125)
    expect(page.locator("#now")).to_have_class(re.compile("stale"))
    expect(page.locator("#now-age")).to_have_text(re.compile("seit 2 min .* keine Daten"))
    expect(page.locator("#live-mark")).to_be_hidden()
    # The last known value is kept: greyed, not blanked.
    expect(page.locator("#now-watts")).to_have_text("1.067")
    expect(meter).to_have_text(re.compile("stumm"))
    expect(agent).to_have_text(re.compile("verbunden"))
    expect(server).to_have_text(re.compile("in Ordnung"))
    house.view.edges["cellar"].state = "offline"
    house.view.host.broker_trouble = "connection refused"
    house.grow_old(1)
    expect(agent).to_have_text(re.compile("getrennt"))
    expect(server).to_have_text(re.compile("gestört"))
    expect(page.locator("#trouble-broker")).to_contain_text("connection refused")
    visitor.forgive("503", "ERR_INCOMPLETE_CHUNKED_ENCODING")
    house.broken = True
    house.hang_up()
    expect(page.locator("#link")).to_have_text("Server antwortet nicht")
    expect(server).to_have_text(re.compile("keine Antwort"))
    expect(page.locator("#now-watts")).to_have_text("1.067")


def test_a_stream_that_broke_comes_back(visitor, house):
    page = visitor.open(house)
    expect(page.locator("#link")).to_have_text("live")
    visitor.forgive("ERR_INCOMPLETE_CHUNKED_ENCODING")
    house.hang_up()
    expect(page.locator("#link")).to_have_text("Server antwortet nicht")
    expect(page.locator("#link")).to_have_text("live")


def test_an_error_says_what_and_how_to_go_on(visitor, house):
    visitor.forgive("503")
    page = visitor.open(house)
    house.broken = True
    page.keyboard.press("3")
    message = page.locator("#chart-message")
    expect(message).to_contain_text("Der Server antwortet nicht: database: disk gone")
    # No number of another time stays below this one's name.
    expect(page.locator("#stats")).to_have_attribute("aria-busy", "false")
    expect(page.locator("[data-stat=energy] strong")).to_have_text("–")
    page.keyboard.press("r")
    expect(page.locator("#numbers-trouble")).to_contain_text("database: disk gone")
    expect(page.locator("#days-trouble")).to_contain_text("database: disk gone")
    expect(page.locator("#compare-hint")).to_contain_text("database: disk gone")
    expect(page.locator("#refresh")).to_be_enabled()
    house.broken = False
    page.locator("#chart-retry").click()
    expect(message).to_be_hidden()
    expect(page.locator("[data-stat=energy] strong")).to_contain_text("kWh")
    expect(page.locator("#numbers-trouble")).to_be_hidden()


def test_while_the_first_numbers_come_their_places_are_kept(visitor, serve):
    house = serve(held={"readings"}, has_figures=False)
    page = visitor.open(house, wait=False)
    expect(page.locator("#chart-skeleton")).to_be_visible()
    expect(page.locator("[data-stat=energy]")).to_have_class(re.compile("skeleton"))
    house.release()
    expect(page.locator("#chart-skeleton")).to_be_hidden()
    expect(page.locator("[data-stat=energy] strong")).to_contain_text("kWh")
    expect(page.locator(OVER)).to_be_visible()


def test_a_time_without_readings_says_so(visitor, house):
    house.empty_before_ms = house.now_ms - 2 * standin.DAY_MS
    page = visitor.open(house)
    for _ in range(3):
        page.locator("#earlier").click()
    message = page.locator("#chart-message")
    expect(message).to_contain_text("Keine Ablesungen in dieser Zeit.")
    page.get_by_role("button", name="Das Neueste zeigen").click()
    expect(page.locator("#range-label")).to_have_text(DAY)
    expect(message).to_be_hidden()


def test_before_the_first_reading_the_page_says_how_to_go_on(visitor, serve):
    house = serve({})
    page = visitor.open(house, wait=False)
    expect(page.locator("#chart")).to_be_hidden()
    expect(page.locator("#first-run")).to_contain_text("Warten auf den ersten Lesekopf")
    expect(page.locator("#now")).to_be_hidden()
    page.locator("#link.live").wait_for()  # else it hears of the meter, and not of the reading
    house.meters = dict(list(standin_server.METERS.items())[:1])
    house.tick()
    expect(page.locator("#first-run")).to_be_hidden()
    expect(page.locator("#now-watts")).to_have_text(re.compile(r"1\.0\d\d"))
    expect(page.locator("[data-stat=energy] strong")).to_contain_text("kWh")


def test_without_its_library_the_page_still_has_all_numbers(visitor, house):
    visitor.forgive("uPlot.iife.min.js", "ERR_FAILED")
    page = visitor.open(house, wait=False)
    page.context.route("**/uPlot.iife.min.js", lambda route: route.abort())
    page.reload()
    expect(page.locator("[data-stat=energy] strong")).to_contain_text("kWh")
    expect(page.locator("#plot-power")).to_be_hidden()
    page.get_by_text("Als Tabelle", exact=True).click()
    expect(page.locator("#chart-rows tr")).to_have_count(25)
    expect(page.locator("#chart-rows tr td").first).to_have_text(re.compile(r"^\d+,\d\d$"))
    expect(page.locator("#days-total")).to_contain_text("Summe")
