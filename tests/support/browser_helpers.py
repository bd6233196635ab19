"""What tests of the page do with their hands, and what they see."""

import re

from waiting import wait_until

try:
    from playwright.sync_api import expect
except ImportError:
    expect = None  # the fixture chromium says what is missing

__all__ = [
    "drag",
    "expect",
    "fingers",
    "ink",
    "label",
    "part",
    "pinch",
    "ready_again",
    "scroll_to",
    "tap",
    "value_of",
]

OVER = "#plot-power .u-over"
COLOURS = {"power": "--power", "energy": "--energy"}

_INK = """
([plot, name, from, to]) => {
  const wanted = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const canvas = document.querySelector(`#plot-${plot} canvas`);
  const over = document.querySelector(`#plot-${plot} .u-over`).getBoundingClientRect();
  const at = canvas.getBoundingClientRect();
  const ratio = canvas.width / at.width;
  const left = Math.round((over.left - at.left + from * over.width) * ratio);
  const width = Math.round((to - from) * over.width * ratio);
  const data = canvas.getContext("2d").getImageData(left, 0, Math.max(width, 1), canvas.height).data;
  const [r, g, b] = [1, 3, 5].map((index) => parseInt(wanted.slice(index, index + 2), 16));
  let count = 0;
  for (let index = 0; index < data.length; index += 4) {
    const off = Math.abs(data[index] - r) + Math.abs(data[index + 1] - g) + Math.abs(data[index + 2] - b);
    if (off < 24 && data[index + 3] > 200) count += 1;
  }
  return count;
}
"""


def ink(page, plot, start=0.0, end=1.0, colour=None):
    """How many pixels of a colour, else the plot's own, are between two parts of its width."""
    return page.evaluate(_INK, [plot, colour or COLOURS[plot], start, end])


def part(page, share):
    """The place on the page at this part of the plot's width."""
    page.locator(OVER).scroll_into_view_if_needed()
    box = page.locator(OVER).bounding_box()
    return box["x"] + share * box["width"], box["y"] + box["height"] / 2


def drag(page, start, end, dy=0, touch=False):
    """Press, move, let go."""
    (x, y), (to_x, to_y) = part(page, start), part(page, end)
    to_y += dy
    steps = [(x + (to_x - x) * step / 8, y + (to_y - y) * step / 8) for step in range(1, 9)]
    if touch:
        fingers(page, [[(x, y)], *[[place] for place in steps]])
        return
    page.mouse.move(x, y)
    page.mouse.down()
    for place in steps:
        page.mouse.move(*place)
    page.mouse.up()


def fingers(page, frames):
    """Put fingers on the screen and move them; each frame has their places."""
    session = page.context.new_cdp_session(page)
    for index, places in enumerate(frames):
        points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(places)]
        kind = "touchMove" if index else "touchStart"
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    session.detach()


def tap(page, share):
    fingers(page, [[part(page, share)]])


def pinch(page, start, end):
    """Two fingers from two places to two others."""
    frames = [
        [part(page, one + (other - one) * step / 8) for one, other in zip(start, end, strict=True)]
        for step in range(9)
    ]
    fingers(page, frames)


def label(page, before=None):
    """Which time is shown, once it is another one than before."""
    place = page.locator("#range-label")
    if before is not None:
        wait_until(lambda: place.inner_text() != before)
    return place.inner_text()


def value_of(page, stat):
    """A number of the time shown, as a number (German)."""
    text = page.locator(f"[data-stat={stat}] strong").inner_text()
    found = re.search(r"[\u2212\d.,]+", text)
    return float(found[0].replace("\u2212", "-").replace(".", "").replace(",", "."))


def ready_again(page):
    """Wait until what was asked for is there."""
    page.locator("#stats[aria-busy=false]").wait_for()
    page.locator("#chart[aria-busy=false]").wait_for()


def scroll_to(page, is_so):
    """Wait until the page has scrolled."""
    wait_until(is_so)
    return True
