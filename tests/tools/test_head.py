"""`wattlog-tools head` against a real broker and what a head would answer."""

import pytest

from certificates import broker_of, the_ca
from fake_head import BOOT, FakeHead
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


@pytest.fixture
def secured(mosquitto, stop, tmp_path):
    """secured(what): the arguments for a broker with TLS that shows this certificate."""
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(the_ca().pem)
    heads = []

    def of(what):
        port = mosquitto.add_tls(*broker_of(what).write(tmp_path, "broker"))
        heads.append(FakeHead(mosquitto.port))
        heads[-1].say()
        raw(heads[-1], ("uart1", 0, b"\x1b"))
        return "--broker", f"localhost:{port}", "--ca-file", ca_file

    yield of
    for fake in heads:
        fake.stop()


def test_the_broker_is_asked_with_tls(run, secured):
    status, printed = run("head", "raw", "--bytes", "1", *map(str, secured("good")))
    assert (status, printed) == (0, "uart1 0000 1b\n1 of 1 bytes, no hole\n")


@pytest.mark.parametrize("what", ["another CA", "another name", "expired"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_broker_that_is_not_who_it_says_gets_nothing(run, secured, what):
    status, printed = run("head", "restart", *map(str, secured(what)))
    assert status == 2 and "certificate verify failed" in printed


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_without_a_ca_of_its_own_the_systems_are_asked(run, secured):
    status, printed = run("head", "restart", *map(str, secured("good")[:2]), "--tls")
    assert status == 2 and "certificate verify failed" in printed


def test_tls_has_a_port_of_its_own_and_a_bad_ca_file_is_told(run, tmp_path):
    assert (
        "no broker at 127.0.0.1:8883"
        in run("head", "restart", "--broker", "127.0.0.1", "--tls")[1]
    )
    (tmp_path / "no.pem").write_bytes(b"x")
    assert (
        "no.pem: holds no certificate"
        in run("head", "raw", "--ca-file", str(tmp_path / "no.pem"))[1]
    )
    assert "gone: no such file" in run("head", "raw", "--ca-file", str(tmp_path / "gone"))[1]
