"""One head from afar: the way to the broker, how the head is, its answers to a command."""

import argparse
import importlib.util
import os
import queue
import select
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from wattlog_host.bounds import WireError, is_edge
from wattlog_host.status import Status, decode_status
from wattlog_host.wire import topic_answer, topic_command, topic_status
from wattlog_tools.console import StopSignal, ToolError

PASSWORD_ENVIRONMENT = "WATTLOG_MQTT_PASSWORD"
PORT = 1883
TLS_PORT = 8883
CONNECT_S_MAX = 10.0
STATUS_S_MAX = 5.0
ANSWER_S_MAX = 10.0
"""A head may be busy with its broker for 3 s, and then with its answer."""
LOOK_EVERY_S = 0.05


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what names a broker and a head."""
    parser.add_argument("--edge", metavar="ID", help="the head's id, agent.id in its settings")
    parser.add_argument(
        "--broker",
        metavar="HOST[:PORT]",
        default="127.0.0.1",
        help=f"the MQTT broker (default 127.0.0.1:{PORT}, with TLS :{TLS_PORT})",
    )
    parser.add_argument(
        "--tls",
        action="store_true",
        help="speak TLS with it; its certificate and its name are verified",
    )
    parser.add_argument(
        "--ca-file",
        type=Path,
        metavar="FILE",
        help="TLS, and trust only the CA certificates in this file (PEM)",
    )
    parser.add_argument("--user", metavar="NAME", help="the name to log in with at the broker")
    parser.add_argument(
        "--password-file",
        type=Path,
        metavar="FILE",
        help=f"its first line is the broker's password; or {PASSWORD_ENVIRONMENT}",
    )


def first_line(path: Path) -> str:
    """Return a file's first line; raise ToolError where there is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as err:
        raise ToolError(f"{path}: {(err.strerror or str(err)).lower()}") from None
    except UnicodeDecodeError:
        raise ToolError(f"{path}: not a text in UTF-8") from None
    if not lines or not lines[0]:
        raise ToolError(f"{path}: its first line is empty")
    return lines[0]


class Remote:
    """A connection to one head's broker, for as long as the `with` lasts.

    stop  ends every wait when a signal has come, once there is one
    """

    def __init__(self, options: argparse.Namespace) -> None:
        if not options.edge:
            raise ToolError("--edge is missing: the head's id, agent.id in its settings")
        if not is_edge(options.edge):
            raise ToolError(f"--edge {options.edge}: an id may hold a-z, 0-9, _ and -")
        if importlib.util.find_spec("paho") is None:
            raise ToolError("paho-mqtt is missing; install it: pip install 'wattlog[tools]'")
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.edge: str = options.edge
        self.stop: StopSignal | None = None
        self._stops_taken = 0
        has_tls = options.tls or options.ca_file is not None
        self._where = _address(options.broker, TLS_PORT if has_tls else PORT)
        self._answers: queue.Queue[bytes] = queue.Queue()
        self._status: Status | None = None
        self._trouble: str | None = None
        self._is_ready = False
        self._client = Client(CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
        self._client.connect_timeout = CONNECT_S_MAX
        if has_tls:
            self._client.tls_set_context(_context(options.ca_file))
        password = os.environ.get(PASSWORD_ENVIRONMENT)
        if options.password_file is not None:
            password = first_line(options.password_file)
        if options.user is not None:
            self._client.username_pw_set(options.user, password)
        elif password is not None:
            raise ToolError("there is a password for the broker, but --user is not given")
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.on_disconnect = self._on_disconnect

    def __enter__(self) -> "Remote":
        """Connect and subscribe."""
        host, port = self._where
        try:
            self._client.connect(host, port)
        except (OSError, ValueError) as err:
            words = (getattr(err, "strerror", None) or str(err) or type(err).__name__).lower()
            raise ToolError(f"no broker at {host}:{port} (--broker): {words}") from None
        self._client.loop_start()
        try:
            self._wait(lambda: self._is_ready, CONNECT_S_MAX)
            if not self._is_ready:
                raise ToolError(f"the broker at {host}:{port} does not answer")
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        err: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Say goodbye."""
        del kind, err, trace
        self._close()

    def online(self) -> Status:
        """Return how the head is; raise ToolError where it is not there."""
        self._wait(lambda: self._status is not None, STATUS_S_MAX)
        status = self._status
        if status is None:
            raise ToolError(f"no head {self.edge} has ever been at this broker: see --edge")
        if status.state != "online" or status.boot is None:
            raise ToolError(f"the head {self.edge} is offline")
        if status.board is None:
            raise ToolError(f"{self.edge} is no head on a board: it cannot do this")
        return status

    def send(self, payload: bytes) -> None:
        """Send a command; it is not kept by the broker."""
        self._client.publish(topic_command(self.edge), payload, retain=False)

    def answer(self, s_max: float) -> bytes | None:
        """Return the next answer; None where none came, or a signal did."""
        boot = self._status.boot if self._status is not None else None
        self._wait(lambda: not self._answers.empty() or self._is_gone(boot), s_max)
        try:
            return self._answers.get_nowait()
        except queue.Empty:
            if self._is_gone(boot):
                raise ToolError(f"the head {self.edge} went offline, or started anew") from None
            return None

    def wait_for_goodbye(self, s_max: float) -> bool:
        """Tell whether the head goes offline, or starts anew, within this time."""
        boot = self._status.boot if self._status is not None else None
        self._wait(lambda: self._is_gone(boot), s_max)
        return self._is_gone(boot)

    def is_stopped(self) -> bool:
        """Tell whether a signal has come since the last take_stop()."""
        return self.stop is not None and self.stop.count > self._stops_taken

    def take_stop(self) -> bool:
        """Tell the same, once for each: from then on answer() waits again."""
        is_stopped = self.is_stopped()
        if self.stop is not None:
            self._stops_taken = self.stop.count
        return is_stopped

    def _is_gone(self, boot: int | None) -> bool:
        status = self._status
        return status is not None and (status.state != "online" or status.boot != boot)

    def _wait(self, condition: Callable[[], bool], s_max: float) -> None:
        end_s = time.monotonic() + s_max
        while not condition() and time.monotonic() < end_s and not self.is_stopped():
            if self._trouble is not None:
                raise ToolError(self._trouble)
            if self.stop is None:
                select.select([], [], [], LOOK_EVERY_S)
            else:
                self.stop.wait(LOOK_EVERY_S)

    def _close(self) -> None:
        self._client.on_disconnect = None
        self._client.disconnect()
        self._client.loop_stop()

    # -- called by paho's thread

    def _on_connect(self, client: Any, _data: Any, _flags: Any, code: Any, _more: Any) -> None:
        if code.is_failure:
            host, port = self._where
            self._trouble = f"the broker at {host}:{port} refuses us: {str(code).lower()} (--user)"
        else:
            client.subscribe([(topic_status(self.edge), 0), (topic_answer(self.edge), 0)])

    def _on_subscribe(self, _client: Any, _data: Any, _mid: Any, codes: Any, _more: Any) -> None:
        if any(code.is_failure for code in codes):
            self._trouble = f"the broker does not let us read what {self.edge} says"
        self._is_ready = True

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        if message.topic == topic_answer(self.edge):
            self._answers.put(message.payload)
            return
        try:
            status = decode_status(message.payload)
        except WireError:
            return
        # A claim is of one that may not get the name; an answer to it is no news.
        if status.state != "claim":
            self._status = status

    def _on_disconnect(self, _client: Any, _data: Any, *_: Any) -> None:
        self._trouble = self._trouble or "the broker closed the connection"


def _context(ca_file: Path | None) -> ssl.SSLContext:
    try:
        # Python's default: the certificate is verified, and its name is.
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        raise ToolError(f"--ca-file {ca_file}: holds no certificate in PEM form") from None
    except OSError as err:
        raise ToolError(f"--ca-file {ca_file}: {(err.strerror or str(err)).lower()}") from None


def _address(text: str, port_else: int) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or (text.count(":") > 1 and not text.startswith("[")):
        return text, port_else
    if text.endswith("]"):
        return text.strip("[]"), port_else
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536 or not host:
        raise ToolError(f"--broker {text}: not HOST or HOST:PORT")
    return host.strip("[]"), int(port)
