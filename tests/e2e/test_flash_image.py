"""The image that a person flashes, booted byte for byte: what `wattlog-tools flash` leaves, put
into a chip's 4 MB by esptool's own hand, is all of ours that this board has.
"""

import re
import shlex
import subprocess
import sys
from hashlib import shake_128

import pytest

from boards import FlashBoard
from head_world import EDGE, WATCHDOG_MS, World, sent_by_the_meter
from stored import stored_readings
from synthetic_firmware import firmware
from toolbox import micropython_facts
from waiting import wait_until
from wattlog.ringlog import RingLog
from wattlog_sim.flash import FakeFlash
from wattlog_tools import partitions
from wattlog_tools.chips import by_name

CHIP = by_name("esp32")
# Byte code in a file system is loaded into the heap: 104 KiB is the least that this passes with,
# and what is over is against chance. An ESP32 begins with 56 KiB and takes as much once more.
HEAP_KIB = 108
TOML = """\
[agent]
id = "{edge}"
[wifi]
ssid = "home"
password = "secret"
[mqtt]
host = "127.0.0.1"
port = {port}
[meter]
rx = 16
tx = 17
[uplink]
batch_s = 1
"""
STEP_S_MAX = 60
STATUS_CUT = 78
# Of the flash's writes and erases: the first erase, the next write, and in the middle of batches.
CUTS_AFTER = (1, 2, 40, 41)
SPEED = 20
READINGS = 5


def run(*command):
    done = subprocess.run(
        [str(word) for word in (sys.executable, "-m", *command)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=STEP_S_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


class FlashWorld(World):
    """With a head that starts from the whole flash of an ESP32."""

    def make_flash(self):
        """Make the image and write it into a blank chip."""
        config = self.folder / "head.toml"
        config.write_text(TOML.format(edge=EDGE, port=self.broker.port))
        given = self.folder / "ESP32_GENERIC.bin"
        given.write_bytes(firmware(CHIP))
        options = ["--chip", CHIP.name, "--config", config, "--firmware", given]
        said = run("wattlog_tools", "flash", *options, "--image-only", self.folder / "image")
        line = shlex.split(said.splitlines()[-1])
        parts = line[line.index("write-flash") + 1 :]
        self.flash = self.folder / "flash.bin"
        merge = ["--chip", CHIP.name, "merge-bin", "-o", self.flash, "--pad-to-size", "4MB"]
        run("esptool", *merge, *parts)
        assert self.flash.stat().st_size == partitions.FLASH_BYTES
        # What was there before: the log has to erase it first.
        with self.flash.open("r+b") as file:
            file.seek(partitions.find("ringlog").offset)
            file.write(shake_128().digest(partitions.find("ringlog").size))
        self.board = FlashBoard(self.folder / "board", self.flash)

    def start_head(self, **board):
        facts = micropython_facts()
        heap_kib = HEAP_KIB if facts["WORD_BITS"] == "32" else HEAP_KIB * 3 // 2
        environment = self.board.environment(
            BOARD_UART1=self.line, BOARD_WDT_MS=WATCHDOG_MS, **board
        )
        self.spawn("head", self.board.start(heap_kib), environment)

    def seqs_in_flash(self):
        """The numbers of the records that wait in the log, as another reader finds them."""
        place = partitions.find("ringlog")
        flash = self.flash.read_bytes()[place.offset : place.offset + place.size]
        log = RingLog(FakeFlash(place.size // 4096, 4096, bytearray(flash)), lambda: 1)
        return [seq for seq, _ in log.read_after(0)]


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
