"""The other parts of the page: meters, periods, comparisons, the archive, languages, the state."""

import copy
import re

import pytest

import standin
import standin_server
from browser_helpers import expect, ready_again
from wattlog_host.forecast import Forecast

FIRST = "0a0149534b0003382939"


# -- several meters -------------------------------------------------------------------------


def test_one_of_many_meters_is_chosen_and_remembered(visitor, serve, screenshot):
    house = serve(standin_server.MANY)
    page = visitor.open(house)
    expect(page.locator("#fleet-list li")).to_have_count(14)
    total = page.locator("#now-watts").inner_text()
    screenshot(page, "fleet")
    house.asked.clear()
    page.get_by_role("button", name=re.compile("00000005")).click()
    expect(page.locator("#meter")).to_have_value("0a01454d4800000005")
    expect(page.locator("#now-watts")).not_to_have_text(total)
    expect(page.locator("#phases")).to_be_visible()
    ready_again(page)
    named = [one for one in house.asked if "meter=0a01454d4800000005" in one]
    assert {re.match(r"/api/(\w+)", one)[1] for one in named} >= {
        "readings", "energy", "stats", "summary", "days", "compare", "energy_summary",
    }  # fmt: skip
    page.reload()
    expect(page.locator("#meter")).to_have_value("0a01454d4800000005")
    page.locator("#meter").select_option("")
    expect(page.locator("#now-watts")).to_have_text(total)


def test_too_many_meters_for_a_sum_are_looked_at_one_by_one(visitor, serve):
    many = {
        bytes((10, 1, 69, 77, 72, 0, 0, 0, index)): f"1 EMH00 0000{index:04d}"
        for index in range(101)
    }
    house = serve(many)
    page = visitor.open(house)
    expect(page.locator("#meter option")).to_have_count(101)
    expect(page.locator("#fleet-list li")).to_have_count(101)
    expect(page.locator("#meter")).to_have_value("0a01454d4800000000")
    # A second press would choose all of them.
    chosen = page.get_by_role("button", name=re.compile("00000000 "))
    expect(chosen).to_have_attribute("aria-pressed", "true")
    chosen.click()
    expect(page.locator("#meter")).to_have_value("0a01454d4800000000")
    ready_again(page)
    asked = [one for one in house.asked if not one.startswith("/api/meters")]
    assert asked and all("meter=0a01454d4800000000" in one for one in asked)


def test_with_one_meter_there_is_nothing_to_choose(visitor, house):
    page = visitor.open(house)
    expect(page.locator("#picker")).to_be_hidden()
    expect(page.locator("#fleet")).to_be_hidden()


# -- periods and extremes -------------------------------------------------------------------


def test_a_period_and_a_peak_are_shown_on_the_chart(visitor, house):
    page = visitor.open(house)
    page.get_by_role("button", name="Dieser Monat").click()
    expect(page.locator("#range-label")).to_have_text(
        "Do 1. Okt., 00:00 – Mo 26. Okt. 2026, 18:07"
    )
    page.locator("#peaks button").first.click()
    expect(page.locator("#range-label")).to_have_text("Mi 7. Okt. 2026, 18:22–19:22")


def test_a_period_that_began_before_the_first_reading_is_compared_with_nothing(
    visitor, serve, monkeypatch
):
    of = standin.summary

    def young(now_ms):
        found = copy.deepcopy(of(now_ms))
        found["periods"]["this_year"] |= {"difference_kwh": None, "coverage": 0.094}
        return found

    monkeypatch.setattr(standin, "summary", young)
    house = serve()
    for page in (
        visitor.open(house, size="phone"),
        visitor.open(house, size="phone", wait=False, java_script_enabled=False),
    ):
        row = page.locator("[data-period=this_year]")
        expect(row.locator("[data-cell=note]")).to_have_text("9\u00a0% gemessen")
        expect(row.locator("[data-cell=note]")).to_be_visible()
        expect(row.locator("[data-cell=difference]")).to_have_text("–")
        expect(page.locator("[data-period=last_24h] [data-cell=note]")).to_have_text("")


# -- comparisons ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "a", "b"),
    [
        ("previous_day", "So 25. Okt. 2026, 00:00–18:07", "Mo 26. Okt. 2026, 00:00–18:07"),
        (
            "same_month_last_year",
            "Mi 1. Okt., 00:00 – So 26. Okt. 2025, 18:07",
            "Do 1. Okt., 00:00 – Mo 26. Okt. 2026, 18:07",
        ),
    ],
)
def test_two_periods_are_compared_by_presets(visitor, house, preset, a, b):
    page = visitor.open(house)
    page.locator("#compare-preset").select_option(preset)
    expect(page.locator("#compare-b")).to_have_text(b)
    expect(page.locator("#compare-a")).to_have_text(a)
    used = page.get_by_role("row", name=re.compile("^Verbraucht"))
    expect(used).to_contain_text("kWh")
    expect(used.locator("td").last).to_have_text(re.compile(r"^[+\u2212]?\d+,\d$"))
    # A share of one is a hundred of what the head of the column says.
    of = standin.compare(*standin.preset(preset, house.now_ms), house.now_ms)
    share = of["difference"]["import_kwh"]["percent"]
    said = used.locator("td").last.inner_text().replace("\u2212", "-").replace(",", ".")
    assert float(said) == pytest.approx(share, abs=0.051)
    expect(page.locator("#plot-compare canvas")).to_be_visible()
    expect(page.locator("#compare-hint")).to_contain_text("läuft noch")


def test_own_periods_are_compared_and_wrong_ones_refused(visitor, house):
    page = visitor.open(house)
    page.locator("#compare-preset").select_option("own")
    for name, day in (
        ("a-start", "2026-08-03"), ("a-end", "2026-08-09"),
        ("b-start", "2026-09-13"), ("b-end", "2026-09-07"),
    ):  # fmt: skip
        page.locator(f"#{name}").fill(day)
    run = page.get_by_role("button", name="Vergleichen")
    run.click()
    expect(page.locator("#compare-hint")).to_contain_text("der erste nicht nach dem letzten")
    page.locator("#b-start").fill("2026-09-07")
    page.locator("#b-end").fill("2026-09-13")
    run.click()
    expect(page.locator("#compare-a")).to_have_text("3. Aug. – 9. Aug. 2026")
    expect(page.locator("#compare-b")).to_have_text("7. Sep. – 13. Sep. 2026")
    expect(page.locator("#compare-hint")).to_be_hidden()


def test_a_period_of_which_nothing_is_known_is_named(visitor, house):
    page = visitor.open(house)
    page.locator("#compare-preset").select_option("own")
    for name, day in (
        ("a-start", "2024-08-03"), ("a-end", "2024-08-09"),
        ("b-start", "2026-09-07"), ("b-end", "2026-09-13"),
    ):  # fmt: skip
        page.locator(f"#{name}").fill(day)
    page.get_by_role("button", name="Vergleichen").click()
    expect(page.locator("#compare-hint")).to_contain_text(
        "In A (3. Aug. – 9. Aug. 2024) wurde nichts gemessen"
    )


# -- the archive ----------------------------------------------------------------------------


def test_days_of_months_and_months_of_years(visitor, house):
    page = visitor.open(house)
    expect(page.locator("#days-label")).to_have_text("Oktober 2026")
    expect(page.locator("#days-rows tr")).to_have_count(26)
    expect(page.locator("#days-rows tr").first).to_contain_text("bisher")
    page.locator("#days-earlier").click()
    expect(page.locator("#days-label")).to_have_text("September 2026")
    expect(page.locator("#days-rows tr")).to_have_count(30)
    with page.expect_download() as found:
        page.get_by_role("link", name="CSV").click()
    assert found.value.suggested_filename == "wattlog-2026-09.csv"
    assert house.asked[-1] == "/api/days.csv?month=2026-09"
    page.get_by_role("button", name="Mo 7. Sep.", exact=True).click()
    expect(page.locator("#range-label")).to_have_text("Mo 7. Sep. 2026")
    page.locator("[data-archive=year]").click()
    expect(page.locator("#days-label")).to_have_text("2026")
    expect(page.locator("#days-rows tr")).to_have_count(10)
    total = page.locator("#days-total td").first.inner_text()
    wanted = standin.energy(standin.at("2026-01-01T00:00"), standin.NOW_MS, standin.NOW_MS)
    assert float(total.replace(".", "").replace(",", ".")) == pytest.approx(
        wanted["import_kwh"], rel=0.001
    )
    page.locator("#days-earlier").click()
    expect(page.locator("#days-rows tr")).to_have_count(4)


def test_the_day_of_25_hours_is_shown_whole(visitor, house):
    page = visitor.open(house)
    page.get_by_role("button", name="So 25. Okt.", exact=True).click()
    expect(page.locator("#range-label")).to_have_text("So 25. Okt. 2026")
    ready_again(page)
    page.get_by_text("Als Tabelle", exact=True).click()
    expect(page.locator("#chart-rows tr")).to_have_count(25)


# -- languages ------------------------------------------------------------------------------


def test_the_browsers_language_is_used_and_another_one_kept(visitor, house):
    page = visitor.open(house, language="en")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.locator("#now-watts")).to_have_text("1,067")
    expect(page.locator("#range-label")).to_have_text("Sun 25 Oct, 18:07 – Mon 26 Oct 2026, 18:07")
    expect(page.get_by_role("button", name="Average")).to_be_visible()
    page.get_by_role("link", name="DE").click()
    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(page.locator("#now-watts")).to_have_text("1.067")
    page.goto(house.url + "/state")
    expect(page.locator("html")).to_have_attribute("lang", "de")
    # The cookie is only the messenger.
    page.context.clear_cookies()
    page.goto(house.url + "/")
    expect(page.locator("html")).to_have_attribute("lang", "de")


@pytest.mark.parametrize("language", ["de", "en"])
def test_no_word_is_missing(visitor, house, language):
    page = visitor.open(house, language=language)
    expect(page.locator("#days-total th")).to_be_visible()
    expect(page.locator("#compare-rows tr")).to_have_count(7)
    text = page.locator("body").inner_text()
    assert not re.search(r"\b[a-z]+\.[a-z_]+\b(?<!\.toml)", text), "a key instead of its words"


_PIXELS = """
const pixels = async (src, width) => {
  const image = new Image();
  image.src = src;
  await image.decode();
  const canvas = new OffscreenCanvas(width ?? image.naturalWidth, width ?? image.naturalWidth);
  const pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0, canvas.width, canvas.height);
  return pen.getImageData(0, 0, canvas.width, canvas.height);
};
"""
# Its media type, its width, and whether nothing shines through anywhere.
_ICON = (
    "async (src) => {"
    + _PIXELS
    + """
  const { data, width } = await pixels(src);
  const media = (await fetch(src)).headers.get("content-type");
  return [media, width, data.every((value, index) => index % 4 < 3 || value === 255)];
}"""
)
# By how much the values of two pictures differ on the mean, of 255.
_UNLIKE = (
    "async ([one, other]) => {"
    + _PIXELS
    + """
  const a = await pixels(one);
  const b = await pixels(other, a.width);
  return a.data.reduce((sum, value, index) => sum + Math.abs(value - b.data[index]), 0) / a.data.length;
}"""
)


# -- for everyone ---------------------------------------------------------------------------

_NAMELESS = """
() => [...document.querySelectorAll("button, a[href], select, input")].filter((one) => {
  const label = one.getAttribute("aria-label") || one.labels?.[0]?.textContent || one.textContent;
  return !label?.trim();
}).map((one) => one.outerHTML)
"""
_IDS = """
() => {
  const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
  return ids.filter((id, index) => ids.indexOf(id) !== index);
}
"""


@pytest.mark.parametrize("path", ["/", "/state"])
def test_everything_has_a_name_and_an_id_of_its_own(visitor, house, path):
    page = visitor.open(house, path=path, wait=path == "/")
    assert page.evaluate(_NAMELESS) == []
    assert page.evaluate(_IDS) == []
    expect(page.locator("h1")).to_have_count(1)
    expect(page.locator("main")).to_have_count(1)


def test_all_is_reached_by_keyboard(visitor, house):
    page = visitor.open(house)
    expect(page.locator("#days-total th")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Zum Inhalt")).to_be_focused()
    reached = set()
    for _ in range(80):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "() => document.activeElement.id || document.activeElement.dataset.range || document.activeElement.dataset.trace"
            )
        )
    assert {
        "reset",
        "refresh",
        "plots",
        "hour",
        "year",
        "power",
        "meter",
        "baseline",
        "axis",
        "compare-preset",
    } <= reached


def test_the_phones_address_answers_with_the_page_and_can_be_installed(visitor, house):
    page = visitor.open(house, path="/mobile", size="phone")
    expect(page.locator("#now-watts")).to_have_text("1.067")
    manifest = page.evaluate(
        "async () => (await fetch(document.querySelector('[rel=manifest]').href)).json()"
    )
    assert (manifest["start_url"], manifest["display"]) == ("/", "standalone")
    # Each icon is of the size and kind that the manifest says, and looks like its drawing.
    sizes = {(icon["sizes"], icon["purpose"]) for icon in manifest["icons"]}
    assert {("192x192", "any"), ("512x512", "any"), ("512x512", "maskable")} <= sizes
    touch = page.locator("[rel=apple-touch-icon]").evaluate("one => one.href")
    icons = [(icon["src"], icon["sizes"], icon["type"]) for icon in manifest["icons"]]
    for src, size, media in [*icons, (touch, "180x180", "image/png")]:
        kind, width, opaque = page.evaluate(_ICON, src)
        assert kind.startswith(media), src
        assert size in ("any", f"{width}x{width}"), src
        assert opaque == ("maskable" in src or src == touch), src
    for name in ("icon-192", "icon-512", "icon-maskable-512"):
        of = {icon[0].rpartition("/")[2]: icon[0] for icon in icons}
        drawing = of[re.sub(r"-\d+$", "", name) + ".svg"]
        assert page.evaluate(_UNLIKE, [of[f"{name}.png"], drawing]) < 0.5, name


SIZES_SAID = (
    "300,0 KiB am Tag",
    "120,0 MiB – noch 314 Tage, danach kommen nur noch Mittelwerte dazu: 48,8 KiB am Tag",
    "75,0 GiB, reicht für 6 Jahre",
)


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_the_state_page_keeps_itself_true(visitor, house, screenshot, size):
    page = visitor.open(house, path="/state", size=size, wait=False)
    expect(page.locator("#link")).to_have_text("live")
    expect(page.locator(".power")).to_contain_text("1.066,8")
    wide = page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0
    screenshot(page, f"state-{size}")
    facts = page.locator(".host .facts")
    for words in SIZES_SAID:
        expect(facts).to_contain_text(words)
    house.view.edges["cellar"].state = "offline"
    before, house.view.host.forecast = house.view.host.forecast, Forecast(-2048, free_bytes=7)
    house.hang_up()
    visitor.forgive("ERR_INCOMPLETE_CHUNKED_ENCODING")
    expect(page.locator(".agent .state").first).to_have_text("getrennt")
    expect(facts).to_contain_text("\u22122,0 KiB am Tag")
    expect(facts).to_contain_text("7 B, reicht für –")
    expect(page.locator("[data-show='host.forecast.settled_bytes']")).to_be_hidden()
    house.view.host.forecast = before
    house.hang_up()
    # As the server wrote it, now by the script.
    for words in SIZES_SAID:
        expect(facts).to_contain_text(words)
