"""The power-cut laboratory: CI's share of it, and proof that it notices what is broken."""

import re

import pytest

from wattlog import ringlog, ringrepair, ringsector
from wattlog_sim.flash import FakeFlash
from wattlog_tools import powercut
from wattlog_tools.cli import main

SEED = "2026"
CUTS = 50_000
NONE = ("--cuts", "0", "--doubles", "0", "--rots", "0", "--wavers", "0", "--faults", "0")


def run(capsys, *arguments):
    """Return (exit status, what it printed)."""
    status = main(["powercut", *arguments])
    return status, capsys.readouterr().out


def counts(printed):
    """The numbers of the last line, by what they count."""
    last = printed.splitlines()[-1].partition("; seed")[0].removeprefix("powercut: ")
    return {
        name: int(number)
        for number, name in re.findall(r"(\d+) ([a-z ]+)", last.replace(":", ","))
    }


def test_nothing_is_lost_and_nothing_invented(capsys):
    status, printed = run(capsys, "--seed", SEED, "--cuts", str(CUTS))
    assert status == 0, printed
    found = counts(printed)
    assert found["single cuts"] >= CUTS
    assert found["double cuts"] >= 5_000
    assert found["rotten bits"] >= 16_000
    assert found["wavering cells"] >= 4_000
    assert found["failing calls"] >= 4_000
    assert [found[kind] for kind in powercut.KINDS] == [0, 0, 0, 0]


@pytest.mark.parametrize("what", powercut.BREAKS)
def test_without_a_checksum_it_is_red_and_one_line_replays_it(capsys, what):
    status, printed = run(capsys, "--seed", SEED, "--break", what, "--jobs", "1")
    assert status == 1
    assert sum(counts(printed)[kind] for kind in powercut.KINDS) > 0
    failure = re.search(r"^FAIL (.*); again with: wattlog-tools powercut (.*)$", printed, re.M)
    again = failure[2].split()
    assert again[:2] == ["--break", what]
    status, printed = run(capsys, *again)
    assert status == 1
    assert printed.splitlines()[-1].endswith(failure[1])
    # The same case with the check in its place.
    status, printed = run(capsys, *again[2:])
    assert status == 0
    assert printed.splitlines()[-1].endswith("all holds")


def test_how_many_processes_changes_nothing(capsys):
    arguments = ("--seed", SEED, "--cuts", "3000", *NONE[2:])
    _, one = run(capsys, *arguments, "--jobs", "1")
    _, two = run(capsys, *arguments, "--jobs", "2")
    assert counts(one) == counts(two)
    assert counts(one)["single cuts"] >= 3000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--jobs", "0"), "at least 1"),
        (("--cuts", "-1"), "at least 0"),
        (("--seed", "-1"), "--seed"),
        (("--case", "cuts:1:0:0.9.9.9"), "has no case"),
    ],
)
def test_a_mistake_is_one_line(capsys, arguments, said):
    assert main(["powercut", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


# -- mutations: a log with a defect, and the experiment that must notice ------------------------


def replaced(owner, name, new):
    """A patch: new gets the real one first."""
    real = getattr(owner, name)
    return lambda patch: patch.setattr(
        owner, name, lambda *arguments, **keywords: new(real, *arguments, **keywords)
    )


def short_seal(real, crc):
    return real(crc) | 0xFF0000  # its last byte looks like erased flash


def cursor_ahead(real, released_seq, next_seq):
    return real(min(released_seq + 1, next_seq - 1), next_seq)


MUTATIONS = (
    ("a torn seal may look complete", replaced(ringsector, "seal_of", short_seal), "rots"),
    ("a cursor runs ahead", replaced(ringlog, "cursor", cursor_ahead), "cuts"),
    (
        "a tail is always taken for blank",
        replaced(ringsector.Sectors, "is_end", lambda *_: True),
        "cuts",
    ),
    (
        "a torn seq is never burnt",
        replaced(ringrepair, "next_seq", lambda real, sectors, block, offset, seq: seq),
        "wavers",
    ),
    (
        "every torn seq is burnt",
        replaced(ringrepair, "next_seq", lambda real, sectors, block, offset, seq: seq + 2),
        "cuts",
    ),
    (
        "nothing is repaired",
        replaced(ringrepair, "resume", lambda *_: None),
        "rots",
    ),
    (
        "a header is not repaired",
        replaced(ringrepair, "repaired_header", lambda *_: None),
        "rots",
    ),
    (
        "an erase is left out",
        replaced(ringsector.Sectors, "erase", lambda *_: None),
        "cuts",
    ),
    (
        "what is programmed is not read back",
        replaced(
            ringsector.Sectors,
            "program",
            lambda real, self, block, offset, data: (
                self._device.writeblocks(block, data, offset) or True
            ),
        ),
        None,
    ),
    (
        "a failed erase goes unnoticed",
        replaced(
            ringsector.Sectors,
            "erase",
            lambda real, self, block: self._device.ioctl(6, block) and None,
        ),
        "faults",
    ),
)


@pytest.mark.parametrize(
    ("mutate", "experiment"), [row[1:] for row in MUTATIONS], ids=[row[0] for row in MUTATIONS]
)
def test_a_defect_is_noticed(monkeypatch, capsys, mutate, experiment):
    mutate(monkeypatch)
    if experiment is None:
        device = FakeFlash(3, 256)
        log = powercut.mount(device, 1)
        device.stuck = {50: 0x01}
        log.append(b"\x00" * 60)
        assert list(powercut.mount(device, 1).read_after(0)) != [(1, b"\x00" * 60)]
        return
    at = NONE.index("--" + experiment)
    arguments = [*NONE[: at + 1], "3000", *NONE[at + 2 :]]
    status, printed = run(capsys, "--seed", SEED, "--jobs", "1", *arguments)
    assert status == 1, printed
