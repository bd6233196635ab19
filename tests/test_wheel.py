"""The one wheel: it holds every package whole, and its commands start where no source is.

And the chart library, which is no part of the repository: the locked one, with its licence.
"""

import base64
import hashlib
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from toolbox import ROOT

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


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built by the hatchling of this environment: nothing is fetched for it."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    (path,) = folder.glob("wattlog-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder that the wheel alone was installed into."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    run(*pip, "--no-deps", "--no-index", "--no-compile", "--target", folder, wheel)
    return folder


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


def without_sources(installed):
    """How to run the installed wheel: this environment's libraries, but not its editable wattlog.

    The link to the sources is a .pth file, which is not followed for a folder in PYTHONPATH.
    """
    libraries = sysconfig.get_path("purelib")
    environment = dict(os.environ, PYTHONPATH=f"{installed}:{libraries}", PYTHONNOUSERSITE="1")
    return {"env": environment, "cwd": installed}


BASE_PYTHON = Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_starts_without_the_sources(installed, command):
    output = run(BASE_PYTHON, installed / "bin" / command, "--help", **without_sources(installed))
    assert command in output


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_comes_from_the_wheel(installed, command):
    module = COMMANDS[command].partition(":")[0]
    code = f"import {module}; print({module}.__file__)"
    output = run(BASE_PYTHON, "-c", code, **without_sources(installed))
    assert output.strip().startswith(str(installed)), output


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
