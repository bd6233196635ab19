"""Secrets that are planted everywhere show up nowhere."""

import asyncio
import http.client
import re
from urllib.parse import urlencode

import aiomqtt
import pytest

from certificates import make, the_ca

PASSWORD = "canary-page-password-5521"
GUESS = "canary-wrong-guess-5521"
SHOWN = ("/", "/state", "/login", "/status", "/healthz", "/api/openapi.json", "/api/meters",
         "/api/latest_reading", "/api/live_power", "/api/summary", "/api/days", "/api/gaps",
         "/api/export.csv", "/api/tariffs", "/api/solar", "/api/no-such", "/no-such")  # fmt: skip


def login(host, password):
    """Return the session's cookie, None where there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", host.http_port, timeout=30)
    origin = f"http://127.0.0.1:{host.http_port}"
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": origin}
    connection.request("POST", "/login", urlencode({"password": password}), headers)
    answer = connection.getresponse()
    cookie, text = answer.getheader("set-cookie"), answer.read().decode()
    connection.close()
    return (cookie and cookie.partition(";")[0]), text


async def connect(host, name, password):
    try:
        async with aiomqtt.Client(
            "127.0.0.1", host.mqtt_port, username=name, password=password, identifier=password
        ) as client:
            await client.publish(f"wattlog/1/{name}/b", password.encode())
            await client.publish("wattlog/1/other/b", password.encode(), qos=1)
    except aiomqtt.MqttError:
        return False
    return True


def test_secrets_of_the_page_and_of_devices_are_nowhere(make_host, run_host, tmp_path, wire):
    host = make_host()
    run = lambda *words, **more: run_host(*words, "--config", host.config_path, **more)  # noqa: E731
    assert run("password", WATTLOG_PASSWORD=PASSWORD).returncode == 0
    token = re.search(r"Bearer ([\w-]{43})", run("token", "add", "ha").stdout)[1]
    device = re.search(r"^[\w-]{43}$", run("device", "add", "cellar").stdout, re.M)[0]
    host.start("--verbose")
    cookie, _ = login(host, PASSWORD)
    session = cookie.partition("=")[2]
    texts = [login(host, GUESS)[1], login(host, PASSWORD)[1]]
    assert asyncio.run(connect(host, "cellar", device))
    assert not asyncio.run(connect(host, "cellar", GUESS))
    for path in SHOWN:
        for headers in ({"authorization": f"Bearer {token}"}, {"authorization": f"Bearer {GUESS}"},
                        {"cookie": cookie}, {}):  # fmt: skip
            texts.append(host.get(path, **headers)[1])
    assert len(session) == 43 and "wattlog" in texts[2]
    for words in (("token", "list"), ("device", "list"), ("--check-config",),
                  ("broker-config", "mosquitto"), ("backup", "--to", tmp_path / "data/copy.db"),
                  ("token", "add", "ha"), ("device", "add", "cellar")):  # fmt: skip
        done = run(*words)
        texts.append(done.stdout + done.stderr)
    run("password", WATTLOG_PASSWORD="short")
    assert "copy.db" in texts[-3]
    assert host.end() == 0
    texts.append(host.log())
    assert "cellar" in texts[-1]  # its wrong password is told of
    places = {f"text {index}": text.encode() for index, text in enumerate(texts)}
    places |= {str(p): p.read_bytes() for p in (tmp_path / "data").rglob("*") if p.is_file()}
    assert len(places) > len(texts) + 3
    found = {}
    for name, secret in (("password", PASSWORD), ("guess", GUESS), ("token", token),
                         ("session", session), ("device", device)):  # fmt: skip
        found |= {(name, where): 1 for where, data in places.items() if secret.encode() in data}
    # What an agent sends as readings is kept aside as it came: it was its own secret to tell.
    aside = [where for name, where in found if name == "device" and where.endswith(".db")]
    assert all(where.endswith((".db", ".db-wal")) for _, where in found), found
    assert {name for name, _ in found} == {"device"}
    assert aside, "the look into the database sees what is there"


SETTINGS = (
    ("a password of another broker", '[mqtt]\nembedded = false\nusername = "a"\n'
     'password_file = "secret"\n'),
    ("a password of a database", '[store]\nurl = "postgresql://a@127.0.0.1:1/c"\n'
     'password_file = "secret"\n'),
    ("a secret as a certificate", '[http]\ncert_file = "secret"\nkey_file = "secret"\n'),
    ("a secret as a key", '[mqtt]\ncert_file = "cert.pem"\nkey_file = "secret"\n'),
    ("a password in the wrong place", '[mqtt]\npassword = "canary-in-file-5521"\n'),
    ("a password in an address", '[store]\nurl = "postgresql://a:canary-in-file-5521@b/c"\n'),
    ("a password for a number", '[http]\nport = 1\n[mqtt]\npassword_file = "secret"\n'),
)  # fmt: skip


@pytest.mark.parametrize("text", [s[1] for s in SETTINGS], ids=[s[0] for s in SETTINGS])
@pytest.mark.parametrize("words", [("--check-config",), ("--verbose", "backup")])
def test_no_error_and_no_check_tells_a_secret(tmp_path, run_host, text, words):
    (tmp_path / "secret").write_text("canary-in-file-5521\n")
    make("x", the_ca(), ("localhost",)).write(tmp_path, "cert")
    path = tmp_path / "host.toml"
    path.write_text(f'data = "{tmp_path / "data"}"\n{text}')
    environ = {
        "WATTLOG_STORE_PASSWORD": "canary-env-5521",
        "WATTLOG_MQTT_PASSWORD": "canary-env-5521",
    }
    ended = run_host("--config", path, *words, **environ)
    assert "canary" not in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
