"""The icons in the repository are what `wattlog-tools icons` draws."""

import struct
import zlib

import pytest

from wattlog_host.web.pages import ICONS as SHOWN
from wattlog_tools.icons import FOLDER, ICONS, png, svg


def pixels(data):
    """Width, height and what is compressed of a PNG: one compression is as good as another."""
    at, width, height, packed = 8, 0, 0, b""
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + body) == struct.unpack(">I", data[at + 8 + length :][:4])[0]
        if kind == b"IHDR":
            width, height = struct.unpack(">II", body[:8])
        elif kind == b"IDAT":
            packed += body
        at += 12 + length
    return width, height, zlib.decompress(packed)


@pytest.mark.parametrize("icon", ICONS, ids=lambda icon: icon.name)
def test_the_file_is_the_drawing(icon):
    kept = (FOLDER / icon.name).read_bytes()
    if icon.pixels is None:
        assert kept.decode() == svg(icon)
        return
    assert kept.startswith(b"\x89PNG\r\n\x1a\n")
    width, height, rows = pixels(kept)
    assert (width, height) == (icon.pixels, icon.pixels)
    assert rows == pixels(png(icon))[2]


def test_what_the_page_names_is_drawn():
    drawn = {icon.name: icon for icon in ICONS}
    for name, sizes, purpose in SHOWN:
        icon = drawn.pop(name)
        assert sizes == ("any" if icon.pixels is None else f"{icon.pixels}x{icon.pixels}")
        # Nothing of what is drawn lies outside the circle that every system keeps.
        assert (purpose == "maskable") == (icon.margin >= 8 and not icon.corner)
    assert list(drawn) == ["apple-touch-icon.png"]
