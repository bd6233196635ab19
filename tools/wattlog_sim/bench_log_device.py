"""What the ring log takes of the heap on MicroPython; prints a JSON line for bench_log."""

import gc
import json

from wattlog.ramdevice import RamDevice
from wattlog.ringlog import RingLog

SECTORS = 4
SECTOR_BYTES = 2_048
RECORD_BYTES = 9
APPENDS = 50
STEP_BYTES = 128
PIECE_BYTES = 64
BALLAST_PIECES = 1_500


def main() -> None:
    """Measure on a device in memory that is full."""
    device = RamDevice(SECTORS, SECTOR_BYTES)
    payload = bytes(RECORD_BYTES)
    log = RingLog(device)
    while log.stats().evicted == 0:
        log.append(payload)
    mount_bytes, held_bytes = _mount(device)
    log = RingLog(device)
    log.append(payload)
    gc.collect()
    gc.disable()
    before = _alloc()
    for _ in range(APPENDS):
        log.append(payload)
    append_bytes = (_alloc() - before) // APPENDS
    gc.enable()
    print(json.dumps({"mount": mount_bytes, "held": held_bytes, "append": append_bytes}))


def _mount(device: RamDevice) -> "tuple[int, int]":
    """Return with how many free bytes a mount succeeds, and how many it keeps."""
    ballast: list[bytearray | None] = [None] * BALLAST_PIECES
    needed_bytes = 0
    while True:
        needed_bytes += STEP_BYTES
        for index in range(BALLAST_PIECES):
            ballast[index] = None
        gc.collect()
        for index in range(BALLAST_PIECES):
            if gc.mem_free() < needed_bytes + PIECE_BYTES:  # type: ignore[attr-defined]
                break
            ballast[index] = bytearray(PIECE_BYTES)
        try:
            log = RingLog(device)
        except MemoryError:
            continue
        break
    for index in range(BALLAST_PIECES):
        ballast[index] = None
    gc.collect()
    before = _alloc()
    assert log.stats().records
    del log
    gc.collect()
    return needed_bytes, before - _alloc()


def _alloc() -> int:
    return gc.mem_alloc()  # type: ignore[attr-defined,no-any-return]
