"""Real frames, taken apart and written again by our writer: byte for byte the same."""

import json

import pytest

from wattlog_sim import sml_writer as sml

OCTETS, SIGNED, UNSIGNED, LIST = 0, 5, 6, 7


def take_apart(data, at):
    """Return (item, next position); an item is (type, content), a list's content its items."""
    kind, length, begin = data[at] >> 4 & 7, data[at] & 15, at
    while data[at] & 0x80:
        at += 1
        length = length << 4 | data[at] & 15
    at += 1
    if kind != LIST:
        end = begin + length
        return (kind, data[at:end]), end
    items = []
    for _ in range(length):
        item, at = take_apart(data, at)
        items.append(item)
    return (kind, items), at


def write(item):
    kind, content = item
    if kind == LIST:
        return sml.list_of(write(inner) for inner in content)
    if kind == SIGNED:
        return sml.signed(int.from_bytes(content, "big", signed=True), len(content))
    if kind == UNSIGNED:
        return sml.unsigned(int.from_bytes(content, "big"), len(content))
    assert kind == OCTETS
    return sml.octets(content)


def write_message(item, checksum):
    (_, transaction_id), _, _, (_, [(_, tag), content]), (_, crc) = item
    return sml.message(
        transaction_id,
        int.from_bytes(tag, "big"),
        write(content),
        checksum,
        len(tag),
        shorten_crc=len(crc) == 1,
    )


def rewrite(frame, checksum):
    pad_bytes = frame[-3]
    payload = frame[8 : -8 - pad_bytes].replace(sml.ESCAPE * 2, sml.ESCAPE)
    messages = b""
    at = 0
    while at < len(payload):
        # Of the six elements of a message the last is its end, which is no value.
        assert payload[at] == 0x76
        fields = []
        at += 1
        for _ in range(5):
            field, at = take_apart(payload, at)
            fields.append(field)
        assert payload[at] == 0
        at += 1
        messages += write_message(fields, checksum)
    return sml.transport(messages, checksum, pad_aligned=pad_bytes == 4)


CHECKSUMS = {"x25": sml.x25_low_first, "kermit": sml.kermit_high_first}


def test_every_captured_frame_is_written_again(corpus):
    golden = json.loads((corpus / "golden.json").read_text())
    count = 0
    for name, captured in golden.items():
        data = (corpus / name).read_bytes()
        for known in captured["frames"]:
            frame = data[known["offset"] : known["offset"] + known["length"]]
            assert rewrite(frame, CHECKSUMS[known["crc"]]).hex() == frame.hex(), name
            count += 1
    if not count:
        pytest.fail("golden.json lists no frame")
