"""The simulated meters: one row per model, one encoder for all of them.

The rows say what captures of real meters show: which registers, in which order, in which integer
widths, with which status word and time. DESIGN.md says what is taken from where. Runs on
MicroPython and CPython.
"""

from collections import namedtuple

from wattlog_sim.house import House
from wattlog_sim.registers import (
    Moment,
    export_wh,
    import_wh,
    nothing,
    past_wh,
    phase_w,
    power_abs_w,
    power_w,
    signed_4,
    signed_5,
    signed_8,
    signed_as_dzg,
    status_ed300l,
    status_edl,
    status_fnn_4,
    status_fnn_one_phase,
    status_fnn_short,
)
from wattlog_sim.sml_writer import (
    ABSENT,
    LIST_CURRENT_VALUES,
    TAG_CLOSE_RESPONSE,
    TAG_GET_LIST_RESPONSE,
    TAG_OPEN_RESPONSE,
    UNIT_NONE,
    UNIT_W,
    UNIT_WH,
    close_response,
    entry,
    get_list_response,
    kermit_high_first,
    message,
    octets,
    open_response,
    sec_index,
    signed,
    transport,
    unsigned,
    x25_low_first,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from wattlog_sim.registers import Coding, Source
    from wattlog_sim.sml_writer import Checksum

    ByteOrder = Literal["little", "big"]

SERIAL_MAX = 99_999_999
"""Eight decimal digits are printed on the meter."""

PUBLIC_KEY_BYTES = 48


class Dialect:
    """How a family of meters wraps its registers; the defaults are what most of them do."""

    def __init__(
        self,
        checksum: "Checksum" = x25_low_first,
        shorten_crc: bool = False,
        pad_aligned: bool = False,
        tag_width: int = 2,
        transaction_bytes: int = 4,
        transaction_order: "ByteOrder | None" = "big",
        file_id_bytes: int = 4,
        list_name: bytes = LIST_CURRENT_VALUES,
        sends_sensor_time: bool = True,
        sends_ref_time: bool = False,
        time_width: int | None = 4,
        sml_version: bytes = ABSENT,
        val_time: bytes = ABSENT,
        bare_val_time: bool = False,
        text_unit: int | None = None,
        text_scaler: int | None = None,
    ) -> None:
        """Describe a family; `sml_version` and `val_time` are encoded already.

        `transaction_order` None: the transaction id is not a counter, but the message's number
        within its frame. `file_id_bytes` 0: the file id never changes. `time_width` None: the
        seconds counter takes as few bytes as it needs. `bare_val_time`: registers with a status
        carry the seconds counter as a mere number, where SML wants a choice of times.
        """
        self.checksum = checksum
        self.shorten_crc = shorten_crc
        self.pad_aligned = pad_aligned
        self.tag_width = tag_width
        self.transaction_bytes = transaction_bytes
        self.transaction_order = transaction_order
        self.file_id_bytes = file_id_bytes
        self.list_name = list_name
        self.sends_sensor_time = sends_sensor_time
        self.sends_ref_time = sends_ref_time
        self.time_width = time_width
        self.sml_version = sml_version
        self.val_time = val_time
        self.bare_val_time = bare_val_time
        self.text_unit = text_unit
        self.text_scaler = text_scaler


ISKRA_OLD = Dialect()
ISKRA_NEW = Dialect(shorten_crc=True, sends_ref_time=True)
DZG = Dialect(
    pad_aligned=True,
    transaction_order="little",
    file_id_bytes=0,
    sends_ref_time=True,
    time_width=None,
    sml_version=unsigned(2),
    val_time=sec_index(0, None),
    text_unit=UNIT_NONE,
    text_scaler=0,
)
EMH_EDL = Dialect(transaction_bytes=6, file_id_bytes=6, list_name=b"")
HOLLEY_KERMIT = Dialect(
    checksum=kermit_high_first,
    tag_width=4,
    transaction_bytes=3,
    transaction_order=None,
    file_id_bytes=6,
    list_name=b"",
    sends_sensor_time=False,
    bare_val_time=True,
)

Number = namedtuple("Number", ("obis", "source", "coding", "unit", "scaler", "has_status"))
Text = namedtuple("Text", ("obis", "text"))
"""A register of octets: `text` names an attribute of Meter."""

Model = namedtuple(
    "Model",
    (
        "name",
        "title",
        "maker",
        "server_prefix",
        "serial",
        "solar_peak_w",
        "dialect",
        "status",
        "registers",
    ),
)


def _energy(obis: bytes, source: "Source", coding: "Coding", scaler: int) -> Number:
    return Number(obis, source, coding, UNIT_WH, scaler, False)


def _energy_with_status(obis: bytes, source: "Source", coding: "Coding", scaler: int) -> Number:
    return Number(obis, source, coding, UNIT_WH, scaler, True)


def _power(obis: bytes, source: "Source", coding: "Coding", scaler: int) -> Number:
    return Number(obis, source, coding, UNIT_W, scaler, False)


_MAKER_FNN = Text(b"\x01\x00\x60\x32\x01\x01", "maker")
_ID_FNN = Text(b"\x01\x00\x60\x01\x00\xff", "server_id")
_MAKER_EDL = Text(b"\x81\x81\xc7\x82\x03\xff", "maker")
_ID_EDL = Text(b"\x01\x00\x00\x00\x09\xff", "server_id")
_PUBLIC_KEY = Text(b"\x81\x81\xc7\x82\x05\xff", "public_key")

_IMPORT = b"\x01\x00\x01\x08\x00\xff"
_IMPORT_T1 = b"\x01\x00\x01\x08\x01\xff"
_IMPORT_T2 = b"\x01\x00\x01\x08\x02\xff"
_EXPORT = b"\x01\x00\x02\x08\x00\xff"
_POWER = b"\x01\x00\x10\x07\x00\xff"
_POWER_ABS = b"\x01\x00\x0f\x07\x00\xff"
_POWER_L1 = b"\x01\x00\x24\x07\x00\xff"
_POWER_L2 = b"\x01\x00\x38\x07\x00\xff"
_POWER_L3 = b"\x01\x00\x4c\x07\x00\xff"

# The last byte of the OBIS code tells Holley's history (96 to 99, and 100 since the last reset)
# from the register itself: whoever ignores it overwrites the register.
_HISTORY = ((96, 1), (97, 7), (98, 30), (99, 365))


def _with_history(obis: bytes, since_reset: "Source", direction: int) -> "tuple[Number, ...]":
    rows = [
        _energy(obis[:5] + bytes((last,)), past_wh(direction, days, 2), unsigned, 2)
        for last, days in _HISTORY
    ]
    rows.append(_energy(obis[:5] + bytes((100,)), since_reset, unsigned, 2))
    return tuple(rows)


MODELS = (
    Model(
        name="mt681",
        title="Iskra MT681: import, export, power of each phase",
        maker=b"ISK",
        server_prefix=b"\x09\x01ISK\x00",
        serial=60_123_451,
        solar_peak_w=6_000,
        dialect=ISKRA_OLD,
        status=status_edl,
        registers=(
            _MAKER_EDL,
            _ID_EDL,
            _energy_with_status(_IMPORT, import_wh(-1), signed_8, -1),
            _energy(_EXPORT, export_wh(-1), signed_8, -1),
            _power(_POWER, power_w(0), signed_4, 0),
            _power(_POWER_L1, phase_w(0), signed_4, 0),
            _power(_POWER_L2, phase_w(1), signed_4, 0),
            _power(_POWER_L3, phase_w(2), signed_4, 0),
            _PUBLIC_KEY,
        ),
    ),
    Model(
        name="reduced",
        title="Iskra MT631 without its PIN: whole kWh, no power",
        maker=b"ISK",
        server_prefix=b"\x0a\x01ISK\x00",
        serial=80_369_987,
        solar_peak_w=0,
        dialect=ISKRA_NEW,
        status=status_fnn_one_phase,
        registers=(
            _MAKER_FNN,
            _ID_FNN,
            _energy_with_status(_IMPORT, import_wh(3), unsigned, 3),
            _energy(_EXPORT, export_wh(3), unsigned, 3),
        ),
    ),
    Model(
        name="dzg",
        title="DZG DVS74: short integers, some powers look negative that are not",
        maker=b"DZG",
        server_prefix=b"\x0a\x01DZG\x00",
        serial=42_123_452,
        solar_peak_w=3_000,
        dialect=DZG,
        status=status_fnn_short,
        registers=(
            _MAKER_FNN,
            _ID_FNN,
            _energy_with_status(_IMPORT, import_wh(-1), unsigned, -1),
            _energy(_EXPORT, export_wh(-1), unsigned, -1),
            _power(_POWER, power_w(-2), signed_as_dzg, -2),
        ),
    ),
    Model(
        name="edl",
        title="EMH ED300L: power without its sign, which is in the status word",
        maker=b"EMH",
        server_prefix=b"\x06EMH\x01\x02",
        serial=71_234_563,
        solar_peak_w=4_000,
        dialect=EMH_EDL,
        status=status_ed300l,
        registers=(
            _MAKER_EDL,
            _ID_EDL,
            _energy_with_status(_IMPORT, import_wh(-1), signed_5, -1),
            _energy(_IMPORT_T1, import_wh(-1), signed_5, -1),
            _energy(_IMPORT_T2, nothing, signed_5, -1),
            _power(_POWER_ABS, power_abs_w(-1), signed_4, -1),
            _PUBLIC_KEY,
        ),
    ),
    Model(
        name="holley",
        title="Holley DTZ541: the other checksum, and a history in ten registers",
        maker=b"HLY",
        server_prefix=b"\x0a\x01HLY\x02",
        serial=10_239_554,
        solar_peak_w=8_000,
        dialect=HOLLEY_KERMIT,
        status=status_fnn_4,
        registers=(
            _MAKER_FNN,
            _ID_FNN,
            _energy_with_status(_IMPORT, import_wh(-1), unsigned, -1),
        )
        + _with_history(_IMPORT, import_wh(2), 0)
        + (_energy_with_status(_EXPORT, export_wh(-1), unsigned, -1),)
        + _with_history(_EXPORT, export_wh(2), 1)
        + (
            _power(_POWER, power_w(0), signed, 0),
            _power(_POWER_L1, phase_w(0), signed, 0),
            _power(_POWER_L2, phase_w(1), signed, 0),
            _power(_POWER_L3, phase_w(2), signed, 0),
        ),
    ),
)


def model_named(name: str) -> "Model | None":
    """Return the row with this name, or None."""
    for model in MODELS:
        if model.name == name:
            return model
    return None


class Meter:
    """One meter on one house's connection."""

    def __init__(self, model: Model, house: House, serial: int | None = None) -> None:
        """Install a meter; without `serial` it gets its model's own."""
        serial = model.serial if serial is None else serial
        assert 0 <= serial <= SERIAL_MAX
        self.model = model
        self.house = house
        self.maker: bytes = model.maker
        self.server_id: bytes = model.server_prefix + serial.to_bytes(4, "big")
        self.public_key = _made_up_key(self.server_id)

    @property
    def label(self) -> str:
        """The id as printed on the meter, or in hex where no printed form is agreed."""
        scheme = self.server_id[0]
        if scheme not in (0x09, 0x0A):
            return self.server_id.hex()
        serial = int.from_bytes(self.server_id[6:], "big")
        return "%d %s%02X %08d" % (
            self.server_id[1],
            self.maker.decode(),
            self.server_id[5],
            serial,
        )

    def frame(self, epoch_s: int, seconds_running: int) -> bytes:
        """Return the frame for this second; `seconds_running` is the meter's own counter."""
        dialect: Dialect = self.model.dialect
        file_id = b"\x31"
        if dialect.file_id_bytes:
            file_id = seconds_running.to_bytes(dialect.file_id_bytes, "big")
        clock = sec_index(seconds_running, dialect.time_width)
        contents = (
            (
                TAG_OPEN_RESPONSE,
                open_response(
                    file_id,
                    self.server_id,
                    clock if dialect.sends_ref_time else ABSENT,
                    dialect.sml_version,
                ),
            ),
            (
                TAG_GET_LIST_RESPONSE,
                get_list_response(
                    self.server_id,
                    self._entries(Moment(self.house, epoch_s), seconds_running),
                    clock if dialect.sends_sensor_time else ABSENT,
                    dialect.list_name,
                ),
            ),
            (TAG_CLOSE_RESPONSE, close_response()),
        )
        payload = b""
        for index, (tag, content) in enumerate(contents):
            payload += message(
                self._transaction_id(seconds_running, index),
                tag,
                content,
                dialect.checksum,
                dialect.tag_width,
                dialect.shorten_crc,
            )
        return transport(payload, dialect.checksum, dialect.pad_aligned)

    def _transaction_id(self, seconds_running: int, index: int) -> bytes:
        dialect: Dialect = self.model.dialect
        if dialect.transaction_order is None:
            return (index + 1).to_bytes(dialect.transaction_bytes, "big")
        count = (3 * seconds_running + index) & ((1 << (8 * dialect.transaction_bytes)) - 1)
        return count.to_bytes(dialect.transaction_bytes, dialect.transaction_order)

    def _entries(self, moment: Moment, seconds_running: int) -> "list[bytes]":
        return [
            self._text_entry(row)
            if isinstance(row, Text)
            else self._number_entry(row, moment, seconds_running)
            for row in self.model.registers
        ]

    def _text_entry(self, row: Text) -> bytes:
        dialect: Dialect = self.model.dialect
        return entry(
            row.obis,
            octets(getattr(self, row.text)),
            val_time=dialect.val_time,
            unit=dialect.text_unit,
            scaler=dialect.text_scaler,
        )

    def _number_entry(self, row: Number, moment: Moment, seconds_running: int) -> bytes:
        dialect: Dialect = self.model.dialect
        status = ABSENT
        val_time = dialect.val_time
        if row.has_status:
            status = self.model.status(moment)
            if dialect.bare_val_time:
                val_time = unsigned(seconds_running, 4)
        value = row.coding(row.source(moment))
        return entry(row.obis, value, status, val_time, row.unit, row.scaler)


def _made_up_key(server_id: bytes) -> bytes:
    # Only the length matters: nothing here signs anything.
    key = bytearray()
    state = 1
    while len(key) < PUBLIC_KEY_BYTES:
        state = (state * 251 + server_id[len(key) % len(server_id)] + 1) % 65_521
        key.append(state & 0xFF)
    return bytes(key)
