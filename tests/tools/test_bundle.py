"""The bundle of an update: signed for one head, and what it says is what is in it."""

import hashlib
import hmac

import pytest

from wattlog_host.updates import parse_bundle
from wattlog_tools import head_files
from wattlog_tools.bundle import pack
from wattlog_tools.cli import main

KEY = "00112233445566778899aabbccddeeff" * 2
TOML = """\
[agent]
id = "cellar"
[wifi]
ssid = "home"
[mqtt]
host = "10.0.0.2"
[meter]
rx = 16
tx = 17
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "head.toml"
    path.write_text(f'{TOML}[update]\nkey = "{KEY}"\n')
    return path


def run(config, out, *more):
    return main(["bundle", "--config", str(config), "--chip", "esp32", "--out", str(out), *more])


def files_of(body):
    found = {}
    while body:
        head, _, rest = body.partition(b"\n")
        path, size = head.decode().split()
        found[path], body = rest[: int(size)], rest[int(size) :]
    return found


def test_a_bundle_holds_what_is_flashed_and_is_signed_with_the_heads_key(config, tmp_path, capsys):
    assert run(config, tmp_path / "updates", "--build", "7") == 0
    data = (tmp_path / "updates/cellar.wlu").read_bytes()
    assert f"cellar.wlu: 0.1.0+7, {len(data)} bytes" in capsys.readouterr().out
    bundle = parse_bundle(data)
    assert hashlib.sha256(bundle.body).digest() == bundle.digest
    text = f"0.1.0+7 {bundle.mpy} {len(bundle.body)} {bundle.digest.hex()}"
    mac = hmac.new(bytes.fromhex(KEY), text.encode(), hashlib.sha256).digest()
    assert bundle.mac == mac
    modules = head_files.compile_modules()
    found = files_of(bundle.body)
    assert found == head_files.slot_files(modules, "0.1.0+7")
    assert found["release"] == b"0.1.0+7\n"
    flashed = head_files.head_files(b"", modules)
    same = {path: data for path, data in found.items() if path != "release"}
    assert (
        same.items() <= {path.removeprefix("lib/"): data for path, data in flashed.items()}.items()
    )
    assert KEY.encode() not in data
    assert list((tmp_path / "updates").iterdir()) == [tmp_path / "updates/cellar.wlu"]


def test_like_input_is_like_output():
    modules = head_files.compile_modules()
    key = bytes.fromhex(KEY)
    assert pack(modules, "0.1.0+7", key) == pack(modules, "0.1.0+7", key)


def test_a_later_build_is_newer(config, tmp_path, monkeypatch):
    releases = []
    for now_ms in (1_795_000_000_000, 1_795_000_001_000):
        monkeypatch.setattr("wattlog_tools.bundle.now_ms", lambda now_ms=now_ms: now_ms)
        assert run(config, tmp_path) == 0
        releases.append(parse_bundle((tmp_path / "cellar.wlu").read_bytes()).release)
    assert releases == ["0.1.0+27774400", "0.1.0+27774401"]


def test_without_a_key_a_new_one_is_proposed(tmp_path, capsys):
    path = tmp_path / "head.toml"
    path.write_text(TOML)
    assert run(path, tmp_path) == 2
    said = capsys.readouterr().err
    assert "update.key is missing" in said
    proposed = said.split()[-1]
    assert len(bytes.fromhex(proposed)) == 32
    path.write_text(f'{TOML}[update]\nkey = "{proposed}"\n')
    assert run(path, tmp_path) == 0


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("ab", "update.key must have 64 to 64 bytes"),
        ("G" * 64, "update.key may hold 0-9 and a-f"),
    ],
)
def test_a_key_that_is_none_is_named_with_its_line(tmp_path, capsys, key, words):
    path = tmp_path / "head.toml"
    path.write_text(f'{TOML}[update]\nkey = "{key}"\n')
    assert run(path, tmp_path) == 2
    said = capsys.readouterr().err
    assert "line 11" in said and words.split(" ", 1)[0] in said, said
    assert key not in said or key == "ab"


def test_a_folder_that_cannot_be_written_is_one_line(config, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run(config, tmp_path / "file") == 2
    assert "cannot write" in capsys.readouterr().err
