"""What `wattlog-host` does beside running: its sub-commands, a row each."""

import argparse
import asyncio
import os
from collections.abc import Sequence
from contextlib import closing
from importlib.resources import files
from pathlib import Path

from wattlog_host.access.commands import (
    DEVICE_ACTS,
    TOKEN_ACTS,
    add_broker_options,
    add_password_options,
    broker_config,
    password,
)
from wattlog_host.alerts.commands import ALERT_ACTS
from wattlog_host.backup import keeper
from wattlog_host.backup.copying import copy
from wattlog_host.backup.restoring import restore
from wattlog_host.clock import now_ms
from wattlog_host.command import Command, no_options
from wattlog_host.export_command import add_options, send_out
from wattlog_host.progress import Progress
from wattlog_host.service_command import SERVICE_COMMANDS
from wattlog_host.settings import STORE_PASSWORD, Settings
from wattlog_host.store.rebuilding import Rebuilding
from wattlog_host.store.records import StoreError


def _backup_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--to", type=Path, metavar="FILE", help="write this file; else into the backup folder"
    )


def _backup(options: argparse.Namespace, settings: Settings) -> int:
    database = _file(settings)
    if not database.exists():
        raise StoreError(f"there is no database {database} yet")
    with Progress("copying") as progress:
        if options.to is None:
            made = keeper.make(database, settings.backup, now_ms(), progress)
        else:
            target = options.to.expanduser().absolute()
            made = copy(database, target, 0, progress)
    print(f"{made.path}: {made.bytes} bytes, {made.readings} readings, read back and sound")
    return 0


def _restore_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="a backup")


def _restore(options: argparse.Namespace, settings: Settings) -> int:
    backup = options.file.expanduser().absolute()
    database = _file(settings)
    with Progress("copying") as progress:
        made, aside = restore(backup, database, now_ms(), progress)
    print(f"{database} is now as {backup.name}: {made.readings} readings")
    if aside is not None:
        print(f"what was there before is in {aside}")
    return 0


def _file(settings: Settings) -> Path:
    if isinstance(settings.database, Path):
        return settings.database
    raise StoreError(
        f"{settings.store_url()} is copied and put back by PostgreSQL's own pg_dump, pg_restore"
    )


def _import_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("file", type=Path, metavar="FILE", help="a database of energy-monitor, or a CSV file")
    add("--dry-run", action="store_true", help="only say what would become of it")
    add("--meter", metavar="METER", help="whose readings: a label, a server id in hex, text:NAME")
    add(
        "--zone",
        metavar="ZONE",
        help="of times without an offset, like Europe/Berlin or +01:00; the house's",
    )
    add("--name", metavar="NAME", help="of this import, as its agent is called (import-NAME)")
    add("--round", action="store_true", help="round what is finer than is kept")
    csv = parser.add_argument_group("for CSV")
    add = csv.add_argument
    add("--column", action="append", default=[], metavar="CHANNEL:UNIT=NAME",
        help="what a column is, like import_wh:kWh=Bezug; may be given several times")  # fmt: skip
    add("--time", metavar="NAME", help="the column of the time; NAME+NAME for date and time")
    add("--time-format", metavar="FORMAT", help="how times are written, like %%d/%%m/%%Y %%H:%%M")
    add("--meter-column", metavar="NAME", help="the column with the meter's id")
    add("--delimiter", metavar="CHAR", help="what parts columns")
    add("--decimal", choices=(".", ","), help="what parts whole numbers from decimals")
    add("--encoding", default="utf-8-sig", metavar="NAME", help="UTF-8 unless given")


def _import(options: argparse.Namespace, settings: Settings) -> int:
    from wattlog_host.importing.command import bring_in

    for line in bring_in(options, settings, now_ms()):
        print(line)
    return 0


def _move_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Takes the database from SQLite to PostgreSQL while the host is stopped. The SQLite file "
        "is only read and stays as it is. Killed at any moment, the same command goes on where it "
        "was, and begins anew where the host ran in between."
    )
    add = parser.add_argument
    add("--to", required=True, metavar="URL", help="an empty one, postgresql://user@host/database")
    add(
        "--password-file",
        type=Path,
        metavar="FILE",
        help=f"its first line is the password; else what {STORE_PASSWORD} in the environment is",
    )


def _move(options: argparse.Namespace, settings: Settings) -> int:
    from wattlog_host.moving.command import move

    for line in move(options, settings, os.environ, now_ms()):
        print(line, flush=True)
    return 0


def _rebuild(_: argparse.Namespace, settings: Settings) -> int:
    with closing(Rebuilding(settings.database, now_ms())) as work, Progress("buckets") as progress:
        hours = work.run(progress)
    print(f"the buckets of {hours} hours are made anew from their readings")
    return 0


def _worker(_: argparse.Namespace, settings: Settings) -> int:
    from wattlog_host import worker

    asyncio.run(worker.run(settings))
    return 0


def _grafana(_: argparse.Namespace) -> int:
    print((files("wattlog_host") / "grafana.json").read_text("utf-8"), end="")
    return 0


COMMANDS: Sequence[Command] = (
    Command("alerts", "where alerts go", below=ALERT_ACTS),
    Command("backup", "copy the database, also while the host runs", _backup_options, _backup),
    Command("broker-config", "settings for another broker", add_broker_options, broker_config),
    Command("device", "who may use the embedded broker", below=DEVICE_ACTS),
    Command("export", "write readings or buckets to a file", add_options, send_out),
    Command("grafana", "print a dashboard of /metrics, to import in Grafana", act=_grafana),
    Command("import", "add readings of another program", _import_options, _import),
    Command("move", "take the database from SQLite to PostgreSQL", _move_options, _move),
    Command("password", "set the password of the page", add_password_options, password),
    Command("rebuild", "make all buckets anew from the readings", no_options, _rebuild),
    Command("restore", "put a backup in its place", _restore_options, _restore),
    Command("token", "tokens of programs that ask the API", below=TOKEN_ACTS),
    Command(
        "worker", "store a share of the batches of a cell", no_options, _worker, is_service=True
    ),
    *SERVICE_COMMANDS,
)
