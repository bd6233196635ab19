"""Tests of the firmware that run on the fake board, under MicroPython; test_board.py runs them."""

import os
import sys
import time

import ffi
import network
import ntptime

import run as runner
from wattlog.timebase import Uptime
from wattlog_esp32 import partial, settings
from wattlog_esp32.board import NtpClock, Wifi
from wattlog_esp32.uart import UartSource

FOLDER = [""]
GOOD = {
    "agent.id": "cellar",
    "wifi.ssid": "home",
    "mqtt.host": "broker",
    "meter.rx": 16,
    "meter.tx": 17,
}
WHOLE = (
    '{"agent.id": "cellar", "wifi.ssid": "home", "mqtt.host": "broker", '
    '"meter.rx": 16, "meter.tx": 17}'
)
YEAR_2026_MS = 1_767_225_600_000


def shortest(_limit):
    return 0


class Said:
    def __init__(self):
        self.lines = []

    def __call__(self, text):
        self.lines.append(text)


def complaint(call, argument):
    try:
        call(argument)
    except settings.ConfigError as err:
        return str(err)
    return None


def read_text(text):
    path = FOLDER[0] + "/settings.json"
    with open(path, "w") as file:
        file.write(text)
    return settings.read(path)


def test_good_settings_get_their_defaults():
    config = read_text(WHOLE + "\n")
    assert config["agent.id"] == "cellar"
    assert config["mqtt.port"] == 1883
    assert config["mqtt.username"] is None
    assert config["meter.baud"] == 9600
    assert config["meter.uart"] == 1
    assert config["meter.invert"] is False
    assert config["led.pin"] is None
    assert config["pin.allow"] is False
    assert not [key for key in config if key.startswith("meter2")], "one meter, unless told"


def test_settings_that_were_cut_off_are_refused_wherever_the_cut_is():
    # Without this, 1.25 takes the rest for a whole object, with the defaults for what is gone.
    for end in range(len(WHOLE)):
        text = complaint(read_text, WHOLE[:end])
        assert text is not None and text.endswith("is not one whole JSON object"), end


def test_a_file_that_is_not_there_is_one_line():
    text = complaint(settings.read, FOLDER[0] + "/nothing.json")
    assert "nothing.json cannot be read" in text


WRONG = (
    ("agent.id", None, "agent.id is missing; it must have 1 to 32 bytes"),
    ("agent.id", "", "agent.id must have 1 to 32 bytes"),
    ("agent.id", "Cellar", "agent.id may hold a-z"),
    ("agent.id", "k" * 33, "agent.id must have 1 to 32 bytes"),
    ("wifi.ssid", "ü" * 17, "wifi.ssid must have 1 to 32 bytes"),
    ("mqtt.port", 0, "mqtt.port must be 1 to 65535"),
    ("mqtt.port", True, "mqtt.port must be a whole number"),
    ("mqtt.port", "1883", "mqtt.port must be a whole number"),
    ("mqtt.tls", 1, "mqtt.tls must be true or false"),
    ("mqtt.user", "me", "unknown key mqtt.user; there are mqtt.host, mqtt.port, mqtt.username"),
    ("motor.rx", 1, "unknown key motor.rx; there are agent.*, "),
    ("meter.rx", None, "meter.rx is missing; it must be 0 to 48"),
    ("meter.uart", 3, "meter.uart must be 0 to 2"),
    ("meter.baud", "9600", "meter.baud must be a whole number"),
    ("meter.invert", 1, "meter.invert must be true or false"),
    ("meter.tx", 16, "meter.tx: pin 16 is taken by meter.rx; give each its own"),
    ("meter2.rx", 25, "meter2.tx is missing; it must be 0 to 48"),
    ("meter3.rx", 25, "meter3.uart is missing; it must be 0 to 2"),
    ("led.pin", 17, "meter.tx: pin 17 is taken by led.pin"),
    ("led.pin", 99, "led.pin must be 0 to 48"),
    ("pin.allow", 1, "pin.allow must be true or false"),
    ("pin.active_low", "low", "pin.active_low must be true or false"),
    ("pin.text", "1234", "unknown key pin.text; there are pin.allow, pin.active_low"),
)


def test_as_many_meters_as_there_are_uarts_but_the_consoles_only_when_asked_for():
    given = dict(GOOD)
    given.update({"meter2.rx": 25, "meter2.tx": 26, "meter2.invert": True})
    config = settings.check(given, "file")
    assert (config["meter.uart"], config["meter2.uart"]) == (1, 2)
    assert config["meter2.invert"] is True and config["meter2.baud"] == 9600
    given.update({"meter3.rx": 32, "meter3.tx": 33})
    assert "meter3.uart is missing" in complaint(lambda it: settings.check(it, "file"), given)
    given["meter3.uart"] = 2
    text = complaint(lambda it: settings.check(it, "file"), given)
    assert "meter3.uart: UART 2 is taken by meter2.uart; give each its own" in text
    given["meter3.uart"] = 0
    assert settings.check(given, "file")["meter3.uart"] == 0


def test_tls_has_a_port_of_its_own_unless_one_is_given():
    given = dict(GOOD)
    given["mqtt.tls"] = True
    assert settings.check(given, "file")["mqtt.port"] == 8883
    given["mqtt.port"] = 1883
    assert settings.check(given, "file")["mqtt.port"] == 1883


def test_a_wrong_setting_is_one_line_that_names_it():
    for key, value, words in WRONG:
        given = dict(GOOD)
        if value is None:
            del given[key]
        else:
            given[key] = value
        text = complaint(lambda given: settings.check(given, "file"), given)
        assert text is not None and words in text, (key, value, text)


def test_a_head_that_has_a_ca_keeps_tls_whatever_becomes_of_its_settings():
    path = FOLDER[0] + "/settings.json"
    ca = FOLDER[0] + "/ca.der"
    for text in ("", WHOLE[:-20], WHOLE[:-1] + ', "mqtt.tls": "yes"}', WHOLE):
        with open(path, "w") as file:
            file.write(text)
        assert "mqtt.tls" not in partial.usable(path), text
        with open(ca, "w"):
            pass
        assert partial.usable(path)["mqtt.tls"] is True, text
        os.remove(ca)


def make_clock(said):
    uptime = Uptime(1 << 30, time.ticks_ms())
    return uptime, NtpClock("pool", uptime, shortest, said)


def test_the_board_starts_without_the_time():
    assert time.gmtime(0)[:3] == (2000, 1, 1)
    now_s = time.time()  # noqa: TID251 - the fake's
    assert time.gmtime(now_s)[0] == 2000
    assert isinstance(now_s, int)
    _, clock = make_clock(Said())
    assert clock.epoch_ms() is None


def test_a_silent_time_server_is_asked_less_and_less():
    said = Said()
    _, clock = make_clock(said)
    os.putenv("BOARD_NTP", "off")
    asked = []
    settime = ntptime.settime

    def counting():
        asked.append(now_ms)
        settime()

    ntptime.settime = counting
    try:
        for now_ms in range(0, 200_000, 1000):
            clock.step(now_ms)
    finally:
        ntptime.settime = settime
        os.unsetenv("BOARD_NTP")
    assert asked == [0, 5_000, 15_000, 35_000, 75_000, 155_000], asked
    assert clock.epoch_ms() is None
    assert said.lines[0] == "time server pool does not answer"


def test_the_time_counts_from_1970_and_walks_with_the_uptime():
    said = Said()
    uptime, clock = make_clock(said)
    clock.step(uptime.update(time.ticks_ms()))
    first_ms = clock.epoch_ms()
    assert YEAR_2026_MS < first_ms < 2 * YEAR_2026_MS
    assert said.lines == ["the time is known"]
    before_ms = uptime.uptime_ms
    uptime.update(time.ticks_add(time.ticks_ms(), 2_500))
    assert uptime.uptime_ms - before_ms >= 2_500
    assert clock.epoch_ms() == first_ms + uptime.uptime_ms - before_ms


def test_the_wifi_tries_again_until_it_is_there():
    said = Said()
    down = FOLDER[0] + "/wifi_down"
    with open(down, "w") as file:
        file.write("")
    os.putenv("BOARD_WIFI_DOWN", down)
    wifi = Wifi("home", "secret", "cellar", shortest, said)
    joins = []
    for now_ms in range(0, 75_000, 1_000):
        wlan = wifi._wlan
        wlan._joined = False
        wifi.step(now_ms)
        if wlan._joined:
            joins.append(now_ms)
        assert not wifi.is_up()
    assert joins == [0, 10_000, 30_000, 70_000], joins
    assert said.lines == ["Wi-Fi home: not there (status 201)"] * 3
    os.remove(down)
    os.unsetenv("BOARD_WIFI_DOWN")
    wifi.step(200_000)
    assert not wifi.is_up()
    wifi.step(200_050)
    assert wifi.is_up()
    assert said.lines[-1] == "Wi-Fi home: connected"
    assert (wifi.connects, wifi.rssi_dbm()) == (1, -61)
    wifi._wlan._joined = False
    assert wifi.rssi_dbm() is None, "it went since the last step"
    wifi.step(200_100)
    wifi.step(210_200)
    assert (wifi.connects, wifi.rssi_dbm()) == (2, -61)


def test_a_name_as_long_as_an_edge_may_be_is_a_host_name():
    network.hostname("k" * 32)


def test_the_uart_gives_what_is_there_and_never_waits():
    source = UartSource(1, 9600, 16, 17)
    assert source._uart.made == (1, 9600, 16, 17, 4096, 0), "rxbuf holds 4.2 s"
    upside_down = UartSource(1, 300, 4, 5, True)
    assert upside_down._uart.made == (1, 300, 4, 5, 4096, 4), "INV_RX"
    assert (source.light, upside_down.light) == (None, None), "nobody may use the IR head's LED"
    for shines, invert in ((0, 0), (1, 32)):
        lit = UartSource(1, 9600, 16, 17, False, shines)
        assert lit.light == (17, shines) and lit.asked == ()
        assert lit._uart.made[5] == invert, "INV_TX: an idle line is dark"
    assert UartSource(1, 9600, 16, 17, True, 1)._uart.made[5] == 36
    assert source.read(0) == b""
    write = ffi.open("libc.so.6").func("i", "write", "ipi")
    assert write(int(os.getenv("BOARD_METER_FD")), b"\x1b\x0a\x0d\xff" * 200, 800) == 800
    for _ in range(1000):  # the kernel brings them over in its own time
        if source._uart.any() == 800:
            break
        time.sleep_ms(1)
    assert source.read(0) == b"\x1b\x0a\x0d\xff" * 128
    assert source.tap is None, "nobody has asked"
    source.tap = b""
    assert source.read(0) == b"\x1b\x0a\x0d\xff" * 72
    assert source.tap == b"\x1b\x0a\x0d\xff" * 72
    assert source.read(0) == b""
    assert source.tap == b"", "nothing is told twice"
    assert source.trouble() is None
    assert write(int(os.getenv("BOARD_METER_FD")), b"\x1b" * 9, 9) == 9
    while source._uart.any() < 9:
        time.sleep_ms(1)
    assert UartSource(1, 9600, 16, 17).read(0) == b"", "a UART has nothing of before it was made"


def run(folder):
    FOLDER[0] = folder
    sys.exit(runner.run(__name__))
