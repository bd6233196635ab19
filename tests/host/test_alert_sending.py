"""Real messages to real servers on the loopback, by the real library."""

import asyncio
import contextlib
import importlib.util
import json
import os
import re
import sys
import threading
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from waiting import wait_until
from wattlog.config import ConfigError
from wattlog_host import app, settings
from wattlog_host.alerts import sending
from wattlog_host.alerts.config import Target
from wattlog_host.web.languages import words

CANARY = "canary-topic-5521"
PASSWORD = "canary-mail-5521"


class Sink(ThreadingHTTPServer):
    """Keeps what is posted to it; answers with .status, and not before .gate is open.

    location    where it sends whoever asks; is_endless, whether its answer never ends
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got, self.status, self.gate = [], 200, threading.Event()
        self.location, self.is_endless = None, False
        self.gate.set()

    @property
    def port(self):
        return self.server_address[1]


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append((self.path, body.decode()))
        self.server.gate.wait(30)
        self.send_response(self.server.status)
        if self.server.location is not None:
            self.send_header("location", self.server.location)
        self.end_headers()
        with contextlib.suppress(OSError):
            while self.server.is_endless:
                self.wfile.write(b"x" * 2**20)

    def do_GET(self):
        self.server.got.append((self.path, "GET"))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def sink():
    server = Sink()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.gate.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def mail(free_port):
    """A mail server: .port, and .got, a list of (recipients, text)."""
    from aiosmtpd.controller import Controller

    class Box:
        def __init__(self):
            self.got = []

        async def handle_DATA(self, _server, _session, envelope):
            self.got.append((envelope.rcpt_tos, envelope.content.decode()))
            return "250 taken"

    box = Box()
    controller = Controller(box, hostname="127.0.0.1", port=free_port())
    controller.start()
    box.port = controller.port
    yield box
    controller.stop()


def send(url, body="Zähler 1: keine Daten"):
    return asyncio.run(sending.send(Target(1, 1, url), "wattlog: Haus", body, "warning"))


def test_a_webhook_gets_it(sink):
    assert send(f"json://127.0.0.1:{sink.port}/hook") is None
    ((path, body),) = sink.got
    said = json.loads(body)
    assert path == "/hook"
    assert (said["title"], said["message"], said["type"]) == (
        "wattlog: Haus", "Zähler 1: keine Daten", "warning",
    )  # fmt: skip


def test_ntfy_gets_it(sink):
    assert send(f"ntfy://127.0.0.1:{sink.port}/{CANARY}") is None
    ((_, body),) = sink.got
    said = json.loads(body)
    assert (said["topic"], said["title"], said["message"]) == (
        CANARY, "wattlog: Haus", "Zähler 1: keine Daten",
    )  # fmt: skip


def test_a_mail_server_gets_it(mail):
    url = f"mailto://127.0.0.1:{mail.port}?from=host@wattlog.example&to=me@wattlog.example"
    assert send(url, "Meter 1: no data") is None
    ((to, text),) = mail.got
    assert to == ["me@wattlog.example"]
    assert "Subject: wattlog: Haus" in text and "Meter 1: no data" in text


FAILURES = (
    ("it is refused", 403, "HTTP 403"),
    ("it does not work", 500, "HTTP 500"),
)


@pytest.mark.parametrize(
    ("status", "why"), [f[1:] for f in FAILURES], ids=[f[0] for f in FAILURES]
)
def test_why_it_did_not_go_is_a_number(sink, status, why):
    sink.status = status
    assert send(f"ntfy://127.0.0.1:{sink.port}/{CANARY}") == why


def test_nobody_is_there(free_port):
    assert send(f"json://127.0.0.1:{free_port()}/{CANARY}") == "no connection"


def test_a_target_that_hangs_is_given_up(sink, monkeypatch):
    monkeypatch.setattr(sending, "SEND_S_MAX", 2.0)
    sink.gate.clear()
    assert send(f"json://127.0.0.1:{sink.port}/x?rto=60") == sending.LATE
    assert len(sink.got) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_message_goes_where_it_is_told_to_or_not_at_all(sink, status):
    sink.status, sink.location = status, f"http://127.0.0.1:{sink.port}/elsewhere"
    assert send(f"json://127.0.0.1:{sink.port}/hook") == f"HTTP {status}"
    assert [path for path, _ in sink.got] == ["/hook"]


def test_an_answer_without_end_takes_no_memory_without_end(sink):
    sink.is_endless = True
    assert send(f"json://127.0.0.1:{sink.port}/hook") == "not taken"
    sink.is_endless = False
    assert send(f"json://127.0.0.1:{sink.port}/hook") is None


def test_a_module_of_the_current_folder_is_not_the_library(sink, tmp_path, monkeypatch):
    for name in ("apprise.py", "json.py"):
        (tmp_path / name).write_text("raise SystemExit(3)\n")
    monkeypatch.chdir(tmp_path)
    assert send(f"json://127.0.0.1:{sink.port}/hook") is None


def test_where_no_process_can_be_started_it_is_a_failure_like_others(
    sink, monkeypatch, tmp_path, config
):
    monkeypatch.setattr(sending, "_PROGRAM", (str(tmp_path / "none"),))
    assert send(f"json://127.0.0.1:{sink.port}/hook") == sending.NO_PROCESS
    chosen = settings.load(config('urls_file = "urls"', "json://127.0.0.1:1/x"), {})
    with pytest.raises(sending.SenderBroken, match="no process could be started: No such file"):
        sending.check(chosen.alerts)


def command_lines():
    """Of all processes; one that ends meanwhile has none."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes())
    return found


def test_the_address_is_no_argument_of_the_process(sink):
    sink.gate.clear()

    async def act():
        task = asyncio.create_task(
            sending.send(
                Target(1, 1, f"json://127.0.0.1:{sink.port}/{CANARY}?rto=60"), "a", "b", "info"
            )
        )
        await asyncio.to_thread(wait_until, lambda: sink.got)
        lines = command_lines()
        sink.gate.set()
        return await task, lines

    why, lines = asyncio.run(act())
    assert why is None
    assert any(b"wattlog_host.alerts.post" in line for line in lines)
    assert not any(CANARY.encode() in line for line in lines)


# --- settings --------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path):
    def write(text="", urls=None):
        path = tmp_path / "host.toml"
        path.write_text(f'data = "{tmp_path}/data"\n[alerts]\n{text}\n')
        if urls is not None:
            (tmp_path / "urls").write_text(urls)
        return path

    return write


MISTAKES = (
    ("a file that is not there", 'urls_file = "urls"', None,
     r"line 3: alerts\.urls_file cannot read .*/urls: No such file"),
    ("a file without an address", 'urls_file = "urls"', "# later\n\n",
     r"line 3: alerts\.urls_file .*/urls holds no address; write one in each line"),
    ("a line that is none", 'urls_file = "urls"', f"ntfy://x/y\n{CANARY}\n",
     r"line 3: alerts\.urls_file .*/urls line 2 is no address of Apprise, like ntfy://"),
    ("a file that is no text", 'urls_file = "urls"', "\udcff",
     r"line 3: alerts\.urls_file .*/urls is not UTF-8 text"),
    ("a file without end", 'urls_file = "urls"', "#" * 65_537, r"urls is longer than 65536 bytes"),
    ("too many", 'urls_file = "urls"', "json://a\n" * 21, r"urls has more than 20 addresses"),
    ("hours that are none", 'quiet = "22-7"', None,
     r'line 3: alerts\.quiet must be like "22:00-07:00", not "22-7"'),
    ("hours of no length", 'quiet = "22:00-22:00"', None, r"line 3: alerts\.quiet must end at another"),
    ("a kind that there is not", 'off = "silent, silence"', None,
     r'line 3: alerts\.off knows no "silence"; there are silent, offline, log'),
    ("an urgent one", 'urgent = "all"', None, r'line 3: alerts\.urgent knows no "all"'),
    ("a number that is too small", "silent_min = 0", None,
     r"line 3: alerts\.silent_min must be 1 to 10080, not 0"),
    ("a language that there is not", 'language = "fr"', None,
     r'line 3: alerts\.language must be one of "en", "de"'),
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "urls", "said"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES]
)
def test_a_mistake_says_where_and_what_would_be_right(config, tmp_path, text, urls, said):
    path = config(text)
    if urls is not None:
        (tmp_path / "urls").write_bytes(urls.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError) as err:
        settings.load(path, {})
    assert re.search(said, str(err.value)), err.value
    assert "\n" not in str(err.value) and CANARY not in str(err.value)


def test_without_the_library_targets_are_a_mistake_and_the_rest_is_not(config, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "apprise" else find(name)
    )
    assert settings.load(config('quiet = "22:00-07:00"'), {}).alerts.targets == ()
    with pytest.raises(ConfigError, match=r"pip install 'wattlog\[alerts\]'"):
        settings.load(config('urls_file = "urls"', "json://a\n"), {})


def test_an_address_that_the_library_does_not_know_is_told_by_its_line(config):
    of = settings.load(config('urls_file = "urls"', f"# mine\njson://a/b\nnope://{CANARY}\n"), {})
    with pytest.raises(ConfigError, match=r"urls line 3 is no address that Apprise knows") as err:
        sending.check(of.alerts)
    assert CANARY not in str(err.value)


def test_addresses_come_from_the_environment_or_a_credential(config, tmp_path):
    path = config()
    of = settings.load(path, {"WATTLOG_ALERTS_URLS": "json://a\n ntfys://b/c \n"}).alerts
    assert [one.name for one in of.targets] == ["1 json", "2 ntfys"]
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials/urls").write_text("mailto://x@y\n")
    path = config('urls_file = "urls"')
    of = settings.load(path, {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}).alerts
    assert [one.name for one in of.targets] == ["1 mailto"]


def test_settings_shown_are_settings_read(config):
    text = 'quiet = "22:15-06:05"\nurgent = "disk, database"\noff = "base, gap"\nlog_percent = 70'
    of = settings.load(config(text), {})
    assert (of.alerts.quiet, of.alerts.limits.log_percent) == ((1335, 365), 70)
    shown = "\n".join(of.alerts.lines())
    again = settings.load(config(shown.removeprefix("[alerts]\n")), {})
    assert again.alerts == of.alerts


# --- the command and a running host -----------------------------------------------------------


def test_the_command_says_of_each_target_whether_it_went(
    config, run_host, sink, free_port, tmp_path
):
    urls = f"json://127.0.0.1:{sink.port}/{CANARY}\nntfy://127.0.0.1:{free_port()}/{CANARY}\n"
    done = run_host("alerts", "test", "--config", config('urls_file = "urls"', urls))
    assert (done.returncode, done.stdout) == (1, "1 json: sent\n2 ntfy: no connection\n"), (
        done.stderr
    )
    assert json.loads(sink.got[0][1])["message"] == "This is a test: alerts reach you here."
    shown = run_host("--check-config", "--config", tmp_path / "host.toml")
    assert "# targets: 1 json, 2 ntfy\n" in shown.stdout
    for one in (done, shown):
        assert CANARY not in one.stdout + one.stderr


def test_the_command_without_targets_says_what_to_set(config, run_host):
    done = run_host("alerts", "test", "--config", config())
    assert done.returncode == 2 and "alerts.urls_file" in done.stderr


def test_a_host_sends_a_test_and_tells_no_address(make_host, run_host, sink, tmp_path):
    host = make_host()
    sink.status = 500
    (tmp_path / "urls").write_text(
        f"json://user:{PASSWORD}@127.0.0.1:{sink.port}/{CANARY}\n"
        f"ntfy://127.0.0.1:{sink.port}/{CANARY}\n"
    )
    text = host.config_path.read_text()
    host.config_path.write_text(f'{text}[alerts]\nurls_file = "urls"\nlanguage = "de"\n')
    run = lambda *words, **more: run_host(*words, "--config", host.config_path, **more)  # noqa: E731
    assert run("password", WATTLOG_PASSWORD="a long password").returncode == 0
    token = re.search(r"Bearer ([\w-]{43})", run("token", "add", "x", "--write").stdout)[1]
    host.start("--verbose")
    bearer = {"authorization": f"Bearer {token}"}

    def post():
        connection = HTTPConnection("127.0.0.1", host.http_port, timeout=60)
        kind = {"content-type": "application/x-www-form-urlencoded"}
        connection.request("POST", "/alerts/test", "", {**bearer, **kind})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status

    assert post() == 303
    assert post() == 429
    assert len(sink.got) == 2
    assert json.loads(sink.got[0][1])["message"] == words("de")["alert.test"]
    paths = ("/", "/state", "/status", "/api/alerts", "/metrics", "/api/openapi.json")
    texts = [host.get(path, **bearer)[1] for path in paths]
    assert [(one["name"], one["trouble"], one["failed"]) for one in json.loads(texts[3])["targets"]] == [
        ("1 json", "HTTP 500", 1), ("2 ntfy", "HTTP 500", 1),
    ]  # fmt: skip
    assert "HTTP 500" in texts[1]
    assert 'wattlog_alert_messages_failed_total{target="1 json"} 1.0' in texts[4]
    assert 'wattlog_alerts_standing{kind="silent"} 0.0' in texts[4]
    done = run("--verbose", "backup", "--to", tmp_path / "data/copy.db")
    texts.append(done.stdout + done.stderr)
    assert host.end() == 0
    texts.append(host.log())
    assert "a message could not be sent to 1 json: HTTP 500" in texts[-1]
    files = [
        path.read_bytes().decode(errors="replace")
        for path in (tmp_path / "data").rglob("*")
        if path.is_file()
    ]
    assert any("1 json" in text for text in files)
    for text in (*texts, *files):
        assert CANARY not in text and PASSWORD not in text


def test_a_host_does_not_start_with_an_address_that_is_unknown(make_host, run_host, tmp_path):
    host = make_host()
    (tmp_path / "urls").write_text(f"nope://{CANARY}\n")
    with host.config_path.open("a") as file:
        file.write('[alerts]\nurls_file = "urls"\n')
    done = run_host("--config", host.config_path)
    assert done.returncode == os.EX_CONFIG
    assert "urls line 1 is no address that Apprise knows" in done.stderr
    assert CANARY not in done.stderr


def test_a_library_that_cannot_be_run_is_told_and_the_host_starts(config, monkeypatch, caplog):
    monkeypatch.setattr(sending, "_PROGRAM", (sys.executable, "-c", "print('x')"))
    of = settings.load(config('urls_file = "urls"', "json://a/b\n"), {})
    with pytest.raises(sending.SenderBroken, match="apprise cannot be run"):
        sending.check(of.alerts)
    assert send("json://a/b") == sending.BROKEN
    asyncio.run(app._check_targets(of))
    assert "apprise cannot be run" in caplog.text
