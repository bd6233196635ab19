"""`wattlog-host dess ...`: the cloud at the command line; tables for people, --json for machines.

The password comes from its file, from the environment or from a prompt, never as an argument,
which every user of the machine can read.
"""

import argparse
import getpass
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from wattlog.config import ConfigError
from wattlog_host import settings as host_settings
from wattlog_host.clock import now_ms
from wattlog_host.dess import analyze, api, controls, devcodes, model, parts, shown
from wattlog_host.dess.client import Client
from wattlog_host.dess.config import PASSWORD_VARIABLE, DessSettings, password_source
from wattlog_host.dess.errors import DessError
from wattlog_host.dess.mapping import readings_of
from wattlog_host.dess.model import Device
from wattlog_host.dess.parsing import integer
from wattlog_host.dess.topology import Topology, discover

EXIT_NO, EXIT_UNUSABLE = 1, 2
CAPTURE_BYTES_MAX = 5_000_000
_DATE = re.compile(r"20\d\d-\d\d-\d\d")


class UsageError(Exception):
    """Something that the caller can put right; str() is the one line to show."""


@dataclass(slots=True)
class Session:
    """What a command works with."""

    options: argparse.Namespace
    settings: DessSettings
    data: Path
    client: Client
    wait_s: Callable[[float], None]

    def topology(self) -> Topology:
        """Return what there is."""
        return discover(self.client, Topology(), self.say)

    def device(self) -> tuple[Topology, Device]:
        """Return the device that was asked for."""
        found = self.topology()
        return found, _chosen(found, self.options.device)

    def say(self, text: str) -> None:
        """Tell what went wrong in part."""
        print(f"wattlog-host dess: {self.client.hide(text)}", file=sys.stderr)


def main(arguments: Sequence[str]) -> int:
    """Run one command; return 0, 1 where cloud or device said no, 2 where it cannot run."""
    parser = _parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    try:
        if options.command == "verify":
            return _verify(options)
        session = _session(options, os.environ)
    except (ConfigError, UsageError) as err:
        print(f"wattlog-host dess: {err}", file=sys.stderr)
        return EXIT_UNUSABLE
    try:
        status: int = options.run(session)
    except UsageError as err:
        print(f"wattlog-host dess: {err}", file=sys.stderr)
        return EXIT_UNUSABLE
    except DessError as err:
        session.say(str(err))
        return EXIT_NO
    except KeyboardInterrupt:
        return EXIT_NO
    return status


def _session(options: argparse.Namespace, environ: Mapping[str, str]) -> Session:
    chosen = host_settings.load(options.config, environ)
    username = options.user or chosen.dess.username
    if username is None:
        raise UsageError("which account? set dessmonitor.username in host.toml, or give --user")
    pause = Event()

    def wait_s(pause_s: float) -> None:
        pause.wait(pause_s)

    password = _password(password_source(chosen.dess, environ))
    client, _ = parts.client_of(chosen.dess, username, chosen.data, password, wait_s)
    return Session(options, chosen.dess, chosen.data, client, wait_s)


def _password(configured: Callable[[], str | None]) -> Callable[[], str | None]:
    """Return what gives the password: as configured, else asked for once at a terminal."""
    asked: list[str] = []

    def password() -> str | None:
        found = configured()
        if found is None and not asked and sys.stdin.isatty():
            asked.append(getpass.getpass("password of the cloud account: "))
        return found or (asked[0] if asked and asked[0] else None)

    return password


# --- commands -----------------------------------------------------------------------------


def _login(session: Session) -> int:
    token = session.client.login()
    left_s = None if token.expires_ms is None else (token.expires_ms - now_ms()) // 1000
    days = "an unknown time" if left_s is None else f"{left_s / 86_400:.1f} days"
    _out(session, {"expires_in_s": left_s}, f"logged in; the token is good for {days}")
    return 0


def _plants(session: Session) -> int:
    rows = [
        (plant.pid, plant.name, model.status_word(plant.status), shown.zone_text(plant.offset_s))
        for plant in api.plants(session.client)
    ]
    _table(session, ("plant", "name", "status", "zone"), rows)
    return 0


def _collectors(session: Session) -> int:
    found = session.topology()
    rows = [
        (one.pn, one.alias, one.pid, model.status_word(one.status), one.firmware,
         one.signal, shown.zone_text(one.offset_s), one.fetch_s)
        for one in found.collectors.values()
    ]  # fmt: skip
    head = ("collector", "alias", "plant", "status", "firmware", "signal", "zone", "every_s")
    _table(session, head, rows)
    return 0


def _devices(session: Session) -> int:
    found = session.topology()
    status = {
        device.key: model.status_word(integer(row.get("status")))
        for pid in found.plants
        for row in api.summary(session.client, pid)
        if (device := model.device_of(row, "", pid)) is not None
    }
    rows = [
        (one.key, one.alias, one.devcode, one.devaddr, one.pn, status.get(one.key, "unknown"))
        for one in found.devices.values()
    ]
    _table(session, ("device", "alias", "devcode", "address", "collector", "status"), rows)
    return 0


def _data(session: Session) -> int:
    found, device = session.device()
    devcode = devcodes.load(session.settings.devcodes).of(device.devcode)
    record = api.last_data(session.client, device)
    parameters = api.parameters(session.client, device) if devcode.parameters else []
    summary = {
        one.key: row
        for row in api.summary(session.client, device.pid)
        if (one := model.device_of(row, "", device.pid)) is not None
    }
    mapped = readings_of(devcode, record.points, parameters, summary.get(device.key))
    at_ms = model.utc_ms(record.local_time, found.offset_s(device))
    age_s = None if at_ms is None else (now_ms() - at_ms) // 1000
    wanted = [
        reading
        for reading in mapped.readings.values()
        if session.options.all or not reading.is_diagnostic
    ]
    if session.options.json:
        readings = [
            {"channel": one.key, "label": one.label, "value": shown.as_json(shown.value_of(one)),
             "unit": one.unit or None, "class": one.text_class}
            for one in wanted
        ]  # fmt: skip
        body = {"device": device.key, "record_time": record.local_time, "age_s": age_s}
        print(shown.json_text({**body, "readings": readings}))
        return 0
    age = "age unknown" if age_s is None else f"{age_s} s old"
    print(f"{device.label}, devcode {device.devcode}: {record.local_time or 'no time'} ({age})")
    rows = [(one.label, shown.value_text(one), one.unit, one.text_class or "") for one in wanted]
    _table(session, ("reading", "value", "unit", "class"), rows)
    return 0


def _params(session: Session) -> int:
    _, device = session.device()
    rows = [
        (point.title, point.value, point.unit or "")
        for point in api.parameters(session.client, device)
    ]
    _table(session, ("parameter", "value", "unit"), rows)
    return 0


def _settings(session: Session) -> int:
    _, device = session.device()
    found = controls.controls_of(api.control_fields(session.client, device))
    out = []
    for control in found:
        entry = shown.control_json(control)
        if session.options.values:
            try:
                live = api.control_value(session.client, device, control.id)
                entry |= shown.live_json(control, live)
            except DessError as err:
                session.say(f"{control.name}: {err}")
        out.append(entry)
    if session.options.json:
        print(shown.json_text(out))
        return 0
    rows = [
        (
            one["id"],
            one["name"],
            one["kind"],
            one.get("value"),
            one["unit"] or "",
            shown.allowed_text(one),
        )
        for one in out
    ]
    _table(session, ("setting", "name", "kind", "value", "unit", "allowed"), rows)
    return 0


def _set(session: Session) -> int:
    _, device = session.device()
    writable = frozenset(session.settings.writable)
    controls.require_writable(device, writable)
    control = controls.find(session.client, device, session.options.setting)
    made = controls.change(
        session.client,
        device,
        control,
        session.options.value,
        writable=writable,
        audit=parts.audit_of(session.data),
        wait_s=session.wait_s,
        by="command line",
    )
    body = {"outcome": made.outcome, "before": made.before, "after": made.after}
    _out(session, {**body, "wanted": made.wanted, "text": made.text}, made.text)
    return 0 if made.outcome in ("confirmed", "accepted") else EXIT_NO


def _history(session: Session) -> int:
    found, device = session.device()
    offset_s = found.offset_s(device)
    date = session.options.date or model.local_date(now_ms(), offset_s or 0)
    if not _DATE.fullmatch(date):
        raise UsageError(f"--date must be like 2026-06-15, not {date!r:.40}")
    if session.options.list:
        names = api.key_parameters(session.client, device)
        _table(session, ("series",), [(name,) for name in names])
        return 0
    if session.options.parameter:
        # The cloud names no unit for these.
        series = api.series_of_day(session.client, device, session.options.parameter, date)
        _table(session, ("time", "value"), [(row.get("ts"), row.get("val")) for row in series])
        return 0
    devcode = devcodes.load(session.settings.devcodes).of(device.devcode)
    records = api.records_of_day(session.client, device, date)
    rows = []
    for record in reversed(records):
        mapped = readings_of(devcode, record.points).readings
        rows += [
            (record.local_time, one.key, shown.as_json(shown.value_of(one)), one.unit)
            for one in mapped.values()
            if session.options.channel in (None, one.key)
        ]
    _table(session, ("time", "channel", "value", "unit"), rows)
    return 0


def _analyze(session: Session) -> int:
    _, device = session.device()
    devcode = devcodes.load(session.settings.devcodes).of(device.devcode)
    record = api.last_data(session.client, device)
    parameters, fields = [], []
    try:
        parameters = api.parameters(session.client, device)
        fields = controls.controls_of(api.control_fields(session.client, device))
    except DessError as err:
        session.say(f"left out: {err}")
    content = analyze.capture(device, devcode, record.points, parameters, fields)
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    if session.options.output is None:
        sys.stdout.write(text)
    else:
        _write(session.options.output, text)
    if session.options.template is not None:
        _write(session.options.template, analyze.template(content))
    return 0


def _verify(options: argparse.Namespace) -> int:
    try:
        with options.file.open("rb") as file:
            content = json.loads(file.read(CAPTURE_BYTES_MAX))
        wanted = content["checksum"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as err:
        raise UsageError(f"{options.file} is no capture: {err}") from err
    if analyze.checksum(content) != wanted:
        print(f"{options.file}: mismatch: it was changed after it was made")
        return EXIT_NO
    print(f"{options.file}: ok")
    return 0


def _chosen(found: Topology, wanted: str | None) -> Device:
    devices = list(found.devices.values())
    if wanted is None and len(devices) == 1:
        return devices[0]
    fits = [one for one in devices if wanted in (one.key, one.alias)]
    if len(fits) == 1:
        return fits[0]
    there = ", ".join(f"{one.key} ({one.alias})" for one in devices) or "none"
    said = "which device? give --device" if wanted is None else f"no device {wanted!r:.60}"
    raise UsageError(f"{said}; there are: {there}")


def _table(session: Session, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    print(shown.table(head, rows, is_json=session.options.json))


def _out(session: Session, body: Mapping[str, Any], text: str) -> None:
    print(shown.json_text(body) if session.options.json else text)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as err:
        raise UsageError(f"cannot write {path}: {err.strerror}") from err
    print(f"written: {path}", file=sys.stderr)


# --- the command line ---------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wattlog-host dess",
        description="Solar inverters in the DessMonitor (SmartESS) cloud.",
        epilog=f"The password: dessmonitor.password_file, {PASSWORD_VARIABLE} in the environment, "
        "or asked for. EXIT STATUS: 0, 1 where the cloud or the device said no, 2 where "
        "something must be put right first.",
        allow_abbrev=False,
    )
    _add_common(parser, None)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, run: Callable[[Session], int] | None, text: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        one.set_defaults(run=run)
        if run is not None:
            _add_common(one, argparse.SUPPRESS)
        return one

    add("login", _login, "log in and keep the token, so that the host needs no password for now")
    add("plants", _plants, "list the plants")
    add("collectors", _collectors, "list the collectors")
    add("devices", _devices, "list the inverters")
    data = add("data", _data, "show what an inverter says, with units and age")
    data.add_argument("--all", action="store_true", help="what is for diagnosis, too")
    params = add("params", _params, "show an inverter's parameters as the cloud has them")
    menu = add("settings", _settings, "list an inverter's settings")
    menu.add_argument("--values", action="store_true", help="read each, which takes seconds")
    change = add("set", _set, "change a setting; dessmonitor.writable must name the inverter")
    change.add_argument("setting", metavar="SETTING", help="its id or name")
    change.add_argument("value", metavar="VALUE", help="an option, or a number")
    history = add("history", _history, "show the records of a day")
    history.add_argument("--date", metavar="YYYY-MM-DD", help="the day on the spot (today)")
    history.add_argument("--channel", metavar="NAME", help="only this one, like solar_power")
    history.add_argument("--parameter", metavar="NAME", help="a series of the cloud instead")
    history.add_argument("--list", action="store_true", help="list the cloud's series")
    capture = add("analyze", _analyze, "capture an inverter for support, serial numbers redacted")
    capture.add_argument("--output", type=Path, metavar="FILE", help="write it there")
    capture.add_argument("--template", type=Path, metavar="FILE", help="write a devcode file")
    for one in (data, params, menu, change, history, capture):
        one.add_argument("--device", metavar="SN", help="serial number or alias")
    verify = add("verify", None, "tell whether a capture is as it was made")
    verify.add_argument("file", type=Path, metavar="FILE")
    return parser


def _add_common(parser: argparse.ArgumentParser, default: Any) -> None:
    """Let these stand before the command and after it."""
    false = False if default is None else default
    parser.add_argument(
        "--config", type=Path, metavar="FILE", default=default, help="the host's settings"
    )
    parser.add_argument("--user", metavar="NAME", default=default, help="another account")
    parser.add_argument("--json", action="store_true", default=false, help="for machines")
