"""Improv: a good packet is answered whatever stands around it, and no bytes make it raise."""

from wattlog_esp32.improv import PROVISIONED, PROVISIONING, READY, Improv, packet, result

COMMAND = 3
NETWORKS = [("home", -48, True), ("guests", -60, False)]
INFO = ["wattlog", "0.1.0", "esp32", "wattlog-a1b2c3"]
# From the protocol's description, counted by hand: "Request current state".
ASK_STATE = b"IMPROV\x01\x03\x02\x02\x00\xe5"
NO_ERROR = packet(2, b"\x00")
INVALID = packet(2, b"\x01")
SET_HOME = b"\x01\x0c\x04home\x06secret"


def checksum(data):
    return data + bytes([sum(data) & 255])


def command(data):
    return checksum(b"IMPROV\x01\x03" + bytes([len(data)]) + data)


class Head:
    def __init__(self, accepts=True):
        self.logins = []
        self.accepts = accepts
        self.improv = Improv(self.set_wifi, INFO, lambda: NETWORKS)
        self.push = self.improv.push

    def set_wifi(self, ssid, password):
        self.logins.append((ssid, password))
        return self.accepts


def state(number):
    return packet(1, bytes([number]))


def test_a_packet_is_what_the_description_says():
    assert state(READY) == checksum(b"IMPROV\x01\x01\x01\x02") + b"\n"
    assert command(b"\x02\x00") == ASK_STATE
    assert result(4, ["a", "-60"]) == packet(4, b"\x04\x06\x01a\x03-60")


def test_commands_are_answered():
    rows = (
        ("the state", b"\x02\x00", NO_ERROR + state(READY)),
        ("who it is", b"\x03\x00", NO_ERROR + result(3, INFO)),
        (
            "the networks, and an empty list behind them",
            b"\x04\x00",
            NO_ERROR
            + result(4, ["home", "-48", "YES"])
            + result(4, ["guests", "-60", "NO"])
            + result(4, []),
        ),
        ("an unknown one", b"\x09\x00", packet(2, b"\x02")),
        ("Wi-Fi", SET_HOME, NO_ERROR + state(PROVISIONING)),
        ("a length that is too large", b"\x02\x01", INVALID),
        ("a length that is too small", b"\x02\x00\x00", INVALID),
        ("no length", b"\x02", INVALID),
        ("nothing", b"", INVALID),
        ("Wi-Fi without a password", b"\x01\x05\x04home", INVALID),
        ("Wi-Fi with a cut password", b"\x01\x09\x04home\x06abc", INVALID),
        ("Wi-Fi with more behind it", b"\x01\x0d\x04home\x06secretx", INVALID),
        ("a name that is no text", b"\x01\x04\x01\xff\x01a", INVALID),
    )
    for name, data, answer in rows:
        head = Head()
        assert head.push(command(data)) == answer, name
        # In any pieces it is the same.
        head = Head()
        assert b"".join([head.push(bytes([byte])) for byte in command(data)]) == answer, name


def test_a_wifi_is_tried_and_told_about():
    head = Head()
    head.push(command(SET_HOME))
    assert head.logins == [("home", "secret")]
    assert head.push(ASK_STATE) == NO_ERROR + state(PROVISIONING)
    assert head.improv.finish(False, "") == packet(2, b"\x03") + state(READY)
    head.push(command(SET_HOME))
    url = "http://192.168.1.7/"
    assert head.improv.finish(True, url) == state(PROVISIONED) + result(1, [url])
    assert head.push(ASK_STATE) == NO_ERROR + state(PROVISIONED) + result(2, [url])


def test_a_wifi_that_cannot_be_is_refused():
    assert Head(accepts=False).push(command(SET_HOME)) == INVALID


def test_the_empty_password_is_one():
    head = Head()
    head.push(command(b"\x01\x06\x04home\x00"))
    assert head.logins == [("home", "")]


NOISE = (
    ("nothing", b""),
    ("a line", b"hello\r\n"),
    ("half a header", b"IMPR"),
    ("a header and a half", b"IMPROVIMP"),
    ("another version", b"IMPROV\x02\x03"),
    ("a packet for the other side", state(READY)),
    ("a packet with a wrong sum", ASK_STATE[:-1] + b"\x00"),
    ("binary", bytes(range(256))),
)


def test_a_good_packet_is_found_behind():
    for name, noise in NOISE:
        head = Head()
        answer = head.push(noise + ASK_STATE)
        assert answer[-len(NO_ERROR + state(READY)) :] == NO_ERROR + state(READY), name


def test_a_wrong_length_costs_no_more_than_it_says():
    # The length says 255; the packet inside is found once that many have come.
    head = Head()
    answer = b""
    for _ in range(30):
        answer += head.push(b"IMPROV\x01\x03\xff" if not answer and _ == 0 else ASK_STATE)
    assert answer.count(state(READY)) == 30 - 1


def test_a_wrong_sum_is_told_and_counted():
    head = Head()
    assert head.push(ASK_STATE[:-1] + b"\x00") == INVALID
    assert head.improv.drops == 1


def test_ctrl_c_counts_outside_of_a_packet_only():
    head = Head()
    head.push(ASK_STATE + b"\r\n")
    head.push(ASK_STATE[:-1] + b"\x00")
    assert head.improv.breaks == 0
    head.push(b"\r\x03")
    assert head.improv.breaks == 1


def test_what_waits_is_bounded():
    head = Head()
    for _ in range(40):
        head.push(b"IMPROV\x01\x03\xff" + b"IMPROV\x01\x03\xff" * 9)
        assert len(head.improv._buf) <= 9 + 255 + 1


def test_long_answers_fit_a_packet():
    answer = result(4, ["x" * 200] * 9)
    assert len(answer) <= 9 + 255 + 2
    assert answer[8] == len(answer) - 11
