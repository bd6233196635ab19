"""`wattlog-tools icons`: draws the page's icons anew, as SVG and as PNG for who cannot read that.

The drawing is one list of shapes; a PNG has of each pixel what its shapes cover, measured along
SUBROWS lines. Only the standard library is needed, and the same numbers come out everywhere.
"""

import argparse
import struct
import zlib
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from math import sqrt
from pathlib import Path
from typing import NamedTuple

import wattlog_host.web

FOLDER = Path(wattlog_host.web.__file__).parent / "static"
SIZE = 32
"""The drawing is so wide and high; the origin is at its upper left."""
SUBROWS = 8

GROUND, ARC, BOLT = "#0f4c5c", "#f2f7f5", "#ffc857"
CORNER = 7
CENTRE, RADIUS, WIDTH = (16, 21), 11, 3
"""The arc: half a ring above its centre, with round ends."""
POINTS = ((18, 10), (11, 21), (16, 21), (14, 29), (22, 17), (17, 17))

Span = tuple[float, float]
Spans = Callable[[float], Sequence[Span]]
"""What of a line at this height a shape covers; parts may overlap."""


class Icon(NamedTuple):
    """A file: its name, pixels of a PNG or None for SVG, empty space on each side, its corners."""

    name: str
    pixels: int | None
    margin: int
    corner: int


ICONS = (
    Icon("icon.svg", None, 0, CORNER),
    Icon("icon-192.png", 192, 0, CORNER),
    Icon("icon-512.png", 512, 0, CORNER),
    # Systems that cut it to a form of theirs keep at least a circle of four fifths.
    Icon("icon-maskable.svg", None, 8, 0),
    Icon("icon-maskable-512.png", 512, 8, 0),
    # iOS rounds the corners itself, and shows black where there is nothing.
    Icon("apple-touch-icon.png", 180, 4, 0),
)


def svg(icon: Icon) -> str:
    """Return the icon as SVG."""
    side = SIZE + 2 * icon.margin
    (x, y), (at, *rest) = _moved(CENTRE, icon), [_moved(point, icon) for point in POINTS]
    rounded = f' rx="{icon.corner}"' if icon.corner else ""
    lines = " ".join(f"{a} {b}" for a, b in rest)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}">'
        f'<rect width="{side}" height="{side}"{rounded} fill="{GROUND}"/>'
        f'<path d="M{x - RADIUS} {y}a{RADIUS} {RADIUS} 0 0 1 {2 * RADIUS} 0" fill="none" '
        f'stroke="{ARC}" stroke-width="{WIDTH}" stroke-linecap="round"/>'
        f'<path d="M{at[0]} {at[1]}L{lines}z" fill="{BOLT}"/></svg>\n'
    )


def png(icon: Icon) -> bytes:
    """Return the icon as PNG of `pixels` by `pixels`, red, green, blue and opacity."""
    assert icon.pixels is not None
    scale = (SIZE + 2 * icon.margin) / icon.pixels
    layers = [
        (bytes.fromhex(colour[1:]), spans)
        for colour, spans in (
            (GROUND, _ground(SIZE + 2 * icon.margin, icon.corner)),
            (ARC, _arc(*_moved(CENTRE, icon))),
            (BOLT, _polygon([_moved(point, icon) for point in POINTS])),
        )
    ]
    rows = b"".join(b"\0" + _row(layers, y, icon.pixels, scale) for y in range(icon.pixels))
    head = struct.pack(">IIBBBBB", icon.pixels, icon.pixels, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(kind, data)
        for kind, data in ((b"IHDR", head), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _moved(point: tuple[int, int], icon: Icon) -> tuple[int, int]:
    return point[0] + icon.margin, point[1] + icon.margin


def _row(layers: Sequence[tuple[bytes, Spans]], y: int, pixels: int, scale: float) -> bytes:
    """Return one row of pixels; what comes later in layers lies above."""
    heights = [(y + (line + 0.5) / SUBROWS) * scale for line in range(SUBROWS)]
    seen = [
        (colour, _covered([_joined(spans(height)) for height in heights], pixels, scale))
        for colour, spans in layers
    ]
    colours = [colour for colour, _ in seen]
    # Most pixels are like others.
    known: dict[tuple[float, ...], bytes] = {}
    row = bytearray()
    for shares in zip(*(covered for _, covered in seen), strict=True):
        if shares not in known:
            known[shares] = _pixel(colours, shares)
        row += known[shares]
    return bytes(row)


def _pixel(colours: Sequence[bytes], shares: Sequence[float]) -> bytes:
    mixed, opacity = [0.0] * 3, 0.0
    for colour, share in zip(colours, shares, strict=True):
        mixed = [old + (new - old) * share for old, new in zip(mixed, colour, strict=True)]
        opacity += (1 - opacity) * share
    return bytes(
        [round(one / opacity) if opacity else 0 for one in mixed] + [round(255 * opacity)]
    )


def _covered(lines: Sequence[Sequence[Span]], pixels: int, scale: float) -> list[float]:
    """Return how much of each pixel of a row the spans on its lines cover, 0 to 1."""
    parts = [0.0] * (pixels + 1)
    steps = [0] * (pixels + 1)
    for spans in lines:
        for start, end in spans:
            low, high = start / scale, end / scale
            first, last = int(low), int(high)
            # Both ends in part; between them one more line covers the whole pixel.
            parts[first] -= low - first
            parts[last] += high - last
            steps[first] += 1
            steps[last] -= 1
    shares = zip(accumulate(steps), parts, strict=True)
    return [round((whole + part) / SUBROWS, 6) for whole, part in shares][:pixels]


def _joined(spans: Sequence[Span]) -> list[Span]:
    """Return the spans without overlaps."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def _ground(side: int, corner: int) -> Spans:
    def spans(y: float) -> Sequence[Span]:
        deep = max(corner - y, y - (side - corner), 0)
        inset = corner - sqrt(corner**2 - deep**2)
        return [(inset, side - inset)]

    return spans


def _disc(x: float, y: float, radius: float) -> Spans:
    def spans(height: float) -> Sequence[Span]:
        if abs(height - y) >= radius:
            return []
        half = sqrt(radius**2 - (height - y) ** 2)
        return [(x - half, x + half)]

    return spans


def _arc(x: int, y: int) -> Spans:
    outer, inner = _disc(x, y, RADIUS + WIDTH / 2), _disc(x, y, RADIUS - WIDTH / 2)
    ends = [_disc(x + side * RADIUS, y, WIDTH / 2) for side in (-1, 1)]

    def spans(height: float) -> Sequence[Span]:
        found = [one for end in ends for one in end(height)]
        if height <= y:
            for left, right in outer(height):
                hole = inner(height)
                found += [(left, hole[0][0]), (hole[0][1], right)] if hole else [(left, right)]
        return found

    return spans


def _polygon(corners: Sequence[tuple[int, int]]) -> Spans:
    def spans(height: float) -> Sequence[Span]:
        crossed = sorted(
            x + (height - y) * (to_x - x) / (to_y - y)
            for (x, y), (to_x, to_y) in pairwise([*corners, corners[0]])
            if (y <= height) != (to_y <= height)
        )
        return list(zip(crossed[::2], crossed[1::2], strict=True))

    return spans


def main(arguments: Sequence[str]) -> int:
    """Write all icons into the page's folder; return 0."""
    parser = argparse.ArgumentParser(prog="wattlog-tools icons", description=main.__doc__)
    parser.parse_args(arguments)
    for icon in ICONS:
        path = FOLDER / icon.name
        path.write_bytes(svg(icon).encode() if icon.pixels is None else png(icon))
        print(f"{path.name}: {path.stat().st_size} bytes")
    return 0
