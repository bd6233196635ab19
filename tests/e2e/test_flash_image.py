"""The image that a person flashes, booted byte for byte: what `wattlog-tools flash` leaves, put
into a chip's 4 MB by esptool's own hand, is all of ours that this board has.
"""

import os
import re
import shlex
import subprocess
import sys
import time
from hashlib import shake_128
from itertools import pairwise
from math import ceil

import pytest

from air import Air
from boards import FlashBoard
from head_world import EDGE, HOUSE, WATCHDOG_MS, World, sent_by_the_meter
from stored import stored_losses, stored_readings
from synthetic_firmware import firmware
from toolbox import micropython_facts
from waiting import wait_until
from wattlog.ringlog import RingLog
from wattlog_sim.flash import FakeFlash
from wattlog_sim.house import COMMISSIONED_EPOCH_S
from wattlog_sim.lcg import Lcg
from wattlog_sim.meters import Meter, model_named
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
# All of these pass in real time: the meter sends a frame a second at 9600 baud, and the terminal
# holds 4 095 bytes of them, where the UART of a head has 4 096.
FRAMES_S = 25
BROKER_STOPPED_S = 30
WIFI_GONE_S = 60
LOOK_EVERY_S = 0.25
CATCH_UP_S_MAX = 30
SEED = int(os.environ.get("WATTLOG_SEED", "1"))
CUTS = 3
CUT_AFTER_MAX = 16  # about one write for a reading: some seconds
# Around a cut, beside the seconds in which the head was off: a frame that is cut into at each
# end, the record that was torn, and the first reading, which waits for a second that fits it.
AROUND_A_CUT_S = 4
METER = Meter(model_named("mt681"), HOUSE)


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

    def __init__(self, folder, broker, free_port):
        super().__init__(folder, broker, free_port)
        self.air = Air(broker.port)
        self.no_wifi = folder / "no_wifi"
        self.cut_s = 0.0  # when the power went last

    def stop(self):
        super().stop()
        self.air.close()

    def make_flash(self):
        """Make the image and write it into a blank chip."""
        config = self.folder / "head.toml"
        config.write_text(TOML.format(edge=EDGE, port=self.air.port))
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
            BOARD_UART1=self.line,
            BOARD_WDT_MS=WATCHDOG_MS,
            BOARD_WIFI_DOWN=self.no_wifi,
            **board,
        )
        self.spawn("head", self.board.start(heap_kib), environment)

    def seqs_in_flash(self):
        """The numbers of the records that wait in the log, as another reader finds them."""
        place = partitions.find("ringlog")
        flash = self.flash.read_bytes()[place.offset : place.offset + place.size]
        log = RingLog(FakeFlash(place.size // 4096, 4096, bytearray(flash)), lambda: 1)
        return [seq for seq, _ in log.read_after(0)]

    def wait_for_so_many(self, count, newest):
        """As wait_for_readings_after(), for longer times: it leaves the machine to the others."""

        def found():
            newer = [second for second in self.readings() if second > newest]
            return max(newer) if len(newer) >= count else None

        what = f"{count} readings after {newest}"
        return wait_until(found, what, count + CATCH_UP_S_MAX, LOOK_EVERY_S)

    def start_again(self, **board):
        """Start the head after a power cut; return for how long it did not listen to the meter."""
        seen = len(self.log("head")) if "head" in self.processes else 0
        self.start_head(**board)
        head = self.processes["head"]

        def listens():
            return "records wait in flash" in self.log("head")[seen:] or head.poll() is not None

        wait_until(listens, "the start")
        return time.monotonic() - self.cut_s if seen else 0.0

    def wait_for_the_power_cut(self):
        head = self.processes["head"]
        wait_until(lambda: head.poll() is not None, "the power cut")
        self.cut_s = time.monotonic()
        assert head.returncode == STATUS_CUT, self.log("head")

    def port(self):
        """What the head's last status says of its meter."""
        return self.get("/status")["agents"][0]["ports"][0]


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
