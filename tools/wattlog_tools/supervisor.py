"""Start programs in order, show what they say, start again what dies, stop them in reverse."""

import ctypes
import io
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence

from wattlog_tools.console import EXIT_OK, EXIT_USAGE, StopSignal

UNUSABLE = (EXIT_USAGE, os.EX_CONFIG)
"""How a program ends that cannot work as it is set up."""

READY_TIMEOUT_S = 20.0
"""So long a program waits for the one before it; then it starts all the same."""

SETTLED_S = 10.0
"""Who ran this long was started well: its back-off begins anew."""

BACKOFF_S_MIN = 1.0
BACKOFF_S_MAX = 30.0

STOP_TIMEOUT_S = 10.0
"""From SIGTERM to SIGKILL."""

IMPATIENT_AFTER_S = 1.0
"""One wish to stop may come as several signals, from make and from the terminal; later ones tell
of impatience."""

LINE_BYTES_MAX = 16_384
"""A longer line is shown in pieces."""

_POLL_S = 0.25
_READ_BYTES = 65_536
_NAME_WIDTH = 5

_PR_SET_PDEATHSIG = 1


class Child:
    """One program: what to start, how to tell that it works, and how it fares."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        ready: Callable[[], bool],
        says_when_ready: Sequence[str] = (),
    ) -> None:
        """Describe a program; `ready` is asked until it says yes once."""
        self.name = name
        self.command = command
        self.ready = ready
        self.says_when_ready = says_when_ready
        self.was_ready = False
        self.process: subprocess.Popen[bytes] | None = None
        self.started_s: float | None = None
        self.due_s: float | None = None
        self.backoff_s = BACKOFF_S_MIN
        self.ran_well = False
        self.unfinished_line = b""


class Screen:
    """Standard output, which may go away or fill up: no reason to leave programs behind."""

    def __init__(self) -> None:
        """Take over standard output: what it cannot encode is escaped."""
        self.is_gone = False
        self._is_silent = False
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")

    def show(self, line: str) -> None:
        """Print a line; never raises: after the first that fails, no further is tried."""
        if self._is_silent:
            return
        try:
            print(line, flush=True)
        except OSError as err:
            self._is_silent = True
            self.is_gone = isinstance(err, BrokenPipeError)
            # What is still in the buffer would be tried again at our end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def tell(self, name: str, text: str) -> None:
        """Show what the program of this name says."""
        self.show(f"{name:{_NAME_WIDTH}} | {text}")


class Supervisor:
    """Runs the children until a signal comes."""

    def __init__(
        self, children: Sequence[Child], stop: StopSignal, clock_s: Callable[[], float]
    ) -> None:
        """Take over the children, none of which runs yet; `clock_s` is monotonic."""
        self._children = children
        self._stop = stop
        self._clock_s = clock_s
        self._selector = selectors.DefaultSelector()
        self._screen = Screen()
        self._status: int | None = None

    def run(self) -> int:
        """Return 0 after a signal, 2 if a child refused to start; no child runs any more then."""
        self._selector.register(self._stop, selectors.EVENT_READ, None)
        # When nobody reads any more what we print (`| head`), that is as good as Ctrl-C.
        while not self._stop.count and self._status is None and not self._screen.is_gone:
            self._start_what_is_due()
            self._note_what_is_ready()
            self._show_output(_POLL_S)
            self._reap()
        self._stop_all()
        return EXIT_OK if self._status is None else self._status

    def _start_what_is_due(self) -> None:
        now_s = self._clock_s()
        before: Child | None = None
        for child in self._children:
            if child.started_s is None:
                if before is not None and not _may_follow(before, now_s):
                    return
                self._start(child, now_s)
            elif child.process is None and child.due_s is not None and now_s >= child.due_s:
                self._start(child, now_s)
            before = child

    def _start(self, child: Child, now_s: float) -> None:
        child.started_s = now_s
        child.due_s = None
        child.unfinished_line = b""
        # A process group of its own: Ctrl-C in the terminal reaches only us, and we keep order.
        child.process = subprocess.Popen(
            child.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(os.environ, PYTHONUNBUFFERED="1"),
            process_group=0,
            # Unsafe beside threads; we have none.
            preexec_fn=end_with_parent,
        )
        assert child.process.stdout is not None
        os.set_blocking(child.process.stdout.fileno(), False)
        self._selector.register(child.process.stdout, selectors.EVENT_READ, child)

    def _note_what_is_ready(self) -> None:
        for child in self._children:
            if child.process is not None and not child.was_ready and child.ready():
                child.was_ready = True
                for line in child.says_when_ready:
                    self._screen.show(line)

    def _show_output(self, timeout_s: float) -> None:
        for key, _ in self._selector.select(timeout_s):
            if key.data is None:
                self._stop.drain()
            else:
                self._read(key.data)

    def _read(self, child: Child) -> None:
        assert child.process is not None
        assert child.process.stdout is not None
        try:
            data = os.read(child.process.stdout.fileno(), _READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._selector.unregister(child.process.stdout)
            return
        *lines, rest = (child.unfinished_line + data).split(b"\n")
        if len(rest) > LINE_BYTES_MAX:
            lines.append(rest)
            rest = b""
        child.unfinished_line = rest
        for line in lines:
            self._screen.tell(child.name, line.decode("utf-8", "replace").rstrip("\r"))

    def _reap(self) -> None:
        now_s = self._clock_s()
        for child in self._children:
            if child.process is None or child.started_s is None:
                continue
            ran_well = now_s - child.started_s >= SETTLED_S
            status = child.process.poll()
            if status is None:
                if ran_well:
                    child.ran_well = True
                    child.backoff_s = BACKOFF_S_MIN
                continue
            self._bury(child)
            if status in UNUSABLE and not child.ran_well:
                self._screen.tell(
                    "run", f"{child.name} cannot work like this (see above): stopping"
                )
                self._status = EXIT_USAGE
                return
            child.due_s = now_s + child.backoff_s
            wait = f"{child.backoff_s:.0f} s"
            self._screen.tell(
                "run", f"{child.name} {_ending(status)}: starting it again in {wait}"
            )
            child.backoff_s = min(2 * child.backoff_s, BACKOFF_S_MAX)

    def _bury(self, child: Child) -> None:
        assert child.process is not None
        assert child.process.stdout is not None
        # Its last words are still in the pipe, and are often the ones that matter.
        while child.process.stdout in self._selector.get_map():
            ready = self._selector.select(0)
            if not any(key.data is child for key, _ in ready):
                # Something it left behind holds the pipe open: wait no longer for that.
                self._selector.unregister(child.process.stdout)
                break
            self._read(child)
        if child.unfinished_line:
            self._screen.tell(child.name, child.unfinished_line.decode("utf-8", "replace"))
        child.process.stdout.close()
        child.process = None

    def _stop_all(self) -> None:
        patient_until_s = self._clock_s() + IMPATIENT_AFTER_S
        for child in reversed(self._children):
            if child.process is None:
                continue
            # Anew for each: impatience with one is no reason to kill the next unasked.
            signals_before = self._stop.count
            child.process.terminate()
            deadline_s = self._clock_s() + STOP_TIMEOUT_S
            while child.process.poll() is None:
                now_s = self._clock_s()
                if now_s < patient_until_s:
                    signals_before = self._stop.count
                if self._stop.count > signals_before or now_s > deadline_s:
                    self._screen.tell("run", f"{child.name} does not stop: killed")
                    os.killpg(child.process.pid, signal.SIGKILL)
                    child.process.wait()
                    break
                self._show_output(_POLL_S / 5)
            self._bury(child)
        self._screen.tell("run", "stopped")


def _may_follow(before: Child, now_s: float) -> bool:
    if before.started_s is None:
        return False
    return before.was_ready or now_s - before.started_s > READY_TIMEOUT_S


def _ending(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    return f"was ended by {signal.Signals(-status).name}"


def end_with_parent() -> None:
    # If we are killed without a chance to stop the children, the kernel does it: otherwise they
    # would hold the ports against the next start. Linux only; elsewhere the ports stay taken.
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


# Loaded before any fork: the child of a fork should not load libraries.
_LIBC = ctypes.CDLL(None)
