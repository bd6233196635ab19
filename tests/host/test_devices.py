"""Devices from the command to the database: what one agent can do to another, with both brokers."""

import asyncio
import contextlib
import re
import subprocess

import aiomqtt
import msgpack
import pytest

from certificates import make, the_ca
from toolbox import require
from waiting import wait_until
from wattlog_pi.mqtt_link import MqttLink
from wattlog_pi.settings import MqttSettings
from wattlog_pi.settings import read as read_agent
from wattlog_tools.chips import by_name
from wattlog_tools.head_settings import read as read_head

# Only so that a failure ends.
PATIENCE_S = 60
FORGED = 1_000


class World:
    """A running host, its broker, and the passwords of two agents."""

    def __init__(self, host, passwords, port, ca_file=None):
        self.host, self.passwords, self.port, self.ca_file = host, passwords, port, ca_file

    def client(self, name):
        return aiomqtt.Client(
            "127.0.0.1", self.port, username=name, password=self.passwords[name],
            identifier=f"wattlog-{name}",
        )  # fmt: skip

    def link(self, name):
        settings = MqttSettings(
            "127.0.0.1", self.port, name, self.passwords[name], self.ca_file is not None,
            self.ca_file,
        )  # fmt: skip
        return MqttLink(settings, name, 17)


def add(run_host, host, name, *more):
    done = run_host("device", "add", name, *more, "--config", host.config_path)
    assert done.returncode == 0, done.stderr
    return done.stdout


def secret_in(text):
    return re.search(r"^[\w-]{43}$", text, re.M)[0]


def with_devices(make_host, run_host):
    host = make_host()
    passwords = {name: secret_in(add(run_host, host, name)) for name in ("a", "b")}
    passwords["homeassistant"] = secret_in(add(run_host, host, "homeassistant", "--program"))
    host.start()
    return World(host, passwords, host.mqtt_port)


def with_mosquitto(make_host, run_host, free_port, folder, request):
    """A mosquitto with the very files and commands that broker-config gives."""
    port = free_port()
    host = make_host(port)
    done = run_host("broker-config", "mosquitto", "--out", folder, "--config", host.config_path)
    assert done.returncode == 0, done.stderr
    passwords = {"a": "secret of a", "b": "secret of b", "wattlog-host": "secret of the host"}
    passwords["homeassistant"] = "secret of home assistant"
    program = require("mosquitto") / "bin"
    (folder / "wattlog.passwd").touch(0o600)
    for name, password in passwords.items():
        line = f"mosquitto_passwd {folder / 'wattlog.passwd'} "
        assert line + ("NAME" if len(name) == 1 else name) in done.stdout
        subprocess.run(
            [program / "mosquitto_passwd", "-b", folder / "wattlog.passwd", name, password],
            check=True,
        )
    conf = folder / "wattlog.conf"
    # Started as root it would become a user who may not read the test's folder.
    conf.write_text(f"user root\n{conf.read_text()}")
    log = (folder / "log").open("wb")
    broker = subprocess.Popen(
        [program / "mosquitto", "-c", conf], stdin=subprocess.DEVNULL, stdout=log, stderr=log
    )

    def end():
        broker.terminate()
        broker.wait(PATIENCE_S)
        log.close()

    request.addfinalizer(end)
    (folder / "host-password").write_text("secret of the host\n")
    text = host.config_path.read_text()
    host.config_path.write_text(
        text.replace(
            "embedded = false\n",
            'embedded = false\nusername = "wattlog-host"\n'
            f'password_file = "{folder / "host-password"}"\n',
        )
    )
    host.start()
    return World(host, passwords, port)


@pytest.fixture(params=["embedded", "mosquitto"])
def world(request, make_host, run_host, free_port, tmp_path):
    if request.param == "embedded":
        return with_devices(make_host, run_host)
    return with_mosquitto(make_host, run_host, free_port, tmp_path / "mosquitto", request)


def forged(wire, name, index):
    return wire.batch(wire.sync(), wire.reading(1000 + index), edge=name, first_seq=2 * index + 1)


def test_of_a_thousand_batches_in_anothers_name_none_is_stored(world, wire):
    async def act():
        async with asyncio.timeout(PATIENCE_S), world.client("a") as a:
            await a.subscribe("wattlog/1/a/a")
            for index in range(FORGED):
                await a.publish("wattlog/1/b/b", forged(wire, "b", index))
            await a.publish("wattlog/1/b/s", wire.status(edge="b"), retain=True)
            await a.publish("wattlog/1/b/l", wire.live(edge="b"))
            # In its own topic the host itself looks at the name.
            await a.publish("wattlog/1/a/b", forged(wire, "b", 0))
            batch = wire.batch(wire.sync(), wire.reading(), edge="a")
            await a.publish("wattlog/1/a/b", batch)
            return batch, msgpack.unpackb((await anext(a.messages)).payload)

    batch, ack = asyncio.run(act())
    assert ack == wire.ack(batch)
    status = world.host.json("/status")
    assert [one["id"] for one in status["agents"]] == ["a"]
    assert status["counters"]["batches"] == 1, status["counters"]
    # And the other one, whose name it was, still can.
    link = world.link("b")
    link.open(wire.status("offline", "b"))
    try:
        wait_until(link.is_up)
        own = forged(wire, "b", 0)
        link.publish("wattlog/1/b/b", own, False)
        assert wait_until(link.receive) == ("wattlog/1/b/a", msgpack.packb(wire.ack(own)))
    finally:
        link.close()
    wait_until(lambda: world.host.json("/status")["counters"]["batches"] == 2)


def test_nobody_hears_the_acknowledgements_of_another(world, wire):
    async def act():
        async with asyncio.timeout(PATIENCE_S), world.client("a") as a, world.client("b") as b:
            for topic in ("wattlog/1/b/a", "wattlog/1/+/a", "#", "wattlog/1/a/a"):
                with contextlib.suppress(aiomqtt.MqttError):
                    await a.subscribe(topic)
            await b.publish("wattlog/1/b/b", forged(wire, "b", 0))
            await b.subscribe("wattlog/1/b/a")
            await b.publish("wattlog/1/b/b", forged(wire, "b", 1))
            await anext(b.messages)
            await a.publish("wattlog/1/a/b", forged(wire, "a", 0))
            return str((await anext(a.messages)).topic)

    assert asyncio.run(act()) == "wattlog/1/a/a"


def test_home_assistant_hears_what_is_announced_and_nothing_else(world, wire):
    host = "wattlog/host/availability"
    agent = "homeassistant/device/wattlog_agent_a/config"

    async def act():
        async with asyncio.timeout(PATIENCE_S), world.client("homeassistant") as program:
            for topic in ("wattlog/#", "homeassistant/#", "#", "wattlog/1/a/b"):
                with contextlib.suppress(aiomqtt.MqttError):
                    await program.subscribe(topic)
            await program.publish(host, b"forged", retain=True)
            await program.publish("wattlog/1/a/a", b"forged")
            async with world.client("a") as a:
                await a.subscribe("wattlog/1/a/a")
                with contextlib.suppress(aiomqtt.MqttError):
                    await a.subscribe(host)
                await a.publish(agent, b"forged", retain=True)
                await a.publish("wattlog/1/a/s", wire.status(edge="a"), retain=True)
                batch = forged(wire, "a", 0)
                await a.publish("wattlog/1/a/b", batch)
                assert msgpack.unpackb((await anext(a.messages)).payload) == wire.ack(batch)
            await program.publish("homeassistant/status", b"online")
            heard = {}
            async for message in program.messages:
                heard.setdefault(str(message.topic), []).append(message.payload)
                if "homeassistant/status" in heard and agent in heard:
                    break
            return heard

    heard = asyncio.run(act())
    assert not [topic for topic in heard if topic.startswith("wattlog/1/")]
    assert b"forged" not in [payload for said in heard.values() for payload in said]
    assert set(heard[host]) == {b"online"}, "once for each filter that it is in"


def test_who_knows_no_password_is_told_of_on_the_page_and_counted(make_host, run_host):
    world = with_devices(make_host, run_host)
    world.passwords["a"] = "wrong-canary"

    async def act():
        with pytest.raises(aiomqtt.MqttError, match=r"Not authori[sz]ed"):
            async with world.client("a"):
                pass

    asyncio.run(act())
    said = "device a wants to connect with a wrong name or password: refused (said once)"
    wait_until(lambda: said in world.host.events())
    assert said in world.host.log()
    metrics = world.host.get("/metrics")[1]
    assert 'wattlog_broker_refused_total{reason="password"} 1.0\n' in metrics
    assert "canary" not in world.host.log() + metrics


def test_what_is_printed_for_a_device_is_what_the_device_reads(make_host, run_host, tmp_path):
    host = make_host()
    text = add(run_host, host, "cellar")
    secret = secret_in(text)
    agent, head = re.split(r"^# head.toml\n", text.partition("# agent.toml")[2], flags=re.M)
    (tmp_path / "agent.toml").write_text("#" + agent + '[[meter]]\nport = "/dev/ttyUSB0"\n')
    (tmp_path / "mqtt-password").write_text(secret + "\n")
    mqtt = read_agent(tmp_path / "agent.toml").mqtt
    assert mqtt == MqttSettings("127.0.0.1", host.mqtt_port, "cellar", secret, False, None)
    (tmp_path / "head.toml").write_text(
        head + '[wifi]\nssid = "x"\npassword = "12345678"\n[meter]\nrx = 16\ntx = 17\n'
    )
    checked = read_head(tmp_path / "head.toml", by_name("esp32")).checked
    assert (checked["mqtt.username"], checked["mqtt.password"]) == ("cellar", secret)
    assert checked["mqtt.port"] == host.mqtt_port


def test_devices_are_listed_and_removed(make_host, run_host):
    host = make_host()
    add(run_host, host, "cellar")
    tool = add(run_host, host, "laptop", "--tool")
    assert "wattlog-tools head --broker 127.0.0.1:" in tool
    run = lambda *words: run_host("device", *words, "--config", host.config_path)  # noqa: E731
    assert run("list").stdout == "cellar  agent\nlaptop  tool\n"
    assert run("remove", "cellar").returncode == 0
    again = run("remove", "cellar")
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    assert run("list").stdout == "laptop  tool\n"


def test_devices_of_another_broker_are_not_ours(make_host, run_host):
    host = make_host(1)
    ended = run_host("device", "add", "cellar", "--config", host.config_path)
    assert ended.returncode == 2
    assert "broker-config" in ended.stderr


def test_the_host_comes_to_its_own_broker_through_tls(make_host, run_host, tmp_path, wire):
    make("broker", the_ca(), ("127.0.0.1",)).write(tmp_path, "broker")
    (tmp_path / "ca.pem").write_bytes(the_ca().pem)
    host = make_host()
    text = host.config_path.read_text()
    more = '[mqtt]\nlisten = "0.0.0.0"\ncert_file = "broker.pem"\nkey_file = "broker.key"\n'
    host.config_path.write_text(text.replace("[mqtt]\n", more))
    said = add(run_host, host, "a")
    assert "tls = true" in said
    host.start()
    world = World(host, {"a": secret_in(said)}, host.mqtt_port, str(tmp_path / "ca.pem"))
    link = world.link("a")
    link.open(wire.status("offline", "a"))
    try:
        wait_until(link.is_up)
        link.publish("wattlog/1/a/b", forged(wire, "a", 0), False)
        topic, ack = wait_until(link.receive)
    finally:
        link.close()
    assert (topic, msgpack.unpackb(ack)) == ("wattlog/1/a/a", wire.ack(forged(wire, "a", 0)))


def test_the_recipe_is_printed_with_places_and_commands(make_host, run_host, tmp_path):
    host = make_host(1884)
    printed = run_host("broker-config", "mosquitto", "--config", host.config_path).stdout
    assert "# ---- /etc/mosquitto/wattlog.conf\nlistener 1884\nallow_anonymous false\n" in printed
    assert "pattern write wattlog/1/%u/b\n" in printed
    assert "user wattlog-host\ntopic write wattlog/1/+/a\n" in printed
    assert "systemctl restart mosquitto" in printed
    tls = ("--cert-file", tmp_path / "c", "--key-file", tmp_path / "k")
    printed = run_host("broker-config", "mosquitto", *tls, "--config", host.config_path).stdout
    assert f"certfile {tmp_path}/c\nkeyfile {tmp_path}/k\n" in printed
    ended = run_host("broker-config", "mosquitto", *tls[:2], "--config", host.config_path)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
