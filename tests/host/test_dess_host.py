"""A whole host with solar: stored beside ingest, restarted, and no secret anywhere."""

import signal
import sqlite3
import subprocess
from contextlib import closing

import pytest

from layers import ROOT
from wattlog_host.clock import now_ms
from wattlog_sim.dess.cloud import Cloud
from wattlog_sim.dess.server import Server

PASSWORD = "canary-password-9317"
WRITE_TOKEN = "canary-write-token-9317"


@pytest.fixture
def cloud():
    server = Server(Cloud(now_ms, {"demo": PASSWORD}))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def host(make_host, cloud, tmp_path):
    made = make_host()
    (tmp_path / "secret").write_text(PASSWORD + "\n")
    (tmp_path / "token").write_text(WRITE_TOKEN + "\n")
    made.config_path.write_text(
        made.config_path.read_text()
        + f'[dessmonitor]\nenabled = true\nusername = "demo"\nurl = "{cloud.url}"\n'
        'password_file = "secret"\nwrite_token_file = "token"\ninterval_min = 1\n'
    )
    return made


def has_readings(host):
    devices = host.json("/api/solar/devices")["devices"]
    return len(devices) == 3 and all(one["power_w"]["load"] is not None for one in devices)


def test_solar_is_stored_shown_after_a_kill_backed_up_and_ends_cleanly(
    host, cloud, wait_until, tmp_path
):
    host.start()
    wait_until(lambda: has_readings(host))
    logins = cloud.cloud.calls["authSource"]
    host.end(signal.SIGKILL)
    # The cloud is away at the next start: what was known is shown, and nothing hangs.
    cloud.cloud.order("hang")
    host.start()
    wait_until(lambda: has_readings(host))
    assert host.end() == 0
    assert cloud.cloud.calls["authSource"] == logins == 1
    copied = tmp_path / "data/copy.db"
    subprocess.run(
        [*host_command(), "backup", "--to", str(copied), "--config", str(host.config_path)],
        capture_output=True, check=True,
    )  # fmt: skip
    with closing(sqlite3.connect(copied)) as copy:
        assert copy.execute("SELECT count(*) FROM solar_device").fetchone() == (3,)
    ((token, (secret, _)),) = cloud.cloud._tokens.items()
    for canary in (PASSWORD, WRITE_TOKEN, token, secret):
        assert canary.encode() not in copied.read_bytes()


def test_a_refused_login_is_said_once_and_the_rest_works(host, cloud, wait_until, tmp_path):
    (tmp_path / "secret").write_text("not-the-password\n")
    host.start()
    state = wait_until(lambda: (found := host.json("/api/solar"))["state"] == "login" and found)
    assert "16" in state["trouble"]
    assert host.get("/healthz")[0] == 200
    assert any("check the password" in text for text in host.events())
    assert cloud.cloud.calls["authSource"] == 1


def test_the_planted_secrets_are_nowhere(host, cloud, wait_until, tmp_path):
    cloud.cloud.order("echo", action="queryDeviceLastData", count=3)
    cloud.cloud.order("err", 16, action="queryDeviceParsEs", count=1)
    host.start()
    wait_until(lambda: has_readings(host) or cloud.cloud.calls["queryDeviceLastData"] >= 3)
    (token,) = cloud.cloud._tokens
    secret = cloud.cloud._tokens[token][0]
    device = cloud.cloud.devices[0].sn
    pages = [
        "/", "/state", "/status", "/healthz", "/house", f"/house/{device}", "/api/solar",
        "/api/solar/devices", "/api/solar/changes", "/api/solar/flow", "/api/solar/house",
        "/api/solar/periods", f"/api/solar/latest?device={device}&diagnostics=yes",
    ]  # fmt: skip
    shown = "".join(host.get(path)[1] for path in pages)
    assert "ERR_FAIL" in host.log() + shown
    assert host.end() == 0
    canaries = (PASSWORD, WRITE_TOKEN, token, secret)
    for canary in canaries:
        assert canary not in shown
        assert canary not in host.log()
    kept = {path for path in (tmp_path / "data").rglob("*") if path.is_file()}
    assert kept
    for path in kept:
        held = [canary for canary in canaries if canary.encode() in path.read_bytes()]
        # The token has its own file, apart from the database and its copies.
        assert held == ([token, secret] if path.name == "dess-token.json" else []), path
    checked = subprocess.run(
        [*host_command(), "--config", str(host.config_path), "--check-config"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "password: read from its file" in checked.stdout
    for canary in canaries:
        assert canary not in checked.stdout


def host_command():
    import sys

    return [sys.executable, "-m", "wattlog_host"]


def test_no_secret_of_the_cloud_is_in_the_project():
    # The vendor's public key is no secret, and ours are only ever made up, like these here.
    names = (ROOT / ".git").exists() and subprocess.run(
        ["git", "grep", "-lE", "canary-(password|write-token)-[0-9]+"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    ).stdout.split()  # fmt: skip
    assert all(name.startswith("tests/") for name in names or ())
