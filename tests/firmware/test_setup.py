"""A head without settings on the fake board: its Wi-Fi, the meter's frames on the page, Improv at
its serial port, and what it does when nobody comes.
"""

import json
import os
import re
import time
from html import unescape
from pathlib import Path
from urllib.parse import urlencode

import pytest

from boards import Board
from portals import RESET_STATUS, BoardHead, ask
from toolbox import micropython_facts
from waiting import wait_until
from wattlog.ringlog import RingLog
from wattlog_esp32.improv import packet, result
from wattlog_sim.flash import FakeFlash
from wattlog_sim.meters import MODELS
from wattlog_tools.frames import seconds_of

HERE = Path(__file__).parent
HOST = b"Host: 127.0.0.1\r\n"
ASLEEP_STATUS = 77
FORM = {
    "wifi.ssid": "home",
    "wifi.password": "secret99",
    "mqtt.host": "192.168.1.20",
    "mqtt.port": "1883",
    "mqtt.username": "",
    "mqtt.password": "",
    "meter.rx": "16",
    "meter.tx": "17",
    "meter.uart": "1",
    "agent.id": "cellar",
}
FREE_BYTES_MIN = 8_192
UNUSED_S = 600
SPEED = 300  # ten minutes in two seconds
LOG_SECTORS = 8
NO_ERROR = packet(2, b"\x00")


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    return Board(tmp_path_factory.mktemp("board"), (HERE / "drive_setup.py",))


@pytest.fixture
def new_head(board, tmp_path):
    heads = []

    def start(program="wattlog_esp32.unset", **more):
        heads.append(BoardHead(board, tmp_path, program, **more))
        return heads[-1]

    yield start
    for head in heads:
        head.listen()
        print(head.said.decode(errors="replace"))  # pytest shows it of a test that failed
        head.stop()


def get(head, target, host=b"127.0.0.1"):
    data = b"GET %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (target.encode(), host)
    return ask(head, data).decode()


def press(head, act, **changes):
    token = re.search(r'name="token" value="(\w+)"', get(head, "/"))[1]
    body = urlencode({**FORM, "key": head.key, "token": token, "act": act, **changes}).encode()
    lines = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d" % len(body)
    return ask(head, b"POST / HTTP/1.1\r\n%s%s\r\n\r\n%s" % (HOST, lines, body)).decode()


def test_the_key_is_drawn_once_and_kept(new_head, tmp_path):
    keys = []
    for _ in range(2):
        head = new_head().wait_until_open()
        head.stop_process()
        keys.append(head.key)
    assert keys[0] == keys[1]
    assert re.fullmatch("[a-z2-9]{12}", keys[0])
    (tmp_path / "setup.key").write_text("short\n")
    head = new_head().wait_until_open()
    assert head.key not in ("short", keys[0]) and len(head.key) == 12


def test_a_wifi_that_stays_open_serves_nothing(new_head):
    head = new_head(BOARD_AP_OPEN=1)
    head.wait_for(rb"would be open to everybody")
    assert head.process.wait(10) != 0
    assert b"then open" not in head.said


def test_the_page_tells_what_comes_from_the_meter(new_head):
    head = new_head().wait_until_open()
    frames = f"/frames?key={head.key}"
    assert "Nobody looks at the meter." in get(head, frames)
    answer = press(head, "look")
    assert f' src="{frames}"></iframe>' in answer
    assert "0 bytes, 0 frames" in get(head, frames)
    sent = b"".join(some_frames())
    os.write(head.meter, sent)
    seen = wait_for_frames(head, frames, 5)
    assert f"{len(sent)} bytes, 5 frames" in seen
    assert "The meter is being read." in seen
    # A second look begins anew, with the pins of the form.
    press(head, "look")
    os.write(head.meter, b"/EMH5\\@01LZQJL0014E\r\n" * 60)
    assert "the meter speaks ASCII" in wait_for_text(head, frames, "ASCII")
    assert b"Traceback" not in head.said


def some_frames():
    return seconds_of(MODELS[0].name, 5)


def wait_for_frames(head, target, count):
    return wait_for_text(head, target, f"{count} frames")


def wait_for_text(head, target, text):
    return wait_until(
        lambda: (seen := unescape(get(head, target))) and text in seen and seen, text
    )


def test_a_uart_that_the_chip_does_not_have_is_told(new_head):
    head = new_head().wait_until_open()
    answer = press(head, "save", **{"meter.uart": "2"})
    assert "UART and pins do not go together" in answer
    assert not head.path.exists()


def test_what_is_known_of_broken_settings_is_in_the_form(new_head, tmp_path):
    known = {"wifi.ssid": "old", "wifi.password": "hush", "meter.baud": 300, "nonsense": 1}
    (tmp_path / "wattlog.json").write_text(json.dumps(known))
    head = new_head().wait_until_open()
    assert 'value="old"' not in get(head, "/") and 'value="wattlog-a1b2c3"' in get(head, "/")
    answer = get(head, f"/?key={head.key}")
    assert 'value="old"' in answer and "hush" not in answer
    assert "Saved" in press(head, "save", **{"wifi.ssid": "old", "wifi.password": ""})
    head.wait_until_saved()
    kept = json.loads(head.path.read_text())
    assert kept["wifi.password"] == "hush" and kept["meter.baud"] == 300


# -- settings that are right, on a chip that has not what they name

MAIN = "wattlog_esp32.main"
GOOD = {
    "agent.id": "cellar",
    "wifi.ssid": "home",
    "wifi.password": "secret99",
    "mqtt.host": "127.0.0.1",
    "mqtt.port": 1,
    "meter.rx": 16,
    "meter.tx": 17,
}
NO_UART_2 = {"meter.uart": 2}
NO_SECOND = {"meter2.rx": 25, "meter2.tx": 26}


def refuses(head, name):
    """Wait for the one line that says what this chip has not."""
    words = f"this chip has no such {name}.uart, {name}.rx or {name}.tx: UART(2) does not exist"
    line = re.escape(f"wattlog: {head.path}: {words}".encode())
    head.wait_for(rb"^%s\r?\nwattlog: no usable settings" % line)


def test_a_uart_that_the_chip_has_not_is_told_and_can_be_put_right_on_the_page(new_head, tmp_path):
    (tmp_path / "wattlog.json").write_text(json.dumps({**GOOD, **NO_UART_2}))
    head = new_head(MAIN).wait_until_open()
    refuses(head, "meter")
    answer = get(head, f"/?key={head.key}")
    assert 'value="cellar"' in answer and "secret99" not in answer
    assert "UART and pins do not go together" in press(head, "save", **NO_UART_2)
    assert "Saved" in press(head, "save", **{"wifi.password": ""})
    head.wait_until_saved()
    kept = json.loads(head.path.read_text())
    assert (kept["meter.uart"], kept["wifi.password"]) == (1, "secret99")
    meters(new_head(MAIN))
    assert b"Traceback" not in head.said, head.said


def test_a_second_meter_that_the_chip_has_no_uart_for_is_left_out_by_the_page(new_head, tmp_path):
    (tmp_path / "wattlog.json").write_text(json.dumps({**GOOD, **NO_SECOND}))
    head = new_head(MAIN).wait_until_open()
    refuses(head, "meter2")
    assert "Saved" in press(head, "save")
    head.wait_until_saved()
    assert "meter2.rx" not in json.loads(head.path.read_text())
    meters(new_head(MAIN))


def meters(head):
    # It has to read already: a UART that is opened forgets what came before.
    head.wait_for(rb"bytes of heap free")
    os.write(head.meter, b"".join(some_frames()))
    head.wait_for(rb"this is meter")


def test_a_meter_whose_port_is_there_is_read_while_nobody_puts_the_other_right(new_head, tmp_path):
    (tmp_path / "wattlog.json").write_text(json.dumps({**GOOD, **NO_SECOND}))
    log = tmp_path / "ringlog.bin"
    log.write_bytes(b"\xff" * 4096 * LOG_SECTORS)
    asking = new_head(
        "drive_setup", argument=f"{tmp_path}/wattlog.json {SPEED}", BOARD_RINGLOG=log
    )
    assert asking.process.wait(20) == RESET_STATUS
    head = new_head(MAIN, BOARD_RINGLOG=log)
    head.wait_for(rb"metering goes on")
    os.write(head.meter, b"".join(some_frames()))
    head.wait_for(rb"this is meter")


def test_the_only_meter_without_a_port_lets_the_head_sleep(new_head, tmp_path):
    (tmp_path / "wattlog.json").write_text(json.dumps({**GOOD, **NO_UART_2}))
    head = new_head("drive_setup", argument=f"{tmp_path}/wattlog.json {SPEED}")
    assert head.process.wait(20) == ASLEEP_STATUS
    assert not (tmp_path / "nobody.came").exists()


# -- Improv at the serial port


def command(data):
    whole = b"IMPROV\x01\x03" + bytes([len(data)]) + data
    return whole + bytes([sum(whole) & 255]) + b"\n"


def say(head, data):
    head.said = b""
    os.write(head.console, data)


def hear(head, wanted):
    head.wait_for(re.escape(wanted))


def test_a_browser_sets_the_wifi_over_the_serial_port(new_head):
    head = new_head().wait_until_open()
    say(head, b"\r\nnoise\xff" + command(b"\x02\x00"))
    hear(head, NO_ERROR + packet(1, b"\x02"))
    say(head, command(b"\x03\x00"))
    head.wait_for(rb"\x07wattlog\x05\d\.\d\.\d")
    say(head, command(b"\x04\x00"))
    # The stronger of two of one name, the strongest first; no hidden one, none that is no text.
    networks = result(4, ["home", "-48", "YES"]) + result(4, ["guests", "-60", "NO"])
    hear(head, NO_ERROR + networks + result(4, ["far", "-88", "YES"]) + result(4, []))
    say(head, command(b"\x01\x0e\x04home\x08secret99"))
    url = f"http://127.0.0.2/?key={head.key}"
    hear(head, NO_ERROR + packet(1, b"\x03"))
    hear(head, packet(1, b"\x04") + result(1, [url]))
    # The rest of the settings is asked for in the house's own network.
    answer = get(head, f"/?key={head.key}", host=b"127.0.0.2")
    assert 'value="home"' in answer and "secret99" not in answer
    assert "Saved" in press(head, "save", **{"wifi.password": ""})
    head.wait_until_saved()
    assert json.loads(head.path.read_text())["wifi.password"] == "secret99"


def test_a_network_that_is_not_there_is_told(new_head, tmp_path):
    (tmp_path / "down").touch()
    head = new_head(
        "drive_setup", argument=f"{tmp_path}/wattlog.json 20", BOARD_WIFI_DOWN=tmp_path / "down"
    ).wait_until_open()
    say(head, command(b"\x01\x0e\x04home\x08secret99"))
    hear(head, packet(2, b"\x03") + packet(1, b"\x02"))
    assert "421" in get(head, "/", host=b"127.0.0.2")


def test_a_name_that_can_be_no_wifi_is_refused(new_head):
    head = new_head().wait_until_open()
    say(head, command(b"\x01\x02\x00\x00"))
    hear(head, packet(2, b"\x01"))


def test_ctrl_c_gives_the_prompt_back(new_head):
    head = new_head().wait_until_open()
    say(head, command(b"\x02\x00"))
    hear(head, NO_ERROR)
    say(head, b"\r\x03")
    head.wait_for(rb"KeyboardInterrupt")
    assert head.process.wait(10) != 0


def test_garbage_at_the_serial_port_changes_nothing(new_head):
    head = new_head().wait_until_open()
    garbage = (bytes(range(4, 256)) + b"IMPROV\x01\x03\xff") * 20
    say(head, garbage)
    say(head, command(b"\x02\x00") * 60)
    hear(head, packet(1, b"\x02"))
    assert "HTTP/1.0 200" in get(head, "/")


# -- nobody comes


def test_without_anybody_it_sleeps(new_head, tmp_path):
    head = new_head("drive_setup", argument=f"{tmp_path}/wattlog.json {SPEED}").wait_until_open()
    begin_s = time.monotonic()
    head.wait_for(rb"nobody has set this head up")
    assert time.monotonic() - begin_s < 4 * UNUSED_S / SPEED
    assert head.process.wait(10) == ASLEEP_STATUS
    head.listen()
    assert b"asleep for 3600000 ms" in head.said


def test_a_head_that_knows_its_meter_meters_on(new_head, tmp_path):
    (tmp_path / "wattlog.json").write_text('{"meter.rx": 16, "meter.tx": 17, "agent.id": "X"}')
    log = tmp_path / "ringlog.bin"
    log.write_bytes(b"\xff" * 4096 * LOG_SECTORS)
    asking = new_head(
        "drive_setup", argument=f"{tmp_path}/wattlog.json {SPEED}", BOARD_RINGLOG=log
    )
    assert asking.process.wait(20) == RESET_STATUS
    head = new_head(BOARD_RINGLOG=log)
    head.wait_for(rb"metering goes on")
    os.write(head.meter, b"".join(some_frames()))
    head.wait_for(rb"this is meter")

    def records():
        flash = FakeFlash(LOG_SECTORS, 4096, bytearray(log.read_bytes()))
        return RingLog(flash, lambda: 1).stats().records

    wait_until(lambda: records() >= 1, "a record in flash")
    # The next time it asks again.
    head.stop_process()
    new_head(BOARD_RINGLOG=log).wait_until_open()
    assert b"Traceback" not in head.said, head.said


def test_it_leaves_room_in_the_heap_of_an_esp32(new_head, tmp_path):
    head = new_head("drive_setup", argument=f"{tmp_path}/wattlog.json 1").wait_until_open()
    press(head, "look")
    os.write(head.meter, b"".join(some_frames()))
    wait_for_frames(head, f"/frames?key={head.key}", 5)
    for _ in range(5):
        press(head, "look", **{"agent.id": "X", "wifi.ssid": "ü" * 200})
    press(head, "save")
    head.wait_until_saved()
    free = {
        name.decode(): int(size) for name, size in re.findall(rb"(\w+) (\d{4,})\r?\n", head.said)
    }
    print(f"of {micropython_facts()['HEAP']} heap free: {free}")
    assert free["lowest"] >= FREE_BYTES_MIN, free
