"""What conftest.py promises: a quiet log, a broker of one's own, a free port."""

import os
import shutil
import socket
import subprocess
import sys

import pytest

from toolbox import ROOT

INNER_S_MAX = 60
LOUD = 'import logging\nlogging.getLogger("wattlog.x").warning("the lamp is broken")'
INNER_TESTS = f"""
import logging, pytest
def test_loud():
    {LOUD.replace(chr(10), "; ")}
@pytest.mark.logs_warnings
def test_marked():
    {LOUD.replace(chr(10), "; ")}
def test_asserting(caplog):
    {LOUD.replace(chr(10), "; ")}
    assert "lamp" in caplog.text
def test_quiet():
    logging.getLogger("wattlog.x").info("all is well")
def test_needs_a_tool():
    import toolbox
    toolbox.require("no-such-tool")
"""


def run_inner(folder, **environment):
    (folder / "test_inner.py").write_text(INNER_TESTS)
    shutil.copy(ROOT / "tests/conftest.py", folder)
    options = ["-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml"), "--rootdir", "."]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-v", "test_inner.py"],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "CI"} | environment,
        capture_output=True,
        text=True,
        timeout=INNER_S_MAX,
        check=False,
    )
    return done.stdout


def outcome(output, name):
    return output.partition(f"::{name} ")[2].split()[0]


def test_a_warning_nobody_asked_for_fails_the_test(tmp_path):
    output = run_inner(tmp_path)
    assert outcome(output, "test_loud") == "FAILED"
    assert "wattlog.x: the lamp is broken" in output
    for name in ("test_marked", "test_asserting", "test_quiet"):
        assert outcome(output, name) == "PASSED"


def test_a_missing_tool_skips_with_its_reason_but_fails_in_ci(tmp_path):
    output = run_inner(tmp_path)
    assert outcome(output, "test_needs_a_tool") == "SKIPPED"
    assert "no-such-tool is missing" in output
    assert outcome(run_inner(tmp_path, CI="true"), "test_needs_a_tool") == "FAILED"


def test_ports_are_free(free_port):
    with socket.socket() as server:
        server.bind(("127.0.0.1", free_port()))


def test_the_broker_starts_stops_and_starts_again(mosquitto):
    socket.create_connection(("127.0.0.1", mosquitto.port)).close()
    mosquitto.kill()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", mosquitto.port))
    mosquitto.start()
    socket.create_connection(("127.0.0.1", mosquitto.port)).close()
    mosquitto.stop()
    mosquitto.stop()
