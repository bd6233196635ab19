"""The login in a browser: with and without scripts, in both languages, wide and narrow."""

import pytest

from wattlog_host.access import passwords
from wattlog_host.access.accounts import Accounts
from wattlog_host.web.door import Door

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def hashed():
    return passwords.hashed(PASSWORD)


@pytest.fixture
def closed(serve, hashed):
    """A stand-in with a password, which a test may change."""
    known = {"accounts": Accounts(hashed, {})}
    server = serve(door=Door(lambda: known["accounts"], is_exposed=True))
    server.known = known
    return server


def enter(page, password=PASSWORD):
    page.locator("#password").fill(password)
    page.locator("button").click()


LOOKS = [("desktop", "light", "de"), ("desktop", "dark", "en"), ("phone", "light", "en"), ("phone", "dark", "de")]  # fmt: skip
WRONG = {"de": "Das ist nicht das Passwort.", "en": "This is not the password."}


@pytest.mark.parametrize(("size", "theme", "language"), LOOKS)
def test_one_logs_in_and_out(visitor, closed, screenshot, size, theme, language):
    visitor.forgive("403")
    page = visitor.open(closed, "/state?x=1", size, theme, language, wait=False)
    assert page.evaluate("document.activeElement.id") == "password"
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= page.viewport_size["width"]
    screenshot(page, f"login-{size}-{theme}")
    enter(page, "wrong")
    page.get_by_role("alert").get_by_text(WRONG[language]).wait_for()
    screenshot(page, f"login-wrong-{size}-{theme}")
    enter(page)
    page.wait_for_url("**/state?x=1")
    page.locator(".account button").click()
    page.wait_for_url("**/login")
    page.goto(f"{closed.url}/state")
    page.wait_for_url("**/login?next=%2Fstate")


def test_one_logs_in_without_scripts(visitor, closed):
    page = visitor.open(closed, "/", wait=False, java_script_enabled=False)
    enter(page)
    page.wait_for_url(f"{closed.url}/")
    page.locator(".account button").click()
    page.wait_for_url("**/login")


@pytest.mark.parametrize("path", ["/", "/state"])
def test_where_the_session_ends_the_page_leads_to_the_login(visitor, closed, hashed, path):
    visitor.forgive("401")
    page = visitor.open(closed, path, wait=False)
    enter(page)
    page.wait_for_url(f"{closed.url}{path}")
    page.locator("#link.live").wait_for()
    closed.known["accounts"] = Accounts(passwords.hashed("another password"), {})
    closed.tick(3)
    page.wait_for_url("**/login**")
