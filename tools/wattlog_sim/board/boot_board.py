"""Starts the fake board: mounts the read-only memory and runs a module from it.

micropython -m boot_board ROM MODULE ARGUMENT calls MODULE.run(ARGUMENT); the firmware's module
is wattlog_esp32.main, its argument the settings' path. ROM is a ROMFS image: its byte code is
executed where it lies and takes no heap, like what is frozen into a board's firmware.
"""

import os
import sys

import ffi
import uctypes
import vfs

O_RDONLY = 0
PROT_READ = 1
MAP_PRIVATE = 2


def mount(path: str) -> None:
    """Map an image into memory and make its modules the only ones."""
    libc = ffi.open("libc.so.6")
    fd = libc.func("i", "open", "si")(path, O_RDONLY)
    size = os.stat(path)[6]
    address = libc.func("p", "mmap", "piiiii")(None, size, PROT_READ, MAP_PRIVATE, fd, 0)
    vfs.mount(vfs.VfsRom(uctypes.bytearray_at(address, size)), "/rom")
    sys.path[:] = ["/rom", "/rom/lib", ".frozen"]


mount(sys.argv[1])
__import__(sys.argv[2])
sys.modules[sys.argv[2]].run(sys.argv[3])
