"""The embedded broker holds against its peers; each test is a gap of the library's."""

import asyncio
import contextlib
import logging
import socket
from contextlib import closing

import aiomqtt
import pytest

from wattlog_host import broker as broker_module
from wattlog_host.access.devices import Rights, devices_in
from wattlog_host.broker import BrokerUnusable, EmbeddedBroker

# Only so that a failure ends.
PATIENCE_S = 20

CONNECT = bytes.fromhex("10 12 0004 4d515454 04 02 0001 0006 616263646566")  # keep-alive 1 s
CONNECT_FOR_EVER = CONNECT.replace(b"\x00\x01\x00\x06", b"\x00\x00\x00\x06")
CONNECT_WITH_WILL = bytes.fromhex(
    "10 19 0004 4d515454 04 06 0001 0003 616263 0004 77696c6c 0004 676f6e65"
)


@pytest.fixture
def devices(tmp_path):
    """Who may use the broker; at first there are none."""
    return devices_in(tmp_path)


@pytest.fixture
def use_broker(free_port, devices):
    """Run act(port) beside a running broker."""

    def use(act):
        async def run():
            port = free_port()
            broker = EmbeddedBroker("127.0.0.1", port, Rights(devices, is_exposed=False))
            await broker.start()
            try:
                async with asyncio.timeout(PATIENCE_S):
                    return await act(port)
            finally:
                await broker.stop()

        return asyncio.run(run())

    return use


# The library logs as errors what these tests provoke.
QUIET = logging.getLogger("quiet")
QUIET.setLevel(logging.CRITICAL + 1)


def client(port, identifier, **more):
    return aiomqtt.Client("127.0.0.1", port, identifier=identifier, logger=QUIET, **more)


async def works(port):
    """Tell whether a message still goes through."""
    async with client(port, "probe") as one:
        await one.subscribe("probe")
        await one.publish("probe", b"x")
        return (await next_message(one)).payload == b"x"


async def speak(port, data):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    return reader, writer


async def until_closed(reader):
    with contextlib.suppress(ConnectionResetError):
        while await reader.read(1000):
            pass


async def next_message(one):
    return await anext(one.messages)


GARBAGE = (
    ("zeros", b"\x00" * 100),
    ("ones", b"\xff" * 100),
    ("a web browser", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("a connect that claims 256 MB", b"\x10\xff\xff\xff\x7f\x00\x04MQTT"),
    ("a connect whose name claims 64 KB", b"\x10\x20\xff\xff" + b"x" * 30),
    ("an old protocol", bytes.fromhex("1012 0006 4d5149736470 03 02 003c 0004 61626364")),
    ("a subscribe first", b"\x82\x06\x00\x01\x00\x01a\x00"),
    (
        "a connect, then a message that claims 256 MB",
        CONNECT_FOR_EVER + b"\x30\xff\xff\xff\x7f\x00\x01ab",
    ),
    ("a connect, then the reserved packet", CONNECT + b"\xf0\x00"),
    ("a connect, then a second one", CONNECT + CONNECT),
)


@pytest.mark.parametrize("data", [g[1] for g in GARBAGE], ids=[g[0] for g in GARBAGE])
def test_garbage_ends_its_own_connection_and_nothing_else(use_broker, monkeypatch, data):
    monkeypatch.setattr(broker_module, "CONNECT_TIMEOUT_S", 0.2)

    async def act(port):
        reader, writer = await speak(port, data)
        assert await works(port)
        await until_closed(reader)
        writer.close()
        return await works(port)

    assert use_broker(act)


def test_a_peer_that_never_says_anything_is_let_go(use_broker, monkeypatch):
    monkeypatch.setattr(broker_module, "CONNECT_TIMEOUT_S", 0.1)

    async def act(port):
        reader, writer = await speak(port, b"")
        await until_closed(reader)
        writer.close()

    use_broker(act)


def test_too_many_connections_are_turned_away_and_room_comes_back(use_broker, monkeypatch):
    monkeypatch.setattr(broker_module, "CONNECTIONS_MAX", 2)

    async def act(port):
        ids = (CONNECT_FOR_EVER, CONNECT_FOR_EVER.replace(b"abcdef", b"ghijkl"))
        held = [await speak(port, one) for one in ids]
        for reader, _ in held:
            await reader.readexactly(4)
        reader, writer = await speak(port, CONNECT_FOR_EVER.replace(b"abcdef", b"mnopqr"))
        await until_closed(reader)
        for _, one in [*held, (None, writer)]:
            one.close()
        while True:
            with contextlib.suppress(aiomqtt.MqttError):
                return await works(port)

    assert use_broker(act)


def test_a_client_that_vanishes_is_noticed_and_its_last_will_published(use_broker):
    async def act(port):
        async with client(port, "watcher") as watcher:
            await watcher.subscribe("will")
            _, writer = await speak(
                port, CONNECT_WITH_WILL
            )  # says nothing more, and does not close
            message = await next_message(watcher)
            writer.close()
            return message.payload

    assert use_broker(act) == b"gone"


@pytest.mark.parametrize("asked", [b"\xff\xff", b"\x00\x00"], ids=["18 hours", "for ever"])
def test_nobody_may_be_silent_for_long(use_broker, monkeypatch, asked):
    monkeypatch.setattr(broker_module, "KEEPALIVE_S_MAX", 0.2)

    async def act(port):
        reader, writer = await speak(
            port, CONNECT.replace(b"\x00\x01\x00\x06", asked + b"\x00\x06")
        )
        await until_closed(reader)
        writer.close()

    use_broker(act)


def test_a_second_connection_of_an_id_ends_the_first_with_its_last_will(use_broker):
    will = aiomqtt.Will("will", b"gone")

    async def act(port):
        async with client(port, "watcher") as watcher:
            await watcher.subscribe("will")
            with contextlib.suppress(aiomqtt.MqttError):
                async with client(port, "same", will=will) as first:
                    async with client(port, "same") as second:
                        message = await next_message(watcher)
                        await second.subscribe("x")
                        await second.publish("x", b"y")
                        assert (await next_message(second)).payload == b"y"
                    with pytest.raises(aiomqtt.MqttError):
                        await next_message(first)
            return message.payload

    assert use_broker(act) == b"gone"


def test_a_client_gets_only_the_retained_messages_that_it_asked_for(use_broker):
    async def act(port):
        async with client(port, "host") as host, client(port, "cellar") as cellar:
            await host.subscribe("wattlog/1/+/s")
            await cellar.publish("wattlog/1/cellar/s", b"status", retain=True)
            assert (await next_message(host)).payload == b"status"
            async with client(port, "attic") as attic:
                await attic.subscribe("wattlog/1/attic/a")
                await host.publish("wattlog/1/attic/a", b"ack")
                first = (await next_message(attic)).payload
                await attic.subscribe("wattlog/1/cellar/s")
                message = await next_message(attic)
                return first, message.payload, message.retain

    assert use_broker(act) == (b"ack", b"status", True)


def test_the_retained_messages_are_bounded(use_broker, monkeypatch):
    monkeypatch.setattr(broker_module, "RETAINED_MAX", 2)

    async def act(port):
        async with client(port, "one") as one:
            for topic in ("a", "b", "c", "end"):
                await one.publish(f"t/{topic}", topic.encode(), retain=True)
            await one.subscribe("q")
            await one.publish("q", b"")
            await next_message(one)  # all of the above has been taken
            await one.subscribe("t/#")
            await one.publish("q", b"no more")
            got = [(await next_message(one)).payload for _ in range(3)]
            return sorted(got)

    assert use_broker(act) == [b"a", b"b", b"no more"]


def test_a_peer_that_does_not_read_is_let_go(use_broker, monkeypatch):
    monkeypatch.setattr(broker_module, "WRITE_TIMEOUT_S", 0.2)

    async def act(port):
        with closing(socket.socket()) as deaf:
            # A small window: otherwise the kernel alone would hold what is sent here.
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(("127.0.0.1", port))
            deaf.sendall(CONNECT_WITH_WILL + b"\x82\x08\x00\x01\x00\x03big\x00")
            async with client(port, "loud") as loud:
                await loud.subscribe("will")
                for _ in range(700):
                    await loud.publish("big", b"x" * 16_000)
                return (await next_message(loud)).payload

    assert use_broker(act) == b"gone"


def test_a_thousand_messages_arrive_in_order(use_broker):
    async def act(port):
        async with client(port, "host") as host, client(port, "cellar") as cellar:
            await host.subscribe("wattlog/1/+/b")
            for number in range(1000):
                await cellar.publish("wattlog/1/cellar/b", b"%d" % number)
            return [int((await next_message(host)).payload) for _ in range(1000)]

    assert use_broker(act) == list(range(1000))


def test_a_port_in_use_is_said(use_broker, devices):
    async def act(port):
        with pytest.raises(BrokerUnusable, match="in use"):
            await EmbeddedBroker("127.0.0.1", port, Rights(devices, is_exposed=False)).start()

    use_broker(act)
