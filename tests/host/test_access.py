"""Who gets in: password, sessions, tokens, guests; and what no other site can do through them."""

import asyncio
import json
import re
import stat

import pytest
from starlette.testclient import TestClient

from access_world import HERE, NOW_MS, OURS, PASSWORD, House
from wattlog_host.access import accounts, attempts, passwords, sessions
from wattlog_host.access.accounts import (
    Accounts,
    accounts_in,
    add_token,
    remove_token,
    set_password,
)
from wattlog_host.access.attempts import Attempts, TooManyAttempts
from wattlog_host.access.kept import AccessRefused, KeptBroken
from wattlog_host.access.sessions import Sessions
from wattlog_host.web import guard
from wattlog_host.web.door import Door
from wattlog_host.web.login import local

PAGES = ("/", "/mobile", "/state")
DATA = ("/status", "/api/latest_reading", "/api/meters", "/api/export.csv", "/api/openapi.json",
        "/api/stream", "/events", "/api/solar", "/api/solar/settings", "/api/no-such")  # fmt: skip
OPEN = ("/healthz", "/manifest.webmanifest", "/static/base.css", "/login")


def test_without_a_password_this_machine_may_look(tmp_path):
    house = House(tmp_path)
    assert house.visitor.get("/").status_code == 200
    assert house.visitor.get("/status").status_code == 200
    assert house.visitor.get("/login").headers["location"] == "/"
    assert "login" not in house.visitor.get("/state").text
    assert house.login().status_code == 403


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", PAGES)
def test_a_stranger_who_wants_a_page_is_led_to_the_login(house, method, path):
    answer = house.visitor.request(method, path + "?meter=1")
    assert answer.status_code == 303
    assert answer.text == ""
    assert answer.headers["location"] == f"/login?next=%2F{path[1:]}%3Fmeter%3D1"


@pytest.mark.parametrize("path", DATA)
def test_a_stranger_who_wants_data_is_told_what_to_do(house, path):
    answer = house.visitor.get(path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "/login" in answer.json()["error"]
    assert "wattlog-host token add" in answer.json()["error"]


@pytest.mark.parametrize("path", OPEN)
def test_what_says_nothing_of_the_house_is_open(house, path):
    assert house.visitor.get(path).status_code == 200


def test_every_route_is_closed_unless_it_is_listed_as_open(house):
    walked = 0
    for route in house.app.routes:
        if route.path not in (*OPEN, "/static", "/login", "/logout"):
            assert house.visitor.get(route.path).status_code in (303, 401), route.path
            walked += 1
    assert walked > 25


def test_strangers_hear_of_health_but_not_why(house):
    house.trouble = "/secret/place is full"
    answer = house.visitor.get("/healthz")
    assert (answer.status_code, answer.text) == (503, "not ok\n")
    house.login()
    assert "secret" in house.visitor.get("/healthz").text


def test_who_knows_the_password_gets_in_and_to_where_they_wanted(house):
    answer = house.login(next="/state")
    assert (answer.status_code, answer.headers["location"]) == (303, "/state")
    for path in (*PAGES, "/status", "/api/meters"):
        assert house.visitor.get(path).status_code == 200, path
    assert house.visitor.get("/login").status_code == 303


def test_the_cookie_is_kept_from_scripts_and_from_other_sites(house):
    cookie = house.login().headers["set-cookie"]
    name, *attributes = cookie.split("; ")
    assert re.fullmatch(r"wattlog=[\w-]{43}", name)
    assert attributes == ["Path=/", "Max-Age=2592000", "HttpOnly", "SameSite=Strict"]
    with TestClient(house.app, base_url="https://127.0.0.1:8080", follow_redirects=False) as safe:
        said = safe.post("/login", data={"password": PASSWORD}, headers={"origin": "https://127.0.0.1:8080"})  # fmt: skip
        assert said.headers["set-cookie"].endswith("; Secure")


@pytest.mark.parametrize("given", ["", "wrong", PASSWORD + " ", PASSWORD.upper(), "x" * 2000])
def test_who_does_not_know_the_password_stays_outside(house, given):
    answer = house.login(given)
    assert answer.status_code == 403
    assert "This is not the password" in answer.text
    assert "set-cookie" not in answer.headers
    assert given == "" or given not in answer.text
    assert house.visitor.get("/status").status_code == 401


def test_an_umlaut_is_the_same_however_the_keyboard_makes_it(house):
    assert house.login(PASSWORD.replace("ä", "a\u0308")).status_code == 303


# --- sessions -------------------------------------------------------------------------------


def test_a_login_gives_a_new_session_and_never_takes_the_visitors(house):
    fixed = "A" * 43
    house.visitor.cookies.set("wattlog", fixed, domain="127.0.0.1", path="/")
    assert house.visitor.get("/status").status_code == 401
    given = house.login().headers["set-cookie"]
    assert fixed not in given
    attacker = house.another()
    attacker.cookies.set("wattlog", fixed)
    assert attacker.get("/status").status_code == 401


def test_the_session_of_before_ends_with_the_next_login(house):
    house.login()
    before = house.visitor.cookies["wattlog"]
    house.login()
    assert house.visitor.cookies["wattlog"] != before
    old = house.another()
    old.cookies.set("wattlog", before)
    assert old.get("/status").status_code == 401
    assert house.visitor.get("/status").status_code == 200


def test_a_session_outlives_a_restart_and_only_its_digest_is_kept(house):
    house.login()
    secret = house.visitor.cookies["wattlog"]
    house.start()
    house.visitor.cookies.set("wattlog", secret)
    assert house.visitor.get("/status").status_code == 200
    for path in house.folder.iterdir():
        assert secret not in path.read_text()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


@pytest.mark.parametrize(
    ("later_ms", "status"),
    [(sessions.LASTS_MS - 1, 200), (sessions.LASTS_MS, 401), (-1, 401)],
    ids=["almost 30 days", "30 days", "a clock set back"],
)
def test_a_session_ends_after_thirty_days(house, later_ms, status):
    house.login()
    house.now_ms += later_ms
    assert house.visitor.get("/status").status_code == status


def test_logging_out_ends_the_session_itself_and_not_only_the_cookie(house):
    house.login()
    secret = house.visitor.cookies["wattlog"]
    answer = house.leave(csrf=house.csrf())
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert "wattlog" not in house.visitor.cookies
    house.start()
    house.visitor.cookies.set("wattlog", secret)
    assert house.visitor.get("/status").status_code == 401


def test_another_password_ends_all_sessions_at_once(house):
    house.login()
    other = house.another()
    house.login(visitor=other)
    set_password(house.kept, "another password")
    for visitor in (house.visitor, other):
        assert visitor.get("/status").status_code == 401
    assert house.login().status_code == 403
    assert house.login("another password").status_code == 303


def test_the_number_of_sessions_is_bounded_and_the_oldest_goes():
    made = Sessions()
    secrets = [made.begin("m", NOW_MS + index) for index in range(sessions.SESSIONS_MAX + 3)]
    alive = [made.is_valid(one, "m", NOW_MS + 200) for one in secrets]
    assert alive == [False] * 3 + [True] * sessions.SESSIONS_MAX


BROKEN_SESSIONS = (b"", b"[]", b"{", b'{"x": [1, 2]}', b'{"%s": [1]}' % (b"0" * 64), b"\xff", b"3")


@pytest.mark.parametrize("data", BROKEN_SESSIONS)
def test_a_broken_file_of_sessions_costs_a_login_and_nothing_else(house, data):
    house.login()
    (house.folder / sessions.FILE_NAME).write_bytes(data)
    house.start()
    assert house.visitor.get("/status").status_code == 401
    assert house.login().status_code == 303


def test_a_stream_ends_with_its_session(house, monkeypatch):
    monkeypatch.setattr("wattlog_host.stream.KEEPALIVE_S", 0.01, raising=True)
    house.login()
    secret = house.visitor.cookies["wattlog"]
    sent = []

    async def watch():
        gone = asyncio.Event()

        async def receive():
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)
            if len(sent) == 3:
                await house.door.logout(secret)

        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "method": "GET",
            "path": "/events", "raw_path": b"/events", "root_path": "", "scheme": "http",
            "query_string": b"", "client": ("192.0.2.1", 1), "server": ("127.0.0.1", 8080),
            "headers": [(b"host", b"127.0.0.1:8080"), (b"cookie", b"wattlog=" + secret.encode())],
        }  # fmt: skip
        async with asyncio.timeout(20):
            await house.app(scope, receive, send)

    asyncio.run(watch())
    assert sent[0]["status"] == 200
    assert len(sent) == 4
    assert sent[-1] == {"type": "http.response.body", "body": b""}


# --- changes --------------------------------------------------------------------------------

ORIGINS = (
    ("our own", {"origin": HERE}, 303),
    ("our own, and the browser says so", {"origin": HERE, "sec-fetch-site": "same-origin"}, 303),
    ("only the browser says so", {"sec-fetch-site": "same-origin"}, 303),
    ("a form without a referrer", {"origin": "null", "sec-fetch-site": "same-origin"}, 303),
    ("nobody says", {}, 403),
    ("from nowhere", {"origin": "null"}, 403),
    ("another site", {"origin": "http://evil.example"}, 403),
    ("another port", {"origin": "http://127.0.0.1:8081"}, 403),
    ("a name that begins as ours", {"origin": HERE + ".evil.example"}, 403),
    ("ours as a user", {"origin": "http://127.0.0.1:8080@evil.example"}, 403),
    ("a broken one", {"origin": "http://[::1"}, 403),
    ("another site, the browser says", {"origin": HERE, "sec-fetch-site": "cross-site"}, 403),
    ("a neighbour", {"sec-fetch-site": "same-site"}, 403),
    ("typed in", {"sec-fetch-site": "none"}, 403),
)


@pytest.mark.parametrize(
    ("headers", "status"), [row[1:] for row in ORIGINS], ids=[row[0] for row in ORIGINS]
)
def test_a_login_is_taken_only_from_our_own_page(house, headers, status):
    assert house.login(headers=headers).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"), [row[1:] for row in ORIGINS], ids=[row[0] for row in ORIGINS]
)
def test_a_change_is_taken_only_from_our_own_page(house, headers, status):
    house.login()
    assert house.leave(headers=headers, csrf=house.csrf()).status_code == status


def test_a_change_carries_what_only_this_session_knows(house):
    house.login()
    other = house.another()
    house.login(visitor=other)
    token = house.csrf()
    for wrong in ("", "0" * 64, token[:-1], token.upper(), house.csrf(other), "ä"):
        assert house.leave(csrf=wrong).status_code == 403, wrong
    assert house.leave().status_code == 403
    assert house.visitor.get("/status").status_code == 200
    assert house.leave(headers={**OURS, "x-csrf-token": token}).status_code == 303


def test_a_stranger_has_nothing_to_log_out_of(house):
    answer = house.leave()
    assert (answer.status_code, answer.headers.get("set-cookie")) == (303, None)
    assert answer.headers["location"].startswith("/login")


@pytest.mark.parametrize("path", ["/login", "/logout", "/"])
def test_reading_changes_nothing(house, path):
    house.login()
    before = house.visitor.cookies["wattlog"]
    for method in ("GET", "HEAD"):
        answer = house.visitor.request(method, path, params={"csrf": house.csrf()})
        assert "set-cookie" not in answer.headers
    assert house.visitor.cookies["wattlog"] == before
    assert house.visitor.get("/status").status_code == 200


FORMS = (
    ("too long", b"password=" + b"x" * guard.FORM_BYTES_MAX, 413),
    ("not UTF-8", b"password=\xff", 400),
    ("many fields", b"&".join(b"a%d=1" % index for index in range(50)), 400),
    ("nothing", b"", 403),
)


@pytest.mark.parametrize(("body", "status"), [f[1:] for f in FORMS], ids=[f[0] for f in FORMS])
def test_a_form_is_bounded(house, body, status):
    headers = {**OURS, "content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    assert house.visitor.post("/login", content=body, headers=headers).status_code == status


def test_what_is_no_form_is_no_login(house):
    answer = house.visitor.post("/login", json={"password": PASSWORD}, headers=OURS)
    assert answer.status_code == 403


NEXT = (
    ("/state", "/state"),
    ("/?range=day&meter=1", "/?range=day&meter=1"),
    (None, "/"),
    ("", "/"),
    ("//evil.example", "/"),
    ("/\\evil.example", "/"),
    ("https://evil.example/", "/"),
    ("javascript:alert(1)", "/"),
    ("state", "/"),
    ("/x\r\nset-cookie: a=b", "/"),
    ("/\t/evil.example", "/"),
    ("/login?next=/", "/"),
    ("/logout", "/"),
    ("/ä", "/"),
    ("/" + "x" * 300, "/"),
)


@pytest.mark.parametrize(("asked", "where"), NEXT)
def test_after_the_login_one_stays_here(house, asked, where):
    assert local(asked) == where
    form = {} if asked is None else {"next": asked}
    assert house.login(**form).headers["location"] == where


# --- how often ------------------------------------------------------------------------------


def test_five_wrong_ones_a_minute_then_nobody_is_heard(house):
    for _ in range(attempts.EACH_MAX):
        assert house.login("wrong").status_code == 403
    answer = house.login()
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert f"Try again in {answer.headers['retry-after']} s" in answer.text
    elsewhere = house.another("198.51.100.7")
    assert house.login(visitor=elsewhere).status_code == 303
    house.now_ms += 60_000
    assert house.login().status_code == 303


def test_right_ones_are_not_counted(house):
    for _ in range(attempts.EACH_MAX + 2):
        assert house.login().status_code == 303


def test_many_at_once_are_no_way_round():
    async def knock(door):
        async def one():
            with pytest.raises(Exception) as caught:
                await door.login("wrong", "192.0.2.1", None)
            return type(caught.value).__name__

        return sorted(await asyncio.gather(*(one() for _ in range(20))))

    hashed = passwords.hashed(PASSWORD)
    door = Door(lambda: Accounts(hashed, {}))
    assert asyncio.run(knock(door)) == ["TooManyAttempts"] * 15 + ["WrongPassword"] * 5


def test_all_addresses_together_have_thirty():
    made = Attempts()
    for index in range(attempts.ALL_MAX):
        made.begin(f"192.0.2.{index}", 1000 * index)
    with pytest.raises(TooManyAttempts) as caught:
        made.begin("198.51.100.1", 30_000)
    assert caught.value.wait_s == 30
    made.begin("198.51.100.1", 60_000)


def test_a_household_is_one_address_and_a_neighbour_another():
    made = Attempts()
    for index in range(attempts.EACH_MAX):
        made.begin(f"2001:db8:1:2::{index:x}", 0)
    with pytest.raises(TooManyAttempts):
        made.begin("2001:db8:1:2:ffff::1%eth0", 0)
    made.begin("2001:db8:1:3::1", 0)
    for _ in range(attempts.EACH_MAX):
        made.begin("::ffff:192.0.2.9", 0)
    with pytest.raises(TooManyAttempts):
        made.begin("192.0.2.9", 0)


def test_a_right_one_is_no_failure():
    made = Attempts()
    for _ in range(50):
        made.begin("192.0.2.1", 0)
        made.forgive("192.0.2.1")


# --- programs -------------------------------------------------------------------------------


def bearer(secret):
    return {"authorization": f"Bearer {secret}"}


def test_a_token_lets_a_program_read_and_only_its_digest_is_kept(house):
    secret = add_token(house.kept, "ha", may_change=False)
    for path in ("/status", "/api/meters", "/"):
        assert house.visitor.get(path, headers=bearer(secret)).status_code == 200
    assert secret not in house.kept.path.read_text()
    remove_token(house.kept, "ha")
    assert house.visitor.get("/status", headers=bearer(secret)).status_code == 401


WRONG_TOKENS = ("", "x", "a" * 43, "ä", "null")


@pytest.mark.parametrize("given", WRONG_TOKENS)
def test_a_wrong_token_is_none(house, given):
    add_token(house.kept, "ha", may_change=True)
    headers = {"authorization": f"Bearer {given}".encode()}
    assert house.visitor.get("/status", headers=headers).status_code == 401
    assert house.visitor.get("/", headers=headers).status_code == 401


def test_a_wrong_token_is_not_made_good_by_a_session(house):
    house.login()
    assert house.visitor.get("/status", headers=bearer("wrong")).status_code == 401
    assert house.visitor.get("/status", headers={"authorization": "Basic x"}).status_code == 401


def test_a_tokens_name_is_one_and_there_only_once(house):
    add_token(house.kept, "ha", may_change=False)
    for name in ("ha", "", "a b", "x" * 33, "../x", "ä"):
        with pytest.raises(AccessRefused):
            add_token(house.kept, name, may_change=False)
    with pytest.raises(AccessRefused, match="no nobody among the tokens"):
        remove_token(house.kept, "nobody")
    assert [one.name for one in house.kept.now().tokens.values()] == ["ha"]


def test_the_number_of_tokens_is_bounded(house, monkeypatch):
    monkeypatch.setattr(accounts, "TOKENS_MAX", 2)
    for name in ("a", "b"):
        add_token(house.kept, name, may_change=False)
    with pytest.raises(AccessRefused, match="there are 2 tokens"):
        add_token(house.kept, "c", may_change=False)


# --- guests and other machines --------------------------------------------------------------


def test_guests_may_look_and_change_nothing(tmp_path, argon):
    house = House(tmp_path, lets_guests_in=True)
    house.kept.change(lambda data: data.update(password=argon))
    for path in (*PAGES, "/status", "/api/meters"):
        assert house.visitor.get(path).status_code == 200
    assert '<a href="/login">' in house.visitor.get("/state").text
    assert house.visitor.post("/api/solar/settings", json={}, headers=OURS).status_code == 404
    assert not house.door.caller({"path": "/"}, guard.Headers({})).may_change
    assert house.login().status_code == 303
    assert "Log out" in house.visitor.get("/state").text


def test_what_other_machines_reach_is_closed_even_without_a_password(tmp_path):
    house = House(tmp_path, is_exposed=True)
    assert house.visitor.get("/status").status_code == 401
    assert house.visitor.get("/").status_code == 303
    page = house.visitor.get("/login")
    assert "No password has been set yet" in page.text
    assert 'type="password"' not in page.text
    secret = add_token(house.kept, "ha", may_change=False)
    assert house.visitor.get("/status", headers=bearer(secret)).status_code == 200


# --- the page and the files -----------------------------------------------------------------


@pytest.mark.parametrize(("language", "word"), [("de", "Anmelden"), ("en", "Log in")])
def test_the_login_has_no_script_and_speaks_the_visitors_language(house, language, word):
    text = house.visitor.get("/login", headers={"accept-language": language}).text
    assert f'<html lang="{language}">' in text
    assert f"<h1>{word}</h1>" in text
    assert not re.search(r"<script|<style|style=|\son\w+=", text)


def test_only_pages_with_a_form_may_send_one(house):
    def may(answer):
        return re.search("form-action ([^;]*)", answer.headers["content-security-policy"])[1]

    assert may(house.visitor.get("/login")) == "'self'"
    assert may(house.login("wrong")) == "'self'"
    assert may(house.visitor.get("/healthz")) == "'none'"
    house.login()
    assert may(house.visitor.get("/state")) == "'self'"
    assert may(house.visitor.get("/status")) == "'none'"


def test_what_the_visitor_wants_next_becomes_no_markup(house):
    text = house.visitor.get("/login", params={"next": '/"><script>alert(1)</script>'}).text
    assert "<script" not in text


BROKEN_FILES = (
    b"", b"{", b"[]", b"null", b'{"password": 1}', b'{"password": "plain text"}', b"\xff\xfe",
    b'{"tokens": []}', b'{"tokens": {"a": {}}}', b'{"tokens": {"a": {"sha256": "x", "may_change": true}}}',
)  # fmt: skip


@pytest.mark.parametrize("data", BROKEN_FILES)
def test_a_broken_file_of_accounts_opens_nothing(house, caplog, data):
    house.visitor.get("/status")
    house.kept.path.write_bytes(data)
    for _ in range(3):
        assert house.visitor.get("/status").status_code == 401
    assert house.login().status_code == 303
    assert len(caplog.messages) == 1
    assert "stays in force" in caplog.messages[0]
    with pytest.raises(KeptBroken, match=r"access\.json"):
        accounts_in(house.folder).now()
    with pytest.raises(KeptBroken, match=r"access\.json"):
        add_token(house.kept, "ha", may_change=False)
    assert house.kept.path.read_bytes() == data


def test_a_change_that_fails_leaves_the_file_as_it_was(house, monkeypatch):
    before = house.kept.path.read_bytes()
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(KeptBroken, match="No space left"):
        add_token(house.kept, "ha", may_change=False)
    assert house.kept.path.read_bytes() == before


def test_the_password_is_kept_as_argon2id(house):
    kept = json.loads(house.kept.path.read_text())["password"]
    assert kept.startswith("$argon2id$v=19$m=32768,t=3,p=1$")
    assert passwords.matches(kept, PASSWORD)
    for broken in ("", "$argon2id$", kept[:-5], "x"):
        assert not passwords.matches(broken, PASSWORD)
