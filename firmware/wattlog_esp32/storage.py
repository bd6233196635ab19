"""Where the head's log is: in its partition, else in a file, else in memory."""

import os

import esp32
from micropython import const

from wattlog.ringlog import LogError, RingLog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wattlog.ports import Say
    from wattlog_esp32.filedevice import FileDevice

_PARTITION = "ringlog"
_MEMORY_SECTORS = const(8)
_MEMORY_SECTOR_BYTES = const(512)


def open_log(folder: str, say: "Say") -> "tuple[RingLog, str, str | None, FileDevice | None]":
    """Return the log, its kind, why it is not in its partition, and its file or None.

    folder  where a file for it may be made, with a slash at its end
    """
    found = esp32.Partition.find(esp32.Partition.TYPE_DATA, label=_PARTITION)
    trouble = "there is no partition %s" % _PARTITION
    if found:
        try:
            log = RingLog(found[0], _new_id)
        except LogError as err:
            trouble = "partition %s: %s" % (_PARTITION, err)
        else:
            say("%d records wait in flash" % log.stats().records)
            return log, "flash", None, None
    # Here, because a head with a partition has no room to spare for these.
    from wattlog_esp32 import filedevice  # noqa: PLC0415

    try:
        device = filedevice.FileDevice(folder + _PARTITION, say)
        log = RingLog(device, _new_id)
    except (OSError, LogError, MemoryError) as err:
        why = "error %s" % err.args[0] if isinstance(err, OSError) else str(err)
        trouble = "%s, and no file: %s" % (trouble, why)
    else:
        trouble = "%s: readings wait in a file, a power cut loses the last %d s" % (
            trouble,
            filedevice.SAVE_MS // 1000,
        )
        say("%s; %d records do" % (trouble, log.stats().records))
        return log, "file", trouble, device
    from wattlog.ramdevice import RamDevice  # noqa: PLC0415

    trouble += ": readings wait in memory, a power cut loses them"
    say(trouble)
    log = RingLog(RamDevice(_MEMORY_SECTORS, _MEMORY_SECTOR_BYTES), _new_id)
    return log, "memory", trouble, None


def _new_id() -> int:
    return int.from_bytes(os.urandom(4), "big")
