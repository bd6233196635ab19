"""`wattlog-tools dess-cloud`: a fake DessMonitor cloud on this machine, with faults to order."""

import argparse
import os
import time
from collections.abc import Sequence

from wattlog_sim.dess.cloud import FAULTS, PATH, Cloud, Fault, demo_devices
from wattlog_sim.dess.server import Server
from wattlog_tools.console import EXIT_OK, StopSignal, ToolError

PASSWORD_VARIABLE = "WATTLOG_DESS_PASSWORD"
PASSWORD = "demo-pass"
PORT = 8090
_WAIT_S = 3_600.0


def main(arguments: Sequence[str]) -> int:
    """Serve until a signal comes."""
    parsed = _parser().parse_args(arguments)
    password = os.environ.get(PASSWORD_VARIABLE) or PASSWORD
    cloud = Cloud(
        lambda: time.time_ns() // 1_000_000,
        {parsed.user: password},
        devices=demo_devices(),
        fetch_s=parsed.fetch,
        life_s=parsed.life,
    )
    cloud.faults += [_fault(text) for text in parsed.fault]
    try:
        server = Server(cloud, parsed.port)
    except OSError as err:
        raise ToolError(f"port {parsed.port}: {err.strerror}; choose another --port") from err
    stop = StopSignal()
    server.start()
    print(f"a cloud with {len(cloud.devices)} inverters: {server.url}", flush=True)
    while not stop.count:
        stop.wait(_WAIT_S)
    server.stop()
    calls = ", ".join(f"{name} {count}" for name, count in sorted(cloud.calls.items()))
    print(f"calls: {calls or 'none'}", flush=True)
    return EXIT_OK


def _fault(text: str) -> Fault:
    """Read kind[=value][@action][*count], as in http=502@queryPlants*3."""
    rest, star, count = text.partition("*")
    rest, _, target = rest.partition("@")
    kind, equals, value = rest.partition("=")
    if kind not in FAULTS:
        raise ToolError(f"no fault {kind!r}; there are: {', '.join(FAULTS)}")
    if star and not count.isdecimal():
        raise ToolError(f"--fault {text}: after * comes how many times")
    is_number = value.lstrip("-").isdecimal()
    if kind in ("http", "err", "skew", "freeze") and not (equals and is_number):
        raise ToolError(f"--fault {kind} needs a number, as in {kind}=502")
    sn = target if any(one.sn == target for one in demo_devices()) else None
    return Fault(
        kind,
        int(value) if is_number else value or None,
        None if sn else target or None,
        sn,
        int(count) if count else None,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wattlog-tools dess-cloud",
        description="A fake DessMonitor cloud: three inverters with a physical day. host.toml: "
        f'[dessmonitor] url = "http://127.0.0.1:{PORT}{PATH}", username = "demo".',
        epilog=f"The password is {PASSWORD}, or what {PASSWORD_VARIABLE} says. "
        f"FAULTS: {', '.join(FAULTS)}.",
        allow_abbrev=False,
    )
    parser.add_argument("--port", type=_port, default=PORT, metavar="N", help=f"({PORT})")
    parser.add_argument("--user", default="demo", metavar="NAME", help="the account (demo)")
    parser.add_argument(
        "--fetch", type=_seconds, default=300, metavar="S", help="between two records (300)"
    )
    parser.add_argument(
        "--life", type=_seconds, default=604_800, metavar="S", help="of a token (604800)"
    )
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="KIND[=VALUE][@ACTION|@SN][*COUNT]",
        help="a fault, as in http=502@queryPlants*3; may be given again",
    )
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port number (0 to 65535)")
    return int(text)


def _seconds(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 1 on")
    return int(text)
