"""The setup portal under CPython, and a whole head that asks for its settings on the fake board."""

import errno
import os
import re
import select
import socket
import subprocess
import threading
import time
import tty
from contextlib import closing

from waiting import wait_until
from wattlog_esp32.portal import Portal, write_settings

KEY = "abcdefghjkmn"
ANSWER_S_MAX = 20
RESET_STATUS = 76


def free_port():
    """Return a TCP port that was free just now."""
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        return probe.getsockname()[1]


class FakeMeter:
    """Takes every pin but 47, and has seen a little."""

    def __init__(self):
        self.given = None

    def open(self, given):
        if given["meter.rx"] == 47:
            raise ValueError("no such pin")
        self.given = dict(given)

    def seen(self, now_ms):
        return None if self.given is None else (512, 2, 4, None)


class CPythonHead:
    """The portal in a thread of this process."""

    name = "CPython"

    def __init__(self, folder):
        self.path = folder / "wattlog.json"
        self.key = KEY
        self.port = free_port()
        self.meter = FakeMeter()
        self.portal = Portal(
            self.port,
            KEY,
            lambda name: name == b"127.0.0.1",
            {"meter.rx": 16},
            {"wifi.ssid": "known", "wifi.password": "hush"},
            self.meter,
            lambda checked: write_settings(str(self.path), checked),
            os.urandom,
            0,
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while not self._stop.is_set() and not self.portal.is_saved:
            self.portal.step(int(time.monotonic() * 1000))
            select.select([], [], [], 0.002)

    def wait_until_saved(self):
        wait_until(lambda: self.portal.is_saved, "saving")

    def check(self):
        assert self.portal.is_saved or self._thread.is_alive(), "the portal ended"

    def stop(self):
        self._stop.set()
        self._thread.join(5)
        self.portal.close()


class BoardHead:
    """The whole head on 32-bit MicroPython; a terminal is its serial port, another its meter."""

    name = "MicroPython"

    def __init__(
        self,
        board,
        folder,
        program="wattlog_esp32.main",
        argument=None,
        command=None,
        **environment,
    ):
        self.path = folder / "wattlog.json"
        self.port = free_port()
        self.console, console_slave = os.openpty()
        self.meter, meter_slave = os.openpty()
        for fd in (console_slave, meter_slave):
            tty.setraw(fd)
        self._slaves = (console_slave, meter_slave)
        self.said = b""
        self.process = subprocess.Popen(
            command or board.command(program, argument or str(self.path)),
            env=board.environment(
                BOARD_HTTP_PORT=self.port, BOARD_UART1=os.ttyname(meter_slave), **environment
            ),
            stdin=console_slave,
            stdout=console_slave,
            stderr=subprocess.STDOUT,
        )
        self.key = None

    def wait_until_open(self):
        self.wait_for(rb"then open http://127\.0\.0\.1/ there")
        self.key = re.search(rb"password (\w+)", self.said)[1].decode()
        return self

    def wait_for(self, pattern):
        """Return the match of what the head says at its serial port."""

        def found():
            self.listen()
            if self.process.poll() is not None:
                self.listen()
                assert re.search(pattern, self.said), self.said
            return re.search(pattern, self.said)

        try:
            return wait_until(found, repr(pattern))
        except AssertionError as err:
            raise AssertionError(f"{err}\n{self.said!r}") from None

    def listen(self):
        """Take what the head has said."""
        while select.select([self.console], [], [], 0)[0]:
            try:
                self.said += os.read(self.console, 4096)
            except OSError as err:
                assert err.errno == errno.EIO
                return

    def wait_until_saved(self):
        assert self.process.wait(ANSWER_S_MAX) == RESET_STATUS, self.said
        self.listen()

    def check(self):
        self.listen()
        assert b"Traceback" not in self.said, self.said
        assert self.process.poll() in (None, RESET_STATUS), self.said

    def stop_process(self):
        """Switch it off."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.stop_process()
        for fd in (self.console, self.meter, *self._slaves):
            os.close(fd)


def ask(head, data, is_slow=False):
    """Send bytes, return all that is answered until the head closes."""
    with closing(socket.create_connection(("127.0.0.1", head.port), ANSWER_S_MAX)) as peer:
        for byte in data if is_slow else (data,):
            peer.sendall(bytes([byte]) if is_slow else byte)
        return hear(peer)


def hear(peer):
    """Return what comes until the other side closes in good order; a reset is an error."""
    answer = b""
    while part := peer.recv(65536):
        answer += part
    return answer
