"""The robustness harness: CI's share of it, and proof that it finds what is broken."""

import re

import pytest

from toolbox import require
from wattlog import decoder, framing, layout, sml
from wattlog_host import bounds, desk, wire
from wattlog_host import status as status_module
from wattlog_tools import frames
from wattlog_tools.cli import main

INPUTS = 20_000
INPUTS_ON_DEVICE = 1_500
SEED = "2026"


def fuzz(capsys, *arguments):
    """Run it; return (exit status, what it printed)."""
    status = main(["fuzz", *arguments])
    return status, capsys.readouterr().out


def row(printed, name):
    return re.search(rf"^  {name} +(.*)$", printed, re.MULTILINE)[1]


def test_nothing_holds_less_than_it_should(capsys):
    status, printed = fuzz(capsys, "-n", str(INPUTS), "--seed", SEED)
    assert status == 0, printed
    assert row(printed, "failures") == "none"
    assert row(printed, "inputs").startswith(f"{INPUTS} in ")
    # It has really been somewhere: behind the checksum, in the parser, and in the layouts.
    assert int(row(printed, "through the CRC").split()[0]) > INPUTS // 3
    assert int(row(printed, "layouts").split()[0]) > INPUTS
    for reason in ("crc", "truncated", "overlong", "escape", "length", "pad"):
        assert re.search(rf"\d+ {reason}\b", row(printed, "refused")), reason
    for reason in ("structure", "type_length", "depth", "limit"):
        assert re.search(rf"\d+ {reason}\b", row(printed, "refused")), reason


def test_the_same_on_micropython(capsys):
    require("micropython")
    arguments = ("-n", str(INPUTS_ON_DEVICE), "--seed", SEED)
    status, printed = fuzz(capsys, *arguments, "--micropython")
    assert status == 0, printed
    _, here = fuzz(capsys, *arguments, "--no-corpus")
    for name in ("good frames", "through the CRC", "layouts", "readings", "failures"):
        assert row(printed, name) == row(here, name)
    assert sorted(row(printed, "refused").split(", ")) == sorted(row(here, "refused").split(", "))


def never(*_):
    return False


def always(*_):
    return True


def raise_on_long(payload, real=sml.parse):
    if len(payload) > 300:
        raise IndexError("bytes index out of range")
    return real(payload)


BROKEN = (
    ("the checksum is not looked at", framing, "ends_in_x25", always, "is lost"),
    ("good frames are dropped", framing, "ends_in_x25", never, "is lost"),
    ("the parser raises", decoder, "parse", raise_on_long, "raised IndexError"),
    ("layouts ignore the sign", layout.Layout, "take", None, "is not"),
)


@pytest.mark.parametrize(
    ("owner", "name", "broken", "said"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN]
)
def test_what_is_broken_is_found_and_can_be_run_again(
    capsys, monkeypatch, owner, name, broken, said
):
    if broken is None:
        real = layout.Layout.take

        def broken(self, buf, base, fill, found):
            count = len(found)
            end = real(self, buf, base, fill, found)
            for one in found[count:]:
                one.values = tuple(abs(value) for value in one.values)
            return end

    monkeypatch.setattr(owner, name, broken)
    status, printed = fuzz(capsys, "-n", "500", "--seed", SEED, "--no-corpus")
    assert status == 1
    failure = next(line for line in printed.splitlines() if line.startswith("FAIL"))
    assert said in failure
    replay = re.search(r"wattlog-tools fuzz (.*); input: (?:[0-9a-f]{2})+$", failure)[1].split()
    status, again = fuzz(capsys, *replay)
    assert status == 1
    assert again.splitlines()[-1].endswith(failure.partition("; ")[0].removeprefix("FAIL "))
    monkeypatch.undo()
    status, again = fuzz(capsys, *replay)
    assert status == 0
    assert again.splitlines()[-1].endswith("all holds")


def test_a_decoder_that_takes_too_much_memory_is_found(capsys, monkeypatch):
    kept = []

    def greedy(payload, real=sml.parse):
        kept.append(bytearray(400_000))
        return real(payload)

    monkeypatch.setattr(decoder, "parse", greedy)
    status, printed = fuzz(capsys, "-n", "600", "--seed", SEED, "--no-corpus")
    assert status == 1
    assert "bytes of memory" in printed


def test_it_ends_in_time(capsys):
    status, printed = fuzz(capsys, "-n", "1000000000", "--seconds", "0.2", "--no-corpus")
    assert status == 0
    assert 0 < int(row(printed, "inputs").split()[0]) < 100_000


def test_frames_of_captures_are_found_by_their_ends_alone(corpus):
    families = frames.captured_families(corpus, 3)
    assert len(families) >= 20
    assert all(1 <= len(family) <= 3 for family in families)


# --- messages of agents -----------------------------------------------------------------------


def test_no_message_of_an_agent_does_more_than_it_should(capsys):
    status, printed = fuzz(capsys, "--wire", "-n", str(INPUTS), "--seed", SEED)
    assert status == 0, printed
    assert row(printed, "failures") == "none"
    # It has really been somewhere: each kind was accepted, and refused for what is inside.
    for kind in "bslur":
        assert int(re.search(rf"(\d+) {kind}\b", row(printed, "accepted"))[1]) > 500, kind
    for reason in ("nested too deep", "too many elements", "message too long", "channels do not rise",
                   "records: length", "boot is not 1..2^32-1", "state", "meters"):  # fmt: skip
        assert re.search(rf"\d+ {re.escape(reason)}(,|$)", row(printed, "refused")), reason


def raise_other(edge, topic_edge):
    raise bounds.WireError("edge is not the topic's")


def hasty(flat, real=wire._triples):
    return (
        tuple(zip(flat[::3], flat[1::3], flat[2::3], strict=True)) if len(flat) > 2 else real(flat)
    )


BROKEN_WAYS_IN = (
    ("a decoder raises", wire, "_triples", hasty, "raised "),
    ("texts stay as they are", status_module, "safe_text", lambda text: text, "breaks a bound"),
    ("the desk takes nothing", desk.Desk, "_fits", never, "a good batch is lost"),
    ("every status is another's", desk, "_require_own", raise_other, "a good"),
)


@pytest.mark.parametrize(
    ("owner", "name", "broken", "said"), [b[1:] for b in BROKEN_WAYS_IN],
    ids=[b[0] for b in BROKEN_WAYS_IN],
)  # fmt: skip
def test_a_broken_way_in_is_found_and_can_be_run_again(
    capsys, monkeypatch, owner, name, broken, said
):
    monkeypatch.setattr(owner, name, broken)
    status, printed = fuzz(capsys, "--wire", "-n", "8000", "--seed", SEED)
    assert status == 1
    failure = next(line for line in printed.splitlines() if line.startswith("FAIL"))
    assert said in failure
    replay = re.search(r"wattlog-tools fuzz (.*); input: (?:[0-9a-f]{2})+$", failure)[1].split()
    assert fuzz(capsys, *replay)[0] == 1
    monkeypatch.undo()
    status, again = fuzz(capsys, *replay)
    assert status == 0
    assert again.splitlines()[-1].endswith("all holds")


def test_a_way_in_that_takes_too_much_memory_is_found(capsys, monkeypatch):
    kept = []

    def greedy(data, bytes_max, real=bounds.check_bounds):
        kept.append(bytearray(400_000))
        return real(data, bytes_max)

    monkeypatch.setattr(bounds, "check_bounds", greedy)
    status, printed = fuzz(capsys, "--wire", "-n", "600", "--seed", SEED)
    assert status == 1
    assert "bytes of memory" in printed


def test_messages_do_not_run_on_micropython(capsys):
    assert main(["fuzz", "--wire", "--micropython"]) == 2
    assert "does not run on MicroPython" in capsys.readouterr().err
