"""A folder as the block device of a ring log: the way out where there is no partition for it.

A file per sector. On littlefs a write inside a file writes anew all that is behind it, and every
sync erases a block: at a record a second that would wear the flash out within months. So the
sector that is being written is kept in memory, and saved when another one is written, or after
SAVE_MS. A power cut loses what was not saved; if the host has some of it already, it says so,
and the log goes on under another id (agent/SPEC.md, "renew"). A sector is saved into a new file
that takes the place of the old one, so a cut while saving leaves the old one whole.
"""

import os

from wattlog.compat import const

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wattlog.ports import BlockDevice, Say

SAVE_MS = const(30_000)  # of wear: 1 MiB of file system lasts ten years
_SECTOR_BYTES = const(4_096)
_SECTORS_MIN = const(2)
_SECTORS_MAX = const(256)
_FREE_PART = const(2)  # the log takes one part of so many that are free
_COUNT = const(4)
_SIZE = const(5)
_ERASE = const(6)
_BLANK = b"\xff" * 64


class FileDevice:
    """Sectors of 4 KiB in the files of a folder; each method may raise OSError."""

    def __init__(self, folder: str, say: "Say") -> None:
        """Open the folder, or make one of what is free; raises OSError where that is too little.

        A folder that is there keeps its size: the log in it was made for that.
        """
        self._folder = folder
        self._say = say
        self._block = -1  # which sector is in memory
        self._is_saved = True
        self._has_failed = False  # and that was said
        self._due_ms: int | None = None
        self._buf = bytearray(_SECTOR_BYTES)
        self._sectors = self._read_size() or self._make()

    def readblocks(self, block: int, buf: "bytearray | memoryview", offset: int = 0) -> None:
        """Fill buf from this place."""
        if block == self._block:
            buf[:] = memoryview(self._buf)[offset : offset + len(buf)]
            return
        with open(self._name(block), "rb") as file:
            file.seek(offset)
            file.readinto(buf)

    def writeblocks(self, block: int, buf: "bytes | bytearray | memoryview", offset: int) -> None:
        """Write buf to this place; it is in the file after SAVE_MS at the latest."""
        self._take(block)
        self._buf[offset : offset + len(buf)] = buf
        self._is_saved = False

    def ioctl(self, op: int, arg: int) -> "int | None":
        """Tell the number of sectors (4) or their size (5), or erase one (6)."""
        if op == _COUNT:
            sectors: int = self._sectors
            return sectors
        if op == _SIZE:
            size: int = _SECTOR_BYTES
            return size
        if op != _ERASE:
            return None
        self._take(arg)
        self._blank()
        self._is_saved = False
        return 0

    def step(self, now_ms: int) -> None:
        """Save what is due; tells once that it cannot, and tries again."""
        if self._is_saved:
            self._due_ms = None
        elif self._due_ms is None:
            self._due_ms = now_ms + SAVE_MS
        elif now_ms >= self._due_ms:
            self._due_ms = now_ms + SAVE_MS
            try:
                self.save()
            except OSError as err:
                if not self._has_failed:
                    self._say("the log's file cannot be written (error %s)" % err.args[0])
                self._has_failed = True

    def save(self) -> None:
        """Bring what was written into the file."""
        if not self._is_saved:
            self._write(self._block, self._buf)
            self._is_saved = True
            self._has_failed = False

    def _take(self, block: int) -> None:
        """Get this sector into memory."""
        if block != self._block:
            self.save()
            self._block = -1
            self.readblocks(block, self._buf)
            self._block = block

    def _name(self, block: int) -> str:
        return "%s/%03d" % (self._folder, block)

    def _write(self, block: int, data: "bytes | bytearray") -> None:
        # littlefs keeps the old content until this one is closed.
        with open(self._name(block), "wb") as file:
            file.write(data)

    def _read_size(self) -> int:
        """Return how many sectors there are; 0 where the folder was not made to its end."""
        try:
            with open(self._folder + "/sectors") as file:
                return int(file.read())
        except (OSError, ValueError):
            return 0

    def _make(self) -> int:
        """Fill the folder with blank sectors, so that no later write has to look for space."""
        try:
            os.mkdir(self._folder)
        except OSError:
            pass  # it is there, from a first start that was cut off
        parent = self._folder.rsplit("/", 1)[0] or "/"
        room = os.statvfs(parent)
        free_bytes = room[1] * room[4]
        sectors: int = min(free_bytes // (_FREE_PART * _SECTOR_BYTES), _SECTORS_MAX)
        if sectors < _SECTORS_MIN:
            raise OSError("only %d bytes are free" % free_bytes)
        self._say("making a log of %d KiB in %s" % (sectors * 4, self._folder))
        self._blank()
        for block in range(sectors):
            self._write(block, self._buf)
        with open(self._folder + "/sectors", "w") as file:
            file.write(str(sectors))
        return sectors

    def _blank(self) -> None:
        for offset in range(0, _SECTOR_BYTES, len(_BLANK)):
            self._buf[offset : offset + len(_BLANK)] = _BLANK


if TYPE_CHECKING:

    def _is_block_device(device: FileDevice) -> BlockDevice:
        return device
