"""`wattlog-host export`: from the options to a file, or to standard output, page by page."""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from wattlog_host.history.columns import History, MeterInfo
from wattlog_host.history.export import (
    NUMBER,
    RAW,
    RESOLUTIONS,
    TIME,
    Column,
    Page,
    Row,
    Selection,
    csv_text,
    json_text,
)
from wattlog_host.history.times import parse_time
from wattlog_host.history.zone import Zone
from wattlog_host.progress import Progress
from wattlog_host.settings import Settings
from wattlog_host.store.reader import Reader
from wattlog_host.store.records import StoreError

PART = ".wattlog-part"
# So many rows are one group of a Parquet file: what a reader of it takes in at once.
_GROUP_ROWS = 65_536

Write = Callable[[Sequence[Row]], None]


def send_out(options: argparse.Namespace, settings: Settings) -> int:
    """Write what was asked for; return the exit status. Raises StoreError with what is wrong."""
    zone = settings.zone_called(options.zone)
    with contextlib.closing(Reader(settings.database)) as reader:
        meter = _meter(reader.ask(lambda history: history.meters()), options.meter)
        start_ms = meter.first_ms if options.start is None else _time_ms(options.start, zone)
        end_ms = meter.last_ms + 1 if options.end is None else _time_ms(options.end, zone)
        if start_ms >= end_ms:
            raise StoreError("--from is not before --to; there is nothing between them")
        selection = Selection(meter, start_ms, end_ms, options.resolution, zone)
        try:
            with _output(options, selection) as write, Progress("exporting") as progress:
                from_ms: int | None = start_ms
                while from_ms is not None and from_ms < end_ms:
                    progress(from_ms - start_ms, end_ms - start_ms)
                    page = reader.ask(partial(_page, selection, from_ms))
                    if page.rows:
                        write(page.rows)
                    from_ms = page.next_ms
        except BrokenPipeError:
            # Whoever reads has seen enough. What is left of the stream must not complain at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except OSError as err:
            raise StoreError(f"cannot write {options.output}: {err.strerror}") from err
    return 0


def _page(selection: Selection, from_ms: int, history: History) -> Page:
    return selection.page(history, from_ms)


def _meter(known: Sequence[MeterInfo], name: str | None) -> MeterInfo:
    found = [one for one in known if name is None or name in (one.label, one.server_id.hex())]
    if len(found) == 1:
        return found[0]
    labels = ", ".join(one.label for one in known) or "none yet"
    what = "say which meter: --meter LABEL" if name is None else f"no meter is called {name}"
    raise StoreError(f"{what}; there are: {labels}")


def _time_ms(text: str, zone: Zone) -> int:
    try:
        return parse_time(text, zone)
    except ValueError as err:
        raise StoreError(f"{text} {err}") from err


@contextlib.contextmanager
def _output(options: argparse.Namespace, selection: Selection) -> Iterator[Write]:
    """Give what writes rows; a file appears under its name when it is whole."""
    if options.output is None:
        if options.format == "parquet":
            raise StoreError("Parquet needs a file: --output FILE")
        yield _text_writer(options, selection, sys.stdout)
        sys.stdout.flush()
        return
    path: Path = options.output.expanduser().absolute()
    part = path.with_name(path.name + PART)
    try:
        if options.format == "parquet":
            with _parquet_writer(part, selection) as write:
                yield write
        else:
            with part.open("w", encoding="utf-8", newline="") as file:
                yield _text_writer(options, selection, file)
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _text_writer(options: argparse.Namespace, selection: Selection, out: TextIO) -> Write:
    if options.format == "jsonl":
        return lambda rows: _put(out, json_text(selection, rows))
    marks = (";", ",") if options.german else (",", ".")
    out.write(csv_text(selection, (), *marks))
    return lambda rows: _put(out, csv_text(selection, rows, *marks))


def _put(out: TextIO, text: str) -> None:
    out.write(text)


@contextlib.contextmanager
def _parquet_writer(path: Path, selection: Selection) -> Iterator[Write]:
    try:
        import pyarrow as pa  # noqa: PLC0415 - only who asks for it needs it
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as err:
        raise StoreError("Parquet needs pyarrow: install wattlog[parquet]") from err
    columns = selection.columns()
    schema = pa.schema([(column.name, _parquet_type(pa, column)) for column in columns])
    waiting: list[Row] = []
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:

        def flush() -> None:
            cells = [
                [_parquet_cell(column, row[at]) for row in waiting]
                for at, column in enumerate(columns)
            ]
            writer.write_table(pa.table(cells, schema=schema))
            waiting.clear()

        def write(rows: Sequence[Row]) -> None:
            waiting.extend(rows)
            if len(waiting) >= _GROUP_ROWS:
                flush()

        yield write
        if waiting:
            flush()


def _parquet_type(pa: Any, column: Column) -> Any:
    if column.kind == TIME:
        return pa.timestamp("ms", tz="UTC")
    return pa.float64() if column.kind == NUMBER else pa.string()


def _parquet_cell(column: Column, cell: int | str | None) -> int | float | str | None:
    # One division is exact to the last bit of a float; a day's integers fit it many times over.
    if column.kind == NUMBER and isinstance(cell, int):
        return cell / float(10**column.decimals)
    return cell


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add = parser.add_argument
    add("--format", choices=("csv", "jsonl", "parquet"), default="csv", help="csv unless given")
    add("--output", "-o", type=Path, metavar="FILE", help="standard output unless given")
    add("--meter", metavar="METER", help="a label or a server id in hex, where there are several")
    add(
        "--from", dest="start", metavar="TIME", help="a date, an ISO time or ms; the first reading"
    )
    add("--to", dest="end", metavar="TIME", help="before this time; after the last reading")
    add("--resolution", choices=RESOLUTIONS, default=RAW, help="raw unless given")
    add("--zone", metavar="ZONE", help="of the times, like Europe/Berlin or +01:00; the house's")
    add("--german", action="store_true", help="CSV with ; and decimal commas, as Excel has it")
