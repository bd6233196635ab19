"""The one wheel: it holds every package whole, and its commands start where no source is."""

import os
import subprocess
import sys
import sysconfig
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
