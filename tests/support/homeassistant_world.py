"""A real Home Assistant in a process of its own, asked as its own page asks it."""

import base64
import hashlib
import hmac
import json
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from websockets.sync.client import connect

from toolbox import require
from waiting import wait_until

PARTS = Path(__file__).parent / "homeassistant"
START_S_MAX = 90
PATIENCE_S = 30
USER, TOKEN, TOKEN_KEY = "a" * 32, "b" * 32, "c" * 128
CONFIGURATION = """\
homeassistant:
  name: Home
  time_zone: Europe/Berlin
  unit_system: metric
http:
  server_host: 127.0.0.1
  server_port: {port}
recorder:
  commit_interval: 0
energy:
{clock}"""


class HomeAssistant:
    """One with a folder and a port of its own; start() may be called again after stop()."""

    def __init__(self, folder, port, now_s=None):
        """now_s is the time that it starts at; None is the real one."""
        self.port = port
        self.log_path = folder / "home-assistant.log"
        self._program = require("homeassistant") / "homeassistant/python"
        self._folder = folder
        self._process = None
        self._socket = None
        self._asked = 0
        self.now_s = now_s
        shutil.copytree(PARTS / "custom_components", folder / "custom_components")
        clock = "" if now_s is None else "clock:\n"
        (folder / "configuration.yaml").write_text(CONFIGURATION.format(port=port, clock=clock))
        (folder / ".storage").mkdir()
        (folder / ".storage/auth").write_text(json.dumps(_auth()))
        self.token = _token()

    def start(self):
        """Return once it has started and lets us in."""
        words = [self._program, "-m", "homeassistant"]
        if self.now_s is not None:
            words = [self._program, PARTS / "start.py", repr(float(self.now_s))]
        with (self._folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [*words, "--config", self._folder, "--skip-pip"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        wait_until(self._is_running, "Home Assistant's start", START_S_MAX, 0.1)
        self._socket = connect(f"ws://127.0.0.1:{self.port}/api/websocket", max_size=None)
        json.loads(self._socket.recv(PATIENCE_S))
        self._socket.send(json.dumps({"type": "auth", "access_token": self.token}))
        assert json.loads(self._socket.recv(PATIENCE_S))["type"] == "auth_ok"

    def stop(self):
        """End it in order."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is None:
            return
        process, self._process = self._process, None
        process.terminate()
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def log(self):
        """What it has said."""
        return (self._folder / "output").read_text()

    def rest(self, path, content=None):
        """Its answer to a GET, or to a POST with this content."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/{path}",
            None if content is None else json.dumps(content).encode(),
            {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return json.load(answer)

    def ask(self, kind, **more):
        """Its result to a command over the WebSocket."""
        self._asked += 1
        self._socket.send(json.dumps({"id": self._asked, "type": kind, **more}))
        answer = json.loads(self._socket.recv(PATIENCE_S))
        assert answer["id"] == self._asked and answer["success"], answer
        return answer["result"]

    def add_mqtt(self, broker_port):
        """Set up MQTT, as a person does."""
        flow = self.rest("config/config_entries/flow", {"handler": "mqtt"})
        assert flow["step_id"] == "broker", flow
        broker = {"broker": "127.0.0.1", "port": broker_port}
        done = self.rest(f"config/config_entries/flow/{flow['flow_id']}", broker)
        assert done["type"] == "create_entry", done

    def move_to(self, now_s):
        """Let time pass, with all that is due until then."""
        self.now_s = now_s
        assert self.rest("clock", {"now": now_s}) == {}

    def states(self):
        """Each entity's state by its id."""
        return {one["entity_id"]: one for one in self.rest("states")}

    def entities(self):
        """Of each entity of MQTT, what is registered, by its unique id."""
        found = self.ask("config/entity_registry/list")
        return {one["unique_id"]: one for one in found if one["platform"] == "mqtt"}

    def _is_running(self):
        if self._process.poll() is not None:
            pytest.fail("Home Assistant ended:\n" + self.log())
        try:
            return self.rest("config")["state"] == "RUNNING"
        except (OSError, urllib.error.HTTPError):
            return False


def _auth():
    """Home Assistant's file of users: an owner with a long-lived token."""
    user = {
        "id": USER,
        "group_ids": ["system-admin"],
        "is_owner": True,
        "is_active": True,
        "name": "Owner",
        "system_generated": False,
        "local_only": False,
    }
    token = {
        "id": TOKEN,
        "user_id": USER,
        "client_id": None,
        "client_name": "tests",
        "client_icon": None,
        "token_type": "long_lived_access_token",
        "created_at": "2020-01-01T00:00:00+00:00",
        "access_token_expiration": 1e9,
        "token": "d" * 128,
        "jwt_key": TOKEN_KEY,
        "last_used_at": None,
        "last_used_ip": None,
        "expire_at": None,
        "credential_id": None,
        "version": "2025.4.4",
    }
    data = {"users": [user], "groups": [], "credentials": [], "refresh_tokens": [token]}
    return {"version": 1, "minor_version": 1, "key": "auth", "data": data}


def _token():
    """The token that a person gets for it, once."""
    claims = {"iss": TOKEN, "iat": 1_577_836_800, "exp": 2_500_000_000}
    parts = [
        _encoded(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims)
    ]
    signed = hmac.new(TOKEN_KEY.encode(), ".".join(parts).encode(), hashlib.sha256).digest()
    return ".".join([*parts, _encoded(signed)])


def _encoded(content):
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
