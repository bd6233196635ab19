"""What the ring log costs: wear, bytes written, bytes read at a mount, memory on the device."""

import json
import tempfile
from pathlib import Path
from typing import NamedTuple

from wattlog.ringlog import RingLog
from wattlog_sim.flash import FakeFlash
from wattlog_sim.lcg import Lcg
from wattlog_tools import device
from wattlog_tools.console import ToolError

WRAPS = 1_000
WEAR_SECTORS = 8
WEAR_SECTOR_BYTES = 256
WEAR_RECORD_BYTES = 40
REBOOT_PERCENT = 1

SECTORS = 256
SECTOR_BYTES = 4_096
"""A log of 1 MiB."""
GROUP = (35, 64, 9)
"""Bytes of the first record of a group, records, bytes of each other one: three values at 1 Hz."""
REBOOT_EVERY = 1_000

SEAL_BYTES = 4  # length and checksum of a short record

_ON_DEVICE = """
from wattlog_sim.bench_log_device import main
main()
"""


class Wear(NamedTuple):
    """Erases of the most and of the least worn sector."""

    wraps: int
    most: int
    least: int


class Writes(NamedTuple):
    """Bytes for each byte of the records with their seals: programmed, and erased for it."""

    programmed: float
    erased: float


class Mount(NamedTuple):
    """What a mount of a full log reads: headers, and of the newest sector."""

    header_bytes: int
    other_bytes: int
    reads: int


class Memory(NamedTuple):
    """Bytes of heap on the device: free ones that a mount needs, what it keeps, an append."""

    mount: int
    held: int
    append: int


class Figures(NamedTuple):
    """All of it; memory is None where there is no MicroPython."""

    wear: Wear
    writes: Writes
    mount: Mount
    memory: Memory | None


def measure(with_device: bool = True) -> Figures:
    """Measure all of it; takes some seconds."""
    flash, writes = _fill()
    return Figures(wear(WRAPS), writes, _mount(flash), _memory() if with_device else None)


def lines(figures: Figures) -> list[str]:
    """Return the figures for a person."""
    wraps, most, least = figures.wear
    size = f"{SECTORS} sectors of {SECTOR_BYTES} bytes"
    out = [
        f"ring log: wear after {wraps} wraps with a reboot in {100 // REBOOT_PERCENT} operations: "
        f"{least} to {most} erases of a sector",
        f"  for each byte of a record with its seal: {figures.writes.programmed:.3f} programmed, "
        f"{figures.writes.erased:.3f} erased",
        f"  mount of a full log of {size}: {figures.mount.header_bytes} bytes of headers and "
        f"{figures.mount.other_bytes} more, in {figures.mount.reads} reads",
    ]
    if figures.memory:
        out.append(
            f"  heap on MicroPython: a mount needs {figures.memory.mount} bytes and keeps "
            f"{figures.memory.held}, an append of {GROUP[2]} bytes takes {figures.memory.append}"
        )
    return out


def wear(wraps: int) -> Wear:
    """Write so many times round the ring, with releases and reboots on the way."""
    flash = FakeFlash(WEAR_SECTORS, WEAR_SECTOR_BYTES)
    rng = Lcg(1, 1)
    log = RingLog(flash)
    erases = wraps * WEAR_SECTORS
    payload = b"\x55" * WEAR_RECORD_BYTES
    count = sum(flash.erases)
    while count < erases:
        chance = rng.below(100)
        if chance < REBOOT_PERCENT:
            log = RingLog(flash)
        elif chance < 10:
            log.release(log.stats().next_seq - 1 - rng.below(20))
        else:
            log.append(payload)
        count = sum(flash.erases)
    return Wear(wraps, max(flash.erases), min(flash.erases))


def _fill() -> tuple[FakeFlash, Writes]:
    """Write twice round a log of full size, as the agent does, and count."""
    flash = FakeFlash(SECTORS, SECTOR_BYTES)
    log = RingLog(flash)
    first, records, rest = GROUP
    number = record_bytes = 0
    while sum(flash.erases) < 2 * SECTORS:
        size = rest if number % records else first
        log.append(b"\x55" * size)
        record_bytes += size + SEAL_BYTES
        number += 1
        if number % records == 0:
            log.release(number - records)
        if number % REBOOT_EVERY == 0:
            log = RingLog(flash)
    erased = sum(flash.erases) * SECTOR_BYTES
    return flash, Writes(flash.programmed_bytes / record_bytes, erased / record_bytes)


def _mount(flash: FakeFlash) -> Mount:
    read_bytes, reads = flash.read_bytes, flash.reads
    RingLog(flash)
    headers = 32 * SECTORS
    return Mount(headers, flash.read_bytes - read_bytes - headers, flash.reads - reads)


def _memory() -> Memory | None:
    try:
        device.micropython()
    except ToolError:
        return None
    with tempfile.TemporaryDirectory(prefix="wattlog-bench-") as name:
        device.compile_modules(Path(name))
        row = json.loads(list(device.run_lines(_ON_DEVICE, Path(name)))[-1])
    return Memory(row["mount"], row["held"], row["append"])
