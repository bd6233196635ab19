"""`wattlog-tools log`: every record in words, what is missing by number, and never a change."""

import pytest

from wattlog.ramdevice import RamDevice
from wattlog.reading import Reading
from wattlog.records import GroupWriter
from wattlog.ringlog import RingLog
from wattlog_tools.cli import main
from wattlog_tools.log import SECTOR_BYTES, _decimal

SECTORS = 4
ISKRA = bytes.fromhex("0a0149534b000432612d")


@pytest.fixture
def log_file(tmp_path):
    """A log of three groups of which the host has the first; and where it is."""
    device = RamDevice(SECTORS, SECTOR_BYTES)
    log = RingLog(device, lambda: 0xC0FFEE)
    writer = GroupWriter(log, 0xBEEF)
    log.release(writer.sync(500, 0, True))
    writer.close()
    writer.sync(1_000, 1_795_296_211_440, True)
    for second in range(3):
        values = [(1, 198_927_501 + second, -1), (10, -28, 0), (999, 5, 2)]
        writer.reading(3_600_000 + 1_000 * second, Reading(ISKRA, 77 + second, values, True))
    writer.close()
    writer.reading(7_200_000, Reading(ISKRA, None, [], False))
    path = tmp_path / "cellar.ring"

    def save():
        data = bytearray(SECTORS * SECTOR_BYTES)
        for sector in range(SECTORS):
            at = sector * SECTOR_BYTES
            device.readblocks(sector, memoryview(data)[at : at + SECTOR_BYTES], 0)
        path.write_bytes(data)
        return data

    save()
    return path


def run(capsys, *arguments):
    status = main(["log", *map(str, arguments)])
    out = capsys.readouterr()
    assert out.err == "" or status == 2
    return status, out.out.splitlines(), out.err.splitlines()


def test_every_record_is_a_line_in_words(capsys, log_file):
    before = log_file.read_bytes()
    status, lines, _ = run(capsys, log_file)
    assert status == 0
    assert lines[:3] == [
        "log id    00c0ffee", "records   5 wait for the host", "numbers   from 2; the next is 7"
    ]  # fmt: skip
    assert lines[6:] == [
        "group of 4, boot 0000beef",
        "        2  0:00:01.000  the clock read 2026-11-21 21:23:31.440 UTC",
        "        3  1:00:00.000  1 ISK00 70410541  77  import_wh=19892750.1 power_w=-28 channel_999=500",
        "        4  1:00:01.000  1 ISK00 70410541  78  import_wh=19892750.2 power_w=-28 channel_999=500",
        "        5  1:00:02.000  1 ISK00 70410541  79  import_wh=19892750.3 power_w=-28 channel_999=500",
        "group of 1, boot 0000beef",
        "        6  2:00:00.000  1 ISK00 70410541  -  ",
    ]
    assert log_file.read_bytes() == before


def test_the_summary_has_no_records(capsys, log_file):
    _, lines, _ = run(capsys, log_file, "--summary")
    assert len(lines) == 6


def test_what_cannot_be_read_is_named(capsys, log_file):
    data = bytearray(log_file.read_bytes())
    at = data.index(ISKRA)
    data[at] ^= 0x42  # in the key that the two after it differ from
    log_file.write_bytes(data)
    _, lines, _ = run(capsys, log_file)
    assert lines[8:11] == [
        "        3  rejected: hole", "        4  rejected: no key", "        5  rejected: no key"
    ]  # fmt: skip
    at = data.index(ISKRA, at + len(ISKRA))
    data[at] ^= 0x42  # the only record of the last group
    log_file.write_bytes(data)
    _, lines, _ = run(capsys, log_file)
    assert lines[-1] == "        6  missing, up to 6"


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (None, "no such file or directory"),
        (b"x" * 5000, "5000 bytes is not the size of a ring log"),
        (b"x" * 3 * SECTOR_BYTES, "this is not a ring log"),
        (b"\xff" * 3 * SECTOR_BYTES, "blank"),
    ],
)
def test_what_is_no_log_is_one_line(capsys, tmp_path, data, wanted):
    path = tmp_path / "x"
    if data is not None:
        path.write_bytes(data)
    status, lines, errors = run(capsys, path)
    assert status == 2
    assert lines == []
    assert len(errors) == 1
    assert wanted in errors[0]


def test_numbers_are_those_of_the_meter():
    rows = ((5, 0, "5"), (-5, 2, "-500"), (0, 2, "0"), (5, -1, "0.5"), (-1234, -2, "-12.34"))
    for value, scale, text in rows:
        assert _decimal(value, scale) == text
