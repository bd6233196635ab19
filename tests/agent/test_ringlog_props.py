"""The ring log against a model, against noise, and what takes too long for a small device."""

import tracemalloc
from binascii import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wattlog.ringlog import LogError, RingLog
from wattlog.ringsector import (
    HEADER_BYTES,
    PAYLOAD_BYTES_MAX,
    SEAL_BYTES,
    pack_header,
    parse_header,
    record,
    seal_of,
)
from wattlog_sim.flash import FakeFlash

RECORD_BYTES = 600

OPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 219)),
        st.tuples(st.just("release"), st.integers(0, 40)),
        st.tuples(st.just("mount"), st.just(0)),
        st.tuples(st.just("read"), st.integers(0, 60)),
    ),
    max_size=150,
)


def payload(seq, size):
    return bytes((seq * 37 + i * 11) & 0xFF for i in range(size))


@settings(deadline=None)
@given(OPS, st.integers(2, 6))
def test_it_does_what_a_list_does(ops, sectors):
    flash = FakeFlash(sectors, 256)
    log = RingLog(flash, lambda: 5)
    records = []
    released = 0
    evicted = 0
    for name, number in ops:
        if name == "append":
            records.append((len(records) + 1, payload(len(records) + 1, number)))
            assert log.append(records[-1][1]) == len(records)
        elif name == "release":
            released = max(released, len(records) - number)
            log.release(len(records) - number)
        elif name == "mount":
            log = RingLog(flash)
        first = log.stats().first_seq
        assert first > released
        if first > released + 1:
            evicted = max(evicted, log.stats().evicted)
        after = max(0, len(records) - number)
        assert list(log.read_after(after)) == records[max(after, first - 1) :]
    stats = log.stats()
    assert (stats.damaged, stats.next_seq) == (0, len(records) + 1)
    assert stats.evicted == evicted
    assert stats.records == len(list(log.read_after(0)))
    assert max(flash.erases) - min(flash.erases) <= 1


@pytest.fixture(scope="module")
def full():
    """Return a flash after some wraps, and what it holds: {seq: payload}, and the lowest kept."""
    flash = FakeFlash(4, 256)
    log = RingLog(flash, lambda: 5)
    known = {}
    for seq in range(1, 80):
        known[seq] = payload(seq, seq % 50 + 1)
        log.append(known[seq])
        if seq % 6 == 0:
            log.release(seq - 30)
    return flash, known


@settings(deadline=None, max_examples=400)
@given(
    st.lists(
        st.tuples(st.integers(0, 1023), st.binary(min_size=1, max_size=80)), min_size=1, max_size=4
    )
)
def test_whatever_is_overwritten_nothing_is_invented(full, wounds):
    flash, known = full
    image = bytearray(flash.image)
    for position, noise in wounds:
        image[position : position + len(noise)] = noise
    image = image[:1024]
    try:
        log = RingLog(FakeFlash(4, 256, image))
    except LogError:
        return  # a header of another version or geometry, by chance
    if log.id == 5:
        last = 0
        for seq, data in log.read_after(0):
            assert seq > last
            assert known[seq] == data
            last = seq
    following = log.append(b"more")
    assert (following, b"more") in list(log.read_after(0))


@settings(deadline=None)
@given(st.binary(min_size=768, max_size=768))
def test_noise_is_formatted(noise):
    log = RingLog(FakeFlash(3, 256, bytearray(noise)), lambda: 6)
    assert log.id == 6
    assert log.append(b"first") == 1


def syndromes(size):
    """Return what each single wrong bit does to the checksum; the whole is linear."""
    zero = crc32(bytes(size))
    found = []
    for at in range(size):
        for bit in range(8):
            data = bytearray(size)
            data[at] = 1 << bit
            found.append((crc32(data) ^ zero) & 0xFFFFFF)
    return found


def test_no_one_and_no_two_wrong_bits_pass_in_600_bytes():
    # An error passes if its syndrome is 0, or the one bit that two seals share (FF is 7F). The
    # bits of the seal are syndromes of their own. Shorter records are the end of a longer one.
    covered = syndromes(RECORD_BYTES - SEAL_BYTES)
    everything = covered + [1 << bit for bit in range(24)]
    known = set(everything)
    assert len(known) == len(everything)
    assert 0 not in known
    assert [syndrome for syndrome in covered if syndrome ^ 0x800000 in known] == []


def test_the_linear_argument_is_that_of_real_records():
    item = record(payload(1, 300), 1234)
    syndrome = syndromes(len(item) - SEAL_BYTES)
    right = crc32(item[:-SEAL_BYTES], 1234) & 0xFFFFFF
    for bit in range(0, 8 * (len(item) - SEAL_BYTES), 97):
        item[bit >> 3] ^= 1 << (bit & 7)
        assert crc32(item[:-SEAL_BYTES], 1234) & 0xFFFFFF == right ^ syndrome[bit]
        item[bit >> 3] ^= 1 << (bit & 7)


def test_no_one_and_no_two_wrong_bits_pass_in_a_header():
    header = pack_header(256, 4096, (0xFEDCBA98, 5, 1000, 900, 800, 70))
    for first in range(8 * HEADER_BYTES):
        header[first >> 3] ^= 1 << (first & 7)
        assert parse_header(header, 256, 4096) is None
        for second in range(first):
            header[second >> 3] ^= 1 << (second & 7)
            assert parse_header(header, 256, 4096) is None
            header[second >> 3] ^= 1 << (second & 7)
        header[first >> 3] ^= 1 << (first & 7)


def test_numbers_near_by_never_share_a_seal():
    # Whether two seeds give one seal depends on their difference and on the length alone.
    for size in range(2, RECORD_BYTES - SEAL_BYTES):
        zero = seal_of(crc32(bytes(size), 0))
        for seed in (1, 2, 3, 4, 5, 6, 7, 8, 15, 31, 63, 127, 255, 511, 1023, 2047, 4095):
            assert (seal_of(crc32(bytes(size), seed)) ^ zero) & 0x7FFFFF


def test_a_mount_of_one_mib_reads_little_and_takes_little():
    flash = FakeFlash(256, 4096)
    log = RingLog(flash)
    data = payload(1, 500)
    while sum(flash.erases) < 300:
        log.append(data)
    log.append(bytes(3000))
    RingLog(flash)
    flash.read_bytes = 0
    tracemalloc.start()
    try:
        log = RingLog(flash)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Every header once, one sector, and three headers again.
    assert flash.read_bytes <= 32 * 256 + 4096 + 3 * 32
    assert peak_bytes <= 4096  # objects of CPython are twice those of the device


def test_sectors_may_be_large():
    flash = FakeFlash(2, 65536)
    log = RingLog(flash)
    assert log.payload_bytes_max == PAYLOAD_BYTES_MAX == 3311
    for seq in range(1, 100):
        log.append(payload(seq, 1 + seq * 33))
    assert list(RingLog(flash).read_after(98)) == [(99, payload(99, 1 + 99 * 33))]
