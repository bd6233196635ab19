"""The log on a head without a partition for it: in memory, with the face of a flash."""

from wattlog.ramdevice import RamDevice
from wattlog.ringlog import RingLog


def test_it_is_blank_and_tells_its_size():
    device = RamDevice(3, 512)
    assert (device.ioctl(4, 0), device.ioctl(5, 0)) == (3, 512)
    assert device.ioctl(99, 0) is None
    for block in range(3):
        buf = bytearray(512)
        device.readblocks(block, buf, 0)
        assert buf == b"\xff" * 512


def test_what_is_written_is_read_until_it_is_erased():
    device = RamDevice(2, 256)
    device.writeblocks(1, b"abc", 253)
    device.writeblocks(1, bytearray(b"de"), 0)
    buf = bytearray(4)
    device.readblocks(1, memoryview(buf)[1:], 253)
    assert buf == b"\x00abc"
    device.readblocks(1, buf, 0)
    assert buf == b"de\xff\xff"
    device.readblocks(0, buf, 0)
    assert buf == b"\xff" * 4
    assert device.ioctl(6, 1) == 0
    device.readblocks(1, buf, 252)
    assert buf == b"\xff" * 4


def test_a_sector_keeps_its_size():
    device = RamDevice(2, 256)
    try:
        device.writeblocks(0, b"abc", 254)
    except AssertionError:
        pass
    else:
        raise AssertionError("written beyond the end")
    buf = bytearray(256)
    device.readblocks(0, buf, 0)
    assert buf == b"\xff" * 256


def test_a_log_lives_on_it():
    device = RamDevice(5, 512)
    log = RingLog(device, lambda: 3)
    for seq in range(1, 500):
        assert log.append(b"%d" % seq) == seq
        if seq % 10 == 0:
            log.release(seq - 20)
    assert list(log.read_after(0)) == [(seq, b"%d" % seq) for seq in range(471, 500)]
    assert log.stats().bytes_max == 2560
    # As after a reset that kept the memory; a power cut would not.
    assert list(RingLog(device).read_after(490)) == [(seq, b"%d" % seq) for seq in range(491, 500)]
