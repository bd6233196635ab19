"""The fake flash is as strict and as mean as it says; else the laboratory shows nothing."""

from wattlog_sim.flash import (
    TORN_ERASES,
    FakeFlash,
    NorViolation,
    PowerCut,
    smear_program,
    tear_erase,
    tear_program,
)
from wattlog_sim.lcg import Lcg


def raises(error, call, *arguments):
    try:
        call(*arguments)
    except error as raised:
        return raised
    raise AssertionError("nothing raised")


def read(flash, block, size, offset=0):
    buf = bytearray(size)
    flash.readblocks(block, buf, offset)
    return bytes(buf)


def test_it_begins_blank_and_tells_its_size():
    flash = FakeFlash(3, 256)
    assert flash.ioctl(4, 0) == 3
    assert flash.ioctl(5, 0) == 256
    assert flash.ioctl(99, 0) < 0
    assert read(flash, 2, 256) == b"\xff" * 256


def test_what_is_programmed_is_read_at_its_place_and_counted():
    flash = FakeFlash(3, 256)
    flash.writeblocks(1, memoryview(b"abc"), 253)
    assert read(flash, 1, 4, 252) == b"\xffabc"
    assert read(flash, 2, 1) == b"\xff"
    flash.ioctl(6, 1)
    flash.ioctl(6, 1)
    assert read(flash, 1, 256) == b"\xff" * 256
    assert flash.erases == [0, 2, 0]
    assert flash.programmed_bytes == 3
    assert flash.read_bytes == 261
    assert flash.reads == 3
    assert flash.calls == 6


def test_bits_fall_and_never_rise():
    flash = FakeFlash(2, 256)
    flash.writeblocks(0, b"\xf0", 7)
    flash.writeblocks(0, b"\x30", 7)
    assert read(flash, 0, 1, 7) == b"\x30"
    raises(NorViolation, flash.writeblocks, 0, b"\x31", 7)
    assert read(flash, 0, 1, 7) == b"\x30"


def test_nothing_reaches_beyond_its_sector():
    flash = FakeFlash(2, 256)
    raises(NorViolation, flash.writeblocks, 0, b"ab", 255)
    raises(NorViolation, flash.readblocks, 0, bytearray(257), 0)
    raises(NorViolation, flash.readblocks, 2, bytearray(1), 0)
    raises(NorViolation, flash.ioctl, 6, 2)


def test_the_power_goes_after_so_many_bytes_and_in_the_middle_of_one():
    for mask, torn in ((0, 0xFF), (0x0F, 0xF0), (0x01, 0xFE)):
        flash = FakeFlash(2, 256)
        flash.cut_at_byte(5, mask)
        flash.writeblocks(0, b"abc", 0)
        raises(PowerCut, flash.writeblocks, 0, b"de\x00f", 3)
        assert flash.image[:8] == b"abcde" + bytes([torn]) + b"\xff\xff"


def test_without_power_nothing_works_until_it_is_back():
    flash = FakeFlash(2, 256)
    flash.cut_at_erase(1, 4)
    flash.ioctl(6, 0)
    raises(PowerCut, flash.ioctl, 6, 0)
    raises(PowerCut, flash.readblocks, 0, bytearray(1), 0)
    raises(PowerCut, flash.writeblocks, 0, b"a", 0)
    raises(PowerCut, flash.ioctl, 6, 0)
    flash.power_on()
    flash.writeblocks(0, b"a", 0)
    flash.cut_now()
    raises(PowerCut, flash.readblocks, 0, bytearray(1), 0)


def test_a_torn_erase_raises_bits_and_nothing_else():
    old = bytes([17 * number & 0xFF for number in range(256)])
    results = set()
    for pattern in range(TORN_ERASES):
        image = bytearray(b"\x00" * 256 + old + b"\x00" * 256)
        tear_erase(image, 256, 256, pattern, Lcg(1, pattern))
        assert image[:256] == image[512:] == b"\x00" * 256
        assert not [1 for i in range(256) if ~image[256 + i] & old[i]], pattern
        assert image[256:512] != old
        results.add(bytes(image))
    assert len(results) == TORN_ERASES


def test_a_torn_program_lets_bits_fall_and_nothing_else():
    image = bytearray(b"\xff" * 8)
    tear_program(image, 2, b"\x00\x11\x22", 1, 0x0F)
    assert image == b"\xff\xff\x00\xf1\xff\xff\xff\xff"
    smear_program(image, 0, b"\xaa" * 8, Lcg(3, 4))
    assert not [byte for byte in image[4:] if ~byte & 0xAA]


def test_a_shortcut_to_a_cut_gives_what_the_cut_gives():
    flash = FakeFlash(2, 256)
    flash.cut_at_byte(1, 0x0F)
    raises(PowerCut, flash.writeblocks, 0, b"\x00\x11\x22", 2)
    image = bytearray(b"\xff" * 512)
    tear_program(image, 2, b"\x00\x11\x22", 1, 0x0F)
    assert flash.image == image


def test_an_unstable_bit_reads_as_anything_until_it_is_programmed_or_erased():
    flash = FakeFlash(2, 256)
    flash.unstable = {9: 0x41, 10: 0x01}
    flash.seed(1, 2)
    seen = {read(flash, 0, 4, 8) for _ in range(200)}
    assert {value[1] for value in seen} == {0xFF, 0xFE, 0xBF, 0xBE}
    assert {value[0] for value in seen} == {value[3] for value in seen} == {0xFF}
    flash.writeblocks(0, b"\xfe", 9)
    assert {read(flash, 0, 1, 9)[0] for _ in range(100)} == {0xFE, 0xBE}
    flash.ioctl(6, 0)
    assert {read(flash, 0, 4, 8) for _ in range(100)} == {b"\xff" * 4}


def test_a_stuck_bit_does_not_fall():
    flash = FakeFlash(2, 256)
    flash.stuck = {3: 0x80}
    flash.writeblocks(0, b"\x00" * 5, 0)
    assert read(flash, 0, 5) == b"\x00\x00\x00\x80\x00"


def test_a_call_fails_once_and_has_had_no_effect_or_half_or_all():
    for effect, kept in ((0, b"\xff" * 4), (1, b"ab\xff\xff"), (2, b"abcd")):
        flash = FakeFlash(2, 256)
        flash.fail_at(1, 5, effect)
        read(flash, 0, 1)
        assert raises(OSError, flash.writeblocks, 0, b"abcd", 0).args[0] == 5
        assert read(flash, 0, 4) == kept
    flash.fail_at(0, 5)
    raises(OSError, flash.readblocks, 0, bytearray(1), 0)
    flash.fail_at(0, 28, 2)
    raises(OSError, flash.ioctl, 6, 0)
    assert read(flash, 0, 4) == b"\xff" * 4
    flash.fail_at(0, 28, 0, True)
    assert flash.ioctl(6, 0) < 0
    assert flash.failed_erase == 0
    flash.fail_at(0, 28)
    flash.fail_never()
    assert read(flash, 0, 1) == b"\xff"


def test_the_journal_has_all_that_changed():
    flash = FakeFlash(2, 256)
    flash.journal = []
    flash.writeblocks(1, bytearray(b"ab"), 3)
    flash.ioctl(6, 1)
    read(flash, 0, 1)
    assert flash.journal == [(259, 0, b"ab"), (256, 256, None)]


def test_who_goes_round_in_circles_is_stopped():
    flash = FakeFlash(2, 256)
    flash.calls_max = 3
    for _ in range(3):
        read(flash, 0, 1)
    raises(NorViolation, flash.readblocks, 0, bytearray(1), 0)
