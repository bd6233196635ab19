"""The recipe of the container: what can be known of it where no container can be built."""

import fnmatch
import json
import re
import subprocess
import sys
import tomllib

import pytest

from manager import Manager
from toolbox import ROOT

RECIPE = ROOT / "tools/oci/Containerfile"
RUN_S_MAX = 60


def steps():
    """Return (instruction, its argument) of each step, continued lines joined."""
    text = re.sub(r"(?m)^#.*\n", "", RECIPE.read_text())
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [tuple(line.split(None, 1)) for line in lines if line]


def arguments(instruction):
    return [argument for name, argument in steps() if name == instruction]


def test_the_recipe_is_of_two_stages_of_one_base():
    first, second = arguments("FROM")
    assert first == f"{second} AS build"
    known = {
        "FROM", "COPY", "RUN", "USER", "ENV", "VOLUME", "EXPOSE", "HEALTHCHECK", "STOPSIGNAL",
        "ENTRYPOINT",
    }  # fmt: skip
    assert {name for name, _ in steps()} == known


def test_it_does_not_run_as_root_and_writes_to_its_volume_alone():
    names = [name for name, _ in steps()]
    assert arguments("USER") == ["10001:10001"]
    assert "RUN" not in names[names.index("USER") :]
    assert json.loads(arguments("VOLUME")[0]) == ["/data"]
    assert "install -d -o 10001 -g 10001 -m 0700 /data" in arguments("RUN")
    assert "STATE_DIRECTORY=/data" in arguments("ENV")[0]


def test_what_it_copies_and_starts_is_made_by_make_wheel():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (pattern,) = [one.split()[0] for one in arguments("COPY") if not one.startswith("--from")]
    assert fnmatch.fnmatch("dist/wattlog-0.1.0-py3-none-any.whl", pattern)
    assert "-d dist" in (ROOT / "Makefile").read_text()
    extras = re.search(r"\[([a-z,]+)\]", arguments("RUN")[0])[1].split(",")
    assert set(extras) <= set(project["optional-dependencies"])
    (entry,) = json.loads(arguments("ENTRYPOINT")[0])
    assert entry in project["scripts"]


@pytest.mark.parametrize("is_there", [True, False])
def test_its_health_is_what_the_page_says(tmp_path, free_port, is_there):
    port = free_port()
    command = json.loads(arguments("HEALTHCHECK")[0].partition(" CMD ")[2])
    assert command[0] == "python"
    check = [sys.executable, *(word.replace(":8080/", f":{port}/") for word in command[1:])]
    config = tmp_path / "host.toml"
    config.write_text(f"[http]\nport = {port}\n[mqtt]\nport = {free_port()}\n")
    manager = Manager(tmp_path)
    environ = manager.environ | {
        "STATE_DIRECTORY": str(tmp_path / "data"), "CONFIGURATION_DIRECTORY": str(tmp_path),
    }  # fmt: skip
    if is_there:
        process = subprocess.Popen(
            [sys.executable, "-m", "wattlog_host"], env=environ, stderr=subprocess.DEVNULL
        )
    try:
        if is_there:
            message = manager.next()
            while "no broker" in message.get("STATUS", "no broker"):
                message = manager.wait_for("STATUS")
        done = subprocess.run(check, capture_output=True, timeout=RUN_S_MAX, check=False)
        assert (done.returncode == 0) == is_there, done.stderr
    finally:
        if is_there:
            process.terminate()
            process.wait(RUN_S_MAX)
        manager.close()
