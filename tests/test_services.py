"""Agent and host as services: what is printed, what is installed, and how it is confined."""

import argparse
import fcntl
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from toolbox import ROOT, require
from wattlog.config import ConfigError
from wattlog_host import service_command as host_command
from wattlog_host.ownership import hand_over
from wattlog_pi import installing, service_command
from wattlog_pi.credentials import file_named
from wattlog_pi.installing import InstallRefused

RUN_S_MAX = 60
EXPOSURE_MAX = 2.0
MODULES = {"wattlog-agent": "wattlog_pi", "wattlog-host": "wattlog_host"}
# What a unit must not be without, whatever its figure is.
CONFINED = (
    "Type=notify", "Restart=always", "DynamicUser=yes", "ProtectSystem=strict", "NoNewPrivileges=yes",
    "MemoryDenyWriteExecute=yes", "CapabilityBoundingSet=", "SystemCallFilter=@system-service",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6", "StartLimitIntervalSec=0",
    "RestartPreventExitStatus=78",
)  # fmt: skip


def service_of(name):
    if name == "wattlog-host":
        return host_command.service()
    return service_command.service_of("cellar", ["/dev/ttyUSB0"], "127.0.0.1")


def command(name, *words):
    return subprocess.run(
        [sys.executable, "-m", MODULES[name], *words],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=RUN_S_MAX, check=False,
    )  # fmt: skip


each = pytest.mark.parametrize("name", MODULES)


# -- the units --------------------------------------------------------------------------------


@pytest.fixture
def analyze():
    """Run systemd-analyze; give what it prints on either stream."""
    program = require("systemd") / "bin/systemd-analyze"

    def run(*words):
        done = subprocess.run(
            [program, "--no-pager", *words],
            capture_output=True, text=True, timeout=RUN_S_MAX, check=False,
            env=dict(os.environ, LC_ALL="C.UTF-8"),
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout, done.stderr

    return run


def unit_in(folder, name, change=lambda text: text):
    (unit,) = (file for file in service_of(name).files if file.path.endswith(".service"))
    path = folder / f"{name}.service"
    path.write_text(change(unit.text))
    return path


def exposure(analyze, path):
    out, _ = analyze("security", "--offline=true", str(path))
    return float(re.search(r"Overall exposure level for \S+: ([\d.]+)", out)[1])


@each
def test_a_unit_exposes_little(analyze, tmp_path, name):
    assert exposure(analyze, unit_in(tmp_path, name)) <= EXPOSURE_MAX
    # The judge can tell.
    bare = unit_in(tmp_path, name, lambda text: re.sub("(?m)^(Protect|Restrict).*$", "", text))
    assert exposure(analyze, bare) > EXPOSURE_MAX


@each
def test_systemd_has_nothing_to_say_of_a_unit(analyze, tmp_path, name):
    assert analyze("verify", str(unit_in(tmp_path, name))) == ("", "")
    wrong = unit_in(tmp_path, name, lambda text: text.replace("RestartSec=", "RestartSecs="))
    assert "RestartSecs" in analyze("verify", str(wrong))[1]


@each
def test_a_unit_is_confined(tmp_path, name):
    lines = unit_in(tmp_path, name).read_text().splitlines()
    for line in CONFINED:
        assert line in lines, line
    assert any(line.startswith("WatchdogSec=") for line in lines)
    loaded = [line.partition("=")[2] for line in lines if line.startswith("LoadCredential=")]
    empty = [line.partition("=")[2] for line in lines if line.startswith("SetCredential=")]
    assert [one.partition(":")[0] + ":\\n" for one in loaded] == empty, "no unit fails without"
    assert all(
        one == f"{one.partition(':')[0]}:/etc/wattlog/{one.partition(':')[0]}" for one in loaded
    )


# -- workers of a cell, as host/FLEET.md has them made ------------------------------------------


def made_as_documented(folder):
    """Run what the document says, with this folder for systemd's."""
    unit_in(folder, "wattlog-host")
    text = (ROOT / "host/FLEET.md").read_text()
    (block,) = (one for one in re.findall(r"```sh\n(.+?)```", text, re.S) if "worker@" in one)
    script = block.replace("/etc/systemd/system", str(folder))
    end = script.index("systemctl enable")
    subprocess.run(["sh", "-ec", script[:end]], check=True, timeout=RUN_S_MAX)
    assert "systemctl enable --now wattlog-worker@1" in script[end:]
    return folder / "wattlog-worker@1.service"


def test_workers_are_units_as_confined_as_the_host(analyze, tmp_path):
    worker = made_as_documented(tmp_path)
    assert analyze("verify", str(worker)) == ("", "")
    assert exposure(analyze, worker) <= EXPOSURE_MAX
    unit = tmp_path / "wattlog-worker@.service"
    host, own = ((tmp_path / "wattlog-host.service").read_text(), unit.read_text())
    assert "/wattlog-host worker --config " in own
    assert "\nStateDirectory=wattlog-worker-%i\n" in own, "not the lead's, which is another user's"
    changed = [pair for pair in zip(host.splitlines(), own.splitlines(), strict=True)
               if pair[0] != pair[1]]  # fmt: skip
    assert len(changed) == 3, changed
    unit.write_text(own.replace("RestartSec=", "RestartSecs="))
    assert "RestartSecs" in analyze("verify", str(worker))[1]


@each
def test_wrong_settings_end_a_service_for_good_and_nothing_else_does(tmp_path, name):
    config = tmp_path / "it.toml"
    config.write_text("[mqtt]\nprot = 1\n")
    done = command(name, "--config", str(config))
    assert done.returncode == os.EX_CONFIG == 78, done.stderr
    assert "mqtt.prot" in done.stderr and done.stderr.count("\n") == 1
    # Who asks whether they are right is told as every command tells it.
    assert command(name, "--config", str(config), "--check-config").returncode == 2
    with socket.create_server(("127.0.0.1", 0)) as other:
        (tmp_path / "taken").write_text("no folder")
        # What may be otherwise in 5 s: a port that is taken, a log or a folder that cannot be had.
        config.write_text(
            f'data = "{tmp_path}/data"\n[http]\nport = {other.getsockname()[1]}\n'
            if name == "wattlog-host"
            else f'[agent]\nid = "a"\n[log]\npath = "{tmp_path}/log"\n'
            '[mqtt]\nhost = "127.0.0.1"\n[[meter]]\nport = "/dev/x"\n'
        )
        with (tmp_path / "log").open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            done = command(name, "--config", str(config))
    assert done.returncode == 2, done.stderr


def test_an_empty_credential_stands_for_none(tmp_path):
    handed = tmp_path / "credentials"
    handed.mkdir()
    environ = {"CREDENTIALS_DIRECTORY": str(handed)}
    (handed / "mqtt-password").write_bytes(b"\n")  # as SetCredential= of the units gives it
    assert file_named("mqtt-password", tmp_path, environ) == tmp_path / "mqtt-password"
    (handed / "mqtt-password").write_bytes(b"secret")
    assert file_named("mqtt-password", tmp_path, environ) == handed / "mqtt-password"


def test_rules_for_ports_name_heads_and_leave_out_what_is_no_serial_number():
    text = installing.data_of("wattlog_pi", "70-wattlog.rules")
    rules = [line for line in text.splitlines() if line and not line.startswith("#")]
    for rule in rules:
        for part in rule.split(", "):
            assert re.fullmatch(r'[A-Z]+(\{\w+\})?(==|!=|\+=|=)"[^"]*"', part), part
    assert 'ENV{ID_SERIAL_SHORT}=="0001", GOTO="wattlog_end"' in rules
    assert rules[-1] == 'LABEL="wattlog_end"'


# -- the commands -----------------------------------------------------------------------------


@each
def test_without_system_all_is_printed_and_nothing_done(name):
    done = command(name, "install")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Would do, as root (--system does it):\n  write /etc/systemd")
    for file in service_of(name).files:
        assert f"\n# ---- /{file.path}\n" in done.stdout or f"keep /{file.path}" in done.stdout
    assert (
        f"ExecStart={sys.executable.rpartition('/')[0]}/{name} --config /etc/wattlog/"
        in done.stdout
    )
    done = command(name, "uninstall")
    assert f"systemctl disable --now {name}.service" in done.stdout
    assert "What stays is yours to remove: /etc/wattlog, /var/lib/private/" in done.stdout


@each
def test_where_no_systemd_runs_it_is_refused_in_one_line(name, monkeypatch, tmp_path):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for act in (installing.install, installing.uninstall):
        with pytest.raises(InstallRefused, match="systemd does not run here"):
            list(act(service_of(name), is_done=True, root=tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(InstallRefused, match="only root can do this"):
        list(installing.install(service_of(name), is_done=True, root=tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A root folder where systemd runs, as far as we look, and what was called there."""
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(installing, "HIDDEN", ("/hidden",))

    class Machine:
        def __init__(self):
            self.root = tmp_path
            self.called = []
            self.status = 0

        def call(self, words):
            self.called.append(" ".join(words))
            return self.status

        def run(self, act, service):
            return list(act(service, is_done=True, root=self.root, call=self.call))

    return Machine()


@each
def test_installed_again_and_removed(machine, name):
    service = service_of(name)
    previous = os.umask(0o077)  # root's own may be so, and the service is not root
    try:
        said = machine.run(installing.install, service)
    finally:
        os.umask(previous)
    assert said[-1] == f"{name}.service runs; systemctl status {name} shows how it is"
    order = [word for word in machine.called if "systemctl" in word]
    assert order == [
        "systemctl daemon-reload", f"systemctl enable {name}.service", f"systemctl restart {name}.service",
    ]  # fmt: skip
    config = machine.root / service.config
    assert config.stat().st_mode & 0o777 == 0o644
    assert config.parent.stat().st_mode & 0o777 == 0o755
    config.write_text(config.read_text() + "# mine\n")
    assert f"kept {config}" in machine.run(installing.install, service)
    assert config.read_text().endswith("# mine\n")
    machine.called.clear()
    machine.run(installing.uninstall, service)
    assert machine.called == [f"systemctl disable --now {name}.service", "systemctl daemon-reload"]
    left = [path for path in machine.root.rglob("*") if path.is_file()]
    assert left == [config], "what a person wrote stays, and nothing else"
    assert not any("disable" in line for line in machine.run(installing.uninstall, service))


def test_settings_that_cannot_be_started_with_are_written_and_not_started(machine):
    service = service_command.service_of("cellar", [], "127.0.0.1")
    with pytest.raises(
        InstallRefused, match=r"no meter: add a \[\[meter\]\].*; it is not started yet"
    ):
        machine.run(installing.install, service)
    assert (machine.root / service.config).exists()
    assert machine.called == [
        "systemctl daemon-reload",
        "udevadm control --reload",
        "udevadm trigger",
    ]


def test_what_systemctl_refuses_is_said(machine):
    machine.status = 5
    with pytest.raises(InstallRefused, match="systemctl daemon-reload ended with status 5"):
        machine.run(installing.install, host_command.service())


@pytest.mark.parametrize(
    "place", [sys.prefix, str(Path(installing.__file__).parent)], ids=["Python", "wattlog"]
)
def test_a_program_that_the_service_would_not_see_is_refused(machine, monkeypatch, place):
    monkeypatch.setattr(installing, "HIDDEN", ("/hidden", place))
    with pytest.raises(
        InstallRefused, match="where a service sees nothing: install wattlog in /opt"
    ):
        machine.run(installing.install, host_command.service())
    assert machine.called == []
    assert not (machine.root / "etc").exists()


def test_what_is_given_comes_into_the_settings_as_it_is(tmp_path):
    service = service_command.service_of("cellar", ["/dev/a", '/dev/"b'], "broker.example")
    path = tmp_path / "agent.toml"
    path.write_text(service.files[1].text)
    read = service_command.settings.read(path)
    assert (read.edge, [meter.port for meter in read.meters], read.mqtt.host) == (
        "cellar", ["/dev/a", '/dev/"b'], "broker.example",
    )  # fmt: skip
    odd = service_command.service_of('a"b', ["/dev/a"], "x")
    path.write_text(odd.files[1].text)
    with pytest.raises(ConfigError, match=r"agent\.id may hold"):
        service_command.settings.read(path)


def test_ports_are_those_that_are_plugged_in(tmp_path, monkeypatch):
    monkeypatch.setattr(service_command, "BY_ID", tmp_path / "by-id")
    options = argparse.Namespace(port=None, id=None, broker="127.0.0.1", system=False)
    assert "# [[meter]]" in "\n".join(service_command.install(options))
    (tmp_path / "by-id").mkdir()
    (tmp_path / "by-id/usb-head").touch()
    text = "\n".join(service_command.install(options))
    assert f'[[meter]]\nport = "{tmp_path}/by-id/usb-head"' in text
    assert re.search(r'(?m)^id = "[a-z0-9_-]{1,32}"', text)


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("/opt/a", "/opt/a"),
        ("/opt/a b", '"/opt/a b"'),
        ('/opt/"%$', '"/opt/\\"%%$$"'),
        ("/opt/bob's", '"/opt/bob\'s"'),
        ("/opt/a;b", '"/opt/a;b"'),
    ],
)
def test_a_path_reaches_systemd_as_it_is(word, wanted):
    assert installing._quoted(word) == wanted


# -- what root leaves -------------------------------------------------------------------------


def test_what_a_command_of_roots_leaves_belongs_to_the_service(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    data = tmp_path / "private/wattlog"
    (data / "backups").mkdir(parents=True)
    for name in ("wattlog.db", "backups/a.db", "another's"):
        (data / name).touch()
    elsewhere = tmp_path / "shadow"
    elsewhere.touch()
    (data / "link").symlink_to(elsewhere)
    os.link(elsewhere, data / "second-name")
    (tmp_path / "wattlog").symlink_to(data)
    hand_over(tmp_path / "wattlog")  # a folder of root's own stays so
    assert (data / "wattlog.db").stat().st_uid == 0
    os.chown(data, 65_000, 65_001)
    os.chown(data / "another's", 65_002, 65_002)
    hand_over(tmp_path / "wattlog")
    owners = {path.name: path.lstat().st_uid for path in data.rglob("*")}
    assert owners == {
        "backups": 65_000, "a.db": 65_000, "wattlog.db": 65_000, "link": 65_000,
        "another's": 65_002, "second-name": 0,
    }  # fmt: skip
    assert elsewhere.stat().st_uid == 0
