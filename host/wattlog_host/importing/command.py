"""`wattlog-host import`: from the options to the report."""

import argparse
import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa

import wattlog
from wattlog.sml import server_id_text
from wattlog_host.history.zone import Zone
from wattlog_host.importing.csv_file import CsvFile, CsvOptions
from wattlog_host.importing.energy_monitor import EnergyMonitor, is_one
from wattlog_host.importing.importer import NO_METER, Importer, Report, chosen_meter
from wattlog_host.importing.rows import ImportFailed, Source
from wattlog_host.progress import Progress
from wattlog_host.settings import Settings
from wattlog_host.store import imports, tables
from wattlog_host.store.reader import Reader
from wattlog_host.store.records import Committed, Event, Incoming
from wattlog_host.store.writer import Writer

T = TypeVar("T")

_NAME = re.compile(r"[a-z0-9_-]{1,25}", re.ASCII)


class _Dry:
    """A dry run's store: what is there shows, nothing is added."""

    def __init__(self, reader: Reader | None) -> None:
        self._reader = reader

    def look(self, question: Callable[[sa.Connection], T]) -> T:
        if self._reader is not None:
            return self._reader.look(question)
        with _empty().begin() as connection:
            return question(connection)

    def commit(self, _items: Sequence[Incoming]) -> Committed:
        return Committed()


def bring_in(options: argparse.Namespace, settings: Settings, now_ms: int) -> list[str]:
    """Import the file, or only look; return the report as lines for a person."""
    zone = settings.zone_called(options.zone)
    path = options.file.expanduser()
    is_database = is_one(path)
    source: Source
    if is_database:
        source = EnergyMonitor(path, zone, rounds=options.round)
    else:
        source = CsvFile(path, zone, _csv_options(options))
    name = options.name or ("energy-monitor" if is_database else "csv")
    if not _NAME.fullmatch(name):
        raise ImportFailed(f"--name {name}: 1 to 25 of a-z, 0-9, _ and -")
    with _target(settings, now_ms, is_dry=options.dry_run) as target:
        meter = None
        if options.meter is not None:
            meter = chosen_meter(options.meter, target.look(imports.meters))
            named = [one for one in source.meters if one]
            if len(named) > 1:
                raise ImportFailed(f"{path} has several meters, not only one: {', '.join(named)}")
        importer = Importer(target, name, meter, now_ms)
        with Progress("reading") as progress:
            report = importer.run(source, progress)
        lines = _lines(report, source, zone, is_dry=options.dry_run)
        if report.new and isinstance(target, Writer):
            count = sum(span.readings for span in report.new.values())
            text = f"imported {count} readings from {path.name}"
            target.add_aside([], [Event(now_ms, "import", imports.PREFIX + name, text)])
            _make_buckets(target)
    return lines


def _make_buckets(writer: Writer) -> None:
    """Make what pages are drawn from; what is left undone, a host does when it runs."""
    with Progress("making buckets") as progress:
        total = done = writer.due_count()
        while made := writer.roll():
            done -= made
            progress(total - done, total)


@contextlib.contextmanager
def _target(settings: Settings, now_ms: int, *, is_dry: bool) -> Iterator[Writer | _Dry]:
    if is_dry:
        if isinstance(settings.database, Path) and not settings.database.exists():
            yield _Dry(None)
            return
        with contextlib.closing(Reader(settings.database)) as reader:
            yield _Dry(reader)
        return
    writer = Writer(settings.database, wattlog.__version__, now_ms)
    try:
        yield writer
    finally:
        writer.close(now_ms)


def _empty() -> sa.Engine:
    made = sa.create_engine("sqlite://")
    tables.METADATA.create_all(made)
    return made


def _csv_options(options: argparse.Namespace) -> CsvOptions:
    delimiter = options.delimiter
    if delimiter is not None:
        delimiter = {"tab": "\t", "\\t": "\t"}.get(delimiter, delimiter)
        if len(delimiter) != 1:
            raise ImportFailed(f"--delimiter {delimiter}: one character, or tab")
    return CsvOptions(
        delimiter,
        options.decimal,
        options.encoding,
        options.time,
        options.time_format,
        options.meter_column,
        options.column,
        options.round,
    )


def _lines(report: Report, source: Source, zone: Zone, *, is_dry: bool) -> list[str]:
    lines = [f"{report.rows} {source.what}s read"]
    lines += source.notes()
    verb = "would be new" if is_dry else "are new"
    for server_id, span in sorted(report.new.items()):
        times = " to ".join(
            zone.iso(one - one % 1000).replace("T", " ") for one in (span.first_ms, span.last_ms)
        )
        lines.append(
            f"meter {server_id_text(server_id)}: {span.readings} readings {verb}, {times}"
        )
    if not report.new:
        lines.append("nothing is new")
    for reason, count in report.left_out.most_common():
        first = f"first in {source.what} {report.first_number[reason]}"
        lines.append(f"{count} {source.what}s left out: {reason}; {first}")
    for reason, count in report.refused.most_common():
        first = f"first in {source.what} {report.first_number[reason]}"
        lines.append(f"{count} values left out: {reason}; {first}")
    if any("finer" in reason for reason in report.refused):
        lines.append("what is finer than is kept can be rounded: --round")
    if report.left_out[NO_METER]:
        lines.append("whose readings they are can be said: --meter LABEL")
    return lines
