"""`wattlog-tools log`: what is in a ring log's file, for a person."""

import argparse
import errno
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from wattlog.channels import by_id
from wattlog.ramdevice import RamDevice
from wattlog.recordreader import RecordError, Row, Sync, decode
from wattlog.records import group_seq
from wattlog.ringlog import LogError, RingLog
from wattlog.sml import server_id_text
from wattlog_tools.console import EXIT_OK, ToolError

SECTOR_BYTES = 4096
FILE_BYTES_MAX = 1 << 30
EPOCH_MS_MAX = 253_402_300_799_000
"""The end of the year 9999, as far as a calendar prints."""

Records = list[tuple[int, bytes]]


def main(arguments: Sequence[str]) -> int:
    """Print the log; return the exit status."""
    options = _parser().parse_args(arguments)
    log = read(options.file, options.sector_bytes)
    for line in facts(log):
        print(line)
    if not options.summary:
        for line in listing(log):
            print(line)
    return EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wattlog-tools log",
        description="Prints what waits in the log of an agent: its state, its records, and what "
        "is missing between them. Works on a copy in memory: the file, or the image of a flash "
        "partition, is never changed.",
        allow_abbrev=False,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the log, such as cellar.ring")
    parser.add_argument(
        "--summary", action="store_true", help="print its state only, and no records"
    )
    parser.add_argument(
        "--sector-bytes",
        type=int,
        default=SECTOR_BYTES,
        metavar="N",
        help=f"size of a sector (default {SECTOR_BYTES})",
    )
    return parser


def read(path: Path, sector_bytes: int = SECTOR_BYTES) -> RingLog:
    """Return the log in a copy of this file; raises ToolError."""
    if sector_bytes < 256:
        raise ToolError("--sector-bytes must be at least 256")
    try:
        size = path.stat().st_size
        if size > FILE_BYTES_MAX:
            raise OSError(errno.EFBIG, "larger than any ring log")
        data = path.read_bytes()
    except OSError as err:
        raise ToolError(f"{path}: {(err.strerror or str(err)).lower()}") from None
    sectors, rest = divmod(len(data), sector_bytes)
    if rest or sectors < 2:
        raise ToolError(f"{path}: {len(data)} bytes is not the size of a ring log")
    if data.count(0xFF) == len(data):
        raise ToolError(f"{path}: blank: no agent has written to it yet")
    device = RamDevice(sectors, sector_bytes)
    for sector in range(sectors):
        piece = data[sector * sector_bytes : (sector + 1) * sector_bytes]
        device.writeblocks(sector, piece, 0)

    def is_no_log() -> int:
        # Asked for only where no sector has a header: what is there is something else.
        raise ToolError(f"{path}: this is not a ring log")

    try:
        return RingLog(device, is_no_log)
    except LogError as err:
        raise ToolError(f"{path}: {err}") from None


def facts(log: RingLog) -> Iterator[str]:
    """Yield the state of the log, a line each."""
    stats = log.stats()
    yield f"log id    {log.id:08x}"
    yield f"records   {stats.records} wait for the host"
    yield f"numbers   from {stats.first_seq}; the next is {stats.next_seq}"
    yield f"bytes     {stats.bytes} of {stats.bytes_max}"
    yield f"evicted   {stats.evicted} records, ever"
    yield f"damaged   {stats.damaged} records, as far as was looked"


def listing(log: RingLog) -> Iterator[str]:
    """Yield the records and what is missing between them, a line each."""
    seq_next = log.stats().first_seq
    for first_seq, records in _groups(log):
        yield from _gap(seq_next, records[0][0])
        seq_next = records[-1][0] + 1
        payloads = [b""] * (seq_next - first_seq)
        for seq, payload in records:
            payloads[seq - first_seq] = payload
        try:
            boot, rows, rejected = decode(first_seq, payloads)
        except RecordError as err:
            yield f"{first_seq:>9}  no group of ours: {err.reason}"
            continue
        yield f"group of {len(payloads)}, boot {'unknown' if boot is None else f'{boot:08x}'}"
        lines = {row.seq: _line(row) for row in rows}
        lines |= {seq: f"rejected: {reason}" for seq, reason in rejected}
        for seq in sorted(lines):
            yield f"{seq:>9}  {lines[seq]}"
    yield from _gap(seq_next, log.stats().next_seq)


def _groups(log: RingLog) -> Iterator[tuple[int, Records]]:
    records: Records = []
    first_seq = 0
    for seq, payload in log.read_after(0):
        if records and group_seq(seq, payload) != first_seq:
            yield first_seq, records
            records = []
        first_seq = group_seq(seq, payload)
        records.append((seq, payload))
    if records:
        yield first_seq, records


def _gap(seq: int, until: int) -> Iterator[str]:
    if seq < until:
        yield f"{seq:>9}  missing, up to {until - 1}"


def _line(record: Row | Sync) -> str:
    seconds, ms = divmod(record.uptime_ms, 1000)
    uptime = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ms:03}"
    if isinstance(record, Sync):
        if record.epoch_ms > EPOCH_MS_MAX:
            return f"{uptime}  the clock read {record.epoch_ms} ms"
        # In integers: a float has no exact ms.
        second, ms = divmod(record.epoch_ms, 1000)
        when = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d %H:%M:%S")
        return f"{uptime}  the clock read {when}.{ms:03} UTC"
    values = " ".join(_value(*value) for value in record.values)
    seconds_text = "-" if record.sec_index is None else str(record.sec_index)
    return f"{uptime}  {server_id_text(record.server_id)}  {seconds_text}  {values}"


def _value(number: int, value: int, scale: int) -> str:
    channel = by_id(number)
    name = f"channel_{number}" if channel is None else channel.key
    return f"{name}={_decimal(value, scale)}"


def _decimal(value: int, scale: int) -> str:
    """Return value * 10**scale exactly, as the meter sent it."""
    if scale >= 0:
        return str(value) + "0" * scale if value else "0"
    digits = str(abs(value)).rjust(1 - scale, "0")
    return f"{'-' if value < 0 else ''}{digits[:scale]}.{digits[scale:]}"
