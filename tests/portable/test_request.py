"""The portal's HTTP: what is asked is found in any pieces; all else is one line of refusal."""

from wattlog_esp32.request import (
    BODY_BYTES_MAX,
    HEAD_BYTES_MAX,
    Refused,
    RequestReader,
    parse_form,
)

HOST = b"Host: 192.168.4.1\r\n"
GET = b"GET /?key=abc HTTP/1.1\r\n" + HOST + b"Accept-Language: de-DE,de;q=0.9\r\n\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
BODY = b"wifi.ssid=home&act=save"
POST = b"POST / HTTP/1.0\r\n" + HOST + FORM + b"Content-Length: 23\r\n\r\n" + BODY


def is_host(name):
    return name == b"192.168.4.1"


def read(data, size=512):
    """Return what came of it, pushed in pieces: (request, reader), or the refusal's status."""
    reader = RequestReader(is_host)
    request = None
    for begin in range(0, len(data), size):
        try:
            request = reader.push(data[begin : begin + size])
        except Refused as refusal:
            return refusal.status
        if request is not None:
            break
    return request, reader


def test_a_request_is_read_in_any_pieces():
    for size in (1, 2, 7, 100, 512):
        request, reader = read(GET, size)
        assert (request.method, request.path, request.query) == (b"GET", b"/", b"key=abc")
        assert request.language == b"de-DE,de;q=0.9"
        request, reader = read(POST, size)
        assert (request.method, request.path, request.body) == (b"POST", b"/", BODY)
        assert reader.is_done
        assert not reader.has_more


def test_more_than_one_request_is_seen():
    request, reader = read(GET + GET)
    assert request.path == b"/"
    assert reader.has_more
    assert read(POST + b"x")[1].has_more


def test_half_a_request_is_none():
    for data in (GET, POST):
        for end in range(len(data)):
            assert read(data[:end])[0] is None, end


def head(lines, method=b"POST", target=b"/", version=b"HTTP/1.1"):
    return method + b" " + target + b" " + version + b"\r\n" + lines + b"\r\n"


TOO_LONG = b"X: " + b"y" * HEAD_BYTES_MAX + b"\r\n"
REFUSED = (
    ("HEAD", head(HOST, b"HEAD"), 405),
    ("PUT", head(HOST, b"PUT"), 405),
    ("a connection through us", head(HOST, b"CONNECT"), 405),
    ("a small method", head(HOST, b"get"), 405),
    ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\n", 400),
    ("HTTP/0.9", b"GET /\r\n\r\n", 400),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 400),
    ("a byte above 127", b"GET /\xff HTTP/1.0\r\n", 400),
    ("a null", b"GET / HTTP/1.0\r\nX: \x00\r\n", 400),
    ("a whole address", head(HOST, b"GET", b"http://192.168.4.1/"), 400),
    ("no host", head(b"", b"GET"), 421),
    ("another host", head(b"Host: evil.example\r\n", b"GET"), 421),
    ("two hosts", head(HOST + b"Host: evil.example\r\n", b"GET"), 400),
    ("a host on a line that goes on", head(b"Host:\r\n 192.168.4.1\r\n", b"GET"), 400),
    ("a header without a colon", head(HOST + b"X\r\n", b"GET"), 400),
    ("a header without a name", head(HOST + b": x\r\n", b"GET"), 400),
    ("a blank in a name", head(HOST + b"Host : x\r\n", b"GET"), 400),
    ("a bare end of line", head(b"X: y\nHost: evil\r\n" + HOST, b"GET"), 400),
    ("pieces", head(HOST + FORM + b"Transfer-Encoding: chunked\r\n"), 501),
    ("a body of a GET", head(HOST + b"Content-Length: 3\r\n", b"GET"), 400),
    ("no length", head(HOST + FORM), 411),
    ("a length that is none", head(HOST + FORM + b"Content-Length: -1\r\n"), 400),
    ("two lengths", head(HOST + FORM + b"Content-Length: 1\r\nContent-Length: 2\r\n"), 400),
    ("a byte too much", head(HOST + FORM + b"Content-Length: %d\r\n" % (BODY_BYTES_MAX + 1)), 413),
    ("ten megabytes", head(HOST + FORM + b"Content-Length: 10485760\r\n"), 413),
    ("a huge number", head(HOST + FORM + b"Content-Length: " + b"9" * 60 + b"\r\n"), 413),
    ("not a form", head(HOST + b"Content-Type: text/plain\r\nContent-Length: 1\r\n"), 415),
    ("a long header", head(HOST + TOO_LONG, b"GET"), 431),
    ("a long address", b"GET /" + b"a" * HEAD_BYTES_MAX, 431),
)


def test_all_else_is_refused_in_any_pieces():
    for name, data, status in REFUSED:
        for size in (1, 100, 512):
            assert read(data, size) == status, (name, size)


def test_the_largest_head_and_body_are_taken():
    fixed = len(head(HOST + b"X: \r\n", b"GET"))
    data = head(HOST + b"X: " + b"y" * (HEAD_BYTES_MAX - fixed) + b"\r\n", b"GET")
    assert len(data) == HEAD_BYTES_MAX
    assert read(data)[0].path == b"/"
    length = b"Content-Length: %d\r\n" % BODY_BYTES_MAX
    request, _ = read(head(HOST + FORM + length) + b"z" * BODY_BYTES_MAX)
    assert len(request.body) == BODY_BYTES_MAX


def test_what_waits_is_bounded():
    reader = RequestReader(is_host)
    try:
        for _ in range(100):
            reader.push(b"GET / HTTP/1.1\r\nX: y\r\n" * 20)
    except Refused:
        pass
    assert len(reader._buf) <= HEAD_BYTES_MAX + 512


def test_a_form_is_read():
    assert parse_form(b"") == {}
    assert parse_form(b"a=b+c&d=&%C3%BC=%26%3d") == {"a": "b c", "d": "", "ü": "&="}


def test_a_form_that_is_not_well_formed_is_refused():
    rows = (
        ("no value", b"a"),
        ("nothing between", b"a=1&&b=2"),
        ("twice", b"a=1&a=2"),
        ("half an escape", b"a=%4"),
        ("an escape of other letters", b"a=%zz"),
        ("an escape with a sign", b"a=%+1"),
        ("no UTF-8", b"a=%ff"),
        ("too many", b"&".join([b"%d=" % index for index in range(25)])),
    )
    for name, data in rows:
        try:
            parse_form(data)
        except Refused as refusal:
            assert refusal.status == 400
            continue
        raise AssertionError(name)
