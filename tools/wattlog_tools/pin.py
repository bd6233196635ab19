"""`wattlog-tools pin`: has an IR head enter the meter's PIN with its LED, and shows it."""

import argparse
import getpass
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from wattlog_host import eyes
from wattlog_host.bounds import UINT32_MAX, WireError
from wattlog_host.status import Status
from wattlog_tools import makers, remote
from wattlog_tools.console import EXIT_OK, StopSignal, ToolError
from wattlog_tools.remote import Remote

PIN_ENVIRONMENT = "WATTLOG_METER_PIN"
PIN_DIGITS = 4
EXIT_ABORTED = 1

_OFF = (
    "the head may not do this: write allow = true below [pin] into its head.toml and put that "
    "on the head with wattlog-tools flash --app-only"
)
_LOOK = "look at the meter's display; after two minutes without light it is back where it was"


def main(arguments: Sequence[str]) -> int:
    """Enter a PIN, or list how; return the exit status."""
    options = _parser().parse_args(arguments)
    if options.makers:
        _list_makers()
        return EXIT_OK
    maker = makers.changed(makers.by_name(options.maker), options.set)
    timings = makers.timings(maker, options.inf)
    with Remote(options) as head:
        status = head.online()
        assert status.boot is not None
        if options.abort:
            return _abort(head, status.boot)
        port = _port(status, options.port)
        if options.inf:
            _look_at_inf(status, port)
        _warn(head.edge, port, options.inf)
        pin = _read_pin(options.pin_file)
        head.stop = StopSignal()
        request = 1 + secrets.randbelow(UINT32_MAX)
        head.send(eyes.pack_pin(status.boot, request, port, pin, timings))
        del pin
        return _follow(head, status.boot, request, makers.silence_ms_max(maker) / 1000)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wattlog-tools pin",
        description="Has an IR head with a TX LED enter the meter's PIN by flashes of light, and "
        'then switch "InF" on. The PIN is asked for, or read from a file or from '
        f"{PIN_ENVIRONMENT}; it is sent once and kept nowhere. Ctrl-C ends it on the head, too.",
        allow_abbrev=False,
    )
    remote.add_options(parser)
    parser.add_argument("--port", metavar="PORT", help="the head's port, where it has several")
    parser.add_argument(
        "--maker", default=makers.MAKERS[0].name, help="the kind of meter (default %(default)s)"
    )
    parser.add_argument("--makers", action="store_true", help="list the kinds of meters")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=NUMBER",
        help=f"another number for this kind, one of {', '.join(makers.NUMBERS)}",
    )
    parser.add_argument(
        "--no-inf", dest="inf", action="store_false", help='enter the PIN only, leave "InF" alone'
    )
    parser.add_argument("--pin-file", type=Path, metavar="FILE", help="its first line is the PIN")
    parser.add_argument(
        "--abort", action="store_true", help="end what the head is doing, begun from elsewhere"
    )
    return parser


def _list_makers() -> None:
    for maker in makers.MAKERS:
        print(f"{maker.name}: {maker.title}")
        row = maker._asdict()
        print("  " + ", ".join(f"{name} {row[name]}" for name in makers.NUMBERS))
        print(f"  {maker.source}")


def _port(status: Status, wanted: str | None) -> str:
    ports = [meter.port for meter in status.meters]
    if wanted is None and len(ports) == 1:
        return ports[0]
    if wanted not in ports:
        said = "--port is missing" if wanted is None else f"--port {wanted}"
        raise ToolError(f"{said}: the head has {', '.join(ports) or 'none'}")
    return wanted


def _look_at_inf(status: Status, port: str) -> None:
    """Raise ToolError where a long flash would switch off what shall be on."""
    for meter in status.meters:
        if meter.port == port and meter.full_dataset:
            raise ToolError(
                f'the meter at {port} sends power, so "InF" is on, and a long flash would switch '
                "it off: --no-inf"
            )


def _warn(edge: str, port: str, is_inf_wanted: bool) -> None:
    print(f"{edge} will flash its LED at {port} to enter the meter's PIN", end="")
    print(', then switch "InF" to the other state.' if is_inf_wanted else ".")
    print(
        "Too many wrong PINs lock the meter: be sure of it, and of the head's place.", flush=True
    )


def _read_pin(path: Path | None) -> str:
    if path is not None:
        pin, source = remote.first_line(path), str(path)
    elif PIN_ENVIRONMENT in os.environ:
        pin, source = os.environ[PIN_ENVIRONMENT], PIN_ENVIRONMENT
    elif sys.stdin.isatty():
        pin, source = getpass.getpass("PIN (Ctrl-C: leave it): "), "the PIN"
    else:
        raise ToolError(f"no terminal to ask for the PIN: give --pin-file or {PIN_ENVIRONMENT}")
    if len(pin) != PIN_DIGITS or not pin.isascii() or not pin.isdigit():
        raise ToolError(f"{source}: a PIN has {PIN_DIGITS} digits")
    return pin


def _follow(head: Remote, boot: int, request: int, silence_s_max: float) -> int:
    """Show what the head says until it is over; return the exit status."""
    wait_s = remote.ANSWER_S_MAX
    is_aborting = is_begun = False
    while True:
        if head.take_stop() and not is_aborting:
            is_aborting = True
            head.send(eyes.pack_pin_abort(boot, request))
            wait_s = remote.ANSWER_S_MAX
        payload = head.answer(wait_s)
        if payload is None and head.is_stopped() and not is_aborting:
            continue
        if payload is None:
            raise ToolError(_silence(head.edge, is_begun))
        try:
            progress = eyes.decode_progress(payload)
        except WireError:
            continue  # raw bytes, that somebody else has asked for
        if progress.request != request:
            continue
        is_begun = True
        if not is_aborting:
            wait_s = silence_s_max
        _show(progress)
        if progress.is_last:
            return _end(progress.state)


def _abort(head: Remote, boot: int) -> int:
    head.send(eyes.pack_pin_abort(boot))
    while (payload := head.answer(remote.ANSWER_S_MAX)) is not None:
        try:
            progress = eyes.decode_progress(payload)
        except WireError:
            continue
        if progress.is_last:
            _show(progress)
            return EXIT_OK
    print(f"{head.edge} says nothing: there was nothing to end")
    return EXIT_OK


def _silence(edge: str, is_begun: bool) -> str:
    if is_begun:
        return f"{edge} says nothing any more: {_LOOK}"
    return (
        f"{edge} does not answer: its wattlog is too old for this, or it has no memory left; "
        "renew it with wattlog-tools flash --app-only"
    )


def _show(progress: eyes.Progress) -> None:
    is_terminal = sys.stdout.isatty()
    end = "\n" if progress.is_last or not is_terminal else ""
    print(f"\r\033[K{progress.state}" if is_terminal else progress.state, end=end, flush=True)


def _end(state: str) -> int:
    if state == eyes.DONE:
        print("whether the meter took it shows at its display, and in its readings")
        return EXIT_OK
    if state == eyes.OFF:
        raise ToolError(_OFF)
    if state == eyes.ABORTED:
        print(f"nothing flashes any more; {_LOOK}")
        return EXIT_ABORTED
    raise ToolError(f"{makers.words(state.removeprefix(eyes.FAILED))}; {_LOOK}")
