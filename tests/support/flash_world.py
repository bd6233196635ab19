"""A head that starts from a whole flash, made by the tools that a person uses."""

import shlex
import subprocess
import sys
import time
from hashlib import shake_128

from air import Air
from boards import FlashBoard
from head_world import EDGE, WATCHDOG_MS, World
from synthetic_firmware import firmware
from toolbox import micropython_facts
from waiting import wait_until
from wattlog.ringlog import RingLog
from wattlog_sim.flash import FakeFlash
from wattlog_tools import partitions
from wattlog_tools.chips import by_name

CHIP = by_name("esp32")
# Byte code in a file system is loaded into the heap. An ESP32 begins with 56 KiB and takes as much
# once more; with 108 three of four tests end with a MemoryError.
HEAP_KIB = 112
TOML = """\
[agent]
id = "{edge}"
[wifi]
ssid = "home"
password = "secret"
[mqtt]
host = "127.0.0.1"
port = {port}
{mqtt}[meter]
rx = 16
tx = 17
[uplink]
batch_s = 1
"""
STEP_S_MAX = 60
STATUS_CUT = 78
LOOK_EVERY_S = 0.25
CATCH_UP_S_MAX = 30


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
        self.air = Air(broker.tls_port or broker.port)
        self.no_wifi = folder / "no_wifi"
        self.cut_s = 0.0  # when the power went last

    def stop(self):
        super().stop()
        self.air.close()

    def make_flash(self, more="", mqtt=""):
        """Make the image and write it into a blank chip; more is TOML, mqtt its lines there."""
        config = self.folder / "head.toml"
        config.write_text(TOML.format(edge=EDGE, port=self.air.port, mqtt=mqtt) + more)
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

    def start_head(self, heap_kib=HEAP_KIB, **board):
        facts = micropython_facts()
        heap_kib = heap_kib if facts["WORD_BITS"] == "32" else heap_kib * 3 // 2
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
