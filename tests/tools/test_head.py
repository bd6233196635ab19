"""`wattlog-tools head` against a real broker and what a head would answer."""

from fake_head import BOOT
from wattlog_tools import head


def raw(fake, *pieces):
    def send(_command):
        for port, offset, data in pieces:
            fake.answer(port, offset, data.hex())

    fake.then = send


def test_raw_bytes_are_printed_or_written_as_they_came(fake, run, tmp_path):
    fake.say()
    raw(fake, ("uart1", 0, bytes(64)), ("uart1", 64, b"\x1b"))
    status, printed = run("head", "raw", "--bytes", "65")
    assert status == 0
    assert printed.splitlines() == [
        "uart1 0000 " + " ".join(["00"] * 64),
        "uart1 0040 1b",
        "65 of 65 bytes, no hole",
    ]
    assert fake.commands == [[2, "raw", 65]]
    out = tmp_path / "raw.bin"
    assert run("head", "raw", "--bytes", "65", "--out", str(out))[0] == 0
    assert out.read_bytes() == bytes(64) + b"\x1b"


def test_a_hole_in_the_raw_bytes_and_no_byte_at_all_are_told(fake, run, monkeypatch):
    fake.say()
    raw(fake, ("uart1", 0, bytes(64)), ("uart1", 65, b"\x1b"))
    status, printed = run("head", "raw", "--bytes", "65")
    assert status == 2 and "uart1: a hole at 64: the next piece is of 65" in printed
    fake.then = None
    monkeypatch.setattr(head, "RAW_S_MAX", 0.5)
    status, printed = run("head", "raw")
    assert status == 2 and "not a byte came of cellar" in printed


def test_bytes_of_two_ports_are_printed_but_do_not_fit_into_one_file(fake, run, tmp_path):
    fake.say()
    raw(fake, ("uart1", 0, b"\x01"), ("uart2", 0, b"\x02"))
    status, printed = run("head", "raw", "--bytes", "2")
    assert (status, printed.splitlines()[:2]) == (0, ["uart1 0000 01", "uart2 0000 02"])
    status, printed = run("head", "raw", "--bytes", "2", "--out", str(tmp_path / "x"))
    assert status == 2 and "bytes came of uart1 and uart2; leave it out" in printed


def test_a_restart_is_for_the_present_start_and_waits_for_the_goodbye(fake, run, monkeypatch):
    fake.say()
    fake.then = lambda _: fake.say(state="offline")
    status, printed = run("head", "restart")
    assert (status, printed) == (0, "cellar has said goodbye and restarts\n")
    assert fake.commands == [[2, "restart", BOOT]]
    fake.say()
    fake.then = None
    monkeypatch.setattr(head, "RESTART_S_MAX", 0.3)
    status, printed = run("head", "restart")
    assert status == 2 and "cellar goes on" in printed
