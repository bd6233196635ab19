"""The link with TLS, on MicroPython with the ESP32's socket rules: the broker is who the CA says it
is, or it gets no byte of ours; and no step waits longer than it would without TLS.
"""

import re
import ssl
from pathlib import Path

import pytest

from boards import Board
from certificates import broker_of, make_rsa_ca, the_ca
from peers import CONNECT, PUBLISH, Peer, after_subscribing, peer_of, run_link, well_behaved

DRIVER = Path(__file__).parent / "drive_link.py"
# A step's deadline, drive_link.py's, and what a busy test machine adds.
STEP_MS_MAX = 300 + 700
SECRET = b"secret"  # drive_link.py's password


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    return Board(tmp_path_factory.mktemp("board"), (DRIVER,))


@pytest.fixture
def drive(board, tmp_path):
    """drive(scenario, port, host, ca): what the link printed, and its longest step in ms."""

    def run(scenario, port, host="localhost", ca=None):
        path = tmp_path / "ca.der"
        if ca != b"":
            path.write_bytes(the_ca().der if ca is None else ca)
        printed = run_link(board, f"{port} {scenario} {host} {path}")
        if scenario == "publish_and_die":
            return printed
        said, _, longest_ms = printed.rpartition("longest_ms ")
        assert int(longest_ms) <= STEP_MS_MAX, printed
        assert SECRET.decode() not in said
        return said

    return run


@pytest.fixture
def context(tmp_path):
    """context(what, version): what a peer speaks TLS with."""

    def of(what="good", version=None):
        it = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        it.load_cert_chain(*broker_of(what).write(tmp_path, "peer"))
        if version is not None:
            it.minimum_version = it.maximum_version = version
        return it

    return of


# -- a real broker ---------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_broker_of_our_ca_and_this_name_is_believed(drive, mosquitto, tmp_path, host):
    port = mosquitto.add_tls(*broker_of().write(tmp_path, "broker"))
    printed = drive("echo", port, host)
    assert printed == "up True\n('wattlog/1/cellar/a', b'to myself')\n1500\n"


def test_an_rsa_certificate_is_believed_too(drive, mosquitto, tmp_path):
    port = mosquitto.add_tls(*broker_of("rsa").write(tmp_path, "broker"))
    assert drive("echo", port, ca=make_rsa_ca().der).startswith("up True\n")


REFUSED = (
    ("another CA", "refused: .*not correctly signed by the trusted CA"),
    ("itself", "refused: .*not correctly signed by the trusted CA"),
    ("another name", "refused: .*does not match with the expected CN"),
    ("expired", "refused: The certificate validity has expired"),
    ("not valid yet", "refused: The certificate validity starts in the future"),
)


@pytest.mark.parametrize(("what", "words"), REFUSED, ids=[row[0] for row in REFUSED])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_any_other_broker_is_refused(drive, mosquitto, tmp_path, host, what, words):
    port = mosquitto.add_tls(*broker_of(what).write(tmp_path, "broker"))
    printed = drive("connect", port, host)
    assert re.search(rf"^LinkError {host}:PORT: {words}$", printed, re.MULTILINE), printed
    assert printed.endswith("up False\n")
    assert "as wattlog-" not in mosquitto.log_path.read_text(), "nobody has logged in"


def test_a_broker_without_tls_is_refused(drive, mosquitto):
    printed = drive("connect", mosquitto.port)
    assert re.search("^LinkError localhost:PORT: ", printed, re.MULTILINE), printed
    assert "as wattlog-" not in mosquitto.log_path.read_text()


def test_what_a_connection_takes_of_the_heap_comes_back(board, drive, mosquitto, tmp_path):
    port = mosquitto.add_tls(*broker_of().write(tmp_path, "broker"))
    printed = drive("heap", port)
    before, up, closed = map(int, re.search(r"heap (\d+) (\d+)\nclosed (\d+)", printed).groups())
    plain = re.search(r"heap (\d+) (\d+)", run_link(board, f"{mosquitto.port} heap"))
    plain_bytes = int(plain[2]) - int(plain[1])
    print(f"a connection: {up - before} bytes of heap, {plain_bytes} without TLS; {closed} after")
    assert up - before - plain_bytes < 4_000
    assert closed - before < 3_000, "the context stays, the connection does not"


# -- peers that do what they should not ------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_with_either_tls_all_goes_as_without(drive, context, version):
    with peer_of([well_behaved], context(version=version)) as peer:
        drive("publish_and_die", peer.port)
    assert peer.packets[0][0] == CONNECT and SECRET in peer.packets[0], "one write, whole"
    assert [packet[0] for packet in peer.packets[1:]] == [0x82, 0x82, 0x82, PUBLISH]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("what", [row[0] for row in REFUSED])
def test_a_peer_that_is_refused_can_read_nothing(drive, context, what, version):
    with peer_of([well_behaved], context(what, version)) as peer:
        printed = drive("connect", peer.port)
    assert "LinkError localhost:PORT: refused: " in printed, printed
    assert peer.packets == []


GARBAGE = (
    ("says nothing", lambda packet: Peer.WAIT, "up False"),
    ("hangs up", lambda packet: None, "LinkError localhost:PORT: the (broker closed|conn).*"),
    ("speaks HTTP", lambda packet: b"HTTP/1.1 400 Bad Request\r\n\r\n", "LinkError .* speak TLS"),
    ("speaks MQTT", lambda packet: b"\x20\x02\x00\x00", "up False|LinkError .*"),
    ("never stops", lambda packet: (b"\x16\x03\x03\x40\x00" + b"x" * 99_999,), "LinkError .*"),
    ("repeats us", lambda packet: packet, "LinkError .* TLS error -0x7700"),
)


@pytest.mark.parametrize(("_what", "script", "words"), GARBAGE, ids=[row[0] for row in GARBAGE])
def test_a_peer_without_tls_gets_a_greeting_and_no_more(drive, _what, script, words):
    with peer_of([script]) as peer:
        printed = drive("connect", peer.port)
    assert re.search(rf"^({words})$", printed, re.MULTILINE), printed
    sent = b"".join(peer.packets)
    assert sent.startswith(b"\x16\x03"), "a handshake"
    assert SECRET not in sent and b"wattlog" not in sent and b"MQTT" not in sent


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_peer_that_reads_nothing_more_ends_within_the_deadline(drive, context, version):
    def script(packet):
        return Peer.WAIT if packet[0] == PUBLISH else well_behaved(packet)

    with peer_of([script], context(version=version)) as peer:
        printed = drive("flood", peer.port)
    assert "LinkError localhost:PORT: no answer\n" in printed, printed


def test_a_lost_connection_is_made_again(drive, context):
    with peer_of([after_subscribing(None), well_behaved], context()) as peer:
        printed = drive("reconnect", peer.port)
    lost = "lost localhost:\\d+: the broker closed the connection"
    assert re.fullmatch(f"up True\n{lost}\nup False\nup True\n", printed), printed


# -- what has to be there before -------------------------------------------------------------


def test_while_the_time_is_not_known_nothing_is_tried(drive, context):
    with peer_of([well_behaved], context()) as peer:
        printed = drive("timeless", peer.port)
    words = "TLS waits for the time server: certificates have dates"
    assert printed.startswith(f"LinkError localhost:PORT: {words}\n")
    assert peer.packets == []


@pytest.mark.parametrize("ca", [b"", b"-", b"\x30\x03\x02\x01\x00", b"x" * 5_000])
def test_without_a_ca_nothing_is_tried(drive, context, ca):
    with peer_of([well_behaved], context()) as peer:
        printed = drive("connect", peer.port, ca=ca)
    assert "is not the certificate of a CA; flash it again, with mqtt.ca_file\n" in printed
    assert peer.packets == []
