"""The embedded broker with devices: who comes in, and that a device is only ever itself."""

import asyncio
import contextlib
import logging
import ssl

import aiomqtt
import pytest

from certificates import make, the_ca
from waiting import wait_until
from wattlog_host import broker as broker_module
from wattlog_host import mqtt
from wattlog_host.access.devices import Rights, add_device, devices_in, remove_device
from wattlog_host.access.kept import AccessRefused, KeptBroken
from wattlog_host.access.topics import AGENT, DEVICE_ROLES, HOST, PROGRAM, TOOL
from wattlog_host.broker import EmbeddedBroker
from wattlog_host.certificate import Certificate
from wattlog_host.wire import topic_ack, topic_answer, topic_command, topic_status
from wattlog_pi.mqtt_link import MqttLink
from wattlog_pi.settings import MqttSettings

# Only so that a failure ends.
PATIENCE_S = 20
COUNTED = "wattlog_broker_refused_total"
QUIET = logging.getLogger("quiet")
QUIET.setLevel(logging.CRITICAL + 1)


class World:
    """A running broker with two agents and a tool."""

    def __init__(self, folder, port, certificate=None, is_exposed=False, names=("a", "b")):
        self.port = port
        self.kept = devices_in(folder)
        self.passwords = {name: add_device(self.kept, name, AGENT) for name in names}
        if names:
            self.passwords["tool"] = add_device(self.kept, "tool", TOOL)
        self.rights = Rights(self.kept, is_exposed=is_exposed)
        self.passwords[Rights.HOST_NAME] = self.rights.host_password
        self.broker = EmbeddedBroker("127.0.0.1", port, self.rights, certificate)

    def client(self, name, identifier=None, password=None, **more):
        return aiomqtt.Client(
            "127.0.0.1", self.port, identifier=identifier or f"id-of-{name}", logger=QUIET,
            username=name, password=password or self.passwords.get(name), timeout=PATIENCE_S, **more,
        )  # fmt: skip

    def host(self):
        return self.client(Rights.HOST_NAME)

    def link(self, name, tls=False, ca_file=None, password=None):
        """What a real agent connects with."""
        settings = MqttSettings(
            "127.0.0.1", self.port, name, password or self.passwords[name], tls, ca_file
        )
        return MqttLink(settings, name, 17)

    @property
    def sessions(self):
        return self.broker._broker.sessions

    async def refuses(self, name, password=None, **more):
        with pytest.raises(aiomqtt.MqttError, match=r"Not authori[sz]ed"):
            async with self.client(name, password=password, **more):
                pass
        return True


@pytest.fixture
def use(tmp_path, free_port):
    """use(act): run act(world) beside a running broker."""

    def run(act, **more):
        async def main():
            world = World(tmp_path, free_port(), **more)
            await world.broker.start()
            try:
                async with asyncio.timeout(PATIENCE_S):
                    return await act(world)
            finally:
                await world.broker.stop()

        return asyncio.run(main())

    return run


async def heard_until(host, end):
    """Topics of what the host hears, up to the one that ends it."""
    heard = []
    async for message in host.messages:
        if message.payload == end:
            return heard
        heard.append(str(message.topic))
    return heard


async def closed(client):
    """Wait until the broker has ended this connection."""
    with pytest.raises(aiomqtt.MqttError):
        await anext(client.messages)


# --- who comes in ---------------------------------------------------------------------------

STRANGERS = (
    ("no name", None, None),
    ("an unknown name", "nobody", "x"),
    ("a wrong password", "a", "x"),
    ("another's password", "a", "of b"),
    ("an empty password", "a", ""),
    ("the digest", "a", "digest"),
    ("the host's name", "@host", "x"),
)


@pytest.mark.logs_warnings
@pytest.mark.parametrize(
    ("name", "password"), [s[1:] for s in STRANGERS], ids=[s[0] for s in STRANGERS]
)
def test_a_stranger_is_refused_and_leaves_nothing_behind(use, name, password):
    async def act(world):
        given = {"of b": world.passwords["b"], "digest": world.kept.now()["a"].sha256}
        client = aiomqtt.Client(
            "127.0.0.1", world.port, username=name, password=given.get(password, password),
            logger=QUIET,
        )  # fmt: skip
        with pytest.raises(aiomqtt.MqttError, match=r"Not authori[sz]ed"):
            async with client:
                pass
        return list(world.sessions)

    assert use(act) == []


def counted(world):
    """How often the broker has refused something, by reason."""
    (family,) = world.broker.refused.collect()
    return {one.labels["reason"]: one.value for one in family.samples if one.name == COUNTED}


def test_what_a_stranger_does_is_said_once_and_forges_no_line(use, caplog):
    async def act(world):
        for name in ("evil\nname", "x" * 100, "ghost", "ghost"):
            await world.refuses(name, "wrong-canary")
        async with world.client("a") as a:
            for _ in range(3):
                with contextlib.suppress(aiomqtt.MqttError):
                    await a.subscribe("wattlog/1/b/a")
                await a.publish("wattlog/1/b/\x1b[1m", b"x", qos=1)
        return counted(world)

    assert use(act) == {"password": 4, "subscribe": 3, "publish": 3}
    assert caplog.messages == [
        "broker: device without a name of ours wants to connect with a wrong name or password: "
        "refused (said once)",
        "broker: device ghost wants to connect with a wrong name or password: refused (said once)",
        "broker: device a wants to subscribe 'wattlog/1/b/a', not its own: refused (said once)",
    ]


def test_once_somebody_listens_the_log_hears_no_more(use, caplog):
    said = []

    async def act(world):
        world.broker.tell_to(said.append)
        await world.refuses("ghost", "wrong-canary")

    use(act)
    assert said == [
        "device ghost wants to connect with a wrong name or password: refused (said once)"
    ]
    assert caplog.messages == []


def test_names_that_are_told_are_bounded(use, caplog, monkeypatch):
    monkeypatch.setattr(broker_module, "NAMES_SAID_MAX", 3)

    async def act(world):
        for index in range(6):
            await world.refuses(f"ghost{index}", "x")

    use(act)
    assert len(caplog.messages) == 3


def test_without_a_device_this_machine_alone_is_trusted(use):
    async def act(world):
        async with world.client("x", password="y") as x, world.host() as host:
            await host.subscribe("wattlog/1/+/b")
            await x.publish("wattlog/1/anything/b", b"1")
            return (await anext(host.messages)).payload

    assert use(act, names=()) == b"1"


@pytest.mark.logs_warnings
def test_nobody_is_anonymous_where_others_reach_it(use):
    async def act(world):
        await world.refuses("x", "y")
        async with world.host():
            return True

    assert use(act, names=(), is_exposed=True)


@pytest.mark.logs_warnings
def test_the_first_device_ends_the_time_without_names(use):
    async def act(world):
        async with world.client("x", password="y") as x, world.host() as host:
            await host.subscribe("wattlog/1/+/b")
            add_device(world.kept, "cellar", AGENT)
            await x.publish("wattlog/1/cellar/b", b"1")
            await closed(x)
            await world.refuses("x", "y")
            await host.publish("wattlog/1/cellar/a", b"1")
            return True

    assert use(act, names=())


@pytest.mark.logs_warnings
@pytest.mark.parametrize("change", ["removed", "another password"])
def test_a_device_that_is_removed_is_cut_off_without_a_restart(use, change):
    async def act(world):
        async with world.client("a") as a, world.client("b") as b, world.host() as host:
            await host.subscribe("wattlog/1/+/b")
            await a.publish("wattlog/1/a/b", b"before")
            assert (await anext(host.messages)).payload == b"before"
            remove_device(world.kept, "a")
            if change == "another password":
                secret = add_device(world.kept, "a", AGENT)
            await a.publish("wattlog/1/a/b", b"after")
            await closed(a)
            await world.refuses("a", identifier="again")
            await b.publish("wattlog/1/b/b", b"end")
            heard = await heard_until(host, b"end")
            if change == "another password":
                async with world.client("a", password=secret):
                    pass
            return heard

    assert use(act) == []


# --- a device is only itself ------------------------------------------------------------------

LEAVES = "abcdlrsuxyz"
OTHERS = (
    "wattlog/1/b/{leaf}", "wattlog/1/+/{leaf}", "wattlog/1/a/b/{leaf}", "wattlog/1//{leaf}",
    "wattlog/2/a/{leaf}", "/wattlog/1/a/{leaf}", "wattlog/1/a/{leaf}/", "wattlog/1/A/{leaf}",
    "wattlog/1/a", "wattlog/#", "#", "+/+/+/+", "$SYS/{leaf}", "a", "wattlog/1/a/#", "wattlog/1/a/+",
    "wattlog/1/a/{leaf}{leaf}", "wattlog/1/a\x00/{leaf}", "wattlog/1/@host/{leaf}",
)  # fmt: skip


def every_topic():
    return [other.format(leaf=leaf) for other in OTHERS for leaf in LEAVES]


def test_an_agent_writes_and_reads_its_own_topics_and_no_other():
    assert [leaf for leaf in LEAVES if AGENT.may_write("a", f"wattlog/1/a/{leaf}")] == list(
        "blrsu"
    )
    assert [leaf for leaf in LEAVES if AGENT.may_read("a", f"wattlog/1/a/{leaf}")] == list("acs")
    for topic in every_topic():
        assert not AGENT.may_write("a", topic), topic
        assert not AGENT.may_read("a", topic), topic


def test_host_and_tools_read_all_agents_and_write_only_what_is_for_them():
    assert HOST.filters(HOST.reads, "x") == [f"wattlog/1/+/{leaf}" for leaf in "bslu"]
    for role, writes, reads in ((HOST, "ac", "blsu"), (TOOL, "c", "rs")):
        for edge in ("a", "b"):
            for leaf in LEAVES:
                topic = f"wattlog/1/{edge}/{leaf}"
                assert role.may_write("x", topic) == (leaf in writes), topic
                assert role.may_read("x", topic) == (leaf in reads), topic
        for leaf in LEAVES:
            assert role.may_read("x", f"wattlog/1/+/{leaf}") == (leaf in reads)
            assert not role.may_write("x", f"wattlog/1/+/{leaf}")
    assert not TOOL.may_read("x", "#")


def test_what_the_host_announces_is_its_own_and_programs_read_it():
    for topic in ("wattlog/meter/0a/availability", "homeassistant/device/x/config", "tele/x/LWT"):
        assert HOST.may_write("", topic) and PROGRAM.may_read("p", topic)
        for role in (AGENT, TOOL):
            assert not role.may_write("a", topic) and not role.may_read("a", topic)
    assert PROGRAM.may_write("p", "homeassistant/status")
    assert HOST.may_read("", "homeassistant/status")
    for topic in (
        "wattlog/meter/0a",
        "wattlog/host/availability",
        "wattlog/1/a/c",
        "wattlog/1/p/b",
    ):
        assert not PROGRAM.may_write("p", topic), topic
    for leaf in LEAVES:
        assert not PROGRAM.may_read("p", f"wattlog/1/p/{leaf}")


def test_the_table_has_what_programs_use():
    assert HOST.filters(HOST.reads, "") == mqtt.topics_of(HOST.reads)
    for topic in (topic_ack, topic_command):
        assert HOST.may_write("", topic("a"))
        assert AGENT.may_read("a", topic("a"))
    for topic in (topic_status, topic_answer):
        assert AGENT.may_write("a", topic("a"))
        assert TOOL.may_read("x", topic("a"))
    assert TOOL.may_write("x", topic_command("a"))


@pytest.mark.logs_warnings
def test_of_a_thousand_messages_in_anothers_name_none_is_passed_on(use):
    async def act(world):
        async with world.client("a") as a, world.client("b") as b, world.host() as host:
            for topic in mqtt.topics_of(HOST.reads):
                await host.subscribe(topic)
            for index in range(1000):
                topic = f"wattlog/1/b/{'bslu'[index % 4]}"
                await a.publish(topic, b"forged", retain=index % 3 == 0, qos=index // 500)
            await a.publish("wattlog/1/a/b", b"own")
            own = await anext(host.messages)
            await b.publish("wattlog/1/b/b", b"end")
            return str(own.topic), own.payload, await heard_until(host, b"end")

    assert use(act) == ("wattlog/1/a/b", b"own", [])


@pytest.mark.logs_warnings
def test_nobody_clears_or_replaces_what_another_has_left(use):
    async def act(world):
        async with world.client("a") as a, world.client("b") as b:
            await b.publish("wattlog/1/b/s", b"of b", retain=True, qos=1)
            await a.publish("wattlog/1/b/s", b"", retain=True, qos=1)
            await a.publish("wattlog/1/b/s", b"forged", retain=True, qos=1)
            await a.publish("wattlog/1/a/s", b"of a", retain=True, qos=1)
            async with world.host() as host:
                await host.subscribe("wattlog/1/+/s")
                return sorted([(await anext(host.messages)).payload for _ in range(2)])

    assert use(act) == [b"of a", b"of b"]


@pytest.mark.logs_warnings
@pytest.mark.parametrize("topic", [*every_topic()[:11], "#", "wattlog/1/+/s", "wattlog/1/a/#"])
def test_nobody_hears_what_is_for_another(use, topic):
    async def act(world):
        async with world.client("a") as a, world.host() as host:
            granted = await a.subscribe(topic)
            assert [int(getattr(code, "value", code)) for code in granted] == [0x80]
            await a.subscribe("wattlog/1/a/a")
            await host.publish("wattlog/1/b/a", b"for b")
            await host.publish("wattlog/1/a/a", b"for a")
            return (await anext(a.messages)).payload

    assert use(act) == b"for a"


WILLS = ("wattlog/1/b/s", "wattlog/1/+/s", "#", "wattlog/1/a/a", "$SYS/x", "x")


@pytest.mark.logs_warnings
@pytest.mark.parametrize("topic", WILLS)
def test_a_last_will_in_anothers_name_does_not_even_connect(use, topic):
    async def act(world):
        async with world.host() as host, world.client("b") as b:
            await host.subscribe("wattlog/1/+/s")
            await world.refuses("a", will=aiomqtt.Will(topic, b"forged", retain=True))
            assert counted(world) == {"will": 1}
            await b.publish("wattlog/1/b/s", b"end")
            return await heard_until(host, b"end")

    assert use(act) == []


def test_its_own_last_will_is_published(use):
    async def act(world):
        async with world.host() as host:
            await host.subscribe("wattlog/1/+/s")
            texts = (b"id", b"wattlog/1/a/s", b"gone", b"a", world.passwords["a"].encode())
            body = bytes.fromhex("0004 4d515454 04 c6 003c")  # a will, a name and a password
            body += b"".join(len(text).to_bytes(2, "big") + text for text in texts)
            reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
            writer.write(bytes((0x10, len(body))) + body)
            assert await reader.readexactly(4) == b"\x20\x02\0\0"
            writer.close()  # without a farewell
            return (await anext(host.messages)).payload

    assert use(act) == b"gone"


@pytest.mark.logs_warnings
@pytest.mark.parametrize("clean", [True, False], ids=["a new session", "an old session"])
def test_nobody_takes_over_the_session_of_another(use, clean):
    """With its client id, as a stranger and as another device."""

    async def act(world):
        will = aiomqtt.Will("wattlog/1/b/s", b"b is gone")
        async with world.host() as host, world.client("b", "same", will=will) as b:
            await host.subscribe("wattlog/1/+/s")
            await b.subscribe("wattlog/1/b/a")
            await world.refuses("b", "wrong", identifier="same", clean_session=clean)
            async with world.client("a", "same", clean_session=clean) as a:
                await host.publish("wattlog/1/b/a", b"for b")
                assert (await anext(b.messages)).payload == b"for b"
                await a.subscribe("wattlog/1/a/a")
                await host.publish("wattlog/1/b/a", b"for b")
                await host.publish("wattlog/1/a/a", b"for a")
                assert (await anext(a.messages)).payload == b"for a"
            await b.publish("wattlog/1/b/s", b"end")
            return await heard_until(host, b"end")

    assert use(act) == []


def test_ones_own_second_connection_still_ends_the_first(use):
    async def act(world):
        with contextlib.suppress(aiomqtt.MqttError):
            async with world.client("a", "same") as first, world.client("a", "same"):
                await closed(first)
        return True

    assert use(act)


def test_nothing_is_kept_for_who_is_away(use):
    async def act(world):
        for index in range(20):
            async with world.client("a", f"id-{index}", clean_session=False) as a:
                await a.subscribe("wattlog/1/a/a", qos=1)
        async with world.host() as host:
            await host.publish("wattlog/1/a/a", b"x" * 100, qos=1)
            # Once a second the broker clears away what is over.
            await asyncio.to_thread(
                wait_until, lambda: list(world.sessions) == ["@host/id-of-@host"]
            )
        return True

    assert use(act)


def test_strangers_make_room_for_devices(use, monkeypatch):
    monkeypatch.setattr(broker_module, "CONNECTIONS_MAX", 3)

    async def act(world):
        silent = [await asyncio.open_connection("127.0.0.1", world.port) for _ in range(3)]
        async with world.client("a") as a, world.client("b") as b:
            await a.subscribe("wattlog/1/a/a")
            await b.subscribe("wattlog/1/b/a")
            async with world.host() as host:
                await host.publish("wattlog/1/a/a", b"x")
                assert (await anext(a.messages)).payload == b"x"
                for reader, writer in silent:
                    with contextlib.suppress(ConnectionResetError):
                        assert await reader.read() == b""
                    writer.close()
                # Now all have said who they are: the next one has to go.
                reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
                with contextlib.suppress(ConnectionResetError):
                    assert await reader.read() == b""
                writer.close()
        return True

    assert use(act)


@pytest.mark.parametrize(
    ("listen", "reached"), [("::1", ["::1"]), ("::", ["::1", "127.0.0.1"]), ("0.0.0.0", ["127.0.0.1"])]
)  # fmt: skip
def test_the_broker_is_where_it_is_told_to_be(tmp_path, free_port, listen, reached):
    async def main():
        port = free_port()
        broker = EmbeddedBroker(listen, port, Rights(devices_in(tmp_path), is_exposed=True))
        await broker.start()
        try:
            for address in reached:
                _, writer = await asyncio.open_connection(address, port)
                writer.close()
        finally:
            await broker.stop()

    asyncio.run(main())


# --- real agents, and TLS ---------------------------------------------------------------------


def up(link):
    """Wait until the agent's link is connected and subscribed."""
    wait_until(link.is_up)
    return link


async def speaks(world, link):
    """Tell whether an agent's link and the host hear each other."""
    link.open(b"gone")
    try:
        await asyncio.to_thread(up, link)
        async with world.host_of_tls() as host:
            await host.subscribe("wattlog/1/+/b")
            link.publish("wattlog/1/a/b", b"batch", False)
            assert (await anext(host.messages)).payload == b"batch"
            await host.publish("wattlog/1/a/c", b"command")
            return await asyncio.to_thread(wait_until, link.receive)
    finally:
        link.close()


def test_a_real_agent_may_do_all_that_it_needs(use):
    async def act(world):
        world.host_of_tls = world.host
        return await speaks(world, world.link("a"))

    assert use(act) == ("wattlog/1/a/c", b"command")


@pytest.fixture
def certificate(tmp_path):
    (tmp_path / "ca.pem").write_bytes(the_ca().pem)
    return Certificate(*make("broker", the_ca(), ("127.0.0.1",)).write(tmp_path, "broker"))


def test_the_broker_speaks_tls_and_nothing_else(use, tmp_path, certificate):
    async def act(world):
        own = certificate.only_this()
        world.host_of_tls = lambda: world.client(Rights.HOST_NAME, tls_context=own)
        found = await speaks(world, world.link("a", True, str(tmp_path / "ca.pem")))
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        writer.write(b"\x10\x12\0\x04MQTT\x04\x02\0\x01\0\x06abcdef")
        with contextlib.suppress(ConnectionResetError):
            assert b"\x20\x02" not in await reader.read()
        writer.close()
        return found

    assert use(act, certificate=certificate) == ("wattlog/1/a/c", b"command")


def test_the_host_believes_its_own_certificate_and_none_of_the_same_authority(
    use, tmp_path, certificate
):
    other = Certificate(*make("broker", the_ca(), ("127.0.0.1",)).write(tmp_path, "other"))
    chained = tmp_path / "chained.pem"
    chained.write_bytes(other.cert_file.read_bytes() + the_ca().pem)

    async def act(world):
        for trusted in (other, Certificate(chained, other.key_file)):
            with pytest.raises(ssl.SSLCertVerificationError):
                await asyncio.open_connection(
                    "127.0.0.1", world.port, ssl=trusted.only_this(), server_hostname="x"
                )
        return True

    assert use(act, certificate=certificate)


def test_a_peer_that_begins_tls_and_says_nothing_is_let_go(use, certificate, monkeypatch):
    monkeypatch.setattr(broker_module, "CONNECT_TIMEOUT_S", 0.2)

    async def act(world):
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
        return True

    assert use(act, certificate=certificate)


# --- the file ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "A", "a b", "x" * 33, "@host", "a/b", "+", "#", "ä"])
def test_a_name_that_can_be_no_edge_is_no_device(tmp_path, name):
    with pytest.raises(AccessRefused, match="a-z, 0-9"):
        add_device(devices_in(tmp_path), name, AGENT)


def test_only_the_digest_is_kept(tmp_path):
    kept = devices_in(tmp_path)
    secret = add_device(kept, "a", AGENT)
    assert len(secret) == 43
    assert secret not in kept.path.read_text()
    with pytest.raises(AccessRefused, match="there already"):
        add_device(kept, "a", AGENT)


@pytest.mark.parametrize(
    "text",
    ["{", '{"devices": []}', '{"devices": {"a": {"sha256": "x", "role": "agent"}}}',
     '{"devices": {"a": {"sha256": "%s", "role": "host"}}}' % ("0" * 64),
     '{"devices": {"@host": {"sha256": "%s", "role": "agent"}}}' % ("0" * 64)],
)  # fmt: skip
def test_a_broken_file_lets_nobody_in(tmp_path, text):
    kept = devices_in(tmp_path)
    kept.path.write_text(text)
    with pytest.raises(KeptBroken, match=r"devices\.json"):
        Rights(kept, is_exposed=False)


def test_a_device_is_an_agent_a_tool_or_a_program():
    assert set(DEVICE_ROLES) == {"agent", "tool", "program"}
