"""The file under a ring log: made whole or not at all, one owner, and what a cut leaves of it."""

import errno
import os

import pytest

from wattlog.ringlog import LogError, RingLog
from wattlog_pi.file_device import SECTOR_BYTES, SECTORS_MAX, FileDevice, FileDeviceError
from wattlog_sim.lcg import Lcg
from wattlog_sim.log_follower import Follower
from wattlog_sim.log_oracle import Ledger

PART_BYTES = 512
"""What a disk writes entirely or not at all."""
SECTORS = 3
BLANK = b"\xff" * SECTOR_BYTES


def never(text):
    pytest.fail(f"said: {text}")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ring.log"


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """How often each way to wait for the disk was taken; the disk itself is not waited for."""
    counts = {"fsync": 0, "fdatasync": 0}

    def count(name):
        def wait(fd):
            os.fstat(fd)
            counts[name] += 1

        return wait

    for name in counts:
        monkeypatch.setattr(os, name, count(name))
    return counts


def opened(path, sectors=SECTORS):
    return FileDevice(path, sectors * SECTOR_BYTES, never)


def test_a_new_file_is_blank_and_has_its_size(path):
    device = opened(path)
    assert device.ioctl(4, 0) == SECTORS
    assert device.ioctl(5, 0) == SECTOR_BYTES
    assert device.ioctl(99, 0) < 0
    device.close()
    assert path.read_bytes() == BLANK * SECTORS
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_blocks * 512 >= SECTORS * SECTOR_BYTES
    assert list(path.parent.iterdir()) == [path]


def test_what_is_written_is_there_after_the_next_start(path):
    device = opened(path)
    device.writeblocks(1, bytearray(b"abc"), 4093)
    device.writeblocks(2, memoryview(b"xyz")[1:], 0)
    buf = bytearray(5)
    device.readblocks(1, memoryview(buf)[:3], 4093)
    device.close()
    assert buf == b"abc\0\0"
    device = opened(path)
    assert device.ioctl(6, 2) == 0
    device.close()
    assert path.read_bytes() == BLANK + BLANK[3:] + b"abc" + BLANK


def test_the_file_and_its_folder_are_waited_for_once_and_each_write_after_that(path, waits):
    device = opened(path)
    assert waits == {"fsync": 2, "fdatasync": 0}
    device.writeblocks(1, b"abc", 0)
    device.writeblocks(1, b"d", 3)
    assert waits["fdatasync"] == 2
    device.ioctl(6, 1)
    assert waits["fdatasync"] == 3
    device.readblocks(1, bytearray(3), 0)
    device.ioctl(4, 0)
    device.close()
    opened(path).close()
    assert waits == {"fsync": 2, "fdatasync": 3}


@pytest.mark.parametrize(
    ("wanted", "sectors"),
    [(0, 2), (SECTOR_BYTES * 5 - 1, 4), (SECTOR_BYTES * 5, 5)],
)
def test_a_size_is_rounded_down_and_never_below_two_sectors(path, wanted, sectors):
    device = FileDevice(path, wanted, never)
    device.close()
    assert path.stat().st_size == sectors * SECTOR_BYTES


def test_a_file_that_is_there_keeps_its_size_and_that_is_said_once(path):
    opened(path, 2).close()
    said = []
    device = FileDevice(path, 5 * SECTOR_BYTES, said.append)
    assert device.ioctl(4, 0) == 2
    device.close()
    assert len(said) == 1
    assert "8 KiB" in said[0] and "20 KiB" in said[0] and str(path) in said[0]


def test_one_agent_at_a_time(path):
    device = opened(path)
    with pytest.raises(FileDeviceError, match="another agent is using it"):
        opened(path)
    device.close()
    opened(path).close()


def test_two_that_make_the_file_at_the_same_moment(path, monkeypatch):
    real = os.posix_fallocate

    def meanwhile(*arguments):
        monkeypatch.setattr(os, "posix_fallocate", real)
        with pytest.raises(FileDeviceError, match="another agent is using it"):
            opened(path)
        real(*arguments)

    monkeypatch.setattr(os, "posix_fallocate", meanwhile)
    opened(path).close()
    assert path.read_bytes() == BLANK * SECTORS


def test_one_that_was_late_and_finds_the_file_made(path, monkeypatch):
    real = os.open
    others = []

    def late(name, *arguments):
        if str(name).endswith(".new"):
            monkeypatch.setattr(os, "open", real)
            others.append(opened(path))
        return real(name, *arguments)

    monkeypatch.setattr(os, "open", late)
    with pytest.raises(FileDeviceError, match="another agent is using it"):
        opened(path)
    others[0].writeblocks(0, b"\x01", 0)
    others[0].close()
    assert path.read_bytes()[:2] == b"\x01\xff"
    assert list(path.parent.iterdir()) == [path]


def test_a_draft_that_a_crash_left_behind_is_made_anew(path):
    path.with_name(path.name + ".new").write_bytes(b"half")
    opened(path).close()
    assert path.read_bytes() == BLANK * SECTORS
    assert list(path.parent.iterdir()) == [path]


SIZES = (0, 1, SECTOR_BYTES, 2 * SECTOR_BYTES + 1, (SECTORS_MAX + 1) * SECTOR_BYTES)


@pytest.mark.parametrize("size", SIZES)
def test_what_is_no_log_by_its_size_is_left_alone(path, size):
    with path.open("wb") as file:
        file.truncate(size)
    with pytest.raises(FileDeviceError, match=f"{size} bytes is not the size of a ring log"):
        opened(path)
    assert path.stat().st_size == size


def test_what_is_no_file(path, tmp_path):
    with pytest.raises(FileDeviceError, match="this is a folder"):
        opened(tmp_path)
    os.mkfifo(path)
    with pytest.raises(FileDeviceError, match="this is not a file"):
        opened(path)
    with pytest.raises(FileDeviceError, match="there is no such folder"):
        opened(tmp_path / "none" / "ring.log")


OPENING = ("open", "posix_fallocate", "pwrite", "ftruncate", "fsync", "rename", "fstat")
WORDS = (
    (errno.ENOSPC, "no space is left on the disk"),
    (errno.EIO, "input/output error"),
    (errno.EROFS, "read-only"),
    (errno.EACCES, "no permission"),
    (errno.ENAMETOOLONG, "file name too long"),
)


class Failing:
    """Functions of os that fail at a call of all of them together, once."""

    def __init__(self, monkeypatch, names, at, number):
        self.left = at
        self.number = number
        for name in names:
            monkeypatch.setattr(os, name, self._wrapped(getattr(os, name)))

    def _wrapped(self, real):
        def call(*arguments, **keywords):
            self.left -= 1
            if self.left == -1:
                raise OSError(self.number, os.strerror(self.number))
            return real(*arguments, **keywords)

        return call


@pytest.mark.parametrize(("number", "text"), WORDS, ids=[row[1] for row in WORDS])
def test_every_call_of_making_the_file_may_fail_and_is_told_in_words(
    path, monkeypatch, number, text
):
    for at in range(100):
        descriptors = len(os.listdir("/proc/self/fd"))
        with monkeypatch.context() as patch:
            failing = Failing(patch, OPENING, at, number)
            try:
                device = opened(path)
            except FileDeviceError as error:
                assert str(error).startswith(f"{path}: ")
                assert text in str(error).lower()
            else:
                device.close()
                assert failing.left >= 0
                break
        assert len(os.listdir("/proc/self/fd")) == descriptors
        # There is no half log, and the next start makes a whole one.
        if path.exists():
            assert path.read_bytes() == BLANK * SECTORS
        else:
            opened(path).close()
        path.unlink()
    assert at > 8


def test_a_short_write_is_gone_on_with(path, monkeypatch):
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: real(fd, bytes(data)[:1000], at))
    device = opened(path)
    device.writeblocks(0, b"7" * 4000, 10)
    device.close()
    assert path.read_bytes() == b"\xff" * 10 + b"7" * 4000 + b"\xff" * 86 + BLANK * 2


def test_a_file_that_became_shorter_is_an_error(path):
    device = opened(path)
    os.truncate(path, 100)
    with pytest.raises(OSError):
        device.readblocks(0, bytearray(200), 0)
    device.close()


def steps(rng, count):
    """Payloads to append, and None for a release of all but the last few."""
    sizes = (1, 9, 40, 700, 2000)
    return [
        None if rng.below(20) == 0 else bytes([rng.below(256)]) * sizes[rng.below(len(sizes))]
        for _ in range(count)
    ]


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EROFS])
def test_every_call_under_a_log_may_fail_and_costs_no_record(path, monkeypatch, number):
    rng = Lcg(number, 0)
    for at in range(0, 90, 2):
        path.unlink(missing_ok=True)
        device = opened(path)
        log = RingLog(device)
        kept = {}
        failures = 0
        with monkeypatch.context() as patch:
            Failing(patch, ("pwrite", "fdatasync", "preadv"), at, number)
            for payload in steps(rng, 30):
                try:
                    if payload is None:
                        log.release(log.stats().next_seq - 3)
                    else:
                        seq = log.append(payload)
                        assert seq not in kept
                        kept[seq] = payload
                except LogError as error:
                    failures += 1
                    assert os.strerror(number).lower() in str(error).lower()
        assert failures <= 1
        for mounted in (log, RingLog(device)):
            got = dict(mounted.read_after(0))
            assert got.items() <= kept.items() or failures
            first = mounted.stats().first_seq
            assert {seq: kept[seq] for seq in kept if seq >= first}.items() <= got.items()
        device.close()


class Trace:
    """Records what is written to the file and when it is on the disk."""

    def __init__(self, monkeypatch, path, is_synced=True):
        self.image = bytearray(path.read_bytes())  # what the disk has for certain
        self.waiting = []  # what the kernel may have written or not
        self.cuts = []  # (disk, waiting) at each moment that differs
        self.is_synced = is_synced
        self.is_on = True
        self._pwrite = os.pwrite
        monkeypatch.setattr(os, "pwrite", self.pwrite)
        monkeypatch.setattr(os, "fdatasync", self.fdatasync)

    def pwrite(self, fd, data, position):
        if self.is_on:
            self.waiting.append((position, bytes(data)))
            self.cuts.append((bytes(self.image), list(self.waiting)))
        return self._pwrite(fd, data, position)

    def fdatasync(self, fd):
        if self.is_on and self.is_synced:
            for position, data in self.waiting:
                self.image[position : position + len(data)] = data
            self.waiting = []


def images_after(cut, rng, samples):
    """What the disk may hold: each part of each write that it was not told to wait for, or not."""
    disk, waiting = cut
    parts = []
    for position, data in waiting:
        end = position + len(data)
        while position < end:
            stop = min(end, (position // PART_BYTES + 1) * PART_BYTES)
            parts.append((position, data[len(data) - (end - position) :][: stop - position]))
            position = stop
    count = len(parts)
    choices = [[choice >> number & 1 for number in range(count)] for choice in range(16)]
    if count > 4:
        choices = [[rng.below(2) for _ in range(count)] for _ in range(samples)]
    for choice in choices[: 1 << count]:
        image = bytearray(disk)
        for (position, data), is_there in zip(parts, choice, strict=False):
            if is_there:
                image[position : position + len(data)] = data
        yield image


def replay(path, monkeypatch, seed, is_synced):
    """Cut the power in every write of a workload; return how often, and what was wrong."""
    rng = Lcg(seed, 0)
    path.unlink(missing_ok=True)
    device = opened(path)
    tried = path.with_name("tried")
    opened(tried).close()
    wrong = []
    count = 0
    with monkeypatch.context() as patch:
        trace = Trace(patch, path, is_synced)
        log = RingLog(device)
        ledger = Ledger()
        ledger.log_id = log.id
        for payload in [b"first", *steps(rng, 60)]:
            trace.cuts = []
            trace.is_on = True
            erased = []
            asked = doubtful = None
            if payload is None:
                asked = log.stats().next_seq - 3
                log.release(asked)
            else:
                doubtful = (ledger.next_seq, payload)
                log.append(payload)
            trace.is_on = False
            for cut in trace.cuts:
                position, data = cut[1][-1]
                if data == BLANK:
                    erased.append(position // SECTOR_BYTES)
                wanted = ledger.wanted(doubtful, asked, erased[-1] if erased else None)
                for image in images_after(cut, rng, 6):
                    count += 1
                    failure = judged(tried, image, wanted)
                    wrong += [failure] if failure else []
            for block in erased:
                ledger.erased(block)
            if payload is None:
                ledger.released = max(asked, ledger.released)
            else:
                position = trace.cuts[-1][1][-1][0]
                ledger.appended(doubtful[0], payload, [(position, 0, payload)], SECTOR_BYTES)
    device.close()
    return count, wrong


def judged(path, image, wanted):
    path.write_bytes(image)
    device = opened(path)
    try:
        return Follower(wanted).look(RingLog(device))
    except LogError as error:
        return str(error)
    finally:
        device.close()


def test_whatever_the_disk_had_not_yet_written_no_promise_is_broken(path, monkeypatch):
    count, wrong = replay(path, monkeypatch, 4, True)
    assert wrong == []
    assert count > 300


def test_without_waiting_for_the_disk_promises_are_broken(path, monkeypatch):
    _, wrong = replay(path, monkeypatch, 4, False)
    assert [line for line in wrong if line.startswith("lost")]
