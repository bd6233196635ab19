"""The Pi's clock: who has set it decides whether it is believed."""

import time

import pytest

from wattlog_pi import system_clock
from wattlog_pi.system_clock import SystemClock, Trust, trust


@pytest.fixture
def alone(monkeypatch):
    """No time daemon, whatever this machine has."""
    monkeypatch.setattr(system_clock, "_is_synchronised", lambda: False)


def rtc(tmp_path, name, said):
    (tmp_path / name).mkdir(parents=True)
    (tmp_path / name / "hctosys").write_text(said)


def test_a_pi_without_a_battery_is_trusted_by_nobody(alone, tmp_path):
    assert trust(tmp_path / "rtc", tmp_path / "synced", "aarch64") is Trust.NOBODY
    rtc(tmp_path, "rtc/rtc0", "0\n")  # it came too late to set the clock
    assert trust(tmp_path / "rtc", tmp_path / "synced", "armv7l") is Trust.NOBODY


def test_a_clock_chip_that_has_set_the_clock_is_a_chip(alone, tmp_path):
    rtc(tmp_path, "rtc/rtc0", "0\n")
    rtc(tmp_path, "rtc/rtc1", "1\n")
    assert trust(tmp_path / "rtc", tmp_path / "synced", "aarch64") is Trust.CHIP


def test_a_pc_has_a_clock_chip_whatever_its_kernel_shows(alone, tmp_path):
    assert trust(tmp_path / "rtc", tmp_path / "synced", "x86_64") is Trust.CHIP


def test_what_timesyncd_left_counts_when_the_kernel_has_forgotten(alone, tmp_path):
    (tmp_path / "synced").touch()
    assert trust(tmp_path / "rtc", tmp_path / "synced", "aarch64") is Trust.NETWORK


def test_the_kernel_knows_of_a_time_daemon(monkeypatch, tmp_path):
    class Libc:
        state = 0

        def adjtimex(self, timex):
            assert timex.raw == bytes(len(timex))  # modes 0: nothing is changed
            return self.state

    libc = Libc()
    monkeypatch.setattr(system_clock, "_LIBRARY", libc)
    found = []
    for libc.state in (0, 1, 4, 5, -1):  # all is well, leap seconds, not synchronised, forbidden
        found.append(trust(tmp_path, tmp_path / "synced", "aarch64"))
    assert found == [Trust.NETWORK] * 3 + [Trust.NOBODY] * 2


def test_a_system_without_the_call_vouches_for_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(system_clock, "_LIBRARY", object())
    assert trust(tmp_path, tmp_path / "synced", "aarch64") is Trust.NOBODY


def test_a_folder_that_is_closed_to_us_says_nothing(alone, monkeypatch, tmp_path):
    def refuse(self):
        raise PermissionError

    monkeypatch.setattr(system_clock.Path, "exists", refuse)
    assert trust(tmp_path, tmp_path / "synced", "aarch64") is Trust.NOBODY


def test_the_real_kernel_answers():
    assert isinstance(trust(), Trust)


def test_once_confirmed_the_agents_clock_stays_so():
    answers = [Trust.NOBODY, Trust.CHIP, Trust.NETWORK]
    clock = SystemClock(lambda: answers.pop(0))
    assert [clock.is_sure() for _ in range(5)] == [False, False, True, True, True]
    assert answers == []


def test_a_clock_of_the_past_is_not_set(monkeypatch):
    clock = SystemClock(lambda: Trust.NETWORK)
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000 * 10**9)
    assert clock.epoch_ms() is None
    monkeypatch.setattr(time, "time_ns", lambda: 1_795_296_211_440 * 10**6)
    assert clock.epoch_ms() == 1_795_296_211_440
