"""The image that a person flashes, booted byte for byte: what `wattlog-tools flash` leaves, put
into a chip's 4 MB by esptool's own hand, is all of ours that this board has.
"""

import re

import pytest

from flash_world import HEAP_KIB, FlashWorld
from head_world import sent_by_the_meter
from stored import stored_readings
from waiting import wait_until
from wattlog_tools import partitions

STATUS_CUT = 78
# Of the flash's writes and erases: the first erase, the next write, and in the middle of batches.
CUTS_AFTER = (1, 2, 40, 41)
SPEED = 20
READINGS = 5


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
        head = world.processes["head"]
        wait_until(lambda: head.poll() is not None, "the power cut")
        assert head.returncode == STATUS_CUT, world.log("head")
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
