"""The page and the API without a broker."""

import asyncio
import contextlib
import json
import re
import socket
from dataclasses import replace

import pytest
import uvicorn
from starlette.testclient import TestClient

from memory_history import MemoryHistory
from wattlog_host import stream
from wattlog_host.history.tariff import Tariffs
from wattlog_host.history.zone import named_zone
from wattlog_host.live import HostView, LiveView
from wattlog_host.snapshot import snapshot
from wattlog_host.status import decode_status
from wattlog_host.store.records import Event, Latest, Losses, LostRun, StoreError
from wattlog_host.stream import Hub, TooManyWatchers
from wattlog_host.web import connection, pages
from wattlog_host.web.app import make_app
from wattlog_host.web.languages import DOUBTS, OUTCOMES, Speech
from wattlog_host.web.questions import House

NOW_MS = 1_795_000_000_000
BERLIN = named_zone("Europe/Berlin")


class Page:
    def __init__(self):
        self.view = LiveView(HostView("0.1.0", NOW_MS - 5000, broker_trouble=None), {})
        self.store_trouble = None
        self.lost = Losses()
        self.hub = Hub(lambda: snapshot(self.view, NOW_MS))
        house = House("home", BERLIN, "EUR", Tariffs((), BERLIN))
        app = make_app(self.view, self.hub, self, lambda: NOW_MS, ("meters.example",), house)
        self.client = TestClient(app, base_url="http://127.0.0.1:8080")

    async def check(self):
        if self.store_trouble:
            raise StoreError(self.store_trouble)

    async def losses(self, count_max):
        await self.check()
        return replace(self.lost, newest=self.lost.newest[:count_max])

    async def ask(self, question):
        await self.check()
        return question(MemoryHistory({}))

    def get(self, path, **headers):
        return self.client.get(path, headers=headers)


@pytest.fixture
def page():
    return Page()


def latest(wire, **values):
    channels = {"import": 1, "export": 4, "power": 10, "l1": 11, "l2": 12, "l3": 13}
    return Latest(
        wire.meter, "1 ISK00 53946681", "cellar", NOW_MS - 1500, "sync",
        {channels[key]: value for key, value in values.items()}, 17, 5000,
    )  # fmt: skip


def test_before_the_first_reading_there_is_a_reason(page):
    answer = page.get("/api/latest_reading")
    assert (answer.status_code, answer.json()) == (404, {"error": "no reading yet"})
    assert "Waiting for the first agent" in page.get("/state").text


def test_the_latest_reading_has_the_known_shape(page, wire):
    page.view.on_latest(
        [latest(wire, **{"import": 19_892_750_000}, power=-231_400, l1=5000)], NOW_MS
    )
    answer = page.get("/api/latest_reading").json()
    assert re.fullmatch(
        r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", answer["timestamp"]
    )
    assert json.loads(answer.pop("raw_payload")) == {
        "1-0:1.8.0*255": "198927.5",
        "1-0:16.7.0*255": "-231.4",
        "1-0:36.7.0*255": "5",
    }
    del answer["timestamp"]
    assert answer == {
        "meter_id": "1 ISK00 53946681",
        "power_watts": -231.4,
        "energy_in_kwh": 198.9275,
        "energy_out_kwh": None,
        "power_phase_1_watts": 5.0,
        "power_phase_2_watts": None,
        "power_phase_3_watts": None,
        "age_s": 1.5,
        "time_source": "sync",
    }


def test_a_meter_is_chosen_by_number_or_label(page, wire):
    page.view.on_latest([latest(wire)], NOW_MS)
    for name in (wire.meter.hex(), wire.meter.hex().upper(), "1 isk00 53946681"):
        assert page.client.get("/api/latest_reading", params={"meter": name}).status_code == 200
    answer = page.client.get("/api/latest_reading", params={"meter": "x"})
    assert (answer.status_code, answer.json()) == (404, {"error": "unknown meter"})


def test_health_is_ok_or_says_why_not(page):
    assert (page.get("/healthz").status_code, page.get("/healthz").text) == (200, "ok\n")
    page.view.host.broker_trouble = "broker away"
    page.store_trouble = "disk gone"
    answer = page.get("/healthz")
    assert (answer.status_code, answer.text) == (503, "broker away\ndatabase: disk gone\n")


def test_status_is_everything_the_page_shows(page, wire):
    page.view.on_latest([latest(wire)], NOW_MS)
    assert page.get("/status").json() == json.loads(json.dumps(snapshot(page.view, NOW_MS)))


def test_nothing_an_agent_says_becomes_markup(page, wire):
    evil = "<script>alert(1)</script>"
    counts = {evil: 1}
    meter = wire.meter_status(port=evil, trouble=evil, hint=evil, drops=counts, quarantine=counts)
    status = wire.status(version=evil, platform=evil, meters=[meter])
    page.view.on_status(decode_status(status), NOW_MS)
    page.view.on_latest([latest(wire)], NOW_MS)
    page.view.events.appendleft(Event(NOW_MS, "x", None, evil))
    text = page.get("/state").text
    assert "<script>" not in text
    assert text.count("&lt;script&gt;") >= 8


def test_the_page_shows_a_dash_for_what_is_absent(page, wire):
    page.view.on_latest([latest(wire, **{"import": 19_892_750_000})], NOW_MS)
    text = page.get("/state").text
    assert '<span data-field="power_w" data-as="magnitude">–</span>' in text
    assert '<span data-field="export_kwh" data-as="number">–</span>' in text
    assert '<span data-field="import_kwh" data-as="number">198.9275</span>' in text
    assert '<span data-field="import_wh" data-as="number">198,927.5</span> Wh' in text


BOARD = {
    "heap_free": 5_000, "heap_min": 4_096, "rssi_dbm": -61, "wifi_reconnects": 2,
    "reset_cause": "watchdog", "wdt": "uart1: <b>stalled</b>",
    "crash": {"boot": 7, "uptime_ms": 61_000, "text": "ValueError: <i>", "trace": ["a.py:1 f"]},
    "release": "0.1.0+5", "update": "left: <b>",
}  # fmt: skip


def test_the_board_of_an_agent_is_shown(page, wire):
    page.view.on_status(decode_status(wire.status(board=BOARD)), NOW_MS)
    assert page.get("/status").json()["agents"][0]["board"] == {
        **BOARD,
        "crash": {
            "boot": "00000007", "uptime_s": 61, "text": "ValueError: <i>", "trace": ["a.py:1 f"],
        },
    }  # fmt: skip
    text = page.get("/state").text
    for path, shown in (
        ("reset_cause", "watchdog"),
        ("heap_free", "4.9 KiB"),
        ("heap_min", "4.0 KiB"),
        ("rssi_dbm", "\u221261"),
        ("wifi_reconnects", "2"),
        ("crash.text", "ValueError: &lt;i&gt;"),
        ("wdt", "uart1: &lt;b&gt;stalled&lt;/b&gt;"),
        ("release", "0.1.0+5"),
        ("update", "left: &lt;b&gt;"),
    ):
        found = re.findall(rf'data-field="board\.{path}"[^>]*>([^<]*)<', text)
        assert found == [shown], path
    assert re.findall(r'data-show="board\.\w+(?:\.text)?"( hidden)?', text) == [""] * 3
    page.view.updates = {"cellar": "0.1.0+6: 40 %"}
    assert page.get("/status").json()["agents"][0]["board"]["update"] == "0.1.0+6: 40 %"


def test_of_a_board_that_says_nothing_nothing_is_made_up(page, wire):
    page.view.on_status(decode_status(wire.status(board={})), NOW_MS)
    assert set(page.get("/status").json()["agents"][0]["board"].values()) == {None}
    text = page.get("/state").text
    assert set(
        re.findall(r'data-field="board\.(?:heap|rssi|wifi|reset)\w*"[^>]*>([^<]*)<', text)
    ) == {"\u2013"}
    assert re.findall(r'data-show="board\.\w+(?:\.text)?"( hidden)?', text) == [" hidden"] * 3
    page.view.on_status(decode_status(wire.status()), NOW_MS)
    assert page.get("/status").json()["agents"][0]["board"] is None
    assert "data-board" not in page.get("/state").text


HELD_BACK = (
    ("one of each", {"held": 1, "released": 2, "glitch": 3, "set": 2, "falls": 4},
     "1 held now, 2 confirmed, 3 discarded as glitch; why: other registers (2), counter fell (4)"),
    ("a start's first reading", {"held": 1}, "1 held now"),
    ("nothing", {"held": 0}, None),
    ("not told", None, None),
)  # fmt: skip


@pytest.mark.parametrize(
    ("sent", "text"), [h[1:] for h in HELD_BACK], ids=[h[0] for h in HELD_BACK]
)
def test_only_what_was_held_back_is_shown(page, wire, sent, text):
    page.view.on_latest([latest(wire)], NOW_MS)
    status = wire.status(meters=[wire.meter_status(quarantine=sent)])
    page.view.on_status(decode_status(status), NOW_MS)
    assert page.get("/status").json()["agents"][0]["ports"][0]["quarantine"] == sent
    html = page.get("/state").text
    for path, tag in (("port", "div"), ("ports.0", "span")):
        (hidden,) = re.findall(rf'<{tag} data-show="{path}\.quarantine"( hidden)?>', html)
        (shown,) = re.findall(
            rf'data-field="{path}\.quarantine" data-as="quarantine">([^<]*)<', html
        )
        assert (shown, not hidden) == (text or "", text is not None)


LOST = LostRun("cellar", 7, 11, 310, "evicted", NOW_MS - 9000, NOW_MS - 5_000_000, NOW_MS - 90_000)
UNKNOWN = LostRun("cellar", 7, 1, 1, "damaged", NOW_MS - 90_000, None, None)


def test_gaps_are_data(page, wire):
    assert page.get("/api/gaps").json() == {"runs": 0, "records": 0, "newest": []}
    page.view.on_latest([latest(wire)], NOW_MS)
    page.lost = Losses(2, 301, (LOST, UNKNOWN))
    answer = page.get("/api/gaps").json()
    assert (answer["runs"], answer["records"], len(answer["newest"])) == (2, 301, 2)
    gap, unknown = answer["newest"]
    assert (gap["agent"], gap["meters"], gap["reason"]) == (
        "cellar", ["1 ISK00 53946681"], "evicted"
    )  # fmt: skip
    assert (gap["first_seq"], gap["last_seq"], gap["count"]) == (11, 310, 300)
    for key in ("from", "to", "noted"):
        assert re.fullmatch(r"20\d\d-.*T.*[+-]\d\d:\d\d", gap[key])
    assert re.fullmatch(
        r"300 records of agent cellar never came, no longer in its log: "
        r"between .* and .*", gap["text"],
    )  # fmt: skip
    assert (unknown["from"], unknown["to"]) == (None, None)
    assert unknown["text"] == "1 record of agent cellar could not be read in its log any more"
    page.store_trouble = "disk gone"
    answer = page.get("/api/gaps")
    assert (answer.status_code, answer.json()) == (503, {"error": "database: disk gone"})


def test_gaps_are_shown_and_otherwise_there_is_no_word_of_them(page):
    assert re.search(r'data-show="gaps.newest" hidden', page.get("/state").text)
    page.view.losses = Losses(2, 301, (LOST, UNKNOWN))
    html = page.get("/state").text
    assert re.search(r'data-show="gaps.newest">', html)
    assert '<span data-field="gaps.records" data-as="number">301</span>' in html
    assert "300 records of agent cellar never came, no longer in its log" in html
    assert page.get("/status").json()["gaps"]["records"] == 301


def test_the_trouble_of_a_log_and_its_kind_are_shown(page, wire):
    log = {"kind": "flash", "trouble": "sector 5 cannot be erased"}
    page.view.on_status(decode_status(wire.status(log=log)), NOW_MS)
    html = page.get("/state").text
    assert "sector 5 cannot be erased" in html
    assert '<span data-field="log.kind" data-as="text">flash</span>' in html


def test_messages_that_were_refused_are_shown_by_reason(page):
    page.view.counters = {("dead_letters", "records: length"): 3, ("dead_letters", "x"): 0}
    assert "records: length 3" in page.get("/state").text


@pytest.mark.parametrize(
    "path", ["/", "/status", "/api/gaps", "/static/js/state.js", "/no-such", "/api/latest_reading"]
)
def test_every_answer_carries_the_security_headers(page, path):
    headers = page.get(path).headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert "access-control-allow-origin" not in headers


def test_the_page_loads_nothing_from_elsewhere_and_has_nothing_inline(page):
    text = page.get("/").text + page.get("/state").text
    assert not re.search(r"(src|href)=\"(?!/(?!/)|#|\?)", text)
    assert not re.search(r"<style|style=|<script(?![^>]*src=)|\son\w+=", text)


HOSTS = (
    ("127.0.0.1:8080", 200),
    ("localhost:8080", 200),
    ("LOCALHOST", 200),
    ("[::1]:8080", 200),
    ("[::1]", 200),
    ("192.168.1.5", 200),
    ("meters.example:8080", 200),
    ("evil.example", 421),
    ("evil.example:8080", 421),
    ("localhost.evil.example", 421),
    ("", 421),
)


@pytest.mark.parametrize(("host", "status"), HOSTS)
def test_only_names_of_ours_are_served(page, host, status):
    assert page.get("/status", host=host).status_code == status


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_the_page_is_only_for_reading(page, method):
    assert page.client.request(method, "/").status_code == 405


def test_head_is_a_way_of_reading(page):
    assert page.client.head("/").status_code == 200


def test_the_phones_address_is_the_same_page(page):
    assert page.get("/mobile").text == page.get("/").text


@pytest.mark.parametrize(
    ("headers", "language"),
    [({"accept-language": "de"}, "de"), ({"cookie": "lang=de"}, "de"), ({}, "en")],
)
def test_a_page_is_in_the_visitors_language(page, headers, language):
    for path in ("/", "/state"):
        answer = page.get(path, **headers)
        assert f'<html lang="{language}">' in answer.text
        assert answer.headers["content-language"] == language
        assert answer.headers["vary"].startswith("accept-language, cookie")


def test_files_are_kept_for_ever_under_the_address_that_changes_with_them(page):
    (folder,) = set(re.findall(r"/static/([0-9a-f]{12})/", page.get("/").text))
    answer = page.get(f"/static/{folder}/js/main.js")
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.text == page.get("/static/js/main.js").text
    assert page.get("/static/js/main.js").headers["cache-control"] == "no-cache"
    missing = page.get(f"/static/{folder}/js/no.js")
    assert (missing.status_code, missing.headers["cache-control"]) == (404, "no-store")


def test_without_the_chart_library_the_page_says_how_to_get_it(monkeypatch):
    class Bare(pages.Assets):
        def __init__(self, folder):
            super().__init__(folder)
            self.has_chart = False

    assert "uPlot.iife.min.js" in Page().get("/").text
    monkeypatch.setattr(pages, "Assets", Bare)
    text = Page().get("/").text
    assert "<code>python hatch_build.py</code>" in text
    assert "uPlot" not in text


def test_the_page_comes_without_numbers_that_take_too_long(page, monkeypatch):
    monkeypatch.setattr(pages, "FIRST_NUMBERS_S_MAX", 0.01)

    async def never(_):
        await asyncio.Event().wait()

    page.ask = never
    assert page.get("/").status_code == 200


def test_the_page_comes_while_the_database_is_in_trouble(page):
    page.store_trouble = page.view.host.store_trouble = "disk gone"
    assert "disk gone" in page.get("/").text


def test_a_path_cannot_leave_the_static_folder(page):
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py"):
        assert page.get(path).status_code == 404


EN, DE = Speech("en", BERLIN.local), Speech("de", BERLIN.local)

WORDS = (
    (EN.exact, None, "–"),
    (EN.exact, "0", "0"),
    (EN.exact, "1234567.80", "1,234,567.80"),
    (EN.exact, "-1234.5", "\u22121,234.5"),
    (DE.exact, "-1234.5", "\u22121.234,5"),
    (EN.magnitude, "-0.5", "0.5"),
    (EN.span, None, "–"),
    (EN.span, 59.9, "59 s"),
    (EN.span, 3599, "59 min 59 s"),
    (EN.span, 90_000, "1 d 1 h"),
    (DE.span, 90_000, "1 T 1 h"),
    (EN.ago, None, "–"),
    (EN.ago, 5, "5 s ago"),
    (DE.ago, 5, "vor 5 s"),
    (EN.size, 1023, "1023 B"),
    (EN.size, 5 * 2**30, "5.0 GiB"),
    (DE.size, 1536, "1,5 KiB"),
    (EN.reasons, {}, "none"),
    (EN.reasons, {"crc": 2, "tlv": 0}, "crc 2"),
    (EN.quarantine, None, ""),
    (EN.quarantine, {}, ""),
    (EN.quarantine, {"held": 0, "glitch": 0, "id": 0}, ""),
    (EN.quarantine, {"held": 1}, "1 held now"),
    (EN.quarantine, {"glitch": 1, "held": 0, "id": 1},
     "1 discarded as glitch; why: other meter number (1)"),
    (EN.quarantine, {"later": 3, "jumps": 1, "falls": 2000, "set": 4, "released": 5},
     "5 confirmed; why: other registers (4), counter fell (2,000), counter jumped (1), later (3)"),
    (EN.quarantine, {"set": 1}, "other registers (1)"),
)  # fmt: skip


@pytest.mark.parametrize(("say", "value", "text"), WORDS)
def test_how_the_page_says_things(say, value, text):
    assert say(value) == text


def test_the_page_and_its_script_know_the_same_words(page):
    script = page.get("/static/js/state.js").text
    for name, key in (*OUTCOMES.items(), *DOUBTS.items()):
        assert f'["{name}", "{key}"]' in script


# --- connections ---------------------------------------------------------------------------


@pytest.fixture
def use_server():
    """Run act(port, connections) beside a server whose one page is 'here', and /long a long one."""

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(100 if scope["path"] == "/long" else 0):
            await send({"type": "http.response.body", "body": bytes(100_000), "more_body": True})
        await send({"type": "http.response.body", "body": b"here"})

    def use(act):
        async def run():
            server = uvicorn.Server(
                uvicorn.Config(
                    app, http=connection.Connection, lifespan="off", log_config=None,
                    access_log=False, timeout_keep_alive=60, timeout_graceful_shutdown=5,
                )
            )  # fmt: skip
            with socket.create_server(("127.0.0.1", 0)) as listening:
                server.config.load()
                server.lifespan = server.config.lifespan_class(server.config)
                await server.startup(sockets=[listening])
                try:
                    return await act(listening.getsockname()[1], server.server_state.connections)
                finally:
                    await server.shutdown(sockets=[listening])

        return finish(run())

    return use


async def ask(port, data):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    return reader, writer


GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
DAWDLERS = (
    ("says nothing", b""),
    ("says half a request", b"GET / HT"),
    ("says half of a second request", GET + b"GET / HT"),
)


async def end_of(reader):
    with contextlib.suppress(ConnectionResetError):
        return await reader.read()


@pytest.mark.parametrize("said", [d[1] for d in DAWDLERS], ids=[d[0] for d in DAWDLERS])
def test_a_visitor_who_asks_for_nothing_is_let_go(use_server, monkeypatch, said):
    monkeypatch.setattr(connection, "REQUEST_TIMEOUT_S", 0.2)

    async def act(port, _):
        reader, writer = await ask(port, said)
        await end_of(reader)
        writer.close()

    use_server(act)


def test_idle_visitors_do_not_keep_others_out(use_server, monkeypatch):
    monkeypatch.setattr(connection, "CONNECTIONS_MAX", 3)
    monkeypatch.setattr(connection, "REQUEST_TIMEOUT_S", 99)

    async def act(port, _):
        idle = [await ask(port, b"GET / HT") for _ in range(9)]
        reader, writer = await ask(port, GET)
        assert (await reader.readuntil(b"here")).startswith(b"HTTP/1.1 200")
        for reader, _ in idle[:-2]:
            await end_of(reader)
        for _, one in [*idle, (None, writer)]:
            one.close()

    use_server(act)


def test_a_visitor_who_does_not_read_is_let_go(use_server, wait_until, monkeypatch):
    monkeypatch.setattr(connection, "READ_TIMEOUT_S", 0.2)

    async def act(port, connections):
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(("127.0.0.1", port))
            deaf.sendall(GET.replace(b"/ ", b"/long ", 1))
            await asyncio.to_thread(wait_until, lambda: connections)
            await asyncio.to_thread(wait_until, lambda: not connections)

    use_server(act)


# --- the stream ----------------------------------------------------------------------------


def finish(act):
    """Run to the end, or fail instead of hanging."""

    async def run():
        async with asyncio.timeout(20):
            return await act

    return asyncio.run(run())


def test_a_watcher_gets_the_view_at_once_and_again_when_it_changes(monkeypatch):
    monkeypatch.setattr(stream, "INTERVAL_S_MIN", 0)
    count = iter(range(9))

    async def run():
        hub = Hub(lambda: {"n": next(count)})
        task = asyncio.create_task(hub.run())
        watching = hub.watch()
        first = await anext(watching)
        hub.changed()
        second = await anext(watching)
        hub.close()
        rest = [message async for message in watching]
        task.cancel()
        return first, second, rest

    assert finish(run()) == (b'data: {"n":0}\n\n', b'data: {"n":1}\n\n', [])


def test_who_opens_the_page_is_noticed_at_once():
    async def run():
        hub = Hub(dict)
        waiting = asyncio.create_task(hub.wait_for_watcher(99))
        await asyncio.sleep(0)
        assert (hub.is_watched(), waiting.done()) == (False, False)
        watching = hub.watch()
        await waiting
        assert hub.is_watched()
        await anext(watching)
        await watching.aclose()
        assert not hub.is_watched()
        await hub.wait_for_watcher(0)

    finish(run())


def test_a_quiet_stream_is_kept_alive(monkeypatch):
    monkeypatch.setattr(stream, "KEEPALIVE_S", 0)

    async def run():
        watching = Hub(dict).watch()
        await anext(watching)
        return await anext(watching)

    assert finish(run()).startswith(b":")


def test_a_slow_watcher_is_let_go_and_holds_nobody_up(monkeypatch):
    monkeypatch.setattr(stream, "INTERVAL_S_MIN", 0)

    async def run():
        hub = Hub(dict)
        task = asyncio.create_task(hub.run())
        slow, quick = hub.watch(), hub.watch()
        got = [await anext(quick)]
        for _ in range(3 * stream.MESSAGES_MAX):
            hub.changed()
            got.append(await anext(quick))
        task.cancel()
        return len(got), [message async for message in slow]

    assert finish(run()) == (3 * stream.MESSAGES_MAX + 1, [])


def test_the_number_of_watchers_is_bounded(monkeypatch):
    monkeypatch.setattr(stream, "WATCHERS_MAX", 2)

    async def run():
        hub = Hub(dict)
        kept = [hub.watch(), hub.watch()]
        with pytest.raises(TooManyWatchers):
            hub.watch()
        await anext(kept[0])
        await kept[0].aclose()
        hub.watch()

    finish(run())
