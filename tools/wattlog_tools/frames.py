"""Good frames to measure and to damage: of the simulated meters, and of captures if there are any.

Frames of captures are found here by their ends and checksum alone, and not by the decoder that
is to be tried on them.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from wattlog_sim.house import House
from wattlog_sim.meters import MODELS, Meter, Model, model_named
from wattlog_sim.sml_writer import ESCAPE, START, kermit_high_first, x25_low_first

CORPUS_VARIABLE = "WATTLOG_CORPUS"

_CORPUS_BESIDE_PROJECT = Path(__file__).resolve().parents[3] / "shared/corpus/sml"
_END = ESCAPE + b"\x1a"
_END_BYTES = 8
_FIRST_S = 1_781_740_800
_FRAMES_STEP_S = 9_000
_FRAMES_EACH = 4


def simulated_families() -> list[list[bytes]]:
    """Return frames of every simulated meter, hours apart, so that widths and signs differ."""
    return [
        [
            frame(
                model, _FIRST_S + 86_400 + (n + 3) * _FRAMES_STEP_S, 126_000 + n * _FRAMES_STEP_S
            )
            for n in range(_FRAMES_EACH)
        ]
        for model in MODELS
    ]


def seconds_of(model_name: str, count: int) -> list[bytes]:
    """Return frames of one simulated meter, one for each second of a summer's day."""
    model = model_named(model_name)
    assert model is not None
    meter = Meter(model, House(1, model.solar_peak_w, _FIRST_S))
    noon_s = _FIRST_S + 86_400 + 11 * 3_600
    return [meter.frame(noon_s + second, 126_000 + second) for second in range(count)]


def frame(model: Model, epoch_s: int, seconds_running: int) -> bytes:
    """Return one frame of a meter of this model that began to count the day before."""
    return Meter(model, House(1, model.solar_peak_w, _FIRST_S)).frame(epoch_s, seconds_running)


def find_corpus() -> Path | None:
    """Return the folder of captures: as the environment says, else the one beside the project."""
    given = os.environ.get(CORPUS_VARIABLE)
    folder = Path(given) if given else _CORPUS_BESIDE_PROJECT
    return folder if any(folder.glob("*.bin")) else None


def captured_families(folder: Path, frames_each: int) -> list[list[bytes]]:
    """Return the first good frames of each capture in the folder that has any."""
    families = []
    for path in sorted(folder.glob("*.bin")):
        frames = [
            frame
            for frame, _ in zip(good_frames(path.read_bytes()), range(frames_each), strict=False)
        ]
        if frames:
            families.append(frames)
    return families


def good_frames(stream: bytes) -> Iterator[bytes]:
    """Yield the frames with a right checksum that need no escape."""
    start = stream.find(START)
    while start >= 0:
        following = stream.find(START, start + 1)
        end = stream.find(_END, start, None if following < 0 else following) + _END_BYTES
        frame = stream[start:end]
        checksums = (x25_low_first(frame[:-2]), kermit_high_first(frame[:-2]))
        if len(frame) % 4 == 0 and frame[-2:] in checksums and frame.count(ESCAPE) == 2:
            yield frame
        start = following
