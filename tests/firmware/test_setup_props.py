"""Whatever comes over the serial line or the network: nothing raises but a refusal, what waits
is bounded, and how the stream is cut never matters.
"""

from urllib.parse import urlencode

from hypothesis import given
from hypothesis import strategies as st

from wattlog_esp32 import page, settings
from wattlog_esp32.improv import COMMAND, GET_STATE, READY, STATE, Improv, packet
from wattlog_esp32.request import (
    BODY_BYTES_MAX,
    FIELDS_MAX,
    HEAD_BYTES_MAX,
    Refused,
    RequestReader,
    parse_form,
)

PIECE_BYTES_MAX = 512
PACKET_BYTES_MAX = 9 + 255 + 1
ASK = packet(COMMAND, bytes([GET_STATE, 0]))
# Bytes that look like packets and requests are what finds mistakes.
LIKE_PACKETS = st.lists(
    st.one_of(
        st.binary(max_size=20),
        st.sampled_from([b"IMPROV", b"IMPROV\x01\x03", b"IMPROV\x01\x03\x02\x02", ASK, ASK[:-3]]),
        st.binary(max_size=40).map(lambda data: packet(COMMAND, data)),
    ),
    max_size=12,
).map(b"".join)
LIKE_REQUESTS = st.lists(
    st.one_of(
        st.binary(max_size=20),
        st.sampled_from([
            b"GET / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\n", b"Host: h\r\n", b"\r\n", b"\r\n\r\n",
            b"Content-Length: 3\r\n", b"Content-Type: application/x-www-form-urlencoded\r\n",
            b"a=b", b"X: " + b"y" * 700 + b"\r\n",
        ]),
    ),
    max_size=12,
).map(b"".join)  # fmt: skip
SIZES = st.lists(st.integers(1, PIECE_BYTES_MAX), min_size=1, max_size=8)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def pieces(data, sizes):
    begin = 0
    while begin < len(data):
        for size in sizes:
            yield data[begin : begin + size]
            begin += size


def new_improv():
    return Improv(lambda *_: True, ["a", "b", "c", "d"], lambda: [("home", -48, True)])


@given(LIKE_PACKETS, SIZES)
def test_how_a_serial_line_is_cut_never_matters(data, sizes):
    whole, cut = new_improv(), new_improv()
    answer = whole.push(data)
    parts = []
    for piece in pieces(data, sizes):
        parts.append(cut.push(piece))
        assert len(cut._buf) < PACKET_BYTES_MAX
    assert b"".join(parts) == answer
    assert (whole.breaks, whole.drops) == (cut.breaks, cut.drops)


@given(LIKE_PACKETS)
def test_a_question_is_answered_whatever_came_before(data):
    improv = new_improv()
    # A false start may claim the longest packet; behind that much, all is as if nothing was.
    improv.push(data + b"\0" * PACKET_BYTES_MAX)
    improv.state = READY
    assert improv.push(ASK).endswith(packet(STATE, bytes([READY])))


def outcome(data, sizes):
    reader = RequestReader(lambda name: name == b"h")
    for piece in pieces(data, sizes):
        try:
            request = reader.push(piece)
        except Refused as refusal:
            return refusal.status
        assert len(reader._buf) <= HEAD_BYTES_MAX + BODY_BYTES_MAX
        if request is not None:
            return request.method, request.path, request.body
    return None


@given(LIKE_REQUESTS, SIZES)
def test_how_a_request_is_cut_matters_little(data, sizes):
    one, other = outcome(data, [1]), outcome(data, sizes)
    # Two things may be wrong at once; which one is said first may depend on the cut.
    assert one == other or (isinstance(one, int) and isinstance(other, int))


@given(st.dictionaries(TEXT, TEXT, max_size=FIELDS_MAX))
def test_a_form_comes_back_as_it_was_sent(fields):
    assert parse_form(urlencode(fields).encode()) == fields


@given(st.binary(max_size=200))
def test_any_form_is_read_or_refused(data):
    try:
        parse_form(data)
    except Refused as refusal:
        assert refusal.status == 400


@given(TEXT)
def test_what_is_escaped_is_text_and_nothing_else(text):
    escaped = page.escaped(text)
    assert not set("<>\"'") & set(escaped)
    for letter, name in (("<", "lt"), (">", "gt"), ('"', "quot"), ("'", "#39"), ("&", "amp")):
        escaped = escaped.replace(f"&{name};", letter)
    assert escaped == text


@given(st.dictionaries(st.sampled_from([field[0] for field in page.FIELDS]), TEXT))
def test_what_a_form_lets_through_is_what_the_settings_take(values):
    given_, wrong = page.read(values, {})
    try:
        settings.check(given_, "form")
    except settings.ConfigError:
        assert wrong
