"""The log of the Pi agent: in its file, or in memory where there can be none."""

import errno
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from wattlog.config import ConfigError
from wattlog.ports import Say
from wattlog.ramdevice import RamDevice
from wattlog.ringlog import LogError, RingLog
from wattlog_pi.file_device import FileDevice, FileDeviceError, words

MEMORY_SECTORS = 256
MEMORY_SECTOR_BYTES = 4096
_HEADER_BYTES = 32  # of a sector; SPEC.md


@dataclass(frozen=True)
class OpenLog:
    """A mounted log, and its file; `refusal` says in words why it has none."""

    log: RingLog
    device: FileDevice | None
    refusal: str | None

    @property
    def trouble(self) -> str | None:
        """Tell why it is not there after a stop or a power cut, None where it is."""
        return self.refusal if self.device is None else self.device.trouble

    @property
    def is_durable(self) -> bool:
        """Tell whether it is there after a stop or a power cut."""
        return self.trouble is None

    @property
    def kind(self) -> str:
        """Return what the status calls it."""
        return "memory" if self.device is None else "file"

    def watch(self, now_ms: int) -> None:
        """See now and then to the file's name, which may be taken from it while we run."""
        if self.device is not None:
            self.device.watch(now_ms)

    def secure(self) -> None:
        """See to it once more before the end."""
        if self.device is not None:
            self.device.secure()

    def close(self) -> None:
        """Give the file back."""
        if self.device is not None:
            self.device.close()


def open_log(path: Path, size_bytes: int, say: Say) -> OpenLog:
    """Return the log in this file; a new file is made with so many bytes.

    Where the file cannot be used, that is said, and readings are kept in memory: metering goes
    on. A file that holds something else, or a log that is beyond reading, is not written over.
    Only a file that another agent is using is refused with a ConfigError.
    """
    device = None
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        device = FileDevice(path, size_bytes, say)
        log = RingLog(device, partial(_new_id_of, device))
    except (OSError, FileDeviceError, LogError) as err:
        if device is not None:
            device.close()
        if isinstance(err.__context__, OSError) and err.__context__.errno == errno.EWOULDBLOCK:
            raise ConfigError(f"{err}: give each agent its own log.path") from None
        trouble = words(err) if isinstance(err, OSError) else str(err)
        if str(path) not in trouble:
            trouble = f"{path}: {trouble}"
        say(f"the log cannot be kept: {trouble}")
        say("readings wait in memory only, and a power cut or a stop loses them")
        memory = RamDevice(MEMORY_SECTORS, MEMORY_SECTOR_BYTES)
        return OpenLog(RingLog(memory, _new_id), None, trouble)
    waiting = log.stats().records
    say(f"log {path}: {f'{waiting} records wait for the host' if waiting else 'empty'}")
    return OpenLog(log, device, None)


def _new_id_of(device: FileDevice) -> int:
    """Return the id for a new log; asked for only where no sector has a header."""
    # A cut while the very first header was written leaves a part of it, and nothing behind it.
    if not device.is_blank_behind(_HEADER_BYTES):
        raise FileDeviceError(
            f"{device.path}: this is no ring log, or one that cannot be read any more; move the "
            "file away to have a new one made"
        )
    return _new_id()


def _new_id() -> int:
    return int.from_bytes(os.urandom(4), "big")
