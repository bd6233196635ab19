"""The ring log: what it promises, on a flash that tears, rots, fails and wears.

The power-cut laboratory (wattlog-tools powercut) does the same by the million.
"""

import gc
import sys

from wattlog.ringlog import LogError, RingLog
from wattlog.ringsector import pack_header, record, seal_of
from wattlog_sim.flash import FakeFlash, PowerCut
from wattlog_sim.lcg import Lcg

HEADER = 32
# MicroPython is slow, and the same code: there a part of the cases will do.
STRIDE = 1 if sys.implementation.name == "cpython" else 13


def payload(seq, size=8):
    return bytes([seq * 31 + i & 0xFF for i in range(size)])


def filled(count, sectors=4, sector_bytes=256, size=8):
    """Return a flash and its log with so many records; record seq holds payload(seq, size)."""
    flash = FakeFlash(sectors, sector_bytes)
    log = RingLog(flash, lambda: 7)
    for seq in range(1, count + 1):
        assert log.append(payload(seq, size)) == seq
    return flash, log


def seqs(log, after=0):
    return [seq for seq, _ in log.read_after(after)]


def content(log, size=8):
    """Return the seqs, after a check of what they hold."""
    found = list(log.read_after(0))
    for seq, data in found:
        assert data == payload(seq, size), seq
    return [seq for seq, _ in found]


def copy_of(flash):
    return FakeFlash(flash.sectors, flash.sector_bytes, bytearray(flash.image))


def error_of(act):
    try:
        act()
    except LogError as error:
        return str(error)
    return None


# -- the face --------------------------------------------------------------------------------


def test_what_is_appended_is_read_in_order_also_after_a_mount():
    flash, log = filled(30)
    for one in (log, RingLog(flash)):
        assert content(one) == list(range(1, 31))
        assert seqs(one, 12) == list(range(13, 31))
        assert seqs(one, 30) == seqs(one, 99) == []


def test_an_empty_log_is_empty():
    log = RingLog(FakeFlash(2, 256))
    assert seqs(log) == []
    assert log.stats() == (0, 0, 512, 0, 0, 1, 1)
    log.release(0)
    log.release(5)
    assert log.append(b"x") == 1


def test_payloads_of_all_sizes_come_back():
    flash = FakeFlash(4, 1024)
    log = RingLog(flash)
    assert log.payload_bytes_max == 1024 - 37
    for size in (1, 2, 3, 60, 239, 240, 241, 500, 987):
        seq = log.append(payload(size, size))
        assert list(log.read_after(seq - 1)) == [(seq, payload(size, size))]
        assert list(RingLog(flash).read_after(seq - 1)) == [(seq, payload(size, size))]
    for size in (0, 988):
        try:
            log.append(bytes(size))
        except ValueError:
            continue
        raise AssertionError(size)


def test_a_payload_may_be_any_buffer():
    log = RingLog(FakeFlash(2, 256))
    log.append(bytearray(b"abc"))
    log.append(memoryview(b"xabcx")[1:4])
    assert list(log.read_after(0)) == [(1, b"abc"), (2, b"abc")]


def test_what_is_released_stays_released():
    flash, log = filled(20)
    log.release(7)
    log.release(3)
    assert seqs(log) == seqs(RingLog(flash)) == list(range(8, 21))
    log.release(99)
    assert seqs(log) == seqs(RingLog(flash)) == []
    assert log.stats().records == log.stats().bytes == 0
    assert RingLog(flash).append(b"x") == 21


def test_each_release_is_remembered_however_far_behind():
    flash, log = filled(700, 30, 256, 1)
    for seq in range(1, 701, 23):
        log.release(seq)
        assert RingLog(flash).stats().first_seq == seq + 1


def test_a_release_that_repeats_writes_nothing():
    flash, log = filled(9)
    log.release(5)
    written = flash.programmed_bytes
    log.release(5)
    log.release(0)
    assert flash.programmed_bytes == written


def test_the_number_never_starts_again():
    flash = FakeFlash(3, 256)
    for seq in range(1, 400):
        log = RingLog(flash)
        assert log.append(payload(seq)) == seq
        if seq % 3 == 0:
            log.release(seq)
    assert log.id == 0


def test_fits_says_whether_a_record_joins_the_one_before():
    flash, log = filled(0)
    assert not log.fits(1)  # there is none
    for size in (1, 30, 100, 60):
        for _ in range(20):
            gen = flash.erases[:]
            joins = log.fits(size)
            log.append(bytes(size))
            assert joins == (flash.erases == gen) or gen == [1, 0, 0, 0]
    assert not RingLog(flash).fits(1)  # a group does not survive a reboot


def test_fits_is_exact_to_the_byte():
    for count in (1, 5, 12):
        for longer in (0, 1):
            flash, log = filled(count)
            size = max([size for size in range(1, 220) if log.fits(size)])
            log.append(bytes(size + longer))
            assert sum(flash.erases) == 1 + longer


def test_a_reader_finds_its_sector_by_bisection():
    flash, _ = filled(600, 28, 256)
    for seq in range(120, 600, 37):
        log = RingLog(flash)
        flash.read_bytes = 0
        assert next(log.read_after(seq))[0] == seq + 1
        assert flash.read_bytes <= 8 * 32 + 256, flash.read_bytes


def test_a_mount_reads_every_header_and_one_sector():
    for count in range(3, 90):  # the newest sector anywhere in the ring, filled to any byte
        flash, _ = filled(count)
        flash.read_bytes = 0
        RingLog(flash)
        assert flash.read_bytes <= 4 * 32 + 256, (count, flash.read_bytes)


def test_fits_says_no_before_the_first_record_of_a_sector_that_a_release_opened():
    flash, log = filled(1)
    while flash.erases[1] == 0:
        log.release(log.append(bytes(8)))
    assert seqs(log) == []
    if log.stats().next_seq > 1 and flash.erases[1]:
        opened_by_release = not log.fits(1)
        log.append(bytes(1))
        assert opened_by_release or log.fits(1)
        assert log.fits(1)


def test_stats_tell_the_fill():
    flash, log = filled(0, 4, 256)
    assert log.stats().bytes_max == 1024
    last = 0
    for seq in range(1, 60):
        log.append(payload(seq))
        stats = log.stats()
        assert stats.records == seq
        assert stats.bytes > last
        last = stats.bytes
    log.release(30)
    stats = log.stats()
    assert (stats.records, stats.first_seq, stats.next_seq) == (29, 31, 60)
    assert last * 29 // 59 - 10 <= stats.bytes <= last * 29 // 59 + 10
    assert RingLog(flash).stats()[:1] + RingLog(flash).stats()[2:] == stats[:1] + stats[2:]


# -- the ring --------------------------------------------------------------------------------


def test_the_oldest_give_way_and_are_counted_to_the_last():
    flash, log = filled(500, 3, 256)
    for one in (log, RingLog(flash)):
        kept = content(one)
        stats = one.stats()
        assert kept == list(range(kept[0], 501))
        assert len(kept) > 38
        assert stats[3:] == (kept[0] - 1, 0, kept[0], 501)
        assert stats.records == len(kept)
        assert 600 < stats.bytes <= stats.bytes_max == 768


def test_what_was_released_is_not_counted_as_evicted():
    flash, log = filled(0, 3, 256)
    for seq in range(1, 500):
        log.append(payload(seq))
        if seq % 5 == 0:
            log.release(seq - 2)
    assert log.stats().evicted == RingLog(flash).stats().evicted == 0


def test_a_reader_survives_what_happens_meanwhile():
    for name, act in (
        ("nothing", lambda log, seq: None),
        ("appends", lambda log, seq: log.append(payload(log.stats().next_seq))),
        ("releases", lambda log, seq: log.release(seq - 3)),
        ("releases ahead of it", lambda log, seq: log.release(seq + 9) if seq % 20 == 0 else None),
        ("evictions", lambda log, seq: [log.append(payload(log.stats().next_seq)) for _ in "123"]),
        ("other readers", lambda log, seq: seqs(log, seq // 2)),
    ):
        _, log = filled(70, 4, 256)
        last = 0
        count = 0
        for seq, data in log.read_after(0):
            assert data == payload(seq), name
            assert seq > last, name
            assert seq >= log.stats().first_seq, name
            last = seq
            count += 1
            if count > 300:
                break
            act(log, seq)
        assert count > 35, name
        assert log.stats().damaged == 0, name
        assert count > 300 or last == log.stats().next_seq - 1, name


def test_a_reader_whose_sector_is_evicted_goes_on_with_the_oldest():
    flash, log = filled(40, 3, 256)
    reader = log.read_after(0)
    first = next(reader)[0]
    for _ in range(200):
        log.append(payload(log.stats().next_seq))
    flash.read_bytes = 0
    assert next(reader)[0] == log.stats().first_seq > first + 1
    assert flash.read_bytes < 5 * 32  # it does not look at what is there now


def test_sequential_readers_do_not_scan_again():
    flash, log = filled(100, 8, 256)
    seen = 0
    log.release(1)
    list(log.read_after(1))
    read_bytes = flash.read_bytes
    for seq in range(2, 100):
        # As the uplink does: a new reader for each step.
        for found, _ in log.read_after(seq):
            assert found == seq + 1
            seen += 1
            break
    assert seen == 98
    assert flash.read_bytes - read_bytes < 98 * 12 + 8 * (12 * 16 + 32 * 5)


def test_who_reads_one_too_many_does_not_scan_again():
    flash, log = filled(100, 8, 256)
    log.release(1)
    list(log.read_after(1))
    read_bytes = flash.read_bytes
    for seq in range(2, 98, 4):
        # As the uplink does: the first record of the next group ends this one.
        group = []
        for found, _ in log.read_after(seq):
            group.append(found)
            if len(group) == 5:
                break
        assert group == [seq + 1, seq + 2, seq + 3, seq + 4, seq + 5][: 100 - seq], seq
    assert flash.read_bytes - read_bytes < 125 * 12 + 8 * (12 * 16 + 32 * 5)


def test_a_renewed_log_has_the_next_id_and_all_that_it_had():
    flash, log = filled(40, 6, 256)
    log.release(3)
    before = log.stats()
    erases = list(flash.erases)
    assert log.renew()
    assert flash.erases == erases
    for one in (log, RingLog(flash)):
        assert (one.id, one.base_seq) == (8, 3)
        assert content(one) == list(range(4, 41))
        assert one.stats()[:1] + one.stats()[3:] == before[:1] + before[3:]
    assert log.append(payload(41)) == 41
    log.release(10)
    assert log.renew()
    assert log.renew()
    log = RingLog(flash, lambda: 1)
    assert (log.id, log.base_seq) == (10, 10)
    for seq in range(42, 200):  # until no sector has one of the older ids
        assert log.append(payload(seq)) == seq
        assert (log.id, log.base_seq) == (10, 10)
    assert RingLog(flash).id == 10
    assert content(RingLog(flash)) == content(log)


def test_where_an_id_begins_is_known_wherever_its_sectors_lie():
    for turns in range(12):  # so many sectors before, and so many behind
        flash = FakeFlash(5, 256)
        log = RingLog(flash, lambda: 7)
        assert log.base_seq == 0
        seq = 0
        for sector in range(turns + 4):
            if sector == turns:
                assert log.renew()
                base_seq = log.base_seq
                assert base_seq == max(0, seq - 1)
            gen = log._gen
            while log._gen == gen:
                seq = log.append(payload(1, 40))
                assert RingLog(flash).id == log.id
                if sector >= turns:
                    assert base_seq <= RingLog(flash).base_seq <= base_seq + 6, (turns, sector)
            log.release(seq - 1)


def test_the_id_starts_again_behind_the_greatest():
    flash = FakeFlash(2, 256)
    log = RingLog(flash, lambda: 0xFFFFFFFF)
    log.append(payload(1))
    assert log.renew()
    assert log.id == RingLog(flash).id == 0
    assert content(RingLog(flash)) == [1]
    while log._gen < 2:
        log.append(b"x" * 40)
    assert RingLog(flash).id == 0
    assert RingLog(flash).stats() == log.stats()


def test_a_log_is_not_renewed_until_it_takes_its_own_sectors_for_a_strangers():
    flash = FakeFlash(32, 256)
    log = RingLog(flash, lambda: 7)
    for seq in range(1, 4):
        log.append(payload(seq))
    count = 0
    while log.renew():
        count += 1
        assert log.id == 7 + count
    assert count == 255
    assert content(log) == content(RingLog(flash)) == [1, 2, 3]
    assert RingLog(flash).id == log.id == 7 + 255
    while RingLog(flash).stats().evicted < 3:
        log.append(b"x" * 100)
    assert log.renew()  # its oldest sector has a later id now


def test_the_power_may_go_while_a_log_is_renewed():
    for room in range(14):  # also where the item does not fit into its sector
        ids = set()
        for cut in range(38):
            for mask in (0, 0x5A, 0xFF):
                flash, log = filled(1, 6, 256, 200 + room)
                log.release(0)
                flash.cut_at_byte(cut, mask)
                try:
                    log.renew()
                except PowerCut:
                    assert log.id == 7, cut
                flash.power_on()
                log = RingLog(flash)
                ids.add(log.id)
                assert content(log, 200 + room) == [1], cut
                for seq in range(2, 7):
                    assert log.append(payload(seq, 9)) == seq, cut
                assert seqs(RingLog(flash)) == list(range(1, 7)), cut
                assert RingLog(flash).id == log.id, cut
        assert ids == {7, 8}, room


def test_a_log_that_cannot_be_renewed_keeps_its_id():
    errors = 0
    for call in range(20):
        for effect in (0, 1, 2):  # nothing, half and all of it was done
            flash, log = filled(10, 6, 256)
            flash.fail_at(call, 5, effect)
            error = error_of(log.renew)
            flash.fail_never()
            errors += error is not None
            assert log.id == (8 if error is None else 7), call
            assert content(log) == content(RingLog(flash)) == list(range(1, 11)), call
            log.renew()
            assert log.id in (8, 9), call
            assert log.append(payload(11)) == 11, call
            assert content(RingLog(flash)) == list(range(1, 12)), call
    assert errors >= 6


def test_wear_is_even_over_a_thousand_wraps():
    flash = FakeFlash(4, 256)
    log = RingLog(flash)
    rng = Lcg(1, 1)
    data = payload(1, 200)
    for _ in range(4 * 1000):
        log.append(data)
        if rng.below(100) == 0:
            log = RingLog(flash)
        if rng.below(50) == 0:
            log.release(log.stats().next_seq - 2)
    assert min(flash.erases) >= 1000
    assert max(flash.erases) - min(flash.erases) <= 1


def test_little_is_written_beside_the_payloads():
    flash = FakeFlash(3, 4096)
    log = RingLog(flash)
    data = payload(1, 32)
    for seq in range(1, 1501):
        log.append(data)
        if seq % 10 == 0:
            log.release(seq)
    assert flash.programmed_bytes * 100 <= 1500 * 32 * 115
    assert sum(flash.erases) <= 1 + 1500 * 36.5 / (4096 - 32 - 36)


# -- mounting --------------------------------------------------------------------------------


def test_a_mount_reads_each_header_once_and_one_sector():
    for count in (0, 1, 50, 500):
        for sectors, sector_bytes in ((16, 256), (4, 1024)):
            flash, log = filled(count, sectors, sector_bytes)
            log.release(count // 2)
            flash.read_bytes = 0
            RingLog(flash)
            # The first sector's header, and the two behind the newest, are looked at again.
            assert flash.read_bytes <= 32 * sectors + sector_bytes + 3 * 32


class WatchedFlash(FakeFlash):
    """A flash that looks at each read at how much memory is in use."""

    peak_bytes = 0

    def readblocks(self, block, buf, offset=0):
        gc.collect()
        self.peak_bytes = max(self.peak_bytes, gc.mem_alloc())
        super().readblocks(block, buf, offset)


def test_a_mount_fits_into_two_kib():
    if not hasattr(gc, "mem_alloc") or sys.platform == "webassembly":
        return  # tests/agent/test_ringlog_props.py measures CPython; the other collects later
    flash, log = filled(300, 8, 1024, 20)
    log.append(bytes(log.payload_bytes_max - 300))
    flash = WatchedFlash(8, 1024, flash.image)
    # What the first mount imports and interns is not counted.
    RingLog(flash)
    del log
    gc.collect()
    flash.peak_bytes = 0
    before = gc.mem_alloc()
    log = RingLog(flash)
    assert 200 < flash.peak_bytes - before <= 2048, flash.peak_bytes - before
    assert len(seqs(log)) > 200


def test_the_id_is_drawn_once():
    ids = [0xFEDCBA98, 2]
    flash = FakeFlash(2, 256)
    assert RingLog(flash, lambda: ids.pop(0)).id == 0xFEDCBA98
    assert RingLog(flash, lambda: ids.pop(0)).id == 0xFEDCBA98
    assert ids == [2]


def test_what_holds_no_log_is_formatted():
    for name, byte in (("zeros", 0), ("erased", 0xFF), ("noise", 0x57)):
        flash = FakeFlash(3, 256, bytearray([byte] * 768))
        log = RingLog(flash, lambda: 9)
        for seq in range(1, 99):
            assert log.append(payload(seq)) == seq, name
        assert content(log) == content(RingLog(flash)) == list(range(99 - len(content(log)), 99))


def test_what_is_not_for_us_is_refused_and_left_alone():
    from binascii import crc32

    flash, _ = filled(30, 3, 256)
    image = bytearray(flash.image)
    newer = bytearray(flash.image)
    newer[257] = 2
    newer[256 + 29 : 256 + 32] = seal_of(crc32(newer[256 : 256 + 29], 0)).to_bytes(3, "little")
    for words, device in (
        ("format 2", FakeFlash(3, 256, newer)),
        ("made for 3 sectors of 256 bytes; here are 2 of 256", FakeFlash(2, 256, image[:512])),
        ("made for 3 sectors of 256 bytes; here are 1 of", None),
    ):
        if device is not None:
            before = bytes(device.image)
            assert words in error_of(lambda: RingLog(device)), words
            assert bytes(device.image) == before


def test_the_last_number_is_an_end_and_no_start():
    flash = FakeFlash(3, 256)
    flash.writeblocks(0, pack_header(3, 256, (1, 0, 0xFFFF_0000, 0, 0xFFFF_0000, 0)), 0)
    log = RingLog(flash)
    assert log.append(bytes(200)) == 0xFFFF_0000
    assert "used up" in error_of(lambda: log.append(bytes(200)))
    assert seqs(log) == [0xFFFF_0000]


# -- power cuts ------------------------------------------------------------------------------


def run_until_cut(flash, log, steps):
    """Append and release until the power goes; return (promised, begun, released, told)."""
    promised = log.stats().next_seq - 1
    released = told = 0
    begun = promised
    try:
        for step in steps:
            if step > 0:
                begun = promised + 1
                assert log.append(payload(begun, step)) == begun
                promised = begun
            else:
                told = max(told, promised + step)
                log.release(told)
                released = told
    except PowerCut:
        flash.power_on()
        return promised, begun, released, told
    return None


STEPS = (9, 40, 3, -1, 100, 60, -2, 20, 7, 90, 33, -4, 120, 5, 5, -1, 70, 8, 44, -9, 100, 100, 12)


def test_the_power_may_go_at_any_byte():
    sizes = [step for step in STEPS if step > 0] * 3
    cut = 0
    while True:
        flash = FakeFlash(3, 256)
        log = RingLog(flash)
        # Past a byte that has gone through, a byte in the middle, one bit of it.
        flash.cut_at_byte(cut, (0, 0x5A, 0xFF)[cut % 3])
        ends = run_until_cut(flash, log, STEPS * 3)
        if ends is None:
            break
        promised, begun, released, told = ends
        for _ in range(2):
            log = RingLog(flash)
            found = list(log.read_after(0))
            stats = log.stats()
            assert stats.next_seq in (promised + 1, begun + 1), cut
            assert released < stats.first_seq, cut
            known = [seq for seq, _ in found]
            for seq, data in found:
                assert data == payload(seq, sizes[seq - 1]), (cut, seq)
            first = max(stats.first_seq, told + 1)
            lost = [seq for seq in range(first, promised + 1) if seq not in known]
            assert lost == [], (cut, lost)
            assert known == [] or known[-1] <= begun, cut
        # No number comes twice, and it goes on.
        following = log.append(b"next")
        assert following == stats.next_seq, cut
        assert list(RingLog(flash).read_after(following - 1)) == [(following, b"next")], cut
        cut += STRIDE
    assert cut > 1500


def test_a_torn_record_is_not_read_and_its_number_is_free():
    for cut in range(len(record(payload(6), 6)) - 1):
        flash, log = filled(5)
        flash.cut_at_byte(cut)
        assert run_until_cut(flash, log, (8,))
        log = RingLog(flash)
        assert seqs(log) == [1, 2, 3, 4, 5]
        assert log.stats()[4:] == (0, 1, 6)
        assert log.append(b"again") == 6
        assert list(RingLog(flash).read_after(5)) == [(6, b"again")]


def test_a_record_that_lacks_only_its_last_byte_keeps_its_number():
    # That byte may have read well at an earlier mount, and the record may have been sent.
    flash, log = filled(5)
    flash.cut_at_byte(len(record(payload(6), 6)) - 1)
    assert run_until_cut(flash, log, (8,))
    log = RingLog(flash)
    assert seqs(log) == [1, 2, 3, 4, 5]
    assert log.stats()[4:] == (1, 1, 7)
    assert log.append(b"next") == 7
    assert seqs(RingLog(flash)) == [1, 2, 3, 4, 5, 7]


def test_a_record_that_may_have_been_whole_keeps_its_number():
    # One of its bits is wrong. It was promised, and perhaps even read and sent.
    size = len(record(payload(5), 5))
    for bit in range(8, 8 * size):
        flash, _ = filled(5)
        flash.image[HEADER + 4 * size + (bit >> 3)] ^= 1 << (bit & 7)
        log = RingLog(flash)
        assert log.append(b"next") == 6
        assert seqs(log) in ([1, 2, 3, 4, 6], [1, 2, 3, 4, 5, 6])
        assert log.stats().damaged == 5 - len(seqs(log, 0)) + 1
        assert seqs(RingLog(flash)) == seqs(log)


def test_what_was_evicted_is_counted_though_the_power_went_before_the_header():
    flash, log = filled(0, 3, 256)
    last = 0
    while flash.erases != [2, 1, 1]:
        last += 1
        log.append(payload(last, 45))
    evicted = log.stats().evicted
    assert evicted > 2
    for cut in range(32):  # the erase is done; of the header so many bytes
        flash, log = filled(last - 1, 3, 256, 45)
        assert log.stats().evicted == 0
        flash.cut_at_byte(cut)
        assert run_until_cut(flash, log, (45,))
        assert flash.erases == [2, 1, 1]
        for _ in range(2):
            log = RingLog(flash)
            assert log.stats().evicted == evicted
        # A cursor beyond it must not hide it.
        log.release(last - 2)
        assert log.stats().evicted == evicted == RingLog(flash).stats().evicted
        assert log.append(payload(last, 45)) == last
        assert log.stats().evicted == evicted == RingLog(flash).stats().evicted
        assert content(RingLog(flash), 45) == [last - 1, last]


WAVERS = (
    # What wavers, size of the append that was cut, which write, which byte, after a failure
    ("the first of a record", 20, 0, 0, False),
    ("the last of a record", 20, 0, 23, False),
    ("the last of a header", 200, 1, 31, False),
    ("the last of a header behind a sector that failed", 200, 2, 31, True),
)


def wavering(size, write, cut, fails, seed):
    """Return a flash with three records, cut in a fourth; the last byte is between 0 and 1."""
    flash, log = filled(3, 4, 256, 50)
    flash.journal = []
    if fails:
        flash.fail_at(1, 5)
        assert error_of(lambda: log.append(bytes(200)))
    flash.cut_at_byte(cut)
    run_until_cut(flash, log, (size,))
    position, _, data = flash.journal[write]
    flash.unstable = {position + cut: ~data[cut] & 0xFF}
    flash.seed(seed, size)
    return flash


def test_cells_that_read_differently_each_time_break_no_promise():
    for name, size, write, cut, fails in WAVERS:
        for seed in range(0, 60, STRIDE):
            flash = wavering(size, write, cut, fails, seed)
            promised = {seq: payload(seq, 50) for seq in (1, 2, 3)}
            taken = 3
            for turn in range(8):
                log = RingLog(flash)
                for found in (dict(log.read_after(0)), dict(log.read_after(0))):
                    for seq in promised:
                        if seq >= log.stats().first_seq:
                            assert found.get(seq) == promised[seq], (name, seed, turn)
                    taken = max(list(found) + [taken])
                    assert taken <= max(4, *promised), (name, seed, turn)
                if turn % 3:
                    seq = log.append(bytes([turn]) * 5)
                    assert seq > taken, (name, seed, turn)
                    promised[seq] = bytes([turn]) * 5


def test_an_erase_may_tear():
    for pattern in range(8):
        for sectors in (2, 3):
            flash, log = filled(0, sectors, 256)
            flash.seed(3, pattern)
            flash.cut_at_erase(sectors, pattern)
            promised, _, _, _ = run_until_cut(flash, log, [60] * 40)
            log = RingLog(flash)
            found = content(log, 60)
            # Of the sector that was being erased any may be left, of the others all.
            assert found[-3 * (sectors - 1) :] == list(
                range(promised + 1 - 3 * (sectors - 1), promised + 1)
            )
            assert log.stats().next_seq == promised + 1
            log.append(payload(promised + 1, 60))
            assert content(log, 60) == content(RingLog(flash), 60)
            assert log.stats().first_seq == content(log, 60)[0]


# -- rot -------------------------------------------------------------------------------------


def test_each_bit_of_a_full_image_may_rot():
    flash, log = filled(0, 3, 256, 20)
    spans = {}
    for seq in range(1, 60):
        before = bytes(flash.image)
        flash.journal = []
        log.append(payload(seq, 20))
        position, _, data = flash.journal[-1]
        spans[seq] = (position, position + len(data))
        if seq % 7 == 0:
            log.release(seq - 20)
    flash.journal = None
    before = bytes(flash.image)
    kept = seqs(log)
    evicted = log.stats().evicted
    repaired = 0
    for position in range(0, len(before), STRIDE):
        for bit in range(8):
            rotten = copy_of(flash)
            rotten.image[position] ^= 1 << bit
            log = RingLog(rotten)
            found = content(log, 20)
            missing = [seq for seq in kept if seq not in found]
            stats = log.stats()
            assert stats.next_seq == 60, position
            assert stats.evicted == evicted, position
            assert stats.damaged == len(missing) <= 1, position
            if missing:
                start, end = spans[missing[0]]
                assert start <= position < end, position
            else:
                repaired += 1
            if bit == position % 8:
                assert log.append(payload(60, 20)) == 60
                assert content(RingLog(rotten), 20) == content(log, 20)
    assert repaired > 0
    assert bytes(flash.image) == before


def test_what_looks_like_a_record_inside_of_a_rotten_one_is_not_read():
    seal = bytes(record(b"evil 1 2", 3)[-3:])
    for name, inside, at, mask in (
        # The head with one bit less: what would end there has a good seal.
        ("under a shorter head", b"evil 1 2" + seal + b"0123456789abc", 20, 0x01),
        # A whole record with the next number, before it the head is damaged twice.
        ("further in", b"0123" + bytes(record(b"evil", 4)) + b"0123456789ab", 0, 0x48),
    ):
        flash, log = filled(2)
        flash.journal = []
        assert log.append(inside) == 3
        start = flash.journal[-1][0]
        for seq in range(4, 9):
            log.append(payload(seq))
        flash.image[start + at] ^= mask
        log = RingLog(flash)
        assert content(log) == [1, 2, 4, 5, 6, 7, 8], name
        assert log.stats().damaged == 1, name


def test_records_behind_two_rotten_heads_are_found():
    flash, _ = filled(40, 3, 512)
    size = len(record(payload(1), 1))
    for at in (5, 6):
        flash.image[HEADER + at * size] ^= 0x42
    log = RingLog(flash)
    assert content(log) == [1, 2, 3, 4, 5] + list(range(8, 41))
    assert log.stats().damaged == 2
    assert len(content(log)) == 38
    assert log.stats().damaged == 2


def test_a_lost_header_costs_its_sector_and_no_other():
    flash, log = filled(100, 8, 256)
    for at in range(32):
        flash.image[256 * 2 + at] = 0
    log = RingLog(flash)
    found = content(log)
    lost = 100 - len(found)
    assert 15 < lost < 20
    assert log.stats().damaged == lost
    assert found == [seq for seq in range(1, 101) if seq < found[0] + 100 and seq in found]
    assert log.stats().evicted == 0
    assert log.append(payload(101)) == 101


# -- a device that fails ---------------------------------------------------------------------


def test_any_call_may_fail():
    steps = STEPS * 2
    for errno, effect, returns in ((28, 0, False), (5, 1, False), (5, 2, False), (5, 1, True)):
        call = 0
        while True:
            flash = FakeFlash(4, 256)
            log = RingLog(flash)
            promised = {}
            released = 0
            failures = 0
            flash.fail_at(call, errno, effect, returns)
            calls = flash.calls
            for step in steps:
                try:
                    if step > 0:
                        seq = log.stats().next_seq
                        assert seq not in promised
                        assert log.append(payload(seq, step)) == seq
                        promised[seq] = payload(seq, step)
                    else:
                        log.release(log.stats().next_seq - 1 + step)
                        released = max(released, log.stats().next_seq - 1 + step)
                except LogError as error:
                    assert "fails" in str(error) or "keep" in str(error)
                    failures += 1
            flash.fail_never()
            assert failures <= 1, (errno, call)
            for one in (log, RingLog(flash)):
                first = one.stats().first_seq
                assert first > released, (errno, call)
                found = dict(one.read_after(0))
                for seq, data in promised.items():
                    if seq >= first:
                        assert found.get(seq) == data, (errno, effect, call, seq)
                assert one.stats().damaged == 0 or effect, (errno, call)
            if flash.calls - calls <= call:
                break
            call += STRIDE
        assert call > 100


def test_headers_that_were_written_though_the_device_said_no_hide_nothing():
    for failures in (1, 2, 3):
        flash, log = filled(16)  # a record of 60 bytes opens a sector
        for _ in range(failures):
            flash.fail_at(1, 5, 2)
            assert "fails" in error_of(lambda: log.append(bytes(60)))
        seq = log.append(bytes(60))
        assert seq == 17
        for _ in range(2):
            log = RingLog(flash)
            assert list(log.read_after(16)) == [(17, bytes(60))], failures
            assert log.stats().next_seq == 18


def test_a_mount_on_a_device_that_fails_raises_and_changes_nothing():
    flash, _ = filled(50)
    image = bytes(flash.image)
    calls = flash.calls
    RingLog(flash)
    for call in range(flash.calls - calls):
        flash.fail_at(call, 5)
        assert "fails" in error_of(lambda: RingLog(flash))
        assert bytes(flash.image) == image
    flash.fail_never()
    assert content(RingLog(flash)) == list(range(1, 51))


def test_a_read_that_fails_raises_and_the_log_goes_on():
    flash, log = filled(50)
    for call in range(60):
        flash.fail_at(call, 5)
        failed = error_of(lambda: seqs(log))
        assert failed is None or "fails" in failed
        flash.fail_never()
    assert content(log) == list(range(1, 51))
    assert log.stats().damaged == 0


def test_a_device_that_refuses_to_write_loses_nothing_old():
    for call, effect in ((0, 0), (0, 1), (0, 2)):
        flash, log = filled(60, 6, 256)
        for _ in range(40):
            flash.fail_at(call, 28, effect)
            assert "fails" in error_of(lambda: log.append(payload(61)))
        flash.fail_never()
        # Where it refuses before anything is written, all is as it was; else two sectors go.
        lost = 0 if effect == 0 else 2 * 19
        assert content(log) == list(range(content(log)[0], 61))
        assert content(log)[0] <= 1 + lost
        assert log.append(payload(61)) == 61
        assert content(RingLog(flash)) == content(log)


def test_a_device_that_refuses_does_not_use_up_the_ring():
    flash, log = filled(5)
    for _ in range(50):
        flash.fail_at(0, 28)
        assert "fails" in error_of(lambda: log.append(payload(6)))
        flash.fail_at(0, 28)
        assert "fails" in error_of(lambda: log.release(3))
    flash.fail_never()
    assert log.append(payload(6)) == 6
    assert flash.erases == [1, 0, 0, 0]
    assert content(RingLog(flash)) == content(log) == [1, 2, 3, 4, 5, 6]


class DeafFlash(FakeFlash):
    """A flash that takes writes and erases, and does none of them."""

    def writeblocks(self, block, buf, offset):
        pass

    def ioctl(self, op, arg):
        return 0 if op == 6 else super().ioctl(op, arg)


def test_a_device_that_only_pretends_to_write_is_not_believed():
    flash, _ = filled(60, 4, 256)
    deaf = DeafFlash(4, 256, flash.image)
    log = RingLog(deaf)
    before = bytes(flash.image)
    for _ in range(30):
        assert "does not keep" in error_of(lambda: log.append(b"x"))
        assert "does not keep" in error_of(lambda: log.release(50))
    assert bytes(flash.image) == before
    assert content(RingLog(flash)) == list(range(1, 61))
    assert error_of(lambda: RingLog(DeafFlash(4, 256))) is not None


def test_a_dead_cell_costs_its_sector_a_turn_and_no_record():
    for offset in (0, 20, 31, 32, 100, 255):
        for block in range(4):
            flash = FakeFlash(4, 256)
            flash.stuck = {block * 256 + offset: 0xFF}
            log = RingLog(flash)
            for seq in range(1, 200):
                assert log.append(payload(seq, 20)) == seq
            for one in (log, RingLog(flash)):
                assert content(one, 20) == list(range(one.stats().first_seq, 200))
                assert one.stats().damaged == 0
                assert len(content(one, 20)) >= 16
            assert log.stats().evicted == RingLog(flash).stats().evicted
