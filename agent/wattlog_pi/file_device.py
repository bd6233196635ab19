"""A file as the block device of a ring log, on Linux.

When is what on the disk: every program and every erase is one pwrite and one fdatasync, and
returns after both; so what the log promises is with the disk, and a cut can only hit the one
write that is going on, of which the disk may have kept any of its 512-byte parts. fdatasync
suffices, as the file never changes its size: a changed time is all that it leaves out. The file
is filled before it gets its name, and is fsynced, as is its folder, so that no file with this
name is ever half a log and no later write has to look for space. A write whose fdatasync failed
counts as failed, even if it reads well: the kernel may have dropped it.

What no file system can promise: that a disk does not lie about what it has written, and that a
card which loses power while it writes one part leaves its neighbours alone.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from pathlib import Path

from wattlog.ports import Say

SECTOR_BYTES = 4096
"""One page of the kernel, so that a record costs one of them to write."""
SECTORS_MIN = 2
SECTORS_MAX = 65_535

_OP_BLOCK_COUNT = 4
_OP_BLOCK_BYTES = 5
_OP_BLOCK_ERASE = 6

_BLANK = b"\xff" * SECTOR_BYTES
_FILL_BYTES = 256 * SECTOR_BYTES
_MODE = 0o600
_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY

_WORDS = {
    errno.ENOSPC: "no space is left on the disk",
    errno.EDQUOT: "no space is left in this user's quota",
    errno.EFBIG: "the disk takes no file of this size",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "no permission: it must be this user's to read and to write",
    errno.EPERM: "no permission: it must be this user's to read and to write",
    errno.ENOENT: "there is no such folder",
    errno.ENOTDIR: "there is no such folder",
    errno.EISDIR: "this is a folder",
    errno.EWOULDBLOCK: "another agent is using it",
    errno.EIO: "the disk reports an input/output error",
    errno.ENOLCK: "the disk's file system cannot lock files",
    errno.EOPNOTSUPP: "the disk's file system cannot reserve space",
}


class FileDeviceError(Exception):
    """The file cannot be a log; words for a person, with the file's name in front."""


class FileDevice:
    """Sectors of SECTOR_BYTES in a file that is this agent's alone until close().

    The methods of the block protocol raise OSError; then it is not known what was written.
    """

    def __init__(self, path: Path, bytes_wanted: int, say: Say) -> None:
        """Open the file, or make one of about bytes_wanted; raises FileDeviceError.

        A file that is there keeps its size, whatever is wanted; say tells once.
        """
        self.path = path
        try:
            self._fd = _open_locked(path, _sectors_for(bytes_wanted))
        except OSError as err:
            raise FileDeviceError(f"{path}: {words(err)}") from None
        try:
            self._sectors = self._check(bytes_wanted, say)
        except OSError as err:
            self.close()
            raise FileDeviceError(f"{path}: {words(err)}") from None
        except FileDeviceError:
            self.close()
            raise

    def close(self) -> None:
        """Give the file back; what was promised is on the disk already."""
        os.close(self._fd)

    def readblocks(self, block: int, buf: bytearray | memoryview, offset: int = 0) -> None:
        """Fill buf from this place."""
        position = self._position(block, offset, len(buf))
        if os.preadv(self._fd, [buf], position) != len(buf):
            raise OSError(errno.EIO, "the file has become shorter")

    def writeblocks(self, block: int, buf: bytes | bytearray | memoryview, offset: int) -> None:
        """Write buf to this place, and wait until the disk has it."""
        self._write(buf, self._position(block, offset, len(buf)))

    def ioctl(self, op: int, arg: int) -> int:
        """Tell the number of sectors (4) or their size (5), or erase one (6)."""
        if op == _OP_BLOCK_COUNT:
            return self._sectors
        if op == _OP_BLOCK_BYTES:
            return SECTOR_BYTES
        if op == _OP_BLOCK_ERASE:
            self._write(_BLANK, self._position(arg, 0, SECTOR_BYTES))
            return 0
        return -errno.EINVAL

    def is_blank_behind(self, offset: int) -> bool:
        """Tell whether every sector is erased from this offset on; may take a moment."""
        piece = bytearray(SECTOR_BYTES)
        for block in range(self._sectors):
            self.readblocks(block, piece)
            if piece[offset:] != _BLANK[offset:]:
                return False
        return True

    def _check(self, bytes_wanted: int, say: Say) -> int:
        state = os.fstat(self._fd)
        if not stat.S_ISREG(state.st_mode):
            raise FileDeviceError(f"{self.path}: this is not a file")
        sectors, rest = divmod(state.st_size, SECTOR_BYTES)
        if rest or not SECTORS_MIN <= sectors <= SECTORS_MAX:
            raise FileDeviceError(
                f"{self.path}: {state.st_size} bytes is not the size of a ring log; move the "
                "file away to have a new one made"
            )
        if sectors != _sectors_for(bytes_wanted):
            say(
                f"the log {self.path} is there with {state.st_size // 1024} KiB and keeps that "
                f"size; {bytes_wanted // 1024} KiB are configured"
            )
        return sectors

    def _position(self, block: int, offset: int, size: int) -> int:
        assert 0 <= block < self._sectors
        assert 0 <= offset <= SECTOR_BYTES - size
        return block * SECTOR_BYTES + offset

    def _write(self, buf: bytes | bytearray | memoryview, position: int) -> None:
        _write_all(self._fd, buf, position)
        os.fdatasync(self._fd)


def words(err: OSError) -> str:
    """Return in words for a person what the system says about a file."""
    return _WORDS.get(err.errno or 0) or str(err.strerror or err).lower()


def _sectors_for(bytes_wanted: int) -> int:
    return min(max(bytes_wanted // SECTOR_BYTES, SECTORS_MIN), SECTORS_MAX)


def _open_locked(path: Path, sectors: int) -> int:
    """Return the file, locked; it is made where it is missing."""
    try:
        fd = os.open(path, _FLAGS)
    except FileNotFoundError:
        return _make(path, sectors)
    return _or_close(fd, lambda: _lock(fd))


def _make(path: Path, sectors: int) -> int:
    """Make the file under another name, and give it its own when it is complete.

    The lock on the other name keeps a second maker out; it goes over to the file.
    """
    draft = path.with_name(path.name + ".new")
    fd = os.open(draft, _FLAGS | os.O_CREAT, _MODE)

    def fill() -> None:
        _lock(fd)
        try:
            if path.exists():  # since we looked, by one whose draft is no longer one
                raise BlockingIOError(errno.EWOULDBLOCK, "made by another agent")
            os.ftruncate(fd, 0)
            os.posix_fallocate(fd, 0, sectors * SECTOR_BYTES)
            _fill(fd, sectors * SECTOR_BYTES)
            os.fsync(fd)
            os.rename(draft, path)
        except OSError:
            _remove(draft)
            raise
        _fsync_folder(path.parent)

    return _or_close(fd, fill)


def _fill(fd: int, size: int) -> None:
    piece = _BLANK * (_FILL_BYTES // SECTOR_BYTES)
    for position in range(0, size, _FILL_BYTES):
        _write_all(fd, memoryview(piece)[: size - position], position)


def _write_all(fd: int, buf: bytes | bytearray | memoryview, position: int) -> None:
    done = os.pwrite(fd, buf, position)
    while done < len(buf):  # a signal, or a disk that has become full
        done += os.pwrite(fd, memoryview(buf)[done:], position + done)


def _fsync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _lock(fd: int) -> None:
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _remove(path: Path) -> None:
    try:
        os.unlink(path)
    except OSError:
        return  # the next start overwrites it


def _or_close(fd: int, act: Callable[[], None]) -> int:
    """Return fd after act; where that fails, close it."""
    try:
        act()
    except OSError:
        os.close(fd)
        raise
    return fd
