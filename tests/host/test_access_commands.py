"""`wattlog-host password` and `token`, and that no host is open to other machines by mistake."""

import http.client
import json
import ssl
import stat
import sys
import threading

import pytest

from certificates import make, new_key, the_ca
from wattlog_host import cli
from wattlog_host.access import passwords
from wattlog_host.access.accounts import accounts_in, add_token
from wattlog_host.settings import load

PASSWORD = "canary password 7"
# Only so that a failure ends.
PATIENCE_S = 30


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "host.toml"
    path.write_text(f'data = "{tmp_path / "data"}"\n')
    return path


@pytest.fixture
def host(config, capsys, monkeypatch):
    """host(*words, answers=()): run a command; return (status, out, err)."""

    def run(*words, answers=()):
        told = iter(answers)
        monkeypatch.setattr("getpass.getpass", lambda _: next(told))
        monkeypatch.setattr(sys.stdin, "isatty", lambda: bool(answers), raising=False)
        status = cli.main(["--config", str(config), *map(str, words)])
        return (status, *capsys.readouterr())

    return run


def kept(tmp_path):
    return accounts_in(tmp_path / "data").now()


def test_the_password_is_asked_for_twice(tmp_path, host):
    status, out, err = host("password", answers=(PASSWORD, PASSWORD))
    assert (status, err) == (0, "")
    assert "from now on" in out and PASSWORD not in out
    assert passwords.matches(kept(tmp_path).password, PASSWORD)
    file = tmp_path / "data" / "access.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


UNFIT = (
    ("two different ones", (PASSWORD, PASSWORD + "x"), "two different passwords"),
    ("a short one", ("1234567", "1234567"), "8 to 1000 letters"),
    ("none", ("", ""), "8 to 1000 letters"),
    ("a very long one", ("x" * 1001, "x" * 1001), "8 to 1000 letters"),
    ("nobody there", (), "nobody is there to ask: give --password-file"),
)


@pytest.mark.parametrize(("answers", "said"), [u[1:] for u in UNFIT], ids=[u[0] for u in UNFIT])
def test_an_unfit_password_is_one_line_and_changes_nothing(tmp_path, host, answers, said):
    status, out, err = host("password", answers=answers)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert said in err
    assert PASSWORD not in err
    assert kept(tmp_path).password is None


def test_the_password_may_come_from_a_file_or_the_environment(tmp_path, host, monkeypatch):
    (tmp_path / "secret").write_text(PASSWORD + "\nmore\n")
    assert host("password", "--password-file", tmp_path / "secret")[0] == 0
    assert passwords.matches(kept(tmp_path).password, PASSWORD)
    monkeypatch.setenv("WATTLOG_PASSWORD", PASSWORD + "2")
    assert host("password")[0] == 0
    assert passwords.matches(kept(tmp_path).password, PASSWORD + "2")
    status, _, err = host("password", "--password-file", tmp_path / "no")
    assert (status, err.count("\n")) == (2, 1)
    assert "No such file" in err


def test_the_password_can_be_removed(tmp_path, host):
    host("password", answers=(PASSWORD, PASSWORD))
    assert host("password", "--remove")[0] == 0
    assert kept(tmp_path).password is None


def test_a_token_is_printed_once_and_can_be_removed(tmp_path, host):
    status, out, _ = host("token", "add", "ha")
    secret = out.split("Bearer ")[1].strip()
    assert (status, len(secret)) == (0, 43)
    host("token", "add", "script", "--write")
    assert host("token", "list")[1] == "ha  reads\nscript  reads and changes\n"
    assert secret not in (tmp_path / "data" / "access.json").read_text()
    assert host("token", "add", "ha")[0] == 2
    assert host("token", "remove", "ha") == (0, "token ha is removed\n", "")
    assert host("token", "remove", "ha")[0] == 2
    assert host("token", "list")[1] == "script  reads and changes\n"


ORDERS = (
    ("token", "add", "--write", "x"),
    ("token", "add", "x", "--write"),
    ("device", "add", "--tool", "x"),
    ("device", "add", "x", "--program"),
)


@pytest.mark.parametrize("words", ORDERS, ids=" ".join)
def test_an_option_may_stand_before_the_name_and_behind_it(host, words):
    assert host(*words)[0] == 0


UNFINISHED = (
    ("token", "the following arguments are required: COMMAND"),
    ("token remove", "the following arguments are required: NAME"),
    ("device list x", "unrecognized arguments: x"),
    ("device add x --tool --program", "not allowed with argument --tool"),
    ("token take x", "invalid choice: 'take'"),
)


@pytest.mark.parametrize(("words", "said"), UNFINISHED, ids=[words for words, _ in UNFINISHED])
def test_a_command_that_is_not_finished_says_what_is_missing(config, capsys, words, said):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["--config", str(config), *words.split()])
    assert said in capsys.readouterr().err
    assert not (config.parent / "data").exists()


def test_two_commands_at_once_lose_nothing(tmp_path):
    first, second = accounts_in(tmp_path / "data"), accounts_in(tmp_path / "data")
    other = threading.Thread(target=lambda: add_token(second, "b", may_change=False))

    def slowly(data):
        other.start()
        other.join(0.2)  # it has to wait, however long this takes
        data["password"] = "$argon2id$"

    first.change(slowly)
    other.join(PATIENCE_S)
    found = kept(tmp_path)
    assert found.password == "$argon2id$"
    assert [one.name for one in found.tokens.values()] == ["b"]


# --- other machines ---------------------------------------------------------------------------


@pytest.mark.parametrize("listen", ["0.0.0.0", "::", "192.0.2.1", "box.lan"])
@pytest.mark.parametrize("guest", ["true", "false"])
def test_without_a_password_no_other_machine_may_ask(
    tmp_path, config, listen, guest, monkeypatch, capsys
):
    monkeypatch.setattr("wattlog_host.app._listen", lambda _: type("Socket", (), {"close": int}))
    text = f'[http]\nlisten = "{listen}"\nguest = {guest}\n'
    config.write_text(config.read_text() + text)
    assert cli.main(["--config", str(config)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = [line for line in err.splitlines() if "INFO" not in line]
    assert f'http.listen = "{listen}"' in line
    assert f"wattlog-host --config {config} password" in line


def test_a_broken_file_of_accounts_is_one_line_at_start(tmp_path, run_host, config, free_port):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "access.json").write_text("{")
    config.write_text(config.read_text() + f"[http]\nport = {free_port()}\n")
    ended = run_host("--config", config)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "access.json" in ended.stderr


@pytest.mark.logs_warnings
def test_a_command_takes_effect_while_the_host_runs(make_host, run_host):
    host = make_host()
    host.start()
    assert host.get("/status")[0] == 200
    run_host("password", "--config", host.config_path, WATTLOG_PASSWORD=PASSWORD)
    assert host.get("/status")[0] == 401
    said = run_host("token", "add", "ha", "--config", host.config_path).stdout
    name, _, value = said.splitlines()[1].partition(": ")
    assert host.get("/status", **{name: value})[0] == 200
    assert host.get("/", cookie="wattlog=x")[0] == 303
    assert host.get("/healthz") == (200, "ok\n")


# --- TLS of the page --------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path):
    """host.toml's lines of a certificate for this machine."""
    cert, key = make("page", the_ca(), ("127.0.0.1",)).write(tmp_path, "page")
    return f'cert_file = "{cert.name}"\nkey_file = "{key.name}"\n'


@pytest.mark.logs_warnings
def test_the_page_speaks_tls_and_nothing_else(make_host, run_host, certificate, tmp_path):
    host = make_host()
    text = host.config_path.read_text()
    host.config_path.write_text(text.replace("[http]\n", f"[http]\n{certificate}"))
    run_host("password", "--config", host.config_path, WATTLOG_PASSWORD=PASSWORD)
    trust = ssl.create_default_context(cadata=the_ca().pem.decode())

    def ask(method, path, body=None, **headers):
        connection = http.client.HTTPSConnection(
            "127.0.0.1", host.http_port, context=trust, timeout=30
        )
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        found = answer.status, dict(answer.getheaders()), answer.read().decode()
        connection.close()
        return found

    host.answers = lambda: ask("GET", "/healthz")[0] == 200
    host._answers = lambda healthy: _tries(host.answers)
    host.start()
    where = f"https://127.0.0.1:{host.http_port}"
    status, headers, _ = ask(
        "POST", "/login", f"password={PASSWORD.replace(' ', '+')}",
        **{"Content-Type": "application/x-www-form-urlencoded", "Origin": where},
    )  # fmt: skip
    assert status == 303
    cookie, *attributes = headers["set-cookie"].split("; ")
    assert "Secure" in attributes and cookie.startswith(f"wattlog-{host.http_port}=")
    assert json.loads(ask("GET", "/status", cookie=cookie)[2])["host"]
    assert f"page: {where}/" in host.log()
    with pytest.raises((OSError, http.client.HTTPException)):
        host.get("/healthz")


def _tries(act):
    try:
        return act()
    except OSError:
        return False


def write_wrong(tmp_path):
    """Files, each wrong in its own way."""
    make("page", the_ca(), ("127.0.0.1",)).write(tmp_path, "page")
    make("other", the_ca(), ("127.0.0.1",)).write(tmp_path, "other")
    (tmp_path / "text.pem").write_text("no certificate")
    from cryptography.hazmat.primitives import serialization

    (tmp_path / "locked.key").write_bytes(
        new_key().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"passphrase"),
        )
    )


WRONG_TLS = (
    ("no key", "page.pem", None, "http.cert_file has no use without http.key_file"),
    ("no certificate", None, "page.key", "http.key_file has no use without http.cert_file"),
    ("no such certificate", "no.pem", "page.key", "http.cert_file cannot read"),
    ("no such key", "page.pem", "no.key", "http.key_file cannot read"),
    ("another's key", "page.pem", "other.key", "http.key_file is not the key of"),
    ("a text for a certificate", "text.pem", "page.key", "http.cert_file holds no certificate"),
    ("a text for a key", "page.pem", "text.pem", "http.key_file holds no key"),
    ("a folder", "/", "page.key", "http.cert_file cannot read /: Is a directory"),
    ("a key with a passphrase", "page.pem", "locked.key", "http.key_file has a passphrase"),
)


@pytest.mark.parametrize(
    ("cert", "key", "said"), [w[1:] for w in WRONG_TLS], ids=[w[0] for w in WRONG_TLS]
)
def test_a_certificate_that_cannot_be_used_is_one_line(tmp_path, config, capsys, cert, key, said):
    write_wrong(tmp_path)
    lines = [f'cert_file = "{cert}"'] if cert else []
    lines += [f'key_file = "{key}"'] if key else []
    config.write_text("[http]\n" + "\n".join(lines) + "\n")
    assert cli.main(["--config", str(config), "--check-config"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert said in err
    assert f"{config} line " in err


def test_the_certificate_lies_beside_the_file_that_names_it(config, certificate):
    config.write_text(f"[http]\n{certificate}")
    found = load(config, {})
    assert found.http_tls.cert_file == config.parent / "page.pem"
    assert f'key_file = "{config.parent / "page.key"}"' in found.lines()
