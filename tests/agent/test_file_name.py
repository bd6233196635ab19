"""The name of the file under a running log: what becomes of it when somebody takes it away."""

import errno
import os
from collections import Counter
from itertools import pairwise

import pytest

from wattlog.ringlog import RingLog
from wattlog_pi import file_device
from wattlog_pi.file_device import PAUSE_MAX, SECTOR_BYTES, WATCH_MS, FileDevice, FileDeviceError

SECTORS = 3
SIZE = SECTORS * SECTOR_BYTES
FOLLOWS = (
    "readings still go to the host, but a power cut or a stop loses those that wait; trying again"
)
CALLS = ("stat", "open", "fstat", "ftruncate", "posix_fallocate", "preadv", "pwrite", "fsync",
         "fdatasync", "link", "unlink", "close")  # fmt: skip


class Disk:
    """Functions of os that note their calls, and at one of them raise; nothing is waited for."""

    def __init__(self, monkeypatch):
        self.calls = []
        self.raises = None
        self.at = None  # which call of all, or the name of the function
        self.real = {}
        for name in CALLS:
            self.real[name] = getattr(os, name)
            monkeypatch.setattr(os, name, self._wrapped(name))

    def _wrapped(self, name):
        def call(*arguments, **keywords):
            number = len(self.calls)
            self.calls.append(name)
            if self.raises and self.at in (number, name):
                if name == "close":  # Linux has closed it all the same
                    self.real[name](*arguments)
                raise self.raises
            wait = name in {"fsync", "fdatasync"}
            return self.real["fstat" if wait else name](*arguments, **keywords)

        return call

    def fails(self, at, raises):
        self.calls = []
        self.at, self.raises = at, raises

    def works(self):
        self.raises = None


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "ring.log"


class Log:
    """A log in a file, what was said of it, and what was promised."""

    def __init__(self, path):
        path.parent.mkdir(exist_ok=True)
        self.path = path
        self.said = []
        self.device = FileDevice(path, SIZE, self.said.append)
        self.log = RingLog(self.device)
        self.promised = [b"first"]
        self.log.append(b"first")

    def append(self):
        payload = b"%d" % len(self.promised)
        self.log.append(payload)
        self.promised.append(payload)

    def is_safe(self):
        """Tell whether a power cut now would leave all that was promised."""
        return self.path.is_file() and payloads_in(self.path.read_bytes()) == self.promised

    def heard(self):
        said, self.said[:] = self.said[:], []
        return said


@pytest.fixture
def log(path, disk):
    log = Log(path)
    yield log
    disk.works()
    log.device.close()


class Image:
    """What is in a file, as a device that is only read."""

    def __init__(self, data):
        self.data = data

    def readblocks(self, block, buf, offset):
        start = block * SECTOR_BYTES + offset
        buf[:] = self.data[start : start + len(buf)]

    def ioctl(self, op, arg):
        return {4: len(self.data) // SECTOR_BYTES, 5: SECTOR_BYTES}[op]


def payloads_in(data):
    return [payload for _, payload in RingLog(Image(data)).read_after(0)]


def anew(path):
    return f"log file {path} was removed; it has been written anew"


def other(path):
    return f"{path}: another file has this name; move it away, and the log is written anew there"


def test_a_name_that_stays_costs_a_look_and_nothing_is_said(log, disk):
    disk.calls.clear()
    log.device.writeblocks(2, b"abc", 100)
    assert disk.calls == ["pwrite", "fdatasync", "stat", "fstat"]
    log.device.watch(0)
    assert (log.said, log.device.trouble) == ([], None)


@pytest.mark.parametrize("how", ["removed", "renamed"])
def test_a_file_whose_name_is_gone_is_written_anew_before_the_next_promise(log, path, disk, how):
    path.unlink() if how == "removed" else path.rename(path.with_name("kept"))
    disk.calls.clear()
    log.append()
    assert log.is_safe()
    assert log.heard() == [anew(path)]
    assert log.device.trouble is None
    # All of it is on the disk before it has the name, and the name is before the write is done.
    link = disk.calls.index("link")
    assert [call for call in disk.calls if call in {"fsync", "link"}] == ["fsync", "link", "fsync"]
    assert "pwrite" not in disk.calls[disk.calls[:link].index("fsync") :]
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_blocks * 512 >= SIZE
    log.append()
    assert log.is_safe()
    assert log.said == []
    assert [one.name for one in path.parent.iterdir() if one.name != "kept"] == [path.name]


def test_where_nothing_is_written_it_is_noticed_too(log, path):
    log.device.watch(0)
    path.unlink()
    log.device.watch(WATCH_MS - 1)
    assert not path.exists()
    log.device.watch(WATCH_MS)
    assert log.is_safe()
    assert log.said == [anew(path)]


def test_no_other_agent_gets_in_between(log, path, disk, monkeypatch):
    tried = []
    link = os.link

    def linked(draft, name):
        for act in (lambda: None, lambda: link(draft, name)):
            act()
            with pytest.raises(FileDeviceError, match="another agent is using it"):
                FileDevice(path, SIZE, print)
            tried.append(act)

    monkeypatch.setattr(os, "link", linked)
    path.unlink()
    log.append()
    assert len(tried) == 2
    with pytest.raises(FileDeviceError, match="another agent is using it"):
        FileDevice(path, SIZE, print)
    assert log.is_safe()


def test_the_old_lock_is_kept_until_the_new_one_has_the_name(log, path, monkeypatch):
    old = path.with_name("old")
    tried = []
    link = os.link

    def linked(draft, name):
        with pytest.raises(FileDeviceError, match="another agent is using it"):
            FileDevice(old, SIZE, print)
        tried.append(1)
        link(draft, name)

    monkeypatch.setattr(os, "link", linked)
    path.rename(old)
    log.append()
    assert tried
    FileDevice(old, SIZE, print).close()


class Cut(BaseException):
    """The power goes."""


def test_a_power_cut_at_any_moment_leaves_the_whole_log_or_none(path, tmp_path, disk):
    outcomes = Counter()
    for at in range(100):
        path = tmp_path / str(at) / "ring.log"
        before = set(os.listdir("/proc/self/fd"))
        log = Log(path)
        path.unlink()
        disk.fails(at, Cut())
        try:
            log.append()
        except Cut:
            is_promised = False
        else:
            is_promised = True
        disk.works()
        for fd in set(os.listdir("/proc/self/fd")) - before:  # as the end of a process does
            try:
                os.close(int(fd))
            except OSError:
                continue  # that of the listing
        is_there = path.exists()
        outcomes[is_there] += 1
        assert is_there or not is_promised
        assert not is_there or payloads_in(path.read_bytes()) == [b"first", b"1"], at
        log = FileDevice(path, SIZE, print)
        assert list(path.parent.iterdir()) == [path]
        log.close()
        if is_promised:
            break
    assert is_promised
    assert outcomes[False] > 8
    assert outcomes[True] > 3


def test_a_log_that_a_cut_left_with_both_names_is_not_emptied_when_it_is_moved(log, path):
    for moved in (False, True):
        os.link(path, path.with_name("ring.log.new"))
        if moved:
            path.rename(path.with_name("kept"))
        else:
            log.device.close()
            log.device = FileDevice(path, SIZE, print)
            assert list(path.parent.iterdir()) == [path]
    FileDevice(path, SIZE, print).close()
    assert payloads_in(path.with_name("kept").read_bytes()) == log.promised
    assert path.read_bytes() == b"\xff" * SIZE


NUMBERS = (
    (errno.ENOSPC, "no space is left on the disk"),
    (errno.EROFS, "the disk is read-only"),
    (errno.EIO, "the disk reports an input/output error"),
)


@pytest.mark.parametrize(("number", "text"), NUMBERS, ids=[row[1] for row in NUMBERS])
def test_every_call_of_writing_it_anew_may_fail_and_costs_no_reading(
    path, tmp_path, disk, number, text
):
    refused = 0
    for at in range(2, 100):  # after the write itself
        path = tmp_path / str(at) / "ring.log"
        log = Log(path)
        path.unlink()
        descriptors = len(os.listdir("/proc/self/fd"))
        disk.fails(at, OSError(number, os.strerror(number)))
        log.device.writeblocks(2, b"abc", 100)
        is_over = at >= len(disk.calls)
        disk.works()
        assert len(os.listdir("/proc/self/fd")) == descriptors
        assert not path.exists() or log.is_safe()
        if log.device.trouble:
            refused += 1
            assert text in log.device.trouble
            assert log.heard() == [f"log file {log.device.trouble}", FOLLOWS]
            drafts = [one for one in path.parent.iterdir() if one != path]
            assert all(one.stat().st_size == 0 for one in drafts)
            log.append()
            for look in range(3):
                log.device.watch(look * WATCH_MS)
            assert log.heard() in (
                [anew(path)], [f"log file {path} is in its place again"]
            )  # fmt: skip
        assert log.device.trouble is None
        log.append()
        assert log.is_safe()
        log.device.close()
        if is_over:
            break
    assert is_over
    assert refused > 8


def test_what_takes_the_name_is_not_touched_and_the_log_goes_on(log, path):
    kinds = (
        ("a copy", lambda: path.write_bytes(b"x" * SIZE)),
        ("a folder", path.mkdir),
        ("a link that leads nowhere", lambda: path.symlink_to("nowhere")),
    )
    for number, (name, make) in enumerate(kinds):
        path.unlink()
        make()
        log.append()
        log.append()
        assert log.device.trouble == other(path), name
        assert log.heard() == [f"log file {other(path)}", FOLLOWS], name
        away = path.rename(path.with_name(f"away{number}"))
        assert name != "a copy" or away.read_bytes() == b"x" * SIZE
        assert name != "a folder" or list(away.iterdir()) == []
        log.device.secure()
        assert log.heard() == [anew(path)], name
        assert log.device.trouble is None
        for look in range(5):
            log.device.watch((5 * number + look) * WATCH_MS)
        assert log.is_safe()


def test_what_takes_the_name_in_the_last_moment_is_not_touched(log, path, monkeypatch):
    link = os.link

    def late(draft, name):
        name.write_bytes(b"mine")
        link(draft, name)

    monkeypatch.setattr(os, "link", late)
    path.unlink()
    log.append()
    assert path.read_bytes() == b"mine"
    assert log.device.trouble == other(path)
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_is_put_back_is_ours_again(log, path, disk):
    kept = path.rename(path.with_name("kept"))
    path.write_bytes(b"")
    log.append()
    kept.replace(path)
    disk.calls.clear()
    log.append()
    assert "fsync" in disk.calls  # of the folder: who put it back may not have waited
    assert log.device.trouble is None
    assert log.said[2:] == [f"log file {path} is in its place again"]
    assert log.is_safe()


def test_after_many_tries_and_an_end_of_the_trouble_the_next_removal_is_not_waited_with(
    log, path, disk
):
    kept = path.rename(path.with_name("kept"))
    disk.fails("link", OSError(errno.ENOSPC, ""))
    for look in range(50):
        log.device.watch(look * WATCH_MS)
    kept.rename(path)
    disk.works()
    log.append()
    path.unlink()
    log.append()
    assert log.is_safe()


def test_a_folder_that_is_gone_or_closed_is_told(log, path, disk):
    away = path.parent.rename(path.parent.with_name("away"))
    log.append()
    assert log.device.trouble == (
        f"{path} was removed and cannot be written anew: there is no such folder"
    )
    away.rename(path.parent)
    log.append()
    assert log.device.trouble is None
    disk.fails("stat", PermissionError(errno.EACCES, ""))
    log.append()
    assert log.device.trouble == (
        f"{path} cannot be looked at: no permission: it must be this user's to read and to write"
    )
    disk.works()
    log.append()
    assert log.device.trouble is None
    assert log.is_safe()


def test_a_disk_that_stays_full_is_not_written_to_at_each_append(log, path, disk):
    path.unlink()
    disk.fails("link", OSError(errno.ENOSPC, ""))
    tried = []
    for look in range(3 * PAUSE_MAX):
        disk.calls.clear()
        log.device.watch(look * WATCH_MS)
        for _ in range(3):
            log.device.writeblocks(2, b"abc", 100)
        assert disk.calls.count("link") <= 1
        if "link" in disk.calls:
            tried.append(look)
    waits = [b - a for a, b in pairwise(tried)]
    assert waits[:10] == [1, 2, 4, 8, 16, 32, 64, 128, 256, PAUSE_MAX]
    assert len(log.said) == 2
    disk.works()
    log.device.secure()
    assert log.heard()[2:] == [anew(path)]
    assert log.is_safe()


def test_a_file_that_is_removed_again_and_again_is_copied_now_and_then(log, path):
    log.device.watch(0)
    for _ in range(5):
        path.unlink(missing_ok=True)
        log.append()
    trouble = f"{path} was removed again; it is written anew in a while"
    assert log.device.trouble == trouble
    assert log.heard() == [anew(path), f"log file {trouble}", FOLLOWS]
    log.device.watch(WATCH_MS)
    assert log.is_safe()
    assert log.heard() == [anew(path)]
    for look in range(2, 6):
        log.device.watch(look * WATCH_MS)
    path.unlink()
    log.append()  # a quiet time later it is new
    path.unlink()
    log.device.watch(6 * WATCH_MS)
    assert log.is_safe()


def test_a_large_file_is_copied_in_pieces(log, path, monkeypatch):
    monkeypatch.setattr(file_device, "_FILL_BYTES", SECTOR_BYTES + 100)
    path.unlink()
    log.append()
    assert path.stat().st_size == SIZE
    assert log.is_safe()


def test_a_draft_that_lost_its_name_before_it_was_locked_is_nobodys(path, monkeypatch):
    lock = file_device._lock

    def late(fd):
        path.with_name("ring.log.new").unlink()
        path.with_name("ring.log.new").write_bytes(b"of a third")
        lock(fd)

    path.parent.mkdir()
    monkeypatch.setattr(file_device, "_lock", late)
    with pytest.raises(FileDeviceError, match="another agent is using it"):
        FileDevice(path, SIZE, print)
    assert not path.exists()
    assert path.with_name("ring.log.new").read_bytes() == b"of a third"
