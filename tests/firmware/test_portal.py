"""The setup portal, asked as a browser asks and as nobody should: on CPython, and as a whole head
on 32-bit MicroPython with an ESP32's heap and socket rules.
"""

import json
import os
import re
import select
import socket
import time
from contextlib import closing
from urllib.parse import urlencode

import pytest

from boards import Board
from layers import ROOT
from portals import BoardHead, CPythonHead, FakeMeter, ask, free_port, hear
from wattlog_esp32 import page, settings
from wattlog_esp32.portal import CONNECTION_MS_MAX, IDLE_MS_MAX, Portal, write_settings

FORM = {
    "wifi.ssid": "Höhle & <b>",
    "wifi.password": 'se"cret99',
    "mqtt.host": "192.168.1.20",
    "mqtt.port": "1883",
    "mqtt.username": "cellar",
    "mqtt.password": "p'w",
    "meter.rx": "16",
    "meter.tx": "17",
    "meter.uart": "1",
    "meter.invert": "1",
    "agent.id": "cellar",
}
HOST = b"Host: 127.0.0.1\r\n"
TEN_MB = 10 * 1024 * 1024
# A head answers at once; what a busy test machine adds.
SOON_S = 4
LATE_S = 0.5


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    return Board(tmp_path_factory.mktemp("board"))


@pytest.fixture(params=["CPython", "MicroPython"])
def head(request, tmp_path):
    if request.param == "CPython":
        one = CPythonHead(tmp_path)
    else:
        (tmp_path / "wattlog.json").write_text('{"wifi.ssid": "known", "wifi.password": "hush"}')
        board = request.getfixturevalue("board")
        one = BoardHead(board, tmp_path).wait_until_open()
    yield one
    try:
        one.check()
    finally:
        one.stop()


def get(head, target="/", more=b""):
    return ask(head, b"GET %s HTTP/1.1\r\n%s%s\r\n" % (target.encode(), HOST, more)).decode()


def posted(fields, host=HOST):
    body = urlencode(fields).encode()
    form = b"Content-Type: application/x-www-form-urlencoded\r\n"
    length = b"Content-Length: %d\r\n" % len(body)
    return b"POST / HTTP/1.1\r\n" + host + form + length + b"\r\n" + body


def post(head, fields, host=HOST):
    return ask(head, posted(fields, host)).decode()


def token_of(text):
    return re.search(r'name="token" value="(\w+)"', text)[1]


def status(answer):
    return int(answer.split(" ", 2)[1])


def mistakes(answer):
    return dict(re.findall(r'<p class="e" id="([\w.]+)-e">(.*?)</p>', answer))


def press(head, act, token=None, **changes):
    fields = {key: value for key, value in {**FORM, **changes}.items() if value is not None}
    fields = {"key": head.key, **fields, "act": act}
    fields["token"] = token_of(get(head)) if token is None else token
    return post(head, fields)


def assert_nothing_kept(head):
    assert not head.path.exists() or "known" in head.path.read_text()


def test_a_good_form_is_kept_and_the_head_restarts(head):
    answer = press(head, "save")
    assert status(answer) == 200
    assert page.WORDS["saved"][0] in answer
    head.wait_until_saved()
    checked = settings.read(str(head.path))
    for key, value in FORM.items():
        assert checked[key] in (value, int(value) if value.isdigit() else None), key
    assert checked["meter.invert"] is True
    assert [path.name for path in head.path.parent.glob("*.new")] == []


def test_every_mistake_is_told_at_its_field_and_nothing_is_kept(head):
    changes = {"wifi.ssid": "", "mqtt.port": "70000", "agent.id": "Cellar", "meter.tx": "16"}
    answer = press(head, "save", **changes)
    assert mistakes(answer) == {
        "wifi.ssid": "This is needed.",
        "mqtt.port": "This must be 1 to 65535.",
        "agent.id": "Only a-z, 0-9, _ and -.",
        "meter.tx": "This is the same pin as rx.",
    }
    assert_nothing_kept(head)
    # What was filled in is still there, and another press is all it takes.
    assert 'value="70000"' in answer
    assert status(press(head, "save", token_of(answer))) == 200
    head.wait_until_saved()


def test_without_the_key_nothing_is_told_and_nothing_kept(head):
    for key in ("", "abc", head.key[:-1] + ("a" if head.key[-1] != "a" else "b"), head.key + "x"):
        answer = press(head, "save", key=key)
        assert status(answer) == 403
        assert mistakes(answer) == {"key": "This is not the key of this head."}
        for secret in (FORM["wifi.password"], page.escaped(FORM["wifi.password"]), head.key):
            assert secret not in answer
        assert status(get(head, f"/frames?key={key}")) == 403
        assert 'value="known"' not in get(head, f"/?key={key}")
    assert_nothing_kept(head)
    answer = get(head, f"/?key={head.key}")
    assert 'value="known"' in answer and "hush" not in answer
    assert 'value="16"' in get(head)


def test_a_form_is_good_for_one_press(head):
    token = token_of(get(head))
    first = press(head, "look", token)
    assert status(first) == 200
    again = press(head, "save", token)
    assert status(again) == 409
    assert page.WORDS["stale"][0] in again
    assert status(press(head, "save", "0" * 16)) == 409
    assert_nothing_kept(head)


def test_a_page_from_elsewhere_gets_nothing(head):
    for host in (
        b"Host: evil.example\r\n",
        b"Host: 127.0.0.1.evil.example\r\n",
        b"",
        b"Host: 127.0.0.1:x\r\n",
    ):
        assert status(post(head, {"key": head.key, **FORM, "act": "save"}, host=host)) == 421
    assert status(get(head, "/", b"")) == 200
    assert_nothing_kept(head)


def test_the_language_is_the_browsers(head):
    assert '<html lang="de">' in get(head, "/", b"Accept-Language: de-DE,de;q=0.9\r\n")
    assert "Lesekopf einrichten" in get(head, "/", b"Accept-Language: de\r\n")
    assert "Set up the IR head" in get(head)


def test_everything_a_person_typed_comes_back_escaped(head):
    answer = press(head, "look", **{"agent.id": "<script>alert(1)</script>"})
    assert "<script" not in answer
    assert 'value="H\u00f6hle &amp; &lt;b&gt;"' in answer
    assert "default-src 'none'" in answer


REFUSED = (
    ("HEAD", b"HEAD / HTTP/1.0\r\n" + HOST + b"\r\n", 405),
    ("PUT", b"PUT / HTTP/1.0\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc", 405),
    ("another page", b"GET /favicon.ico HTTP/1.0\r\n" + HOST + b"\r\n", 404),
    (
        "a POST elsewhere",
        b"POST /frames HTTP/1.0\r\n"
        + HOST
        + b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 1\r\n\r\na",
        404,
    ),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    ("garbage", bytes(range(256)) * 8, 400),
    ("a long line", b"GET /" + b"a" * 5000, 431),
    ("endless headers", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 2000, 431),
    ("a query that is none", b"GET /?%zz=1 HTTP/1.0\r\n" + HOST + b"\r\n", 400),
    (
        "no form of ours",
        b"POST / HTTP/1.0\r\n"
        + HOST
        + b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n\r\na=b",
        400,
    ),
)


def test_all_else_is_one_line_of_refusal(head):
    for name, data, wanted in REFUSED:
        answer = ask(head, data).decode()
        assert status(answer) == wanted, name
        body = answer.partition("\r\n\r\n")[2]
        assert body.endswith("\n") and body.count("\n") == 1, name
    assert status(get(head)) == 200


def test_of_two_requests_in_one_piece_the_first_is_answered(head):
    data = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
    answer = ask(head, data * 3).decode()
    assert answer.count("HTTP/1.0 200") == 1
    assert answer.endswith("</html>")


def test_ten_megabytes_are_not_read(head):
    form = b"Content-Type: application/x-www-form-urlencoded\r\n"
    start = b"POST / HTTP/1.1\r\n" + HOST + form + b"Content-Length: %d\r\n\r\n" % TEN_MB
    sent = 0
    begin_s = time.monotonic()
    with closing(socket.create_connection(("127.0.0.1", head.port), 20)) as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
        peer.sendall(start)
        try:
            while sent < TEN_MB:
                sent += peer.send(b"x" * 8192)
        except (ConnectionResetError, BrokenPipeError):
            pass
    assert sent < TEN_MB / 2, "it was cut off"
    assert time.monotonic() - begin_s < SOON_S
    # Whoever asks first and looks for the answer gets it.
    assert status(ask(head, start + b"x" * 2000).decode()) == 413
    assert status(get(head)) == 200


def test_a_connection_that_says_nothing_does_not_keep_others_out(head):
    with closing(socket.create_connection(("127.0.0.1", head.port))) as mute:
        begin_s = time.monotonic()
        assert status(get(head)) == 200
        assert time.monotonic() - begin_s < SOON_S
        assert hear(mute) == b""


def test_half_a_request_keeps_others_out_for_five_seconds_at_most(head):
    with closing(socket.create_connection(("127.0.0.1", head.port), 20)) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\n")
        begin_s = time.monotonic()
        assert status(get(head)) == 200
        assert time.monotonic() - begin_s < IDLE_MS_MAX / 1000 + SOON_S
        assert hear(slow) == b""


def test_a_request_that_comes_byte_by_byte_is_answered(head):
    answer = ask(head, b"GET / HTTP/1.1\r\n" + HOST + b"\r\n", is_slow=True).decode()
    assert status(answer) == 200


def test_who_reads_late_gets_the_whole_page(head):
    with closing(socket.socket()) as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        peer.settimeout(20)
        peer.connect(("127.0.0.1", head.port))
        # A page of 7 KB: more than the buffers of both sides hold.
        peer.sendall(posted({"wifi.ssid": '"' * 500, "act": "save"}))
        select.select([], [], [], LATE_S)
        answer = hear(peer).decode()
    assert answer.endswith("</html>")
    assert answer.count("<fieldset>") == answer.count("</fieldset>") > 3


# -- on CPython alone, where the test owns the time


@pytest.fixture
def portal(tmp_path):
    one = Portal(
        free_port(),
        "abcdefghjkmn",
        lambda name: name == b"127.0.0.1",
        {},
        {},
        FakeMeter(),
        lambda checked: write_settings(str(tmp_path / "wattlog.json"), checked),
        os.urandom,
        0,
    )
    one.port = one._listener.getsockname()[1]
    yield one
    one.close()


def connect(portal):
    peer = socket.create_connection(("127.0.0.1", portal.port), 5)
    peer.setblocking(False)
    return peer


def is_closed(peer):
    try:
        return peer.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_a_byte_now_and_then_does_not_keep_a_connection(portal):
    with closing(connect(portal)) as peer:
        portal.step(0)
        last_ms = 0
        for now_ms in range(0, 60_000, 1_000):
            try:
                peer.send(b"G")
            except OSError:
                break
            portal.step(now_ms)
            if is_closed(peer):
                last_ms = now_ms
                break
        assert CONNECTION_MS_MAX < last_ms <= CONNECTION_MS_MAX + 2_000


def test_who_does_not_read_is_dropped(portal, monkeypatch):
    monkeypatch.setattr(page, "form", lambda *_: iter(["x" * 1000] * 10_000))
    with closing(socket.socket()) as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.connect(("127.0.0.1", portal.port))
        peer.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        for now_ms in range(0, 4_000, 10):
            portal.step(now_ms)
        assert portal._peer is not None
        for now_ms in range(4_000, 40_000, 10):
            portal.step(now_ms)
        assert portal._peer is None


def test_only_use_is_use(portal):
    def at(now_ms, data):
        with closing(connect(portal)) as peer:
            peer.send(data)
            for step in range(20):
                portal.step(now_ms + step)
        portal.drop()

    frames = b"GET /frames?key=abcdefghjkmn HTTP/1.1\r\n" + HOST + b"\r\n"
    at(1_000, b"garbage\x00")
    at(2_000, frames)
    at(3_000, b"GET / HTTP/1.1\r\nHost: evil\r\n\r\n")
    assert portal.used_ms == 0, "a page that asks by itself is nobody"
    at(4_000, b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
    assert portal.used_ms >= 4_000


def test_a_flash_that_fails_is_told(tmp_path):
    head = CPythonHead(tmp_path / "nowhere")
    try:
        answer = press(head, "save")
        assert status(answer) == 500
        assert page.WORDS["flash"][0] in answer
        assert not head.portal.is_saved
    finally:
        head.stop()


def test_a_pin_that_the_chip_does_not_have_is_told(tmp_path):
    head = CPythonHead(tmp_path)
    try:
        for act in ("look", "save"):
            assert set(mistakes(press(head, act, **{"meter.rx": "47"}))) == {"meter.rx"}
        assert_nothing_kept(head)
    finally:
        head.stop()


def test_settings_are_kept_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "wattlog.json"
    path.write_text("old")
    checked = settings.check(
        {
            "agent.id": "ü".encode().hex(),
            "wifi.ssid": 'ü\n"',
            "mqtt.host": "h",
            "meter.rx": 1,
            "meter.tx": 2,
        },
        "x",
    )

    def power_cut(*_):
        raise OSError(5)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", power_cut)
        with pytest.raises(OSError, match="5"):
            write_settings(str(path), checked)
    assert path.read_text() == "old"
    with monkeypatch.context() as patch:
        # The flash gives back something else than was written.
        patch.setattr(json, "dumps", lambda _: "{}")
        with pytest.raises(OSError, match=r"\d"):
            write_settings(str(path), checked)
    assert path.read_text() == "old"
    write_settings(str(path), checked)
    assert settings.read(str(path)) == checked


def test_every_diagnosis_has_its_german_words():
    source = (ROOT / "agent/wattlog/diagnosis.py").read_text()
    texts = set(re.findall(r'text = "(.*?)"', source))
    assert len(texts) > 5
    assert texts == set(page.GERMAN)
