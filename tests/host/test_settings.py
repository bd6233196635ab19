"""A mistake in host.toml is one line that names file, line and key, and exit status 2."""

import os
import socket
from contextlib import closing

import pytest

from certificates import make, the_ca
from wattlog.config import ConfigError
from wattlog_host import cli, settings
from wattlog_pi import settings as agent_settings

MISTAKES = (
    ("an unknown table", "[htp]\nport = 1", 1, "htp"),
    ("an unknown key", "[http]\nprot = 1", 2, "did you mean port?"),
    ("a wrong type", '[http]\nport = "80"', 2, "http.port must be a whole number"),
    ("a port too high", "[http]\nport = 70000", 2, "http.port must be 1 to 65535"),
    ("a table as a number", "http = 80", 1, "http must be a table"),
    ("no TOML", "[http\n", None, "not valid TOML"),
    ("an embedded broker for all", '[mqtt]\nhost = "0.0.0.0"', 2, "set mqtt.listen"),
    ("an embedded broker by name", '[mqtt]\nhost = "box.lan"', 2, "another broker with credentials"),
    ("a listening broker elsewhere", '[mqtt]\nembedded = false\nlisten = "::"', 3, "no use with embedded = false"),
    ("a broker's certificate elsewhere", '[mqtt]\nembedded = false\ncert_file = "/x"', 3,
     "no use with embedded = false"),
    ("a broker's certificate without a key", '[mqtt]\ncert_file = "/x"', 2, "no use without mqtt.key_file"),
    ("a broker's certificate that is none", '[mqtt]\ncert_file = "/dev/null"\nkey_file = "/dev/null"', 2,
     "no certificate in PEM form"),
    ("an embedded broker with TLS", "[mqtt]\ntls = true", 2, "set embedded = false"),
    ("a password without a name", '[mqtt]\nembedded = false\npassword_file = "/x"', 3,
     "no use without username"),
    ("a password file that is not there",
     '[mqtt]\nembedded = false\nusername = "a"\npassword_file = "/no/such"', 4, "cannot read /no/such"),
    ("an empty password file",
     '[mqtt]\nembedded = false\nusername = "a"\npassword_file = "/dev/null"', 4, "is empty"),
    ("an authority without TLS", '[mqtt]\nembedded = false\nca_file = "/x"', 3,
     "no use without tls = true"),
    ("an authority that is not there", '[mqtt]\nembedded = false\ntls = true\nca_file = "/no"', 4,
     "is not a file"),
    ("an authority that is none",
     '[mqtt]\nembedded = false\ntls = true\nca_file = "/dev/null"', 4, "no certificate in PEM form"),
    ("an authority that is a folder",
     '[mqtt]\nembedded = false\ntls = true\nca_file = "/"', 4, "cannot be read"),
    ("a nobody's folder", 'data = "~nosuchuser/x"', 1, "no usable path"),
    ("a nobody's password",
     '[mqtt]\nembedded = false\nusername = "a"\npassword_file = "~nosuchuser/x"', 4,
     "no usable path"),
    ("a folder with a NUL", 'data = "x\\u0000y"', 1, "data"),
    ("a password file with a NUL",
     '[mqtt]\nembedded = false\nusername = "a"\npassword_file = "\\u0000"', 4, "password_file"),
    ("solar without an account", "[dessmonitor]\nenabled = true", 2, "needs dessmonitor.username"),
    ("solar too often", "[dessmonitor]\ninterval_min = 0", 2, "must be 1 to 60"),
    ("another platform", '[dessmonitor]\nplatform = "sun"', 2, 'must be one of "ess", "pv"'),
    ("an unknown key of solar", "[dessmonitor]\nintervall_min = 5", 2, "did you mean interval_min?"),
    ("a cloud without TLS", '[dessmonitor]\nurl = "http://cloud.example/"', 2, "begin with https://"),
    ("a cloud with a password", '[dessmonitor]\nurl = "https://a:b@c.example/"', 2, "no user"),
    ("a cloud that is none", '[dessmonitor]\nurl = "cloud"', 2, "must be like https://"),
    ("a password file for solar", '[dessmonitor]\npassword_file = "no"', 2, "cannot read"),
    ("an empty token file", '[dessmonitor]\nwrite_token_file = "/dev/null"', 2, "is empty"),
    ("no such devcodes", '[dessmonitor]\ndevcodes = "mine"', 2, "is not a folder"),
    ("another database", '[store]\nurl = "mysql://x/y"', 2, "must be like"),
    ("a database without a file", '[store]\nurl = "sqlite:///"', 2, "must be like"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "words"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES]
)
@pytest.mark.parametrize("check", [True, False], ids=["check", "run"])
def test_a_mistake_is_one_line_and_the_status_says_so(tmp_path, capsys, text, line, words, check):
    path = tmp_path / "host.toml"
    path.write_text(text)
    status = cli.main(["--config", str(path), *(["--check-config"] if check else [])])
    # A host that ends with EX_CONFIG is not started again by its service.
    assert status == (2 if check else os.EX_CONFIG)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert str(path) in err
    assert words in err
    if line is not None:
        assert f"line {line}:" in err


def test_a_file_that_is_not_there_is_said(tmp_path, capsys):
    assert cli.main(["--config", str(tmp_path / "no.toml")]) == os.EX_CONFIG
    assert "No such file" in capsys.readouterr().err


def test_check_config_shows_what_is_in_effect_and_no_secret(tmp_path, capsys):
    (tmp_path / "password").write_text("verysecret\n")
    path = tmp_path / "host.toml"
    path.write_text(
        f'data = "{tmp_path}"\n[mqtt]\nembedded = false\nhost = "box.lan"\nusername = "host"\n'
        f'password_file = "{tmp_path / "password"}"\n'
    )
    assert cli.main(["--config", str(path), "--check-config"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{path}: ok\n")
    assert 'host = "box.lan"' in out
    assert "verysecret" not in out
    chosen = settings.load(path, {})
    assert chosen.mqtt_password == "verysecret"
    assert chosen.database == tmp_path / "wattlog.db"


STANDARD_PLACES = (
    ("the service's folder", {"STATE_DIRECTORY": "/var/lib/wattlog:/x"}, "/var/lib/wattlog"),
    ("the user's folder", {}, os.path.expanduser("~/.local/share/wattlog")),
)


@pytest.mark.parametrize(("environ", "folder"), [p[1:] for p in STANDARD_PLACES])
def test_without_a_file_the_data_is_in_its_standard_place(environ, folder):
    assert str(settings.load(None, environ).data) == folder


def test_the_service_reads_its_own_file(tmp_path):
    (tmp_path / "host.toml").write_text("[http]\nport = 81")
    assert settings.load(None, {"CONFIGURATION_DIRECTORY": str(tmp_path)}).http_port == 81
    assert settings.load(None, {"CONFIGURATION_DIRECTORY": str(tmp_path / "no")}).http_port == 8080


@pytest.mark.parametrize(
    ("words", "port"),
    [("", 1883), ("tls = true", 8883), ("tls = true\nport = 1885", 1885), ("port = 1884", 1884)],
)
def test_tls_has_a_port_of_its_own(tmp_path, words, port):
    (tmp_path / "host.toml").write_text(f"[mqtt]\nembedded = false\n{words}\n")
    assert settings.load(tmp_path / "host.toml", {}).mqtt_port == port


NOT_ALWAYS = (
    "username",
    "password_file",
    "ca_file",
    "cert_file",
    "key_file",
    "urls_file",
    "share",
)


def test_every_setting_is_shown_by_check_config_or_is_a_secret():
    shown = "\n".join(settings.load(None, {}).lines())
    for key in settings.SCHEMA:
        name = key.path.rpartition(".")[2]
        assert f"{name} = " in shown or name in NOT_ALWAYS, key.path


def config(tmp_path, http_port, mqtt_port):
    path = tmp_path / "host.toml"
    path.write_text(
        f'data = "{tmp_path / "data"}"\n[http]\nport = {http_port}\n[mqtt]\nport = {mqtt_port}\n'
    )
    return path


def assert_one_line(ended, *words):
    lines = [line for line in ended.stderr.splitlines() if " INFO " not in line]
    assert ended.returncode == 2, ended.stderr
    assert len(lines) == 1, ended.stderr
    for word in words:
        assert word in lines[0]


def test_a_page_port_in_use_is_one_line(tmp_path, run_host, free_port):
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = run_host("--config", config(tmp_path, port, free_port()))
    assert_one_line(ended, f"127.0.0.1:{port}", "Address already in use", "http.port")


@pytest.mark.parametrize("name", ["..", "a" * 64, "no such"])
def test_an_address_that_is_none_is_one_line(tmp_path, run_host, name):
    path = tmp_path / "host.toml"
    path.write_text(f'data = "{tmp_path / "data"}"\n[http]\nlisten = "{name}"\n')
    assert_one_line(run_host("--config", path), f"http.listen: {name}: ")


def test_a_broker_port_in_use_is_one_line(tmp_path, run_host, free_port):
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = run_host("--config", config(tmp_path, free_port(), port))
    assert_one_line(ended, f"127.0.0.1:{port}", "address already in use", "mqtt.port")


def test_a_data_folder_that_cannot_be_is_one_line(tmp_path, run_host, free_port):
    (tmp_path / "data").write_text("a file where the folder should be")
    ended = run_host("--config", config(tmp_path, free_port(), free_port()))
    assert_one_line(ended, "cannot write to the data folder", str(tmp_path / "data"))


def test_version_is_said(run_host):
    ended = run_host("--version")
    assert (ended.returncode, ended.stdout.split()[0]) == (0, "wattlog")


WAYS = (
    ("", "127.0.0.1", "127.0.0.1", 1883),
    ('listen = "0.0.0.0"', "0.0.0.0", "127.0.0.1", 1883),
    ('listen = "::"', "::", "::1", 1883),
    ('listen = "192.0.2.1"\nport = 1884', "192.0.2.1", "192.0.2.1", 1884),
    ('host = "127.0.0.2"', "127.0.0.2", "127.0.0.2", 1883),
)


@pytest.mark.parametrize(("words", "listen", "host", "port"), WAYS)
def test_the_host_finds_its_own_broker(tmp_path, words, listen, host, port):
    (tmp_path / "host.toml").write_text(f"[mqtt]\n{words}\n")
    found = settings.load(tmp_path / "host.toml", {})
    assert (found.mqtt_listen, found.mqtt_host, found.mqtt_port) == (listen, host, port)


FILES = (
    "[http]\ncert_file = \"{}\"\nkey_file = \"k\"\n",
    "[mqtt]\nembedded = false\ntls = true\nca_file = \"{}\"\n",
    "[mqtt]\nembedded = false\nusername = \"a\"\npassword_file = \"{}\"\n",
    "[store]\nurl = \"postgresql://a@b/c\"\npassword_file = \"{}\"\n",
    "[dessmonitor]\npassword_file = \"{}\"\n",
    "[dessmonitor]\nwrite_token_file = \"{}\"\n",
)  # fmt: skip


@pytest.mark.parametrize("text", FILES)
def test_a_file_is_first_looked_for_among_what_systemd_hands_over(tmp_path, text):
    handed = tmp_path / "credentials"
    handed.mkdir()
    pem, key = make("here", the_ca(), ("localhost",)).write(handed, "x")
    pem.rename(handed / "name")
    key.rename(handed / "k")
    path = tmp_path / "host.toml"
    # Beside the settings there is one, too, which would not do.
    (tmp_path / "name").touch()
    environ = {"CREDENTIALS_DIRECTORY": str(handed)}

    def load(name, environ):
        path.write_text(text.format(name))
        settings.load(path, environ)

    load("name", environ)
    for name, others in (("name", {}), ("./name", environ), (f"{tmp_path}/name", environ)):
        with pytest.raises(ConfigError):
            load(name, others)


def test_the_agent_looks_there_too(tmp_path, monkeypatch):
    handed = tmp_path / "credentials"
    handed.mkdir()
    (handed / "secret").write_text("handed over\n")
    (tmp_path / "secret").write_text("beside\n")
    path = tmp_path / "agent.toml"
    path.write_text(
        '[agent]\nid = "a"\n[[meter]]\nport = "/dev/x"\n'
        '[mqtt]\nhost = "x"\nusername = "a"\npassword_file = "secret"\n'
    )
    assert agent_settings.read(path).mqtt.password == "beside"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(handed))
    assert agent_settings.read(path).mqtt.password == "handed over"
    (handed / "secret").unlink()
    assert agent_settings.read(path).mqtt.password == "beside"


def test_the_environment_gives_the_password_of_another_broker(tmp_path):
    path = tmp_path / "host.toml"
    environ = {"WATTLOG_MQTT_PASSWORD": "canary-env"}
    path.write_text('[mqtt]\nembedded = false\nusername = "a"\n')
    found = settings.load(path, environ)
    assert found.mqtt_password == "canary-env"
    assert "canary-env" not in "".join(found.lines()) + repr(found)
    path.write_text("[mqtt]\nembedded = true\n")
    assert settings.load(path, environ).mqtt_password is None
