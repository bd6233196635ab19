"""A head in virtual time, whole but for its board: the heap of its day, and its longest step."""

import re
from json import dumps
from pathlib import Path

import pytest

from boards import Board
from toolbox import micropython_facts
from wattlog_sim.house import COMMISSIONED_EPOCH_S, House
from wattlog_sim.meters import Meter, model_named

HERE = Path(__file__).parent
HOURS = 24
EVERY_S = 10
# With the fakes, the UART's 4 KiB, and their names, for which the table of names doubles; a day is
# judged with what is over taken away when the head has started.
HEAP_KIB = 84
TLS_KIB = 8
PIECE_BYTES_MAX = 8_192
SETTLED_HOURS = slice(1, 4)  # the second to the fourth: all is loaded and has run once
LAST_HOURS = slice(HOURS - 4, HOURS)
RUN_S_MAX = 120
FIRST_S = 60_000_000

# A UART holds 4 096 bytes: so long it takes 9600 baud, 8N1, to fill it.
RX_BYTES = 4_096
STEP_MS_MAX = RX_BYTES * 10 * 1000 // 9600
# A minute each: o open, g gone, m mute, d deaf host, s slow; a capital: the time server is silent.
MOODS = (
    ("nobody listens", "GGGG"),
    ("connections are taken and nothing is said", "MMMM"),
    ("it falls silent, with its connection up", "oMMM"),
    ("each piece takes nearly the whole deadline", "SSSS"),
    ("it becomes slow, with its connection up", "oSoSoSoSoS"),
    ("all by turns", "ogmdsoGMDSodgsmoDGSM"),
)


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    names = ("drive_day", "drive_steps")
    programs = [HERE / f"{name}.py" for name in names]
    return Board(tmp_path_factory.mktemp("board"), (*(HERE / "virtual").glob("*.py"), *programs))


@pytest.fixture
def run(board, tmp_path):
    """run(program, argument, frames, seconds between them): what the head has said."""

    def start(program, argument, count, every_s, **more):
        settings = {
            "agent.id": "cellar",
            "wifi.ssid": "home",
            "mqtt.host": "broker",
            "meter.rx": 16,
            "meter.tx": 17,
            **more,
        }
        (tmp_path / "ca.der").write_bytes(b"any")
        (tmp_path / "wattlog.json").write_text(dumps(settings))
        (tmp_path / "flash").write_bytes(b"\xff" * 65_536)
        meter = Meter(model_named("mt681"), House(3, 0))
        with (tmp_path / "frames").open("wb") as file:
            for sec_index in range(FIRST_S, FIRST_S + count * every_s, every_s):
                frame = meter.frame(COMMISSIONED_EPOCH_S + sec_index, sec_index)
                file.write(len(frame).to_bytes(2, "big") + frame)
        heap_kib = HEAP_KIB + TLS_KIB if "mqtt.tls" in more else HEAP_KIB
        heap_kib = heap_kib if micropython_facts()["WORD_BITS"] == "32" else heap_kib * 3 // 2
        given = {"BOARD_FRAMES": tmp_path / "frames", "BOARD_RINGLOG": tmp_path / "flash"}
        argument = f"{tmp_path}/wattlog.json {argument}"
        done = board.run(program, argument, RUN_S_MAX, heap_kib, **given)
        assert done.returncode == 0, done.stdout
        assert "Traceback" not in done.stdout, done.stdout
        return done.stdout

    return start


def numbers(said, name):
    """What stands behind this name, in each line that has it."""
    return [int(number) for number in re.findall(rf"\b{name} (\d+)", said)]


def test_a_day_takes_no_heap_and_no_piece_above_8_kib(run):
    said = run("drive_day", HOURS, HOURS * 3600 // EVERY_S + 10, EVERY_S)
    used = numbers(said, "used")
    assert len(used) == HOURS * 60, said
    hours = [sorted(used[start : start + 60]) for start in range(0, len(used), 60)]
    # Each hour has the same troubles, so that what rests between two steps has to be the same too:
    # the least, and a quarter. The most depends on what the troubles meet, and is only printed.
    for index in (0, 15):
        settled = max(hour[index] for hour in hours[SETTLED_HOURS])
        last = max(hour[index] for hour in hours[LAST_HOURS])
        assert last <= settled, f"grown by {last - settled} bytes: {[h[index] for h in hours]}"
    assert max(numbers(said, "largest")) <= PIECE_BYTES_MAX, said
    # It has lived: nothing was lost for want of memory, and all has come home.
    assert "no memory" not in said and "MemoryError" not in said, said
    assert set(re.findall("drops (.*)", said)) == {"{}"}, said
    played, frames = numbers(said, "played")[-1], numbers(said, "frames")[-1]
    assert frames == played >= HOURS * 3600 // EVERY_S
    assert numbers(said, "lost")[-1] == 0
    assert max(numbers(said, "records")[8:11]) > 500, "the log filled while nobody was there"
    assert numbers(said, "records")[-1] < 10, said
    print(f"least, a quarter, most in use: {[(hour[0], hour[15], hour[-1]) for hour in hours]}")


@pytest.mark.parametrize("more", [{}, {"mqtt.tls": True}], ids=["plain", "TLS"])
@pytest.mark.parametrize(("_name", "moods"), MOODS, ids=[name for name, _ in MOODS])
def test_no_step_takes_longer_than_the_uart_holds(run, _name, moods, more):
    said = run("drive_steps", moods, 60 * len(moods) * 3, 1, **more)
    (longest_ms,) = numbers(said, "longest_ms")
    assert 0 < longest_ms <= STEP_MS_MAX, said
    assert numbers(said, "lost") == [0], "however many such steps follow each other"
    assert ("connected to the broker" in said) == (moods[0] == "o"), said
    print(f"{moods}: {longest_ms} ms of {STEP_MS_MAX}")
