"""Real meters' captures: every frame and every value as on the wire, on both interpreters."""

import json
import subprocess

import pytest

from layers import ROOT
from toolbox import require
from wattlog.framing import FrameDecoder
from wattlog.sml import SmlError, parse

CHUNKS = (1, 7, 64, 4096)
DEVICE_S_MAX = 120

# Two answers can be defended; agent/DESIGN.md says why these are ours.
OURS = {
    # The transport checksum covers the same bytes, and anonymised frames have wrong inner ones.
    "message CRC wrong, transport CRC right": 1,
    # A later version of SML may add a field; the seven that we know have not moved.
    "entry with 8 fields (unknown extension)": 1,
}


def plain(value):
    return value.hex() if isinstance(value, bytes) else value


def rows_of(data, chunk):
    decoder = FrameDecoder(8192)
    found = []
    for at in range(0, len(data), chunk):
        for payload in decoder.push(data[at : at + chunk]):
            found.extend(frame_row(meter_list) for meter_list in parse(payload))
    decoder.finish()
    return found, decoder


def frame_row(meter_list):
    entries = [[plain(field) for field in entry[:6]] for entry in meter_list.entries]
    return [plain(meter_list.server_id), meter_list.sec_index, entries]


def wanted_rows(capture):
    return [
        [
            frame["server_id"],
            frame["act_sensor_time"],
            [
                [e["obis"], e["status"], e["valtime_seconds"], e["unit"], e["scaler"], e["value_raw"]]
                for e in frame["entries"]
            ],
        ]
        for frame in capture["frames"]
    ]  # fmt: skip


@pytest.fixture(scope="module")
def golden(corpus):
    captures = json.loads((corpus / "golden.json").read_text())
    assert len(captures) == 21
    return captures


@pytest.mark.parametrize("chunk", CHUNKS)
def test_every_frame_and_value(corpus, golden, chunk):
    for name, capture in golden.items():
        found, decoder = rows_of((corpus / name).read_bytes(), chunk)
        assert found == wanted_rows(capture), name
        assert decoder.frames == capture["frames_valid"], name
        assert decoder.drops.get("truncated", 0) == capture["frames_truncated"], name
        dropped = sum(count for reason, count in decoder.drops.items() if reason != "truncated")
        assert dropped == capture["frames_bad"], name


# Reads captures and prints what it finds, one JSON line a frame; the device has no room for more.
ON_DEVICE = """
import gc, json, sys
from wattlog.framing import FrameDecoder
from wattlog.sml import parse
def plain(value):
    return value.hex() if isinstance(value, bytes) else value
for name in sys.argv[1:]:
    decoder = FrameDecoder()
    with open(name, "rb") as file:
        while True:
            data = file.read(100)
            if not data:
                break
            for payload in decoder.push(data):
                for found in parse(payload):
                    rows = [[plain(field) for field in entry[:6]] for entry in found.entries]
                    print(json.dumps([plain(found.server_id), found.sec_index, rows]))
                    gc.collect()
    print(json.dumps(name))
"""


def test_every_frame_and_value_on_32_bit_micropython(corpus, golden, bytecode, tmp_path):
    program = tmp_path / "on_device.py"
    program.write_text(ON_DEVICE)
    done = subprocess.run(
        [require("micropython") / "bin/micropython", "-X", "heapsize=56k", program,
         *[corpus / name for name in golden]],
        env={"MICROPYPATH": str(bytecode)},
        capture_output=True,
        timeout=DEVICE_S_MAX,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    rows = []
    captures = iter(golden.items())
    for line in done.stdout.splitlines():
        row = json.loads(line)
        if isinstance(row, list):
            rows.append(row)
            continue
        name, capture = next(captures)
        assert row.endswith(name)
        assert rows == wanted_rows(capture), name
        rows = []
    assert next(captures, None) is None


def test_hostile_and_odd_frames(corpus):
    vectors = json.loads((corpus / "edge_vectors.json").read_text())
    assert len(vectors) > 20
    for vector in vectors:
        data = bytes.fromhex(vector["hex"])
        wanted = OURS.get(vector["name"], vector["want_getlists"])
        for chunk in (1, 2, 3, 5, 64, len(data)):
            decoder = FrameDecoder()
            found = 0
            for at in range(0, len(data), chunk):
                for payload in decoder.push(data[at : at + chunk]):
                    try:
                        found += len(parse(payload))
                    except SmlError:
                        continue
            assert found == wanted, (vector["name"], chunk)


def test_what_the_project_holds_is_its_own(corpus):
    """No capture has been copied into the project."""
    captures = {path.read_bytes() for path in corpus.glob("*.bin")}
    for folder in ("agent", "firmware", "host", "tests", "tools"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file():
                assert path.read_bytes() not in captures, path
