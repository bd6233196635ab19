"""A real Chromium before the real pages; what a page must never do is watched all the time."""

import os
from urllib.parse import urlsplit

import pytest

import standin_server
from toolbox import ROOT, require, unavailable
from waiting import wait_until

SIZES = {"desktop": (1280, 900), "tablet": (820, 1180), "phone": (390, 844)}
SCREENS = ROOT / "build/screens"
PATIENCE_MS = 20_000
LANGUAGES = {"de": "de-DE", "en": "en-GB"}


# Per module: while it runs, Playwright's own event loop is in this thread, and asyncio.run is not.
@pytest.fixture(scope="module")
def chromium():
    """The browser of .tools; no name but the loopback's leads anywhere."""
    program = require("chromium") / "bin/chromium"
    try:
        from playwright.sync_api import expect, sync_playwright
    except ImportError:
        unavailable("playwright is missing: run make setup")
    expect.set_options(timeout=PATIENCE_MS)
    flags = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--disable-gpu"]
    if os.geteuid() == 0:
        flags.append("--no-sandbox")  # it refuses root otherwise
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def house(visitor):
    """A stand-in with one meter."""
    with standin_server.running() as server:
        yield server
        visitor.close()  # before what they look at goes away


@pytest.fixture
def serve(visitor):
    """Call it with meters and other state for a stand-in of its own."""
    running = []

    def start(meters=None, **state):
        one = standin_server.running(meters, **state)
        running.append(one)
        return one.__enter__()

    yield start
    visitor.close()
    for one in running:
        one.__exit__(None, None, None)


class Visitor:
    """Opens pages and notes what no page may do; forgive() names what a test provokes."""

    def __init__(self, browser):
        self._browser = browser
        self._contexts = []
        # Looking at pixels, as tests do, is what this one is about.
        self._forgiven = ("getImageData",)
        self.wrong = []

    def forgive(self, *parts):
        self._forgiven = (*self._forgiven, *parts)

    def open(
        self, server, path="/", size="desktop", theme="light", language="de", wait=True, **more
    ):
        width, height = SIZES[size]
        context = self._browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=theme,
            locale=LANGUAGES[language],
            # The house is in Berlin, whatever the visitor's clock says.
            timezone_id="America/New_York",
            has_touch=size != "desktop",
            reduced_motion="reduce",
            **more,
        )
        context.set_default_timeout(PATIENCE_MS)
        self._contexts.append(context)
        page = context.new_page()
        page.on(
            "console", lambda said: said.type in ("error", "warning") and self._note(said.text)
        )
        page.on("pageerror", lambda error: self._note(str(error)))
        page.on("request", lambda asked: self._look(asked.url))
        page.on(
            "response",
            lambda answer: answer.status >= 400 and self._note(f"{answer.status} {answer.url}"),
        )
        page.goto(server.url + path)
        if wait:
            ready(page)
        return page

    def _look(self, url):
        if urlsplit(url).hostname != "127.0.0.1" and not url.startswith(("data:", "blob:")):
            self._note(f"asks {url}")

    def _note(self, text):
        if not any(part in text for part in self._forgiven):
            self.wrong.append(text)

    def close(self):
        while self._contexts:
            self._contexts.pop().close()


def ready(page):
    """Wait until the chart is drawn and the numbers are there."""
    page.locator("#chart[aria-busy=false]").wait_for()
    page.locator("#chart-skeleton").wait_for(state="hidden")


@pytest.fixture
def visitor(chromium):
    """visitor.open(server) is a page; at the end nothing may have gone wrong on any of them."""
    one = Visitor(chromium)
    yield one
    one.close()
    assert one.wrong == []


@pytest.fixture
def screenshot():
    """Keep a picture of the whole page in build/screens."""

    def take(page, name):
        SCREENS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENS / f"{name}.png", full_page=True)

    return take


@pytest.fixture(name="wait_until")
def wait_until_fixture():
    return wait_until
