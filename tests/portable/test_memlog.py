"""The log in memory: numbered from 1, freed by release, capped by eviction that is counted."""

from wattlog.memlog import RECORD_OVERHEAD_BYTES, MemoryLog


def filled(count, bytes_max=100000):
    log = MemoryLog(bytes_max)
    for number in range(count):
        assert log.append(b"%d" % number) == number + 1
    return log


def test_what_is_appended_is_read_in_order():
    assert list(filled(3).read_after(0)) == [(1, b"0"), (2, b"1"), (3, b"2")]
    assert list(filled(3).read_after(2)) == [(3, b"2")]
    assert list(filled(3).read_after(3)) == []
    assert list(MemoryLog(100).read_after(0)) == []


def test_release_frees_up_to_and_including():
    log = filled(5)
    log.release(2)
    assert [seq for seq, _ in log.read_after(0)] == [3, 4, 5]
    log.release(2)
    log.release(0)
    assert log.stats().records == 3
    log.release(99)
    assert log.stats() == (0, 0, 100000, 0)


def test_numbers_go_on_after_everything_is_released():
    log = filled(5)
    log.release(5)
    assert log.append(b"x") == 6
    assert list(log.read_after(0)) == [(6, b"x")]


def test_the_oldest_give_way_and_are_counted():
    size = 10 + RECORD_OVERHEAD_BYTES
    log = MemoryLog(3 * size)
    for _ in range(5):
        log.append(b"0123456789")
    assert [seq for seq, _ in log.read_after(0)] == [3, 4, 5]
    assert log.stats() == (3, 3 * size, 3 * size, 2)


def test_eviction_while_reading_from_a_number_that_is_gone():
    log = MemoryLog(2 * (1 + RECORD_OVERHEAD_BYTES))
    for letter in (b"a", b"b", b"c"):
        log.append(letter)
    assert list(log.read_after(1)) == [(2, b"b"), (3, b"c")]
