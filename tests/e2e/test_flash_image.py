"""The image that a person flashes, booted byte for byte: what `wattlog-tools flash` leaves, put
into a chip's 4 MB by esptool's own hand, is all of ours that this board has.
"""

import os
import re
import time
from itertools import pairwise
from math import ceil

import pytest

from flash_world import HEAP_KIB, LOOK_EVERY_S, FlashWorld
from head_world import HOUSE, sent_by_the_meter
from stored import stored_losses, stored_readings
from waiting import wait_until
from wattlog_sim.house import COMMISSIONED_EPOCH_S
from wattlog_sim.lcg import Lcg
from wattlog_sim.meters import Meter, model_named
from wattlog_tools import partitions

# Of the flash's writes and erases: the first erase, the next write, and in the middle of batches.
CUTS_AFTER = (1, 2, 40, 41)
SPEED = 20
READINGS = 5
# All of these pass in real time: the meter sends a frame a second at 9600 baud, and the terminal
# holds 4 095 bytes of them, where the UART of a head has 4 096.
FRAMES_S = 25
BROKER_STOPPED_S = 30
WIFI_GONE_S = 60
SEED = int(os.environ.get("WATTLOG_SEED", "1"))
CUTS = 3
CUT_AFTER_MAX = 16  # about one write for a reading: some seconds
# Around a cut, beside the seconds in which the head was off: a frame that is cut into at each
# end, the record that was torn, and the first reading, which waits for a second that fits it.
AROUND_A_CUT_S = 4
METER = Meter(model_named("mt681"), HOUSE)


def pass_time(seconds):
    ends_s = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > ends_s, "the time", seconds + 5, LOOK_EVERY_S)


def frame_bytes(sec_index):
    return len(METER.frame(COMMISSIONED_EPOCH_S + sec_index, sec_index))


def assert_once_and_right(stored):
    seconds = [one.sec_index for one in stored]
    assert len(set(seconds)) == len(seconds), "a second is there twice"
    for one in stored:
        assert one.values == sent_by_the_meter(one.sec_index), one.sec_index


@pytest.fixture
def world(tmp_path, mosquitto, free_port):
    it = FlashWorld(tmp_path, mosquitto, free_port)
    it.make_flash()
    try:
        yield it
    finally:
        it.stop()


def test_the_image_starts_and_its_readings_arrive(world):
    before = world.flash.read_bytes()
    world.start_without_head()
    world.start_head()
    world.wait_for_readings_after(0, READINGS)
    readings = world.readings()
    for sec_index, values in readings.items():
        assert values == sent_by_the_meter(sec_index), sec_index
    said = world.log("head")
    assert "Traceback" not in said, said
    assert "0 records wait in flash" in said, "the log is in the partition"
    free_bytes = [int(word) for word in re.findall(r"(\d+) bytes of heap free", said)]
    assert free_bytes, said
    print(f"{len(readings)} readings; of {HEAP_KIB} KiB of heap free: {free_bytes}")
    start = partitions.find("ringlog").offset
    after = world.flash.read_bytes()
    assert after[:start] == before[:start], "a head writes into its log only"
    assert after[start:] != before[start:]


def test_a_power_cut_at_a_write_or_an_erase_loses_no_reading_that_was_kept(world):
    world.start_without_head("--speed", SPEED, "--baud", 9600 * SPEED)
    world.broker.stop()  # so that what is kept stays in the log
    kept = []
    for cut_after in CUTS_AFTER:
        world.start_head(BOARD_CUT_AFTER=cut_after)
        world.wait_for_the_power_cut()
        found = world.seqs_in_flash()
        assert found[: len(kept)] == kept, f"cut after {cut_after}"
        kept = found
    assert kept, "something was kept"
    world.broker.start()
    world.start_head()

    def arrived():
        known = {one.seq for one in stored_readings(world.database)}
        # Records are numbered without a gap; what is no reading is a sync point.
        ((syncs,),) = world.query("SELECT count(*) FROM sync_point")
        return known and max(known) > kept[-1] and len(known) + syncs >= max(known)

    wait_until(arrived, f"the records {kept[0]} to {kept[-1]}")
    for sec_index, values in world.readings().items():
        assert values == sent_by_the_meter(sec_index), sec_index
    assert "Traceback" not in world.log("head"), world.log("head")
    print(f"{len(kept)} records through {len(CUTS_AFTER)} power cuts, none missing")


def test_whatever_the_network_does_no_second_and_no_byte_of_the_meter_is_lost(world):
    world.start_without_head()
    world.start_head()
    newest = world.wait_for_so_many(FRAMES_S // 2, 0)
    world.broker.kill()
    wait_until(lambda: "the broker closed the connection" in world.log("head"), "the loss is said")
    world.broker.start()
    newest = world.wait_for_so_many(FRAMES_S - FRAMES_S // 2, newest)

    with world.broker_stopped():
        pass_time(BROKER_STOPPED_S)
    newest = world.wait_for_so_many(BROKER_STOPPED_S, newest)

    refused = world.log("head").count("no Wi-Fi")
    with world.air.silent():
        world.no_wifi.touch()
        wait_until(lambda: "Wi-Fi home: lost" in world.log("head"), "the loss of the Wi-Fi")
        pass_time(WIFI_GONE_S)
        assert max(world.readings()) <= newest + 2, "nothing comes through"
        assert world.log("head").count("no Wi-Fi") == refused + 1, "noticed by the silence"
        world.no_wifi.unlink()
    world.wait_for_so_many(WIFI_GONE_S, newest)

    readings = world.readings()
    assert_once_and_right(stored_readings(world.database))
    first = min(readings)
    assert sorted(readings) == list(range(first, max(readings) + 1)), "a second is missing"
    assert stored_losses(world.database).records == 0
    said = world.log("head")
    assert "Traceback" not in said, said

    # The head counts what it has read, and we know the length of each frame. Beside the whole ones
    # there is one of which it saw the end when it started, and one that was on its way when it
    # spoke. Bytes lost in a whole one would be a drop, bytes that are no frame an excess.
    port = world.port()
    assert port["drops"] == {}, port
    whole = sum(map(frame_bytes, range(first, first + port["frames"])))
    assert 0 <= port["bytes"] - whole < 2 * frame_bytes(first), (port, whole)
    world.processes["meter"].terminate()
    world.processes["meter"].wait(10)
    assert "lost" not in world.log("meter"), "of what waited to be read"
    free_bytes = [int(word) for word in re.findall(r"(\d+) bytes of heap free", said)]
    print(
        f"{len(readings)} seconds, none missing; {port['bytes']} bytes, 0 lost; "
        f"of {HEAP_KIB} KiB of heap free at the lowest: {min(free_bytes)}"
    )


def test_three_power_cuts_at_random_lose_no_second_in_which_the_head_was_on(world):
    rng = Lcg(SEED, 0)
    cuts_after = [1 + rng.below(CUT_AFTER_MAX) for _ in range(CUTS)]
    print(f"WATTLOG_SEED={SEED}: cuts after {cuts_after} writes and erases")
    world.start_without_head()
    off_s = 0.0
    for cut_after in cuts_after:
        off_s += world.start_again(BOARD_CUT_AFTER=cut_after)
        world.wait_for_the_power_cut()
    off_s += world.start_again()
    world.wait_for_so_many(READINGS, max(world.readings(), default=0))

    stored = stored_readings(world.database)
    assert_once_and_right(stored)
    missing = 0
    for before, after in pairwise(stored):
        step = after.sec_index - before.sec_index
        assert step == 1 or (step > 1 and before.boot != after.boot), (before, after)
        missing += step - 1
    assert missing <= ceil(off_s) + CUTS * AROUND_A_CUT_S, (missing, off_s)
    assert stored_losses(world.database).records == 0
    assert world.port()["drops"] == {}, world.port()
    assert "Traceback" not in world.log("head"), world.log("head")
    print(f"{len(stored)} seconds in {CUTS + 1} starts; {missing} missing, off for {off_s:.1f} s")
