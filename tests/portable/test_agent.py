"""One agent: bytes in, records logged, status told."""

from agent_world import POWER, SERVER_ID, OpenLink, World, frame
from wattlog.agent import POLL_MS
from wattlog.uplink import CLAIM_MS
from wattlog_sim import sml_writer as w


def test_a_frame_becomes_a_record():
    world = World()
    world.feed(234, frame(6))
    assert world.feed(1234, frame(7)) <= 1234 + POLL_MS
    assert world.records() == [
        [1, 234, SERVER_ID, 6, [1, 1989275, -1, 10, 28, 0]],
        [1, 1234, SERVER_ID, 7, [1, 1989275, -1, 10, 28, 0]],
    ]


def test_a_frame_in_pieces_is_stamped_when_it_is_whole():
    world = World()
    world.feed(0, frame(6))
    data = frame(7)
    for at in range(0, len(data), 10):
        world.source.waiting.append(data[at : at + 10])
    now_ms = 0
    while world.source.waiting:
        now_ms += 10
        world.agent.step(now_ms)
    assert [record[1] for record in world.records()] == [0, now_ms]


def test_a_first_reading_waits_for_a_second_but_not_for_ever():
    world = World()
    world.feed(0, frame(6))
    world.agent.step(9_999)
    assert world.records() == []
    world.agent.step(10_000)
    assert [record[1] for record in world.records()] == [0]


def test_a_first_reading_is_kept_at_the_end():
    world = World()
    world.feed(0, frame(6))
    world.agent.stop()
    assert [record[1] for record in world.records()] == [0]


def test_what_the_gate_holds_is_logged_with_its_own_time_or_not_at_all():
    world = World(OpenLink())
    for second in range(3):
        world.feed(second * 1000, frame(second))
    world.feed(3_000, frame(3, import_wh_e1=9_000_000))  # a glitch
    world.feed(4_000, frame(4))
    world.feed(5_000, frame(5, import_wh_e1=5))  # a reset
    assert [record[3] for record in world.records()] == [0, 1, 2, 4]
    world.feed(6_000, frame(6, import_wh_e1=6))
    assert [record[1:4:2] for record in world.records()] == [
        [0, 0], [1_000, 1], [2_000, 2], [4_000, 4], [5_000, 5], [6_000, 6]
    ]  # fmt: skip
    world.feed(7_000, frame(7, full=False, import_wh_e1=7))
    world.agent.uplink.announce()
    world.agent.step(8_000)
    assert world.meter()["quarantine"] == {
        "held": 1, "released": 1, "glitch": 1, "jumps": 1, "falls": 1, "set": 1,
    }  # fmt: skip
    assert world.meter()["frame_age_ms"] == 2_000
    said = "/dev/ttyUSB0: the counters of meter 1 ESM00 12345678 were reset"
    assert world.said.count(said) == 1


def test_an_exchanged_meter_is_said():
    world = World()
    new_id = SERVER_ID[:-1] + b"\x4f"
    for second in range(2):
        world.feed(second * 1000, frame(second))
    for second in range(2, 5):
        world.feed(second * 1000, frame(second, server_id=new_id))
    assert [record[2] for record in world.records()] == [SERVER_ID] * 2 + [new_id] * 3
    port = "/dev/ttyUSB0: "
    assert world.said[-2:] == [
        port + "meter 1 ESM00 12345678 was exchanged for 1 ESM00 12345679",
        port + "this is meter 1 ESM00 12345679",
    ]


def test_readings_go_on_while_there_is_no_connection():
    world = World()
    for second in range(5):
        world.source.waiting.append(frame(second))
        world.agent.step(second * 1000)
    assert [record[3] for record in world.records()] == [0, 1, 2, 3, 4]
    assert len([line for line in world.said if "no broker" in line]) == 1


def test_what_is_dropped_is_told_by_reason():
    world = World(OpenLink())
    good = frame(7)
    nonsense = w.transport(b"\x05abcdefg")
    world.source.waiting.append(good[:30] + b"\xff" + good[31:] + nonsense + good + good)
    world.agent.step(0)
    world.agent.step(CLAIM_MS)
    status = world.link.sent[-1]
    (meter,) = status["meters"]
    assert meter["frames"] == 2
    assert meter["drops"] == {"crc": 1, "structure": 1}
    assert meter["bytes"] == 3 * len(good) + len(nonsense)
    assert meter["server_id"] == SERVER_ID
    assert meter["frame_age_ms"] == CLAIM_MS
    assert meter["full_dataset"] is True
    assert meter["hint"] is None
    assert meter["quarantine"] == {"held": 0}
    assert status["platform"] == "test"


def test_a_meter_without_its_pin_gets_a_hint():
    world = World(OpenLink())
    world.feed(0, frame(7, full=False) + frame(8, full=False))
    assert len([line for line in world.said if "PIN" in line]) == 1
    world.agent.step(CLAIM_MS)
    assert "PIN" in world.meter()["hint"]
    # The PIN is entered: a changed set counts from the second reading on.
    for second in range(9, 12):
        world.feed(second * 1000, frame(second))
    world.agent.step(12_000)
    assert world.meter()["full_dataset"] is True
    assert world.meter()["hint"] is None
    assert len([line for line in world.said if "PIN" in line]) == 1


def test_a_port_without_a_byte_or_with_nonsense_is_diagnosed():
    world = World(OpenLink())
    for now_ms in range(0, 10_001, 1_000):
        world.agent.step(now_ms)
    silent = "no byte comes: is the head on the LED, the right way up?"
    assert world.meter()["hint"] == silent
    assert world.said.count("/dev/ttyUSB0: " + silent) == 1
    for now_ms in range(11_000, 21_000, 1_000):
        world.feed(now_ms, b"1-0:1.8.0*255(000123.4*kWh)\r\n" * 8)
    assert "D0" in world.meter()["hint"]
    for second in range(21, 24):
        world.feed(second * 1000, frame(second))
    assert world.meter()["hint"] is None


def test_a_closed_port_is_not_called_silent():
    world = World(OpenLink())
    for now_ms in range(0, 11_000, 1_000):
        world.agent.step(now_ms)
    assert world.meter()["hint"] is not None
    world.source.problem = "there is no such port"
    for now_ms in range(11_000, 60_000, 1_000):
        world.agent.step(now_ms)
    assert world.meter()["hint"] is None
    world.source.problem = None
    for now_ms in range(60_000, 70_000, 1_000):
        world.agent.step(now_ms)
        assert world.meter()["hint"] is None
    world.agent.step(70_000)
    assert world.meter()["hint"] is not None


def test_a_meter_that_says_nothing_is_told_as_unknown():
    world = World(OpenLink())
    world.agent.step(0)
    world.agent.step(CLAIM_MS)
    (meter,) = world.link.sent[-1]["meters"]
    for key in ("server_id", "frame_age_ms", "full_dataset", "hint", "trouble"):
        assert meter[key] is None, key


def test_trouble_with_a_port_is_said_once_and_told_at_once():
    world = World(OpenLink())
    world.agent.step(0)
    world.agent.step(CLAIM_MS)
    del world.link.sent[:]
    del world.said[:]
    world.source.problem = "the port is gone"
    for now_ms in range(CLAIM_MS, CLAIM_MS + 2000, 50):
        world.agent.step(now_ms)
    assert world.said == ["/dev/ttyUSB0: the port is gone"]
    states = [body["meters"][0]["state"] for body in world.link.sent]
    assert states == ["closed"]
    world.source.problem = None
    world.agent.step(CLAIM_MS + 2000)
    assert world.said[-1] == "/dev/ttyUSB0: open"


def test_two_lists_in_one_frame_are_two_readings():
    world = World()
    message = w.message(
        b"\x01",
        w.TAG_GET_LIST_RESPONSE,
        w.get_list_response(SERVER_ID, [w.entry(POWER, w.signed(1, 1), unit=27, scaler=0)]),
    )
    world.source.waiting.append(w.transport(message + message))
    world.agent.step(0)
    assert len(world.records()) == 2


def test_a_reading_is_shown_at_once():
    world = World(OpenLink())
    world.agent.step(0)
    world.agent.step(CLAIM_MS)
    world.feed(4_000, frame(1) + frame(2))
    assert [row[5] for row in world.link.lives] == [2]
    assert world.link.lives[0][6] == [1, 1989275, -1, 10, 28, 0]
