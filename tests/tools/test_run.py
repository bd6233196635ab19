"""`wattlog-tools run`: order, output, restarts, and a clean end, with small stand-in programs."""

import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from wattlog_tools.run import agent_toml, host_toml

PATIENCE_S = 30

# A host that answers /healthz, and an agent that says which ports it was given.
HOST = """
import http.server, os, signal, sys, tomllib
config = tomllib.load(open(sys.argv[2], "rb"))
print("host pid", os.getpid(), flush=True)
signal.signal(signal.SIGTERM, lambda *_: (print("host ends", flush=True), os._exit(0)))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.HTTPServer(("127.0.0.1", config["http"]["port"]), Handler).serve_forever()
"""
AGENT = """
import os, signal, sys, tomllib
config = tomllib.load(open(sys.argv[2], "rb"))
signal.signal(signal.SIGTERM, lambda *_: (print("agent ends", flush=True), os._exit(0)))
print("agent reads", *[meter["port"] for meter in config["meter"]], flush=True)
print("agent pid", os.getpid(), flush=True)
while True:
    signal.pause()
"""


# A child that speaks and cannot work as configured.
SUPERVISE = """
import sys, time
from wattlog_tools.console import StopSignal
from wattlog_tools.supervisor import Child, Supervisor
child = [sys.executable, "-c", "import sys; sys.stdout.buffer.write(bytes([195, 188, 10])); sys.exit(2)"]
children = [Child("it", child, lambda: True)]
sys.exit(Supervisor(children, StopSignal(), time.monotonic).run())
"""


@pytest.fixture
def run(start, tmp_path, free_port):
    """run(*arguments, host=, agent=) starts `wattlog-tools run` with these programs in place."""
    started = []

    def run_one(*arguments, host=HOST, agent=AGENT, data=tmp_path / "data"):
        folder = tmp_path / f"programs-{len(started)}"
        for package, source in (("wattlog_host", host), ("wattlog_pi", agent)):
            (folder / package).mkdir(parents=True)
            (folder / package / "__init__.py").write_text("")
            (folder / package / "__main__.py").write_text(source)
        search_path = [str(folder), os.environ.get("PYTHONPATH", "")]
        program = start(
            "run",
            *("--data", data, "--http-port", free_port(), "--mqtt-port", free_port()),
            *arguments,
            PYTHONPATH=os.pathsep.join(filter(None, search_path)),
        )
        started.append(program)
        return program

    return run_one


def test_the_whole_house_starts_in_order_and_ends_in_reverse(run, tmp_path):
    program = run()
    data = tmp_path / "data"
    program.expect(r"^meter \| /dev/\S+ plays mt681")
    program.expect(r"^meter \| /dev/\S+ plays dzg")
    program.expect(r"^host  \| host pid \d+")
    program.expect(r"^wattlog is running: http://127.0.0.1:\d+/$")
    program.expect(rf"^  data    {data}$")
    ports = program.expect(r"^agent \| agent reads (.*)").group(1).split()
    assert ports == [str(data / "run/meters" / name) for name in ("meter-1", "meter-2")]
    program.expect(r"^agent \| agent pid")
    assert program.end(signal.SIGINT) == 0
    told = [line for line in program.lines if "ends" in line or "stopped" in line]
    assert told == ["agent | agent ends", "host  | host ends", "run   | stopped"]
    assert list((data / "run/meters").iterdir()) == []


@pytest.mark.parametrize("name", ["host", "agent"])
def test_a_killed_program_is_started_again(run, name):
    program = run()
    first = program.expect(rf"^{name:5} \| {name} pid (\d+)").group(1)
    program.expect("^agent . agent pid") if name == "host" else None
    os.kill(int(first), signal.SIGKILL)
    program.expect(rf"^run   \| {name} was ended by SIGKILL: starting it again in 1 s")
    second = program.expect(rf"^{name:5} \| {name} pid (\d+)").group(1)
    assert second != first
    assert program.end(signal.SIGTERM) == 0


def test_a_killed_meter_comes_back_at_the_same_link(run, tmp_path):
    program = run()
    program.expect("^agent . agent pid")
    link = tmp_path / "data/run/meters/meter-1"
    meter = next(
        int(folder.name)
        for folder in Path("/proc").iterdir()
        if folder.name.isdecimal() and f"{link.parent}\0" in _command_line(folder)
    )
    os.kill(meter, signal.SIGKILL)
    program.expect("^run   . meter was ended by SIGKILL")
    program.expect("^meter . /dev/.* plays dzg")
    assert os.readlink(link).startswith("/dev/")
    assert link.exists()
    assert program.end(signal.SIGTERM) == 0


def test_the_wait_grows_while_a_program_keeps_failing(run):
    program = run(agent="import sys; sys.exit('no luck')")
    for wait_s in (1, 2, 4):
        program.expect("^agent . no luck")
        program.expect(f"^run   . agent ended with status 1: starting it again in {wait_s} s")
    assert program.end(signal.SIGTERM) == 0


@pytest.mark.parametrize(("which", "status"), [("host", 2), ("agent", 78)])
def test_a_program_that_cannot_work_as_configured_ends_all(run, which, status):
    program = run(
        **{which: f"import sys; print('bad key x', file=sys.stderr); sys.exit({status})"}
    )
    program.expect(rf"^{which:5} \| bad key x")
    program.expect(rf"^run   \| {which} cannot work like this")
    assert program.end() == 2


def test_a_program_that_does_not_stop_is_killed_at_the_second_ctrl_c(run):
    program = run(agent=AGENT.replace("os._exit(0)", "None"))
    agent = int(program.expect(r"^agent \| agent pid (\d+)").group(1))
    program.process.send_signal(signal.SIGINT)
    program.expect("^agent . agent ends")
    assert Path(f"/proc/{agent}").exists()
    # The first second's signals are one wish: make and the terminal may both pass it on.
    while not select.select([program.process.stdout], [], [], 0.2)[0]:
        program.process.send_signal(signal.SIGINT)
    program.expect("^run   . agent does not stop: killed")
    # The host is only asked now: it was there for the agent to the last.
    program.expect("^host  . host ends")
    assert program.end() == 0
    assert not Path(f"/proc/{agent}").exists()


def test_a_signal_that_comes_twice_kills_nobody(run):
    slow = AGENT.replace(
        "os._exit(0)", "(time.sleep(0.4), print('agent is done', flush=True), os._exit(0))"
    )
    program = run(agent="import time" + slow)
    program.expect("^agent . agent pid")
    program.process.send_signal(signal.SIGTERM)
    program.expect("^agent . agent ends")
    assert program.end(signal.SIGTERM) == 0
    assert "agent | agent is done" in program.lines
    assert not any("killed" in line for line in program.lines)


def test_when_nobody_reads_any_more_all_end_in_order(run, tmp_path):
    said = tmp_path / "said"
    program = run(
        host=HOST.replace(
            'print("host ends", flush=True)', f"open({str(said)!r}, 'a').write('host ')"
        ),
        agent=AGENT.replace(
            'print("agent ends", flush=True)', f"open({str(said)!r}, 'a').write('agent ')"
        ),
    )
    program.expect("^agent . agent pid")
    program.process.stdout.close()
    program.process.send_signal(signal.SIGINT)
    assert program.process.wait(PATIENCE_S) == 0
    assert said.read_text() == "agent host "


@pytest.mark.parametrize("output", ["full", "closed"])
def test_output_that_cannot_be_written_is_no_trouble(output):
    fd = os.open("/dev/full", os.O_WRONLY) if output == "full" else _pipe_without_reader()
    try:
        ended = subprocess.run(
            [sys.executable, "-c", SUPERVISE],
            stdout=fd, stderr=subprocess.PIPE, timeout=PATIENCE_S,
        )  # fmt: skip
    finally:
        os.close(fd)
    # The child's own end is a reason to stop as good as the missing reader, whichever is first.
    assert (ended.returncode in ((2,) if output == "full" else (0, 2)), ended.stderr) == (
        True,
        b"",
    )


def test_what_the_terminal_cannot_show_is_escaped(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", SUPERVISE],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (2, b"")
    assert b"it    | \\xfc" in ended.stdout


def test_data_whose_name_is_no_text_is_one_line(run, tmp_path):
    program = run(data=os.fsencode(tmp_path) + b"/d\xff")
    assert program.end() == 2
    (line,) = program.lines
    assert "DATA=" in line
    assert "is not UTF-8" in line
    assert list(tmp_path.glob("d*")) == []


def test_what_is_recorded_is_for_its_owner_alone(run, tmp_path):
    program = run()
    program.expect("^agent . agent pid")
    data = tmp_path / "data"
    for file in (data, data / "run", *(data / "run").glob("*")):
        assert file.stat().st_mode & 0o077 == 0, file
    assert program.end(signal.SIGTERM) == 0


def test_ctrl_c_in_the_terminal_reaches_run_alone(run):
    program = run()
    host = int(program.expect(r"^host  \| host pid (\d+)").group(1))
    agent = int(program.expect(r"^agent \| agent pid (\d+)").group(1))
    groups = {os.getpgid(pid) for pid in (program.process.pid, host, agent)}
    assert len(groups) == 3
    assert program.end(signal.SIGINT) == 0


def test_when_it_is_killed_itself_no_program_is_left(run):
    program = run()
    host = int(program.expect(r"^host  \| host pid (\d+)").group(1))
    agent = int(program.expect(r"^agent \| agent pid (\d+)").group(1))
    ends = [os.pidfd_open(pid) for pid in (host, agent)]
    program.process.kill()
    try:
        for end in ends:
            assert select.select([end], [], [], PATIENCE_S)[0], "it still runs"
    finally:
        for end in ends:
            os.close(end)


def test_real_meters_are_given_to_the_agent_and_none_is_simulated(run):
    program = run("--port", "/dev/one", "--port", "socket://127.0.0.1:7", "--port", "two")
    program.expect("^wattlog is running")
    ports = program.expect("^agent . agent reads (.*)").group(1).split()
    assert ports == ["/dev/one", "socket://127.0.0.1:7", str(Path("two").absolute())]
    assert program.end(signal.SIGTERM) == 0
    assert not any(line.startswith("meter") for line in program.lines)


def test_a_capture_is_played_instead_of_the_simulated_meters(run, tmp_path):
    capture = tmp_path / "capture.bin"
    capture.write_bytes(b"anything")
    program = run("--replay", capture)
    program.expect(rf"^meter \| /dev/\S+ plays replay of {capture}")
    program.expect(r"^agent \| agent reads \S+/run/meters/meter-1$")
    assert program.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("name", ["HTTP", "MQTT"])
def test_a_port_in_use_is_one_line(run, name):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        program = run(f"--{name.lower()}-port", port)
        assert program.end() == 2
    (line,) = program.lines
    assert f"port {port} is in use" in line
    assert f"{name}_PORT=" in line


def test_the_same_data_cannot_be_used_twice(run, tmp_path):
    (tmp_path / "data/run").mkdir(parents=True)
    with (tmp_path / "data/run/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        program = run()
        assert program.end() == 2
    (line,) = program.lines
    assert "already runs" in line
    assert "DATA=" in line


def test_data_that_cannot_be_written_is_one_line(run, tmp_path):
    (tmp_path / "file").write_text("")
    program = run(data=tmp_path / "file/data")
    assert program.end() == 2
    (line,) = program.lines
    assert "DATA=" in line


def test_two_run_side_by_side(run, tmp_path):
    programs = [run(data=tmp_path / name) for name in ("one", "two")]
    for program in programs:
        program.expect("^agent . agent pid")
    assert [program.end(signal.SIGTERM) for program in programs] == [0, 0]


def test_configurations_hold_any_path():
    odd = '/tmp/a "quoted" \\ name\twith \x7f and ü'
    assert tomllib.loads(host_toml(Path(odd), 1, 2)) == {
        "data": odd,
        "http": {"listen": "127.0.0.1", "port": 1},
        "mqtt": {"embedded": True, "host": "127.0.0.1", "port": 2},
    }
    assert tomllib.loads(agent_toml([odd, "b"], 3, Path(odd))) == {
        "agent": {"id": "demo"},
        "log": {"path": odd, "size_kib": 1024},
        "uplink": {"batch_s": 1},
        "mqtt": {"host": "127.0.0.1", "port": 3},
        "meter": [{"port": odd}, {"port": "b"}],
    }


def _pipe_without_reader():
    reading_fd, writing_fd = os.pipe()
    os.close(reading_fd)
    return writing_fd


def _command_line(folder):
    try:
        return (folder / "cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def test_the_hosts_configuration_names_the_fake_cloud_only_when_asked_for(tmp_path):
    assert "dessmonitor" not in tomllib.loads(host_toml(tmp_path, 1, 2))
    solar = tomllib.loads(host_toml(tmp_path, 1, 2, 3))["dessmonitor"]
    assert solar["enabled"]
    assert solar["url"] == "http://127.0.0.1:3/public/"
    assert "password" not in " ".join(solar)
