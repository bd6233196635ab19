"""Where the log is, and the note of a crash: on the fake board, under MicroPython."""

import os
import sys

import esp32

import run as runner
from wattlog.ringlog import LogError, RingLog
from wattlog.ringsector import FORMAT_DISK
from wattlog_esp32 import crashlog, filedevice, storage

FOLDER = [""]
SAVE_MS = 30_000
NO_SPACE = 28  # ENOSPC, which MicroPython has no name for
PARTITION_BYTES = 8 * 4096
RECORDS = [b"record %d" % number for number in range(20)]


class Said:
    def __init__(self):
        self.lines = []

    def __call__(self, text):
        self.lines.append(text)


def remove_all(folder):
    for name, *_ in list(os.ilistdir(folder)):
        try:
            os.remove(folder + "/" + name)
        except OSError:
            remove_all(folder + "/" + name)
            os.rmdir(folder + "/" + name)


def fresh(content=None):
    """Return an empty folder; the partition has this content, or there is none."""
    folder = FOLDER[0] + "/here"
    try:
        os.mkdir(folder)
    except OSError:
        remove_all(folder)
    os.unsetenv("BOARD_RINGLOG")
    if content is not None:
        path = FOLDER[0] + "/partition"
        with open(path, "wb") as file:
            left = PARTITION_BYTES
            while left > 0:
                file.write(content)
                left -= len(content)
        os.putenv("BOARD_RINGLOG", path)
    return folder + "/"


def payloads(log):
    return [payload for _, payload in log.read_after(0)]


def newer_format():
    """A partition whose log is of the next format: as ours, with the number and its seal."""
    fresh(b"\xff" * 64)
    RingLog(esp32.Partition.find(1, label="ringlog")[0], lambda: 7)
    path = FOLDER[0] + "/partition"
    with open(path, "rb") as file:
        image = bytearray(file.read())
    import binascii

    image[1] = FORMAT_DISK + 1
    seal = binascii.crc32(image[:29]) & 0xFFFFFF
    image[29], image[30] = seal & 0xFF, seal >> 8 & 0xFF
    image[31] = seal >> 16 if seal >> 16 != 0xFF else 0x7F
    with open(path, "wb") as file:
        file.write(image)
    return image


def test_a_blank_partition_becomes_a_log():
    folder = fresh(b"\xff" * 64)
    said = Said()
    log, kind, trouble, device = storage.open_log(folder, said)
    assert (kind, trouble, device) == ("flash", None, None)
    log.append(b"kept")
    assert payloads(storage.open_log(folder, said)[0]) == [b"kept"]
    assert said.lines == ["0 records wait in flash", "1 records wait in flash"]
    assert list(os.ilistdir(folder[:-1])) == []


def test_a_partition_full_of_something_else_is_formatted():
    for content in (bytes(64), b"\xa5\x5a" * 32, b"\x57\x01" * 32):
        log, kind, trouble, _ = storage.open_log(fresh(content), Said())
        assert (kind, trouble) == ("flash", None), content
        log.append(b"kept")
        assert payloads(log) == [b"kept"]


def test_a_newer_log_is_left_alone_and_told():
    image = newer_format()
    folder = FOLDER[0] + "/here/"
    said = Said()
    log, kind, trouble, _ = storage.open_log(folder, said)
    assert kind == "file"
    start = "partition ringlog: the log has format %d; this is for %d: " % (
        FORMAT_DISK + 1,
        FORMAT_DISK,
    )
    assert trouble.startswith(start + "readings wait in a file"), trouble
    assert said.lines[-1].startswith(start)
    log.append(b"goes on")
    with open(FOLDER[0] + "/partition", "rb") as file:
        assert file.read() == image, "not a byte of it is changed"


def test_without_a_partition_it_is_a_file_and_says_what_that_costs():
    folder = fresh()
    log, kind, trouble, device = storage.open_log(folder, Said())
    assert (kind, trouble) == (
        "file",
        "there is no partition ringlog: readings wait in a file, a power cut loses the last 30 s",
    )
    assert len(trouble) <= 120, "the status has no more room"
    for payload in RECORDS:
        log.append(payload)
    device.step(0)
    device.step(SAVE_MS - 1)
    assert payloads(storage.open_log(folder, Said())[0]) == [], "not yet"
    device.step(SAVE_MS)
    assert payloads(storage.open_log(folder, Said())[0]) == RECORDS
    log.append(b"last words")
    device.save()
    again, _, _, _ = storage.open_log(folder, Said())
    wanted = list(RECORDS)
    wanted.append(b"last words")
    assert payloads(again) == wanted
    assert again.id == log.id


def test_what_is_not_changed_is_not_written():
    folder = fresh()
    log, _, _, device = storage.open_log(folder, Said())
    written = []
    device._write = lambda block, data: written.append(block)
    log.append(b"once")
    for now_ms in range(0, 10 * SAVE_MS, 50):
        device.step(now_ms)
    assert len(written) == 1, written


def test_a_file_that_cannot_be_written_is_said_and_tried_again():
    said = Said()
    log, _, _, device = storage.open_log(fresh(), said)
    log.append(b"kept")

    def failing(block, data):
        raise OSError(28)

    write, device._write = device._write, failing
    device.step(0)
    device.step(SAVE_MS)
    assert said.lines[-1] == "the log's file cannot be written (error 28)"
    device._write = write
    device.step(2 * SAVE_MS)
    assert payloads(storage.open_log(FOLDER[0] + "/here/", Said())[0]) == [b"kept"]


class RamDisk:
    def __init__(self, blocks):
        self.data = bytearray(blocks * 4096)

    def readblocks(self, block, buf, offset=0):
        buf[:] = memoryview(self.data)[block * 4096 + offset : block * 4096 + offset + len(buf)]

    def writeblocks(self, block, buf, offset=0):
        self.data[block * 4096 + offset : block * 4096 + offset + len(buf)] = buf

    def ioctl(self, op, arg):
        if op == 4:
            return len(self.data) // 4096
        return 4096 if op == 5 else 0


def on_littlefs(blocks):
    import vfs

    disk = RamDisk(blocks)
    vfs.VfsLfs2.mkfs(disk)
    vfs.mount(vfs.VfsLfs2(disk), "/lfs")


def test_on_the_boards_file_system_it_takes_half_of_what_is_free():
    import vfs

    fresh()
    on_littlefs(24)
    try:
        said = Said()
        log, kind, _, device = storage.open_log("/lfs/", said)
        assert kind == "file"
        assert device.ioctl(4, 0) == 9, said.lines
        free = os.statvfs("/lfs")[4]
        for number in range(400):
            log.append(b"%04d" % number * 10)
        device.save()
        assert os.statvfs("/lfs")[4] >= free - 1, "it needs no more room than at first"
        kept = payloads(storage.open_log("/lfs/", Said())[0])
        assert kept and kept[-1] == b"0399" * 10
    finally:
        vfs.umount("/lfs")


def test_where_there_is_no_room_it_is_memory_and_says_so():
    import vfs

    fresh()
    on_littlefs(5)
    try:
        _, kind, trouble, device = storage.open_log("/lfs/", Said())
    finally:
        vfs.umount("/lfs")
    assert (kind, device) == ("memory", None)
    assert trouble.startswith("there is no partition ringlog, and no file: "), trouble
    assert "bytes are free" in trouble, trouble
    assert trouble.endswith("readings wait in memory, a power cut loses them")


def fill(path):
    """Write into a new file until the file system takes no more; return how much that was."""
    count = 0
    try:
        with open(path, "wb") as file:
            while True:
                file.write(b"\xa5" * 512)
                file.flush()
                count += 512
    except OSError as err:
        assert err.args[0] == NO_SPACE, err
    return count


def fill_up():
    """Leave no byte in /lfs: what a full file still has to spare, the next one takes."""
    number = 0
    while fill("/lfs/junk%d" % number):
        number += 1


def remove_junk():
    for name in os.listdir("/lfs"):
        if name.startswith("junk"):
            os.remove("/lfs/" + name)


def test_a_file_system_that_somebody_else_has_filled_is_said_once_and_tried_again():
    import vfs

    fresh()
    on_littlefs(24)
    try:
        said = Said()
        log, _, _, device = storage.open_log("/lfs/", said)
        fill_up()
        start = len(said.lines)
        kept = []
        lost = 0
        for number in range(300):
            device.step(number * 1_000)
            try:
                log.append(b"%04d" % number * 10)
                kept.append(b"%04d" % number * 10)
            except LogError:
                lost += 1
        assert lost > 0, "it is really full"
        assert said.lines[start:] == ["the log's file cannot be written (error 28)"]
        remove_junk()
        device.step(300_000)
        device.step(300_000 + SAVE_MS)
        log.append(b"goes on")
        kept.append(b"goes on")
        device.save()
        assert payloads(storage.open_log("/lfs/", Said())[0]) == kept
        fill_up()
        log.append(b"lost")
        device.step(400_000)
        device.step(400_000 + SAVE_MS)
        assert len(said.lines) == start + 2, "and once more when it comes again"
    finally:
        vfs.umount("/lfs")


def test_a_crash_note_that_has_no_room_leaves_nothing_behind():
    import vfs

    fresh()
    on_littlefs(8)
    try:
        fill_up()
        try:
            note_failure("/lfs/crash.txt", 30)
            raise AssertionError("there was room")
        except OSError as err:
            assert err.args[0] == NO_SPACE
        assert crashlog.read("/lfs/crash.txt") is None, "else it would keep the next one out"
        remove_junk()
        note_failure("/lfs/crash.txt", 30)
        assert crashlog.read("/lfs/crash.txt")["text"].startswith("ValueError: xxx")
    finally:
        vfs.umount("/lfs")


def crash_path():
    return fresh() + "crash.txt"


def fail_deep(depth):
    if depth:
        fail_deep(depth - 1)
    raise ValueError("x" * 300)


def note_failure(path, depth):
    try:
        fail_deep(depth)
    except ValueError as err:
        crashlog.write(path, 0xDEADBEEF, 61_000, err)


def test_a_crash_is_kept_for_the_next_start_with_the_end_of_its_traceback():
    path = crash_path()
    assert crashlog.read(path) is None
    note_failure(path, 1)
    found = crashlog.read(path)
    assert (found["boot"], found["uptime_ms"]) == (0xDEADBEEF, 61_000)
    assert found["text"] == ("ValueError: " + "x" * 300)[:120]
    assert len(found["trace"]) == 3
    assert found["trace"][0].startswith("board_log_tests.py:")
    assert found["trace"][0].endswith(" note_failure")
    assert found["trace"][-1].endswith(" fail_deep")


def test_it_is_bounded_and_never_written_over():
    path = crash_path()
    note_failure(path, 30)
    size = os.stat(path)[6]
    assert size <= 512
    assert len(crashlog.read(path)["trace"]) == 5
    crashlog.write(path, 6, 80_000, "of the next start")
    assert os.stat(path)[6] == size, "the first cause stays until the host has it"


def test_what_is_no_exception_has_no_trace():
    path = crash_path()
    crashlog.write(path, 5, 61_000, "uart1:\nstalled")
    wanted = {"boot": 5, "uptime_ms": 61_000, "text": "uart1: stalled", "trace": []}
    assert crashlog.read(path) == wanted


def test_a_torn_note_is_told_as_far_as_it_goes():
    path = crash_path()
    for content, wanted in (
        ("", (None, None, None)),
        ("dead", (0xDEAD, None, None)),
        ("deadbeef\n12", (0xDEADBEEF, 12, None)),
        ("no\nhex\nhere", (None, None, None)),
        ("1\n2\nthree", (1, 2, "three")),
    ):
        with open(path, "w") as file:
            file.write(content)
        found = crashlog.read(path)
        assert (found["boot"], found["uptime_ms"], found["text"]) == wanted, content
    with open(path, "wb") as file:
        file.write(b"\xff\xfe")
    crashlog.read(path)


def test_a_file_system_that_takes_nothing_says_so():
    try:
        crashlog.write("/nowhere/at/all", 5, 1, "lost")
    except OSError:
        return
    raise AssertionError("nobody knows of it")


def test_why_the_chip_started_is_a_word():
    assert crashlog.cause_words(1) == "power-on or brown-out"
    assert crashlog.cause_words(3) == "watchdog"
    assert crashlog.cause_words(17) == "unknown (17)"


def run(folder):
    FOLDER[0] = folder
    assert filedevice.SAVE_MS == SAVE_MS
    sys.exit(runner.run(__name__))
