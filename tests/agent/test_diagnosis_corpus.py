"""Two captures of meters that could not be read: the agent says why, and of the others nothing."""

import json

import pytest

from wattlog.decoder import SmlDecoder
from wattlog.diagnosis import Diagnosis
from wattlog_pi.cli import main

RAW = "the port is not raw"
HALVED = "every second byte is missing"
TROUBLES = {
    "DZG_DVS-7420.2V.G2_mtr1_error.bin": [RAW],
    "EMH-ED300L_delivery.bin": [HALVED],
}
BYTES_PER_S = 960


def texts(data, piece_bytes):
    """Everything that the diagnosis says while these bytes come at 9600 baud."""
    decoder = SmlDecoder(8192)
    diagnosis = Diagnosis()
    said = []
    for at in range(0, len(data), piece_bytes):
        piece = data[at : at + piece_bytes]
        decoder.push(piece)
        now_ms = at * 1000 // BYTES_PER_S
        diagnosis.feed(piece, now_ms, decoder.frames, decoder.drops.get("crc", 0))
        if diagnosis.text and diagnosis.text not in said:
            said.append(diagnosis.text)
    return said


@pytest.mark.parametrize("piece_bytes", [48, 512])
def test_what_is_said_of_each_capture(corpus, piece_bytes):
    for name in json.loads((corpus / "golden.json").read_text()):
        said = texts((corpus / name).read_bytes(), piece_bytes)
        wanted = TROUBLES.get(name, [])
        assert len(said) == len(wanted), (name, said)
        for text, words in zip(said, wanted, strict=True):
            assert words in text, name


@pytest.mark.parametrize(("name", "words"), [(name, words[0]) for name, words in TROUBLES.items()])
def test_decode_says_it_once_on_standard_error(corpus, capsys, name, words):
    assert main(["decode", "--json", str(corpus / name)]) == 0
    shown = capsys.readouterr()
    assert shown.err.count(words) == 1
    assert words not in shown.out
