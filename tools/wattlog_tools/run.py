"""`wattlog-tools run`: host, agent and, without a real meter, simulated ones, in one command."""

import argparse
import errno
import fcntl
import http.client
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from wattlog_sim.dess.cloud import PATH
from wattlog_tools import dess_cloud
from wattlog_tools.console import EXIT_USAGE, StopSignal, ToolError
from wattlog_tools.meter import ReplaySource
from wattlog_tools.supervisor import Child, Supervisor

LISTEN = "127.0.0.1"
HTTP_PORT = 8080
MQTT_PORT = 1883
DEMO_METERS = ("mt681", "dzg")
AGENT_ID = "demo"
DESS_FETCH_S = 60
"""So often the demo's inverters say something new: one can watch it come."""
LOG_KIB = 1024
BATCH_S = 1

_HEALTH_TIMEOUT_S = 1.0


def main(arguments: Sequence[str]) -> int:
    """Run until a signal comes (0) or a child says that it cannot work as configured (2)."""
    parsed = _parser().parse_args(arguments)
    data: Path = parsed.data.absolute()
    if parsed.port and parsed.replay is not None:
        raise ToolError("either --port or --replay: a capture is played on a port of its own")
    if parsed.dess is not None and parsed.dess_port in (parsed.http_port, parsed.mqtt_port):
        raise ToolError(f"port {parsed.dess_port} is taken: choose another --dess-port")
    if parsed.http_port == parsed.mqtt_port:
        raise ToolError(f"HTTP and MQTT cannot both have port {parsed.http_port}")
    _require_text("DATA=", str(data))
    for port in parsed.port:
        _require_text("PORT=", _port_name(port))
    if parsed.replay is not None:
        _require_text("REPLAY=", str(parsed.replay.absolute()))
        # Only to complain now, in one line, rather than from a child.
        ReplaySource(parsed.replay)
    run_folder = data / "run"
    os.umask(0o077)  # who was at home, and when, is nobody else's business
    try:
        run_folder.mkdir(parents=True, exist_ok=True)
        lock = (run_folder / "lock").open("a")
    except OSError as err:
        raise ToolError(f"cannot write to {data} (DATA=): {err.strerror}") from err
    with lock:
        _lock(lock, data)
        _require_free_port("HTTP", parsed.http_port)
        _require_free_port("MQTT", parsed.mqtt_port)
        if parsed.dess is not None:
            _require_free_port("DESS", parsed.dess_port)
            # For the fake cloud and the host alike; both are our children.
            os.environ.setdefault(dess_cloud.PASSWORD_VARIABLE, dess_cloud.PASSWORD)
        stop = StopSignal()
        children = _children(parsed, run_folder, _banner(parsed, data))
        return Supervisor(children, stop, time.monotonic).run()


def _children(
    parsed: argparse.Namespace, run_folder: Path, banner: tuple[str, ...]
) -> list[Child]:
    host_config = run_folder / "host.toml"
    agent_config = run_folder / "agent.toml"
    children = []
    ports = [_port_name(port) for port in parsed.port]
    if not ports:
        links = _meter_links(run_folder, 1 if parsed.replay is not None else len(DEMO_METERS))
        what = ["--meters", ",".join(DEMO_METERS)]
        if parsed.replay is not None:
            what = ["--replay", str(parsed.replay.absolute())]
        children.append(
            Child(
                "meter",
                _python("wattlog_tools", "meter", *what, "--link", str(links[0].parent)),
                ready=lambda: all(link.exists() for link in links),
            )
        )
        ports = [str(link) for link in links]
    if parsed.dess is not None:
        what = ["--port", str(parsed.dess_port), "--fetch", str(DESS_FETCH_S)]
        children.append(
            Child(
                "cloud",
                _python("wattlog_tools", "dess-cloud", *what),
                ready=lambda: not _is_free(parsed.dess_port),
            )
        )
    _write(
        host_config,
        host_toml(
            run_folder.parent,
            parsed.http_port,
            parsed.mqtt_port,
            None if parsed.dess is None else parsed.dess_port,
        ),
    )
    _write(agent_config, agent_toml(ports, parsed.mqtt_port, run_folder / "agent.ring"))
    children.append(
        Child(
            "host",
            _python("wattlog_host", "--config", str(host_config)),
            ready=health_check(parsed.http_port),
            says_when_ready=banner,
        )
    )
    children.append(
        Child("agent", _python("wattlog_pi", "--config", str(agent_config)), ready=lambda: True)
    )
    return children


def host_toml(data: Path, http_port: int, mqtt_port: int, dess_port: int | None = None) -> str:
    """Return the host's configuration; dess_port is that of a fake cloud of solar inverters."""
    solar: tuple[str, ...] = ()
    if dess_port is not None:
        solar = (
            "[dessmonitor]",
            "enabled = true",
            'username = "demo"',
            f"url = {_toml_string(f'http://{LISTEN}:{dess_port}{PATH}')}",
            "interval_min = 1",
            "",
        )
    return "\n".join(
        (
            "# Written by wattlog-tools run at each start: changes here are lost.",
            f"data = {_toml_string(str(data))}",
            "",
            "[http]",
            f"listen = {_toml_string(LISTEN)}",
            f"port = {http_port}",
            "",
            "[mqtt]",
            "embedded = true",
            f"host = {_toml_string(LISTEN)}",
            f"port = {mqtt_port}",
            "",
            *solar,
        )
    )


def agent_toml(ports: Sequence[str], mqtt_port: int, log_path: Path) -> str:
    """Return the agent's configuration for meters at these serial ports.

    Its log is small, and its batches come every second, so that one can watch them come.
    """
    lines = [
        "# Written by wattlog-tools run at each start: changes here are lost.",
        "[agent]",
        f"id = {_toml_string(AGENT_ID)}",
        "",
        "[log]",
        f"path = {_toml_string(str(log_path))}",
        f"size_kib = {LOG_KIB}",
        "",
        "[uplink]",
        f"batch_s = {BATCH_S}",
        "",
        "[mqtt]",
        f"host = {_toml_string(LISTEN)}",
        f"port = {mqtt_port}",
        "",
    ]
    for port in ports:
        lines += ["[[meter]]", f"port = {_toml_string(port)}", ""]
    return "\n".join(lines)


def _toml_string(text: str) -> str:
    # JSON's escapes are TOML's too, except that TOML wants one for DEL.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _require_text(name: str, text: str) -> None:
    # A file's name may be any bytes, but a configuration is UTF-8.
    try:
        text.encode()
    except UnicodeEncodeError as err:
        raise ToolError(f"{name} {text!a} is not UTF-8: use a place with another name") from err


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as err:
        raise ToolError(f"cannot write {path}: {err.strerror}") from err


def _meter_links(run_folder: Path, count: int) -> list[Path]:
    folder = run_folder / "meters"
    try:
        folder.mkdir(exist_ok=True)
        for stale in folder.iterdir():
            # Left by a run that was killed: its terminal may belong to somebody else by now.
            if stale.is_symlink():
                stale.unlink()
    except OSError as err:
        raise ToolError(f"cannot write to {folder}: {err.strerror}") from err
    return [folder / f"meter-{index + 1}" for index in range(count)]


def _port_name(port: str) -> str:
    # The agent runs in this folder too, but its configuration should not depend on that.
    return port if "://" in port else str(Path(port).absolute())


def _python(module: str, *arguments: str) -> list[str]:
    # -P: no module of the current folder may stand in for one of ours.
    return [sys.executable, "-P", "-m", module, *arguments]


def _lock(lock: TextIO, data: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as err:
        raise ToolError(
            f"wattlog already runs with {data}: stop it, or give this one its own DATA="
        ) from err


def _require_free_port(name: str, port: int) -> None:
    with socket.socket() as probe:
        # As servers do, so that connections in their last minute do not count as a server.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LISTEN, port))
        except OSError as err:
            why = "is in use" if err.errno == errno.EADDRINUSE else f"fails ({err.strerror})"
            raise ToolError(
                f"port {port} {why}: choose another with {name}_PORT= (--{name.lower()}-port)"
            ) from err


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(_HEALTH_TIMEOUT_S)
        return probe.connect_ex((LISTEN, port)) != 0


def health_check(http_port: int) -> Callable[[], bool]:
    """Return what tells whether the host at this port of ours says that all is well."""

    def answers() -> bool:
        # Not urllib: it would ask a proxy from the environment for our own machine.
        connection = http.client.HTTPConnection(LISTEN, http_port, timeout=_HEALTH_TIMEOUT_S)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return answers


def _banner(parsed: argparse.Namespace, data: Path) -> tuple[str, ...]:
    if parsed.port:
        meters = ", ".join(parsed.port)
    elif parsed.replay is not None:
        meters = f"replay of {parsed.replay}"
    else:
        meters = f"simulated ({', '.join(DEMO_METERS)}); PORT=/dev/ttyUSB0 reads a real one"
    solar = ("  solar   simulated: /house",) if parsed.dess is not None else ()
    return (
        "",
        f"wattlog is running: http://{LISTEN}:{parsed.http_port}/",
        f"  meters  {meters}",
        *solar,
        f"  data    {data}",
        "  Ctrl-C stops it.",
        "",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wattlog-tools run",
        description="Run the whole of wattlog on this machine: the host with its MQTT broker and "
        "pages, the agent that reads the meter, and simulated meters if there is no real one.",
        epilog=f"Everything listens on {LISTEN} only. With other ports and another --data, "
        "several can run side by side. EXIT STATUS: 0 after Ctrl-C, "
        f"{EXIT_USAGE} if something must be put right first.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--port",
        action="append",
        default=[],
        metavar="DEVICE",
        help="read the meter at this serial port, such as /dev/ttyUSB0; may be given again for "
        "further meters (default: simulated meters)",
    )
    parser.add_argument(
        "--replay", type=Path, metavar="FILE", help="play this capture instead of simulated meters"
    )
    parser.add_argument(
        "--http-port",
        type=_port_number,
        default=HTTP_PORT,
        metavar="N",
        help=f"port of the pages (default: {HTTP_PORT})",
    )
    parser.add_argument(
        "--mqtt-port",
        type=_port_number,
        default=MQTT_PORT,
        metavar="N",
        help=f"port of the MQTT broker (default: {MQTT_PORT})",
    )
    parser.add_argument(
        "--dess", choices=["demo"], help="ask a fake cloud of solar inverters, too"
    )
    parser.add_argument(
        "--dess-port",
        type=_port_number,
        default=dess_cloud.PORT,
        metavar="N",
        help=f"port of the fake cloud (default: {dess_cloud.PORT})",
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(".data"),
        metavar="DIR",
        help="folder for database and configuration (default: .data)",
    )
    return parser


def _port_number(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port number (1 to 65535)")
    return int(text)
