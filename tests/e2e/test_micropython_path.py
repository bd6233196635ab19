"""The whole way of a reading on the device's interpreter: a meter on a terminal at 9600 baud, the
firmware under 32-bit MicroPython with an ESP32's heap, a real broker, the real host, its database.
"""

import re
import time
from json import dumps

import paho.mqtt.client
import paho.mqtt.enums
import pytest

from boards import MAIN, HeadBoard
from head_world import EDGE, WATCHDOG_MS, World, sent_by_the_meter, settings_of
from stored import stored_losses, stored_readings
from toolbox import micropython_facts
from waiting import wait_until
from wattlog.framing import START
from wattlog.ringlog import RingLog
from wattlog_host.eyes import decode_raw, pack_raw_wish, pack_restart
from wattlog_host.wire import topic_command
from wattlog_sim.flash import FakeFlash

BROKER_STOPPED_S = 3
FLASH_BYTES = 131_072
SPEED = 20
RAW_BYTES = 1_024
STATUS_RESTART = 76  # of the fake machine.reset()
HEAP_SLACK_BYTES = 2_048  # garbage is collected for the one figure and not for the other
OUTAGE_S = 3_600


class RomWorld(World):
    """With a head whose byte code is executed where it lies."""

    def start(self, *meter_arguments):
        self.start_without_head(*meter_arguments)
        self.settings = self.folder / "wattlog.json"
        self.settings.write_text(dumps(settings_of(self.broker.port)))
        board = HeadBoard(self.folder / "board")
        flash = self.folder / "flash"
        flash.write_bytes(b"\xff" * FLASH_BYTES)
        environment = board.environment(
            BOARD_UART1=self.line, BOARD_WDT_MS=WATCHDOG_MS, BOARD_RINGLOG=flash
        )
        self.spawn("head", board.command(MAIN, str(self.settings)), environment)

    def logged(self):
        """How many records the head's log has taken so far."""
        image = bytearray((self.folder / "flash").read_bytes())
        return RingLog(FakeFlash(len(image) // 4096, 4096, image)).stats().next_seq - 1


@pytest.fixture
def new_world(tmp_path, mosquitto, free_port):
    it = RomWorld(tmp_path, mosquitto, free_port)
    try:
        yield it
    finally:
        it.stop()


@pytest.fixture
def world(new_world):
    new_world.start()
    return new_world


def test_a_frame_passes_from_the_uart_into_the_database_whatever_the_broker_does(world):
    newest = world.wait_for_readings_after(0, 3)
    latest = wait_until(lambda: world.get("/api/latest_reading"), "the page")

    world.broker.kill()
    wait_until(lambda: "the broker closed the connection" in world.log("head"), "the loss is said")
    world.broker.start()
    # A broker that takes connections and says nothing: the deadline has to end the waiting.
    with world.broker_stopped():
        wait_until(lambda: "no answer" in world.log("head"), "the silence is said")
    newest = world.wait_for_readings_after(newest, 4)

    with world.broker_stopped():
        silence_ends_s = time.monotonic() + BROKER_STOPPED_S
        wait_until(lambda: time.monotonic() > silence_ends_s)
    world.wait_for_readings_after(newest, BROKER_STOPPED_S + 1)

    readings = world.readings()
    for sec_index, values in readings.items():
        assert values == sent_by_the_meter(sec_index), sec_index
    stored = stored_readings(world.database)
    last = max(stored, key=lambda one: one.seq)
    # Records are numbered from 1 without a gap; each is a reading or a sync point.
    ((syncs,),) = world.query(
        f"SELECT count(*) FROM sync_point WHERE uptime_ms <= {last.uptime_ms}"
    )
    assert last.seq == len(stored) + syncs, (
        "nothing is lost while the broker is away, and nothing comes twice"
    )
    assert latest["energy_in_kwh"] > 0
    assert "Traceback" not in world.log("head"), world.log("head")
    free_bytes = [int(word) for word in re.findall(r"(\d+) bytes of heap free", world.log("head"))]
    print(f"{len(readings)} readings; of {micropython_facts()['HEAP']} heap free: {free_bytes}")
    assert free_bytes, world.log("head")


def test_a_head_tells_what_it_is_made_of_and_does_what_the_host_asks(new_world):
    world = new_world
    crash = world.folder / "crash.txt"
    crash.write_text("0000000b\n61000\nValueError: x\nagent.py:7 take")
    world.start()
    world.wait_for_readings_after(0, 3)

    def board():
        (agent,) = (world.get("/status") or {"agents": [None]})["agents"]
        return agent and agent["board"]

    first = wait_until(board, "the board's state")
    assert first["reset_cause"] == "power-on or brown-out"
    assert (first["rssi_dbm"], first["wifi_reconnects"], first["wdt"]) == (-61, 0, None)
    assert 0 < first["heap_min"] <= first["heap_free"] + HEAP_SLACK_BYTES
    wait_until(lambda: not crash.exists(), "the host has had the crash")
    wait_until(lambda: board()["crash"] is None, "it is told no more")
    events = [event["text"] for event in world.get("/status")["events"]]
    text = f"agent {EDGE} had crashed: ValueError: x (agent.py:7 take)"
    assert events.count(text) == 1, events

    boot = int(world.get("/status")["agents"][0]["boot"], 16)
    pieces = []
    client = paho.mqtt.client.Client(paho.mqtt.enums.CallbackAPIVersion.VERSION2)
    client.on_message = lambda *given: pieces.append(decode_raw(given[2].payload))
    client.connect("127.0.0.1", world.broker.port)
    client.subscribe(f"wattlog/1/{EDGE}/r")
    client.loop_start()
    try:
        client.publish(topic_command(EDGE), pack_raw_wish(RAW_BYTES))
        wait_until(lambda: sum(len(one.data) for one in pieces) >= RAW_BYTES, "the raw bytes")
        data = b"".join(one.data for one in pieces)
        assert START in data
        assert len(data) == RAW_BYTES
        ends = [one.offset + len(one.data) for one in pieces]
        assert [0, *ends] == [*(one.offset for one in pieces), RAW_BYTES], "without a hole"
        client.publish(topic_command(EDGE), pack_restart(boot ^ 1))
        world.wait_for_readings_after(max(world.readings()), 2)
        client.publish(topic_command(EDGE), pack_restart(boot))
        head = world.processes.pop("head")
        assert head.wait(10) == STATUS_RESTART
    finally:
        client.loop_stop()
        client.disconnect()
    wait_until(lambda: world.get("/status")["agents"][0]["state"] == "offline", "its goodbye")
    assert "Traceback" not in world.log("head"), world.log("head")
    assert "no memory" not in world.log("head"), world.log("head")


def test_an_hour_without_a_host_leaves_no_second_out(new_world):
    world = new_world
    world.start("--speed", SPEED, "--baud", 9600 * SPEED)
    newest = world.wait_for_readings_after(0, SPEED)
    world.kill_host()
    world.broker.kill()
    before = world.logged()
    wait_until(lambda: world.logged() > before + OUTAGE_S, "an hour of readings", OUTAGE_S, 1)
    world.broker.start()
    world.start_host()

    def is_caught_up():
        seconds = world.readings()
        return seconds if max(seconds, default=0) > newest + OUTAGE_S else None

    readings = wait_until(is_caught_up, "the backlog", 60, 1)
    assert sorted(readings) == list(range(min(readings), max(readings) + 1)), "a second is missing"
    for sec_index, values in sorted(readings.items()):
        assert values == sent_by_the_meter(sec_index), sec_index
    assert stored_losses(world.database).records == 0
    assert "Traceback" not in world.log("head"), world.log("head")
    print(f"{len(readings)} seconds, none missing")
