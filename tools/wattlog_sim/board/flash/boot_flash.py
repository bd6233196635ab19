"""Starts the fake board from its flash, as an ESP32 starts: boot_board ROM boot_flash "".

ROM stands for MicroPython's firmware: the fakes, and umqtt.simple, which is frozen there. All
else comes out of the file BOARD_FLASH: the partition `vfs` becomes "/", the search path is an
ESP32's, then boot.py and main.py run. What is the host's is then below /host, for the fakes too.
"""

import gc
import os
import sys

import esp32
import vfs

_STATUS_NO_FILES = 79


def run(_argument: str) -> None:
    """Start; return when main.py has ended, where a board would show its prompt."""
    vfs.umount("/")
    vfs.mount(vfs.VfsPosix("/"), "/host")
    sys.path[:] = ["", ".frozen", "/lib", "/rom", "/rom/lib"]
    try:
        vfs.mount(esp32.Partition.find(esp32.Partition.TYPE_DATA, label="vfs")[0], "/")
    except (IndexError, OSError) as err:
        print("no file system:", repr(err))
        sys.exit(_STATUS_NO_FILES)
    os.chdir("/")
    for name in ("boot.py", "main.py"):
        gc.collect()
        _run_file(name)


def _run_file(name: str) -> None:
    try:
        os.stat(name)
    except OSError:
        return
    # As the firmware does it: the text itself is not kept.
    execfile(name, {"__name__": "__main__"})  # type: ignore[name-defined]  # noqa: F821
