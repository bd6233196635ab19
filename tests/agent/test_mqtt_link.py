"""The Pi's MQTT connection, against a real broker."""

import threading

import pytest

from certificates import broker_of, the_ca
from waiting import wait_until
from wattlog.uplink import LinkError
from wattlog_pi.mqtt_link import MqttLink
from wattlog_pi.settings import MqttSettings


def settings(port, host="127.0.0.1", **more):
    values = {"username": None, "password": None, "tls": False, "ca_file": None}
    return MqttSettings(host=host, port=port, **(values | more))


@pytest.fixture
def link(mosquitto):
    link = MqttLink(settings(mosquitto.port), "cellar", 5)
    yield link
    link.close()


def trouble(link):
    """Wait for the link's failure and return its words."""

    def failed():
        try:
            link.is_up()
        except LinkError as err:
            return str(err)
        return None

    return wait_until(failed)


def test_messages_of_its_own_topics_arrive(link, mosquitto):
    link.open(b"will")
    wait_until(link.is_up)
    link.publish("wattlog/1/cellar/s", memoryview(b"\x80hello")[:3], False)
    link.publish("wattlog/1/cellar/b", b"batch", False)
    link.publish("wattlog/1/cellar/l", b"live", False)
    link.publish("wattlog/1/cellar/a", b"ack", False)
    link.publish("wattlog/1/cellar/c", b"command", False)
    assert wait_until(link.receive) == ("wattlog/1/cellar/s", b"\x80he")
    assert wait_until(link.receive) == ("wattlog/1/cellar/a", b"ack")
    assert wait_until(link.receive) == ("wattlog/1/cellar/c", b"command")
    assert link.receive() is None


def test_a_broker_that_is_not_there(free_port):
    link = MqttLink(settings(free_port()), "cellar", 5)
    link.open(b"")
    assert "connection refused" in trouble(link).lower()
    link.close()


def test_a_broker_that_goes_away(link, mosquitto):
    link.open(b"")
    wait_until(link.is_up)
    mosquitto.kill()
    assert str(mosquitto.port) in trouble(link) or "127.0.0.1" in trouble(link)
    with pytest.raises(LinkError):
        link.publish("wattlog/1/cellar/b", b"x", False)
    mosquitto.start()
    link.open(b"")
    assert wait_until(link.is_up)


def test_a_broker_that_refuses(mosquitto, tmp_path):
    config = mosquitto._config_path
    config.write_text(config.read_text().replace("allow_anonymous true", "allow_anonymous false"))
    mosquitto.stop()
    mosquitto.start()
    link = MqttLink(settings(mosquitto.port, username="cellar", password="wrong"), "cellar", 5)
    link.open(b"")
    assert "not authorized" in trouble(link)
    assert "wrong" not in trouble(link)
    link.close()


def test_a_ca_file_that_is_not_there(mosquitto):
    link = MqttLink(settings(mosquitto.port, tls=True, ca_file="/nowhere/ca.pem"), "cellar", 5)
    with pytest.raises(LinkError, match="CA file /nowhere/ca"):
        link.open(b"")


# paho leaves the socket of a failed handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tls_towards_a_broker_without_is_refused(mosquitto):
    link = MqttLink(settings(mosquitto.port, tls=True), "cellar", 5)
    link.open(b"")
    trouble(link)
    link.close()


@pytest.fixture
def secured(mosquitto, tmp_path):
    """secured(what, …): a link to a broker that shows this certificate."""
    (tmp_path / "ca.pem").write_bytes(the_ca().pem)

    def connect(what, **more):
        port = mosquitto.add_tls(*broker_of(what).write(tmp_path, "broker"))
        values = {"tls": True, "ca_file": str(tmp_path / "ca.pem"), **more}
        link = MqttLink(settings(port, username="cellar", password="x", **values), "cellar", 5)
        links.append(link)
        link.open(b"")
        return link

    links = []
    yield connect
    for link in links:
        link.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_tls_with_a_broker_of_our_ca(secured, host):
    link = secured("good", host=host)
    wait_until(link.is_up)
    link.publish("wattlog/1/cellar/a", b"ack", False)
    assert wait_until(link.receive) == ("wattlog/1/cellar/a", b"ack")


REFUSED = (
    ("another CA", "certificate verify failed"),
    ("itself", "certificate verify failed"),
    ("another name", "certificate verify failed"),
    ("expired", "certificate verify failed"),
    ("not valid yet", "certificate verify failed"),
)


@pytest.mark.parametrize(("what", "words"), REFUSED, ids=[row[0] for row in REFUSED])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tls_refuses_a_broker_that_is(secured, mosquitto, what, words):
    assert words in trouble(secured(what))
    assert "as wattlog-" not in mosquitto.log_path.read_text()


# What this machine believes in has never heard of the CA.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tls_without_a_ca_file_believes_the_systems(secured):
    assert "certificate verify failed" in trouble(secured("good", ca_file=None))


def test_the_last_will_is_sent_when_the_agent_dies(mosquitto):
    watcher = MqttLink(settings(mosquitto.port), "cellar", 6)
    watcher.open(b"")
    wait_until(watcher.is_up)
    link = MqttLink(settings(mosquitto.port), "cellar", 5)
    link.open(b"gone")
    wait_until(link.is_up)
    link._session.client.socket().shutdown(2)  # as a power cut would
    assert wait_until(watcher.receive) == ("wattlog/1/cellar/s", b"gone")
    watcher.close()


def test_sessions_leave_no_thread_behind(link):
    before = threading.active_count()
    for _ in range(5):
        link.open(b"")
        wait_until(link.is_up)
    link.close()
    wait_until(lambda: threading.active_count() <= before)
