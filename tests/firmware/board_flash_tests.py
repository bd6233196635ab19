"""What test_flash_board.py has the fake flash do, under MicroPython: run("") runs the tests."""

import sys

import esp32

import run as runner

SECTOR_BYTES = 4096
BLANK = b"\xff" * SECTOR_BYTES


def log_partition():
    return esp32.Partition.find(esp32.Partition.TYPE_DATA, label="ringlog")[0]


def sector(partition, index):
    buf = bytearray(SECTOR_BYTES)
    partition.readblocks(index, buf)
    return bytes(buf)


def test_the_partitions_are_those_of_the_table_in_the_flash():
    assert log_partition().info() == (1, 0x81, 0x300000, 0x100000, "ringlog", False)
    (app,) = esp32.Partition.find()
    assert app.info()[4] == "factory"
    assert esp32.Partition.find(esp32.Partition.TYPE_DATA, label="nothing") == []
    assert log_partition().ioctl(4, 0) == 256
    assert log_partition().ioctl(5, 0) == SECTOR_BYTES


def test_programming_lets_bits_fall_only():
    partition = log_partition()
    assert partition.ioctl(6, 1) == 0
    assert sector(partition, 1) == BLANK
    partition.writeblocks(1, b"\x0f\xf0", 5)
    partition.writeblocks(1, b"\xff\x3f", 5)
    assert sector(partition, 1)[4:8] == b"\xff\x0f\x30\xff"
    assert sector(partition, 2) == sector(partition, 0), "the neighbours stay"
    partition.writeblocks(1, b"\x55" * SECTOR_BYTES)
    assert sector(partition, 1) == b"\x55" * SECTOR_BYTES, "without an offset it erases first"


def test_nothing_is_written_outside_of_the_partition():
    partition = log_partition()
    assert partition.ioctl(6, 256) < 0
    for block, data, offset in ((256, b"x", 0), (255, b"xx", 4095), (0, b"x", None)):
        try:
            partition.writeblocks(block, data, offset)
        except OSError:
            continue
        raise AssertionError((block, offset))


def cut_in_a_write():
    log_partition().writeblocks(3, bytes(8), 0)
    print("still there")


def cut_in_an_erase():
    log_partition().ioctl(6, 3)
    print("still there")


def run(argument):
    if argument:
        globals()[argument]()
    else:
        sys.exit(runner.run(__name__))
