"""The one wheel: it holds every package whole, and its commands run where no source is.

There an environment holds the wheel and what its extra names, so that nothing is used unnamed.

And the chart library, which is no part of the repository: the locked one, with its licence.
"""

import base64
import contextlib
import hashlib
import importlib.metadata
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import urllib.request
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from manager import Manager
from toolbox import ROOT
from waiting import wait_until
from wattlog_sim import sml_writer as w

STEP_S_MAX = 60
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WHEEL = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
PACKAGES = [Path(path) for path in WHEEL["packages"]]
COMMANDS = PROJECT["project"]["scripts"]
TOP_FOLDERS = ("agent", "firmware", "host", "tests", "tools")


def run(*command, **more):
    done = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=STEP_S_MAX,
        check=False,
        **more,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


# Of a checkout, what is no source, and may be large.
NO_SOURCE = shutil.ignore_patterns(".*", "dist", "build", "__pycache__", "tests")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built by the hatchling of this environment: nothing is fetched for it.

    It is built from a copy of the sources, which is gone afterwards.
    """
    folder = tmp_path_factory.mktemp("wheel")
    sources = folder / "sources"
    shutil.copytree(ROOT, sources, ignore=NO_SOURCE)
    shutil.copy(ROOT / ".gitignore", sources)
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=sources)
    shutil.rmtree(sources)
    (path,) = folder.glob("wattlog-*.whl")
    return path


class Environment:
    """One that was empty, with the wheel in it, and what its extra asks for, and no more.

    Its libraries are links to those of the environment of the tests.
    """

    def __init__(self, folder, wheel, extra):
        self.folder = folder
        self.environ = {
            name: value for name, value in os.environ.items() if not name.startswith("PYTHON")
        }
        run(BASE_PYTHON, "-m", "venv", "--without-pip", folder)
        (self.packages,) = folder.glob("lib/python*/site-packages")
        pip = [sys.executable, "-m", "pip", "--python", self.bin("python"), "--quiet"]
        run(*pip, "install", "--no-deps", "--no-index", "--no-compile", wheel)
        for name in needed(wheel, extra):
            library = importlib.metadata.distribution(name)
            tops = {Path(file).parts[0] for file in library.files or ()}
            for top in tops - {"..", "__pycache__"}:
                if not (self.packages / top).exists():
                    (self.packages / top).symlink_to(library.locate_file(top))

    def bin(self, name):
        return self.folder / "bin" / name

    def run(self, command, *words):
        return run(self.bin(command), *words, env=self.environ, cwd=self.folder)

    @contextlib.contextmanager
    def serving(self, folder, command, *words):
        """Run a command that notifies its service manager; gives its first word."""
        manager = Manager(folder)
        process = subprocess.Popen(
            [self.bin(command), *words],
            env=self.environ | manager.environ, cwd=self.folder,
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            first = manager.next()
            assert first is not None or process.kill(), process.stderr.read()
            yield first
            process.terminate()
            assert process.wait(STEP_S_MAX) == 0
        finally:
            process.kill()
            process.communicate()
            manager.close()


def needed(wheel, extra):
    """The names of all that the wheel asks for with this extra, and that asks for in turn."""
    names = zipfile.ZipFile(wheel).namelist()
    (own,) = (name for name in names if name.endswith(".dist-info/METADATA"))
    ours = re.findall(r"(?m)^Requires-Dist: (.*)$", zipfile.ZipFile(wheel).read(own).decode())
    found, waiting = set(), [("wattlog", extra)]
    while waiting:
        if (pair := waiting.pop()) in found:
            continue
        found.add(pair)
        name, extra = pair
        for line in ours if name == "wattlog" else importlib.metadata.requires(name) or ():
            one = Requirement(line)
            if one.marker is None or one.marker.evaluate({"extra": extra}):
                waiting += [(one.name, more) for more in ("", *one.extras)]
    return sorted({name for name, _ in found} - {"wattlog"})


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """Call it with the name of an extra."""
    made = {}

    def of(extra):
        if extra not in made:
            made[extra] = Environment(tmp_path_factory.mktemp(extra), wheel, extra)
        return made[extra]

    return of


def files_of(folder):
    return {
        path.relative_to(folder.parent).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.mark.parametrize("package", PACKAGES, ids=str)
def test_every_file_of_a_package_is_in_the_wheel(wheel, package):
    assert (ROOT / package / "__init__.py").is_file(), "a package needs its __init__.py"
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert files_of(ROOT / package) - packed == set()


def test_the_wheel_holds_the_packages_and_nothing_else(wheel):
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    metadata = {name for name in tops if name.endswith(".dist-info")}
    assert len(metadata) == 1
    assert tops - metadata == {package.name for package in PACKAGES}


@pytest.mark.parametrize("folder", TOP_FOLDERS)
def test_a_top_folder_is_never_a_package(folder):
    assert not (ROOT / folder / "__init__.py").exists()


BASE_PYTHON = Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_comes_from_the_wheel(environment, command):
    module = COMMANDS[command].partition(":")[0]
    at = environment("all")
    code = f"import {module}; print({module}.__file__)"
    assert at.run("python", "-c", code).startswith(str(at.packages))
    assert at.run(command, "--help").startswith(f"usage: {command}")


# In one process, because there are many.
ALL_COMMANDS = """
import contextlib, io
from wattlog_host import cli as host, commands
from wattlog_pi import cli as agent
from wattlog_tools import cli as tools

rows = [(agent.main, word) for word in ("decode", *agent.SERVICE_COMMANDS)]
rows += [(host.main, word) for word in ("dess", *(one.name for one in commands.COMMANDS))]
rows += [(tools.main, one.name) for one in tools.TOOLS]
for main, word in rows:
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            main([word, "--help"])
        raise AssertionError(word)
    except SystemExit as end:
        assert end.code == 0, word
    assert said.getvalue().startswith("usage: wattlog-"), word
    print(word)
"""


def test_every_command_of_a_command_starts_without_the_sources(environment):
    said = environment("all").run("python", "-c", ALL_COMMANDS).splitlines()
    assert len(said) > 25
    assert {"decode", "install", "backup", "dess", "meter"} <= set(said)


def test_the_agent_alone_decodes_and_starts(environment, tmp_path):
    at = environment("agent")
    (tmp_path / "capture").write_bytes(frame())
    assert "Import  198927.5 Wh" in at.run("wattlog-agent", "decode", tmp_path / "capture")
    config = tmp_path / "agent.toml"
    config.write_text(
        '[agent]\nid = "cellar"\n[log]\npath = "a.ring"\n[[meter]]\nport = "/dev/ttyNOTHING"\n'
        '[mqtt]\nhost = "127.0.0.1"\nport = 1\n'
    )
    with at.serving(tmp_path, "wattlog-agent", "--config", config) as first:
        assert "/dev/ttyNOTHING: there is no such port" in first["STATUS"]
    assert "aiomqtt" not in {path.name for path in at.packages.iterdir()}, "it is the agent alone"


def test_the_host_alone_serves_its_page(environment, tmp_path, free_port):
    at = environment("host")
    port = free_port()
    config = tmp_path / "host.toml"
    config.write_text(
        f'data = "{tmp_path}/data"\n[http]\nport = {port}\n[mqtt]\nport = {free_port()}\n'
    )
    with at.serving(tmp_path, "wattlog-host", "--config", config) as first:
        assert first["READY"] == "1"
        for path, word in (("/", "wattlog"), ("/state", "wattlog"), ("/metrics", "wattlog_")):
            assert word in fetch(port, path)
        script = re.search(r"/static/\w+/vendor/uplot/uPlot.iife.min.js", fetch(port, "/"))
        assert "uPlot" in fetch(port, script[0])
    at.run("wattlog-host", "backup", "--config", config)


def test_a_simulated_meter_reaches_the_page(environment, tmp_path, free_port):
    at = environment("all")
    port = free_port()
    words = ("--http-port", port, "--mqtt-port", free_port(), "--data", tmp_path / "data")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [at.bin("wattlog-tools"), "run", *map(str, words)],
            env=at.environ, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip

    def reading():
        assert process.poll() is None, (tmp_path / "log").read_text()
        with contextlib.suppress(OSError):
            return json.loads(fetch(port, "/api/latest_reading")).get("energy_in_kwh")

    try:
        assert wait_until(reading, "a reading", STEP_S_MAX) > 0
    finally:
        process.terminate()
        process.wait(STEP_S_MAX)


def fetch(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=STEP_S_MAX) as answer:
        return answer.read().decode()


def frame():
    """One frame of a meter that has counted 198927.5 Wh."""
    entries = [w.entry(bytes.fromhex("0100010800ff"), w.unsigned(1989275, 4), unit=30, scaler=-1)]
    server_id = bytes.fromhex("0a0145534d0000bc614e")
    content = w.get_list_response(server_id, entries, sensor_time=w.sec_index(77))
    return w.transport(w.message(b"\x01", w.TAG_GET_LIST_RESPONSE, content))


# -- the chart library ----------------------------------------------------------------------

LOCK = json.loads((ROOT / "frontend.lock.json").read_text())
STATIC = "wattlog_host/web/static/"
VENDOR = STATIC + "vendor/uplot/"
SCRIPT_SHA256 = "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f"


def test_the_chart_library_in_the_wheel_is_the_locked_one(wheel):
    files = zipfile.ZipFile(wheel)
    stamp = json.loads(files.read(VENDOR + "stamp.json"))
    assert (stamp["name"], stamp["version"], stamp["integrity"]) == (
        LOCK["name"], LOCK["version"], LOCK["integrity"],
    )  # fmt: skip
    for name in LOCK["files"].values():
        assert hashlib.sha256(files.read(VENDOR + name)).hexdigest() == stamp["sha256"][name]
    script = files.read(VENDOR + "uPlot.iife.min.js")
    assert hashlib.sha256(script).hexdigest() == SCRIPT_SHA256
    assert "Permission is hereby granted" in files.read(VENDOR + "LICENSE").decode()


def test_the_page_of_the_wheel_names_no_other_server(wheel):
    files = zipfile.ZipFile(wheel)
    looked_at = 0
    for name in files.namelist():
        if not name.startswith("wattlog_host/web/") or name.startswith(VENDOR):
            continue
        text = files.read(name).decode("latin-1")  # pictures, too
        # The name of SVG's own vocabulary is no address that anybody asks.
        text = text.replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert not re.search(r"https?://", text), name
        looked_at += name.endswith((".html", ".js", ".css"))
    assert looked_at > 20


@pytest.fixture
def vendor(tmp_path, monkeypatch):
    """The build hook's vendor() in a folder with a lock of its own; .archive() packs for it."""
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    tarballs = tmp_path / "tarballs"
    tarballs.mkdir()
    monkeypatch.setenv("WATTLOG_TARBALLS", str(tarballs))
    monkeypatch.setattr(hook.shutil, "which", lambda _: None)

    def no_network(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(hook.urllib.request, "urlopen", no_network)

    class Vendor:
        error = hook.VendorError
        target = tmp_path / "static"

        def archive(self, content=b"chart"):
            made = io.BytesIO()
            with tarfile.open(fileobj=made, mode="w:gz") as tar:
                for name in ("package/a.js", "package/LICENSE"):
                    entry = tarfile.TarInfo(name)
                    entry.size = len(content)
                    tar.addfile(entry, io.BytesIO(content))
            return made.getvalue()

        def lock(self, archive):
            digest = base64.b64encode(hashlib.sha512(archive).digest()).decode()
            lock = {
                "name": "chart", "version": "1", "licence": "MIT", "registry": "https://x.invalid",
                "integrity": f"sha512-{digest}", "target": "static",
                "files": {"package/a.js": "a.js", "package/LICENSE": "LICENSE"},
            }  # fmt: skip
            (tmp_path / "frontend.lock.json").write_text(json.dumps(lock))

        def offer(self, archive):
            (tarballs / "chart-1.tgz").write_bytes(archive)

        def run(self):
            return hook.vendor(tmp_path)

    return Vendor()


def test_an_archive_in_a_folder_is_taken_once(vendor):
    archive = vendor.archive()
    vendor.lock(archive)
    vendor.offer(archive)
    assert vendor.run() == "the folder in WATTLOG_TARBALLS"
    assert (vendor.target / "a.js").read_bytes() == b"chart"
    vendor.offer(b"gone")
    assert vendor.run() == "already in place"
    # What was changed since is fetched anew.
    (vendor.target / "a.js").write_bytes(b"other")
    vendor.offer(archive)
    vendor.run()
    assert (vendor.target / "a.js").read_bytes() == b"chart"


def test_an_archive_of_another_checksum_is_refused_and_not_unpacked(vendor):
    vendor.lock(vendor.archive())
    vendor.offer(vendor.archive(b"evil"))
    with pytest.raises(vendor.error, match="checksum"):
        vendor.run()
    assert not vendor.target.exists()


def test_without_any_source_the_error_says_what_to_do(vendor):
    vendor.lock(vendor.archive())
    with pytest.raises(vendor.error, match=r"no network.*chart-1\.tgz.*WATTLOG_TARBALLS"):
        vendor.run()
