"""A file as the block device of a ring log, on Linux.

When is what on the disk: every program and every erase is one pwrite and one fdatasync, and
returns after both; so what the log promises is with the disk, and a cut can only hit the one
write that is going on, of which the disk may have kept any of its 512-byte parts. fdatasync
suffices, as the file never changes its size: a changed time is all that it leaves out. The file
is filled before it gets its name, and is fsynced, as is its folder, so that no file with this
name is ever half a log and no later write has to look for space. A write whose fdatasync failed
counts as failed, even if it reads well: the kernel may have dropped it.

Is it the file that the next start will find? The kernel lets us write on into one that has lost
its name. So each write, and watch() where none comes, compares what stands under the name with
what is open. A file whose name is gone is written anew, as it was made: whole before it is named,
and never over another one. Where that cannot be, `trouble` says so, and the open file is gone on
with: an error would lose the readings at once, and the host can still have them.

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

WATCH_MS = 10_000
"""How often the name is looked at where nothing is written."""
PAUSE_MAX = 360
"""After a try to write the file anew the next waits for 1, 2, 4, .. so many of these looks."""

_BLANK = b"\xff" * SECTOR_BYTES
_FILL_BYTES = 256 * SECTOR_BYTES
_MODE = 0o600
_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY

_SHORTER = "the file has become shorter"
_FOLLOWS = (
    "readings still go to the host, but a power cut or a stop loses those that wait; trying again"
)

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

    trouble  why what is written will not be there at the next start, for a person; else None
    """

    def __init__(self, path: Path, bytes_wanted: int, say: Say) -> None:
        """Open the file, or make one of about bytes_wanted; raises FileDeviceError.

        A file that is there keeps its size, whatever is wanted. say(text) is told once what is
        worth a person's attention, now and later.
        """
        self.path = path
        self.trouble: str | None = None
        self._say = say
        self._watch_due_ms = 0
        self._pause = 1  # looks between this try to write the file anew and the next
        self._pause_left = 0
        try:
            self._fd = _open_locked(path, _sectors_for(bytes_wanted))
        except OSError as err:
            raise FileDeviceError(f"{path}: {words(err)}") from None
        try:
            self._sectors = self._check(bytes_wanted)
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
        _read_all(self._fd, buf, position)

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

    def watch(self, now_ms: int) -> None:
        """Look at the name from time to time, whether or not something is written."""
        if now_ms < self._watch_due_ms:
            return
        self._watch_due_ms = now_ms + WATCH_MS
        if self._pause_left:
            self._pause_left -= 1
        elif self.trouble is None:
            self._pause = 1
        self._keep_name()

    def secure(self) -> None:
        """Look at the name before the end, and do what can be done without waiting for it."""
        self._pause_left = 0
        self._keep_name()

    def _keep_name(self) -> None:
        """See to it that the open file has its name; `trouble` tells where that cannot be."""
        what = "cannot be looked at"
        try:
            found = _found(self.path)
            if found == _identity(os.fstat(self._fd)):
                self._has_name()
            elif found is not None:
                self._pause_left = 0  # once that one is away there is a reason to try
                raise FileExistsError
            elif not self._pause_left:
                what = "was removed and cannot be written anew"
                self._write_anew()
            elif self.trouble is None:
                self._note(f"{self.path} was removed again; it is written anew in a while")
        except FileExistsError:
            self._note(
                f"{self.path}: another file has this name; move it away, and the log is written "
                "anew there"
            )
        except OSError as err:
            self._note(f"{self.path} {what}: {words(err)}")

    def _has_name(self) -> None:
        if self.trouble is not None:
            _fsync_folder(self.path.parent)  # whoever put it back may not have waited
            self._pause_left = 0
            self.trouble = None
            self._say(f"log file {self.path} is in its place again")

    def _write_anew(self) -> None:
        self._pause_left = self._pause
        self._pause = min(2 * self._pause, PAUSE_MAX)
        size = self._sectors * SECTOR_BYTES
        fd = _make(self.path, size, lambda fd: _copy(self._fd, fd, size), _link)
        old, self._fd = self._fd, fd
        os.close(old)  # and with it its lock; the new file had one before it had its name
        _fsync_folder(self.path.parent)
        self.trouble = None
        self._say(f"log file {self.path} was removed; it has been written anew")

    def _note(self, trouble: str) -> None:
        """Say once what is wrong."""
        if trouble == self.trouble:
            return
        self._say(f"log file {trouble}")
        if self.trouble is None:
            self._say(_FOLLOWS)
        self.trouble = trouble

    def _check(self, bytes_wanted: int) -> int:
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
            self._say(
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
        self._keep_name()  # behind the write, which then is in a file that is written anew


def words(err: OSError) -> str:
    """Return in words for a person what the system says about a file."""
    return _WORDS.get(err.errno or 0) or str(err.strerror or err).lower()


def _sectors_for(bytes_wanted: int) -> int:
    return min(max(bytes_wanted // SECTOR_BYTES, SECTORS_MIN), SECTORS_MAX)


def _open_locked(path: Path, sectors: int) -> int:
    """Return the file, locked; it is made where it is missing."""
    _forget_draft(path)
    try:
        fd = os.open(path, _FLAGS)
    except FileNotFoundError:
        return _make_blank(path, sectors * SECTOR_BYTES)
    return _or_close(fd, lambda: _lock(fd))


def _make_blank(path: Path, size: int) -> int:
    try:
        fd = _make(path, size, lambda fd: _fill(fd, size), os.rename)
    except FileExistsError:  # since we looked, by one whose draft is no longer one
        raise BlockingIOError(errno.EWOULDBLOCK, "made by another agent") from None
    return _or_close(fd, lambda: _fsync_folder(path.parent))


def _make(
    path: Path, size: int, write: Callable[[int], None], give_name: Callable[[Path, Path], None]
) -> int:
    """Make the file under another name, and give it its own when it is complete; return it.

    The lock on the other name keeps a second maker out; it goes over to the file. The folder
    has still to be waited for. Raises FileExistsError, and what the system says.
    """
    draft = _draft_of(path)
    fd = os.open(draft, _FLAGS | os.O_CREAT, _MODE)

    def act() -> None:
        _lock(fd)
        if os.fstat(fd).st_nlink != 1:  # what we opened is no draft any more
            raise BlockingIOError(errno.EWOULDBLOCK, "made by another agent")
        try:
            if path.exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            os.ftruncate(fd, 0)
            os.posix_fallocate(fd, 0, size)
            write(fd)
            os.fsync(fd)
            give_name(draft, path)
        except OSError:
            _remove(draft)
            raise

    return _or_close(fd, act)


def _link(draft: Path, path: Path) -> None:
    """Give the draft its name, if nobody has it; unlike a rename this never takes it away."""
    os.link(draft, path)
    _remove(draft)


def _forget_draft(path: Path) -> None:
    """Remove the draft's name from a complete log, which got its own just before a power cut.

    Otherwise that log, moved elsewhere, would be taken for a draft one day, and emptied.
    """
    draft = _draft_of(path)
    try:
        is_log = os.stat(draft).st_nlink > 1
    except OSError:
        return
    if is_log:
        _remove(draft)


def _draft_of(path: Path) -> Path:
    return path.with_name(path.name + ".new")


def _found(path: Path) -> tuple[int, int] | None:
    """Return which file has this name, None where there is none."""
    try:
        return _identity(os.stat(path))
    except (FileNotFoundError, NotADirectoryError):
        return None


def _identity(state: os.stat_result) -> tuple[int, int]:
    return state.st_dev, state.st_ino


def _fill(fd: int, size: int) -> None:
    piece = _BLANK * (_FILL_BYTES // SECTOR_BYTES)
    for position in range(0, size, _FILL_BYTES):
        _write_all(fd, memoryview(piece)[: size - position], position)


def _copy(source: int, fd: int, size: int) -> None:
    piece = memoryview(bytearray(_FILL_BYTES))
    for position in range(0, size, _FILL_BYTES):
        part = piece[: size - position]
        _read_all(source, part, position)
        _write_all(fd, part, position)


def _read_all(fd: int, buf: bytearray | memoryview, position: int) -> None:
    if os.preadv(fd, [buf], position) != len(buf):
        raise OSError(errno.EIO, _SHORTER)


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
