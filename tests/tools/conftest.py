"""Start a tool as its user would, read what it prints, stop it by its process id."""

import os
import re
import select
import signal
import subprocess
import sys
import time

import pytest

from fake_head import EDGE, PIN, FakeHead, FakeStop
from wattlog_tools import head, pin, remote
from wattlog_tools.cli import main

# Only so that a failure ends: nothing is measured.
PATIENCE_S = 30


def _word(argument):
    return argument if isinstance(argument, bytes) else str(argument)


class Program:
    """A running tool; its stdout and stderr come as one stream of lines."""

    def __init__(self, arguments, environment):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wattlog_tools", *map(_word, arguments)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.lines = []
        self._rest = b""

    def expect(self, pattern):
        """Read on until a line matches; return the match."""
        seen = len(self.lines)
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            for line in self.lines[seen:]:
                seen += 1
                if match := re.search(pattern, line):
                    # What follows in the same read belongs to the next call.
                    self._rest = (
                        "".join(f"{text}\n" for text in self.lines[seen:]).encode() + self._rest
                    )
                    del self.lines[seen:]
                    return match
            if not self._read(deadline_s):
                pytest.fail(f"no line matches {pattern!r} in:\n" + "\n".join(self.lines))

    def end(self, number=None):
        """Return the exit status, after a signal if one is given; reads all output."""
        if number is not None:
            self.process.send_signal(number)
        deadline_s = time.monotonic() + PATIENCE_S
        while self._read(deadline_s):
            pass
        return self.process.wait(PATIENCE_S)

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()

    def _read(self, deadline_s):
        if b"\n" not in self._rest:
            wait_s = deadline_s - time.monotonic()
            if wait_s <= 0 or not select.select([self.process.stdout], [], [], wait_s)[0]:
                pytest.fail("silent for too long after:\n" + "\n".join(self.lines))
            data = os.read(self.process.stdout.fileno(), 65_536)
            if not data:
                return False
            self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        self.lines += [line.decode() for line in lines]
        return True


@pytest.fixture
def start():
    """start(*arguments, **environment) starts wattlog-tools and returns a Program."""
    programs = []

    def start_program(*arguments, **environment):
        program = Program(arguments, {**os.environ, **environment})
        programs.append(program)
        return program

    yield start_program
    for program in reversed(programs):
        program.close()


@pytest.fixture
def stop(monkeypatch):
    it = FakeStop()
    for module in (pin, head):
        monkeypatch.setattr(module, "StopSignal", lambda: it)
    return it


@pytest.fixture
def fake(mosquitto, stop, monkeypatch):
    monkeypatch.setattr(remote, "STATUS_S_MAX", 1.0)
    monkeypatch.setattr(remote, "ANSWER_S_MAX", 2.0)
    monkeypatch.setenv(pin.PIN_ENVIRONMENT, PIN)
    it = FakeHead(mosquitto.port)
    yield it
    it.stop()


@pytest.fixture
def run(mosquitto, capsys):
    """run(*arguments): (exit status, what was printed), of stdout and stderr together."""

    def call(command, *arguments):
        broker = ["--broker", f"127.0.0.1:{mosquitto.port}", "--edge", EDGE]
        status = main([command, *broker, *arguments])
        out, err = capsys.readouterr()
        assert PIN not in out + err
        return status, out + err

    return call
