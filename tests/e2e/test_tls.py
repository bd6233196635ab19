"""A head that speaks TLS, from the image that a person flashes: the real broker is believed for its
certificate alone, and whatever TLS does, the meter is read.
"""

import re

import pytest

from certificates import broker_of, the_ca
from flash_world import LOOK_EVERY_S, FlashWorld
from head_world import sent_by_the_meter
from stored import stored_readings
from waiting import wait_until

HEAP_KIB = 116  # 4 more than without TLS: firmware/DESIGN.md
READINGS = 4
HANDSHAKE_S_MAX = 40  # of a broker that has stopped: given up after 15 s, between two waits
KEPT = 4
REFUSED = "refused: The certificate is not correctly signed by the trusted CA"


@pytest.fixture
def show(mosquitto, tmp_path):
    """show(what): have the broker show this certificate."""
    return lambda what: mosquitto.add_tls(*broker_of(what).write(tmp_path, "broker"))


@pytest.fixture
def world(tmp_path, mosquitto, free_port, show):
    show("good")
    it = FlashWorld(tmp_path, mosquitto, free_port)
    (tmp_path / "ca.pem").write_bytes(the_ca().pem)
    it.make_flash(mqtt='tls = true\nca_file = "ca.pem"\n')
    it.start_without_head()
    try:
        yield it
    finally:
        it.stop()


def assert_all_is_there(world):
    """Of this head's records none is missing, none is wrong, and none is there twice."""
    stored = stored_readings(world.database)
    for one in stored:
        assert one.values == sent_by_the_meter(one.sec_index), one.sec_index
    seconds = sorted(one.sec_index for one in stored)
    assert seconds == list(range(seconds[0], seconds[-1] + 1)), "a second is missing"
    assert "Traceback" not in world.log("head"), world.log("head")


def test_readings_arrive_through_tls_and_again_when_the_broker_was_away(world):
    world.start_head(HEAP_KIB)
    newest = world.wait_for_readings_after(0, READINGS)
    world.broker.kill()
    wait_until(lambda: "no connection to the broker" in world.log("head"), "the loss is said")
    world.broker.start()
    # It takes connections, and says nothing.
    with world.broker_stopped():
        said = lambda: "no answer within 15 s" in world.log("head")  # noqa: E731
        wait_until(said, "the silence is said", HANDSHAKE_S_MAX, LOOK_EVERY_S)
    world.wait_for_so_many(HANDSHAKE_S_MAX // 2, newest)
    assert_all_is_there(world)
    free_bytes = [int(word) for word in re.findall(r"(\d+) bytes of heap free", world.log("head"))]
    print(f"of {HEAP_KIB} KiB of heap free with TLS: {free_bytes}")


def test_a_broker_with_another_certificate_gets_nothing_and_nothing_is_lost(world, show):
    show("another CA")
    world.start_head(HEAP_KIB)
    wait_until(lambda: REFUSED in world.log("head"), "the refusal is said")
    wait_until(lambda: len(world.seqs_in_flash()) >= KEPT, "the log fills", 30, LOOK_EVERY_S)
    assert world.log("head").count(REFUSED) == 1, "once"
    assert world.readings() == {}
    show("good")
    world.wait_for_so_many(KEPT, 0)
    assert_all_is_there(world)


def test_without_the_time_readings_wait_in_the_log(world):
    world.start_head(HEAP_KIB, BOARD_NTP="off")
    wait_until(lambda: "TLS waits for the time server" in world.log("head"), "it is said")
    wait_until(lambda: len(world.seqs_in_flash()) >= KEPT, "the log fills", 30, LOOK_EVERY_S)
    assert "localhost" not in world.broker.log_path.read_text()
    assert world.readings() == {}
    head = world.processes["head"]
    head.terminate()
    head.wait(10)
    kept = world.seqs_in_flash()
    world.start_head(HEAP_KIB)
    world.wait_for_so_many(len(kept), 0)
    assert "Traceback" not in world.log("head"), world.log("head")
