"""`wattlog-agent decode`: a person's first contact with a meter."""

import argparse
import contextlib
import io
import json
import os
import stat
import sys
import time
from collections.abc import Iterator
from typing import Any

from wattlog.channels import Channel, by_id, by_obis, label
from wattlog.config import ConfigError
from wattlog.decoder import SmlDecoder
from wattlog.diagnosis import Diagnosis
from wattlog.layout import LearnedList
from wattlog.reading import HINT_PIN, Interpreter, Reading
from wattlog.sml import Entry, GetList, obis_text, server_id_text

FRAME_BYTES_MAX = 8192
READ_BYTES = 65536
LOOK_EVERY_S = 0.05
PIECE_BYTES = 512  # of a file: about a frame, so that what is wrong shows between good frames
BYTES_PER_S = 960  # at 9600 baud: what time it is in a file

# DLMS units (IEC 62056-62) that meters send; other numbers are shown as such.
UNITS = {
    7: "s",
    8: "°",
    9: "°C",
    25: "J",
    27: "W",
    28: "VA",
    29: "var",
    30: "Wh",
    31: "VAh",
    32: "varh",
    33: "A",
    35: "V",
    44: "Hz",
    56: "%",
    255: "",
}

# Registers that are no quantity; the quantities are in wattlog.channels.
_NAMES_HEX = {
    "010060320101": "Maker",
    "0100600100ff": "Device id",
    "0100000009ff": "Device id",
    "0100000000ff": "Device number",
    "00006001ffff": "Serial number",
    "8181c78203ff": "Maker",
    "8181c78205ff": "Public key",
    "8181c7f006ff": "Firmware",
    "010000020000": "Firmware",
    "0100605a0201": "Parameter checksum",
    "0100600500ff": "Status",
    "0100600505ff": "Status",
}
NAMES = {bytes.fromhex(code): name for code, name in _NAMES_HEX.items()}
SERVER_ID_OBIS = (bytes.fromhex("0100600100ff"), bytes.fromhex("0100000009ff"))


def decimal_text(value: int, scale: int) -> str:
    """Return value * 10**scale as exact decimal text: (1989275, -1) is "198927.5"."""
    if scale >= 0:
        return str(value * 10**scale)
    digits = str(abs(value)).rjust(1 - scale, "0")
    return ("-" if value < 0 else "") + digits[:scale] + "." + digits[scale:]


def run_decode(options: argparse.Namespace) -> int:
    """Decode options.source to standard output; return the exit status."""
    decoder = SmlDecoder(FRAME_BYTES_MAX, READ_BYTES, salvage=options.salvage)
    interpreter = Interpreter()
    show = _show_json if options.json else _show_table
    shown = 0
    advice = _Advice(decoder)
    try:
        for data, now_ms in _chunks(options.source, options.baud):
            for meter_list in decoder.push(data):
                show(meter_list, interpreter.read(meter_list) if options.interpret else None)
                shown += 1
                if shown == options.count:
                    sys.stdout.flush()
                    _summary(shown, {}, interpreter, 0)
                    return 0
            sys.stdout.flush()
            advice.look(data, now_ms)
        decoder.finish()
        advice.conclude()
    except KeyboardInterrupt:
        print(file=sys.stderr)
    except BrokenPipeError:
        # The reader has seen enough; without this Python complains once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as err:  # of standard output: the sources' own have become ConfigError
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"wattlog-agent: standard output: {_why(err)}", file=sys.stderr)
        return 1
    _summary(shown, decoder.drops, interpreter, decoder.junk_bytes)
    return 0


class _Advice:
    """Says to standard error, each thing once, why no frame comes."""

    def __init__(self, decoder: SmlDecoder) -> None:
        self._decoder = decoder
        self._diagnosis = Diagnosis()
        self._now_ms: int | None = None
        self._told = {""}

    def look(self, data: bytes, now_ms: int) -> None:
        """Take what the decoder has taken."""
        self._now_ms = now_ms
        self._diagnosis.feed(data, now_ms, self._decoder.frames, self._damaged())
        self._tell()

    def conclude(self) -> None:
        """Judge a short file at its end."""
        if self._now_ms is not None and not self._decoder.frames:
            self._diagnosis.conclude(self._now_ms, self._damaged())
            self._tell()

    def _damaged(self) -> int:
        return self._decoder.drops.get("crc", 0)

    def _tell(self) -> None:
        text = self._diagnosis.text or ""
        if text not in self._told:
            self._told.add(text)
            print(text, file=sys.stderr)


def _chunks(source: str, baud: int) -> Iterator[tuple[bytes, int]]:
    """Yield the source's bytes and the time in ms; a serial port never ends."""
    try:
        # Not sys.stdin: Python has none where standard input is closed or a folder.
        opened = os.dup(0) if source == "-" else os.open(source, os.O_RDONLY | os.O_NOCTTY)
    except (OSError, ValueError) as err:
        raise ConfigError(f"{source}: {_why(err)}") from None
    with open(opened, "rb", buffering=0) as file:
        is_port = stat.S_ISCHR(os.fstat(opened).st_mode) and file.isatty() and source != "-"
        if not is_port:
            yield from _file_chunks(source, file)
            return
    yield from _port_chunks(source, baud)


def _file_chunks(source: str, file: io.FileIO) -> Iterator[tuple[bytes, int]]:
    # Unbuffered, a pipe's frames are shown as they come.
    done = 0
    while True:
        try:
            data = file.read(READ_BYTES)
        except OSError as err:
            raise ConfigError(f"{source}: {_why(err)}") from None
        if not data:
            return
        for at in range(0, len(data), PIECE_BYTES):
            yield data[at : at + PIECE_BYTES], (done + at) * 1000 // BYTES_PER_S
        done += len(data)


def _why(err: OSError | ValueError) -> str:
    return str(getattr(err, "strerror", None) or err).lower()


def _port_chunks(port: str, baud: int) -> Iterator[tuple[bytes, int]]:
    from wattlog_pi.serial_source import SerialSource

    source = SerialSource(port, baud, lambda _: 0)
    started_s = time.monotonic()
    with contextlib.closing(source):
        while True:
            now_ms = int((time.monotonic() - started_s) * 1000)
            data = source.read(now_ms)
            if source.trouble():
                raise ConfigError(f"{port}: {source.trouble()}".removesuffix("; trying again"))
            yield data, now_ms
            time.sleep(LOOK_EVERY_S)  # noqa: TID251 - nobody else waits here


def _show_json(meter_list: GetList | LearnedList, reading: Reading | None) -> None:
    frame: dict[str, Any] = {
        "server_id": None if meter_list.server_id is None else meter_list.server_id.hex(),
        "entries": [
            {
                "obis": entry.obis.hex(),
                "value": _plain(entry.value),
                "scaler": entry.scaler,
                "unit": entry.unit,
                "status": _plain(entry.status),
                "sec_index": entry.sec_index,
            }
            for entry in meter_list.entries
        ],
    }
    if reading is not None:
        frame["reading"] = {
            "meter": server_id_text(reading.server_id),
            "full_dataset": reading.full_dataset,
            "values": {
                _channel(number).key: decimal_text(value, scale)
                for number, value, scale in reading.values
            },
        }
    print(json.dumps(frame))


def _plain(value: int | bytes | bool | None) -> int | str | bool | None:
    return value.hex() if isinstance(value, bytes) else value


def _show_table(meter_list: GetList | LearnedList, reading: Reading | None) -> None:
    server_id = meter_list.server_id
    meter = server_id_text(server_id) if server_id else "without an id"
    seconds = "" if meter_list.sec_index is None else f", its second {meter_list.sec_index}"
    print(f"Meter {meter}{seconds}")
    rows = [(obis_text(e.obis), _name(e.obis), _value_text(e)) for e in meter_list.entries]
    if reading is not None:
        rows.append(("", "", ""))
        for number, value, scale in reading.values:
            channel = _channel(number)
            text = f"{decimal_text(value, scale)} {channel.unit}"
            rows.append(("= " + channel.key, label(channel), text))
        if not reading.full_dataset:
            rows.append(("", "Hint", HINT_PIN))
    code_width = max((len(row[0]) for row in rows), default=0)
    name_width = max((len(row[1]) for row in rows), default=0)
    for code, name, text in rows:
        print(f"  {code:<{code_width}}  {name:<{name_width}}  {text}".rstrip())
    print()


def _name(obis: bytes) -> str:
    channel = by_obis(obis)
    return label(channel) if channel else NAMES.get(obis, "")


def _channel(number: int) -> Channel:
    channel = by_id(number)
    assert channel is not None, "a reading holds channels only"
    return channel


def _value_text(entry: Entry) -> str:
    value = entry.value
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, bytes):
        if entry.obis in SERVER_ID_OBIS:
            return server_id_text(value)
        is_text = all(32 <= byte < 127 for byte in value)
        return value.decode("ascii") if is_text else value.hex(" ")
    unit = UNITS.get(entry.unit, f"(unit {entry.unit})") if entry.unit else ""
    return f"{decimal_text(value, entry.scaler or 0)} {unit}".rstrip()


def _summary(
    shown: int, frame_drops: dict[str, int], interpreter: Interpreter, junk_bytes: int
) -> None:
    drops = dict(frame_drops)
    for reason, count in interpreter.drops.items():
        drops[reason] = drops.get(reason, 0) + count
    words = [f"{shown} valid frame{'' if shown == 1 else 's'}"]
    if drops:
        words.append(
            "dropped: " + ", ".join(f"{n} {reason}" for reason, n in sorted(drops.items()))
        )
    if junk_bytes:
        words.append(f"{junk_bytes} bytes outside of frames")
    print("; ".join(words), file=sys.stderr)
