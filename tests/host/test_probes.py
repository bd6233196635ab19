"""Ten thousand requests of strangers: whatever path, method and headers, nothing of the house."""

import asyncio
import socket

import pytest
import uvicorn

from wattlog_host.store.records import Latest
from wattlog_host.web import guard
from wattlog_host.web.connection import Connection
from wattlog_sim.lcg import Lcg

PROBES = 10_000
RAW_PROBES = 400
SEED = 2026
CANARY = "CANARY METER 7788"
METHODS = ("GET",) * 12 + ("HEAD", "POST", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "get", "X" * 40)  # fmt: skip
PATHS = (
    "/", "/mobile", "/state", "/status", "/events", "/healthz", "/login", "/logout",
    "/manifest.webmanifest", "/static/base.css", "/static/", "/api/meters", "/api/latest_reading",
    "/api/live_power", "/api/readings", "/api/export.csv", "/api/stream", "/api/openapi.json",
    "/api/solar/settings", "/api/summary", "/api/days", "/api/gaps", "/api/", "/api",
)  # fmt: skip
PARTS = (
    "/", "//", "/..", "/../", "/.", "/./", "..;", ";", ";/", "%2e%2e", "%2f", "%00", "\0", "\\",
    "/static/..", "/login/..", "/healthz/../", "?", "#", "%", " ", "\t", "ä", "\u202e", ".css",
    "/login", "/static", "%252e", "~", "x" * 3_000, "*", "@", ":80", "/api", "/status", "//evil.example",
)  # fmt: skip
HEADERS = {
    "host": ("127.0.0.1:8080", "localhost", "[::1]:8080", "evil.example", "", "127.0.0.1:8080@evil", "a" * 999),
    "authorization": ("Bearer ", "Bearer x", "bearer " + "0" * 43, "Basic d2F0dGxvZzp4", "Bearer null",
                      "Bearer \xff", "", "Bearer" + " " * 900, "Bearer x, Bearer y"),
    "cookie": ("wattlog=", "wattlog=x", "wattlog=" + "A" * 43, "wattlog=null; wattlog=" + "B" * 43,
               'wattlog="\\"', "=;=;=", "wattlog" * 500, "lang=de", "lang=../../etc", "wattlog=\xff"),
    "x-csrf-token": ("x", "0" * 64, "null"),
    "origin": ("http://127.0.0.1:8080", "null", "http://evil.example", "http://[", ""),
    "sec-fetch-site": ("same-origin", "cross-site", "none", "x"),
    "content-type": ("application/json", "application/x-www-form-urlencoded", "text/plain", "x" * 400),
    "accept": ("text/html", "application/json", "*/*", "text/event-stream"),
    "accept-language": ("de", "en;q=x", "de;q=1e999", ",,,;", "-" * 500, "fr"),
    "accept-encoding": ("gzip", "identity;q=0", "*", "gzip" * 99),
    "if-none-match": ("*", 'W/"x"', '"'),
    "range": ("bytes=0-", "bytes=-1", "bytes=9-1", "x"),
    "x-original-url": ("/login", "/static/base.css"),
    "x-rewrite-url": ("/healthz",),
    "x-forwarded-for": ("127.0.0.1", "::1", "x"),
    "x-forwarded-host": ("127.0.0.1",),
    "x-forwarded-proto": ("https",),
    "x-http-method-override": ("DELETE",),
    "upgrade": ("websocket",),
}  # fmt: skip
BODIES = (b"", b"password=wrong", b"password=a&next=//x", b"csrf=x", b"{}", b"\xff" * 99, b"a=" + b"x" * 9_000)  # fmt: skip


def request_of(rng):
    """(method, path, query, headers, body) of one probe."""
    path = PATHS[rng.below(len(PATHS))]
    for _ in range(rng.below(3)):
        at = rng.below(len(path) + 1)
        path = path[:at] + PARTS[rng.below(len(PARTS))] + path[at:]
    if rng.below(12) == 0:
        path = path.upper()
    headers = [("host", HEADERS["host"][0])]
    names = list(HEADERS)
    for _ in range(rng.below(5)):
        name = names[rng.below(len(names))]
        value = HEADERS[name][rng.below(len(HEADERS[name]))]
        headers = [one for one in headers if one[0] != name or rng.below(4) == 0]
        headers.append((name, value))
    query = ("", "meter=1", "next=/state", "lang=de", "a=%ff&b", "x" * 500)[rng.below(6)]
    return METHODS[rng.below(len(METHODS))], path, query, headers, BODIES[rng.below(len(BODIES))]


async def answer_of(app, method, path, query, headers, body):
    """(status, headers, body) that the application gives."""
    sent, messages = [], [{"type": "http.request", "body": body}]

    async def receive():
        # Once it has sent all, a visitor says nothing more, and stays.
        return messages.pop() if messages else await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
        "method": method, "path": path, "raw_path": path.encode(), "root_path": "", "scheme": "http",
        "query_string": query.encode(), "client": ("192.0.2.1", 1), "server": ("127.0.0.1", 8080),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
    }  # fmt: skip
    await app(scope, receive, send)
    start = sent[0]
    answered = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
    return start["status"], answered, b"".join(one.get("body", b"") for one in sent[1:])


@pytest.fixture
def full_house(house):
    """One with a meter whose name must not get out."""
    values = {1: 19_892_750_000, 10: 231_400}
    meter = Latest(b"\x0a\x01", CANARY, "cellar", house.now_ms, "sync", values, 17, house.now_ms)
    house.view.on_latest([meter], house.now_ms)
    house.trouble = CANARY
    return house


def is_open(path):
    return path in guard.OPEN_PATHS or path.startswith("/static/")


def test_ten_thousand_strangers_learn_nothing(full_house):
    async def probe():
        seen = {}
        for index in range(PROBES):
            one = request_of(Lcg(SEED, index))
            status, headers, body = await answer_of(full_house.app, *one)
            seen[status] = seen.get(status, 0) + 1
            where = (index, one[:3], status)
            assert CANARY.encode() not in body and CANARY not in str(headers), where
            assert status < 500 or (status, one[1]) == (503, "/healthz"), where
            assert status not in (200, 206, 304) or is_open(one[1]), where
            assert status == 303 or "location" not in headers, where
            assert headers.get("location", "/login").startswith(("/login", "/")), where
            assert not headers.get("location", "").startswith(("//", "/\\")), where
            assert "set-cookie" not in headers or headers["set-cookie"].startswith("wattlog=; "), (
                where
            )
            for name, value in guard.HEADERS[1:-1]:
                assert headers[name] == value, where
            assert "default-src 'self'" in headers["content-security-policy"], where
            assert "access-control-allow-origin" not in headers, where
        return seen

    seen = asyncio.run(probe())
    # They have been everywhere: each way to be refused was met.
    assert {200, 303, 401, 403, 404, 405, 421} <= set(seen), seen


def test_who_is_logged_in_would_have_learned_it(full_house):
    full_house.login()
    cookie = ("cookie", f"wattlog={full_house.visitor.cookies['wattlog']}")
    full_house.trouble = None

    async def probe():
        found = 0
        for index in range(1_000):
            method, path, query, _, _ = request_of(Lcg(SEED, index))
            if method == "GET" and path not in ("/events", "/api/stream"):
                headers = [("host", "127.0.0.1:8080"), cookie]
                _, _, body = await answer_of(full_house.app, "GET", path, query, headers, b"")
                found += CANARY.encode() in body
        return found

    assert asyncio.run(probe()) > 15


RAW = (
    b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n", b"GET http://evil.example/status HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET //status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"\x00" * 100,
    b"GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 15\r\n\r\npassword=wrong0GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
    b"GET /api/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"CONNECT x:1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /status HTTP/1.1\nHost: 127.0.0.1\n\n", b"GET /%73tatus HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
)  # fmt: skip


def test_broken_requests_end_at_their_own_connection(full_house):
    async def run():
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            port = listener.getsockname()[1]
            server = uvicorn.Server(
                uvicorn.Config(full_house.app, http=Connection, lifespan="off", log_config=None,
                               log_level="critical", access_log=False, timeout_graceful_shutdown=1)
            )  # fmt: skip
            serving = asyncio.create_task(server._serve(sockets=[listener]))
            try:
                async with asyncio.timeout(60):
                    for index in range(RAW_PROBES):
                        assert CANARY.encode() not in await said(port, damaged(index)), index
                    fine = await said(port, b"GET /healthz HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
            finally:
                server.should_exit = True
                await serving
        return fine

    assert asyncio.run(run()).startswith(b"HTTP/1.1 503")


def damaged(index):
    rng = Lcg(SEED, index)
    data = bytearray(RAW[index % len(RAW)])
    for _ in range(0 if index < len(RAW) else rng.below(4)):
        at = rng.below(min(len(data), 300))
        data[at : at + rng.below(3)] = bytes((rng.below(256),)) * rng.below(4)
    return bytes(data)


async def said(port, data):
    """What comes back for this, when nothing more is sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        writer.write_eof()
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()
