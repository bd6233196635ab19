"""The pictures of the documents, from the real page; `make pictures` puts them into host/pictures.

Clock, readings and troubles are those of the stand-ins, so that each picture is always the same
but for the machine's fonts. That a document's picture is there and small is tests/test_docs.py.
"""

import asyncio
import base64
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from alert_world import HOUR_MS, MINUTE_MS, SLOW, World
from serving import serving
from sunny_house import SunnyHouse
from toolbox import ROOT
from wattlog_host.alerts.config import Quiet
from wattlog_host.dess.transport import Limits

KEPT = ROOT / "host/pictures"
# Width and height in points, and pixels for each.
SIZES = {"desktop": (1280, 900, 1), "phone": (390, 1180, 2)}
PICTURES = [
    (page, size, theme)
    for page, size in (
        ("dashboard", "desktop"), ("dashboard", "phone"), ("house", "desktop"), ("state", "desktop"),
    )
    for theme in ("light", "dark")
]  # fmt: skip
QUALITY = 82
IS_KEPT = bool(os.environ.get("WATTLOG_PICTURES"))


@pytest.fixture(autouse=True)
def _the_machine_is_in_berlin(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(scope="module")
def sunny(tmp_path_factory):
    made = SunnyHouse(tmp_path_factory.mktemp("sunny"), limits=Limits(connect_s=5.0, total_s=5.0))
    yield made
    made.close()


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A house in which readings were lost, and a meter has been silent for half an hour."""
    made = World(tmp_path_factory.mktemp("alerts"), quiet=Quiet(22 * 60, 7 * 60))

    async def trouble():
        await made.run(31 * HOUR_MS)
        made.lose(12)
        await made.run(5 * HOUR_MS)
        made.silent = {SLOW}
        await made.run(3 * HOUR_MS + 30 * MINUTE_MS)

    # The browser's own loop is in this thread.
    with ThreadPoolExecutor(1) as other:
        other.submit(lambda: asyncio.run(trouble())).result()
    return made


@pytest.fixture
def take(visitor):
    """take(server, path, settled, size, theme) is what one sees of a page at first, as WebP."""

    def picture(server, path, settled, size, theme):
        width, height, scale = SIZES[size]
        page = visitor.open(server, path, size, theme, "en", wait=False, device_scale_factor=scale)
        page.set_viewport_size({"width": width, "height": height})
        page.locator(settled).wait_for()
        page.locator("#link.live").wait_for()
        session = page.context.new_cdp_session(page)
        taken = session.send("Page.captureScreenshot", {"format": "webp", "quality": QUALITY})
        return base64.b64decode(taken["data"])

    return picture


def of_dashboard(take, serve, request, look):
    return take(serve(), "/", "#chart[aria-busy=false]", *look)


def of_state(take, serve, request, look):
    told = request.getfixturevalue("told")
    server = serve(alarms=told.alerts)
    server.view.alerts = told.view.alerts
    return take(server, "/state", "#alerts .standing", *look)


def of_house(take, serve, request, look):
    with serving(request.getfixturevalue("sunny").app) as server:
        try:
            return take(server, "/house", "#bars[aria-busy=false]", *look)
        finally:
            request.getfixturevalue("visitor").close()


WAYS = {"dashboard": of_dashboard, "state": of_state, "house": of_house}


# Each page once is enough to see that they can be taken; test_dashboard and others see all looks.
@pytest.mark.parametrize(("page", "size", "theme"), PICTURES if IS_KEPT else PICTURES[3::2])
def test_a_picture_of_the_documents_can_be_taken(take, serve, request, page, size, theme):
    taken = WAYS[page](take, serve, request, (size, theme))
    assert taken[:4] == b"RIFF" and taken[8:12] == b"WEBP"
    kept = KEPT / f"{page}-{size}-{theme}.webp"
    if IS_KEPT:
        kept.write_bytes(taken)
    # After its mark, the picture's width and height; the same page is of the same size.
    assert kept.read_bytes()[23:30] == taken[23:30]


def test_no_picture_is_kept_that_nobody_takes():
    taken = {f"{page}-{size}-{theme}.webp" for page, size, theme in PICTURES}
    assert {path.name for path in KEPT.glob("*.webp")} == taken
