"""The whole host in a process of its own, seen by an agent and by a visitor."""

import asyncio
import contextlib
import http.client
import json
import logging
import signal
import socket
import threading
from contextlib import closing

import aiomqtt
import msgpack
import pytest

from waiting import wait_until
from wattlog_host import app, errands

# Only so that a failure ends.
PATIENCE_S = 30

# The library logs as errors what these tests provoke.
QUIET = logging.getLogger("quiet")
QUIET.setLevel(logging.CRITICAL + 1)


def as_agent(port, act, edge="cellar"):
    """Run act(client) with a client that hears its acknowledgements."""

    async def run():
        async with asyncio.timeout(PATIENCE_S):
            async with aiomqtt.Client("127.0.0.1", port, identifier=f"wattlog-{edge}") as client:
                await client.subscribe(f"wattlog/1/{edge}/a")
                return await act(client)

    return asyncio.run(run())


def send(port, *payloads, edge="cellar"):
    """Publish batches and return their acknowledgements, in order of sending."""

    async def act(client):
        acks = []
        for payload in payloads:
            await client.publish(f"wattlog/1/{edge}/b", payload)
            acks.append(msgpack.unpackb((await anext(client.messages)).payload))
        return acks

    return as_agent(port, act, edge)


class Stream:
    """The page's event stream."""

    def __init__(self, host):
        self.connection = http.client.HTTPConnection(
            "127.0.0.1", host.http_port, timeout=PATIENCE_S
        )
        self.connection.request("GET", "/events")
        self.response = self.connection.getresponse()

    def next_view(self):
        while line := self.response.readline():
            if line.startswith(b"data: "):
                return json.loads(line[6:])
        return None

    def close(self):
        self.connection.close()


@pytest.fixture(params=["embedded", "mosquitto"])
def host(request, make_host):
    if request.param == "mosquitto":
        made = make_host(request.getfixturevalue("mosquitto").port)
    else:
        made = make_host()
    made.start()
    return made


def test_a_batch_goes_from_the_agent_to_the_page(host, wire):
    watching = Stream(host)
    assert watching.next_view()["meters"] == []
    batch = wire.batch(wire.sync(), wire.reading(1000, (1, 1989275, -1, 10, -2314, -1)))
    assert send(host.mqtt_port, batch) == [wire.ack(batch)]
    latest = host.json("/api/latest_reading")
    assert (latest["energy_in_kwh"], latest["power_watts"]) == (198.9275, -231.4)
    while not (meters := watching.next_view()["meters"]):
        pass
    watching.close()
    assert meters[0]["import_kwh"] == "198.9275"
    assert "198.9275" in host.get("/")[1]
    assert host.events()[0].startswith("meter ")
    assert host.end() == 0
    assert "Traceback" not in host.log()
    assert "WARNING" not in host.log()


def test_local_is_where_the_house_is_wherever_the_machine_thinks_it_is(make_host, wire):
    host = make_host()
    with host.config_path.open("a") as config:
        config.write('[house]\nzone = "Asia/Tokyo"\n')
    host.start(environ={"TZ": "America/New_York"})
    batch = wire.batch(wire.sync(), wire.reading(1000, (1, 1989275, -1, 10, -2314, -1)))
    assert send(host.mqtt_port, batch) == [wire.ack(batch)]
    shown = host.json("/status")
    times = [shown["now"], shown["host"]["started"], host.json("/api/latest_reading")["timestamp"]]
    times += [one["time"] for one in (*shown["events"], *shown["meters"])]
    assert {time[-6:] for time in times} == {"+09:00"}
    for one in (*shown["events"], *shown["meters"]):
        assert one["time"][11:19] == one["time_text"][-8:]
    hours = {line[:2] for line in host.log().splitlines() if "INFO" in line}
    assert hours <= {shown["host"]["started"][11:13], shown["now"][11:13]}


def test_a_live_reading_is_on_the_page_before_it_is_stored(host, wire):
    watching = Stream(host)
    watching.next_view()

    async def act(client):
        await client.publish("wattlog/1/cellar/l", wire.live(5000, (10, -2314, -1)))
        while not (meters := (await asyncio.to_thread(watching.next_view))["meters"]):
            pass
        return meters[0]

    meter = as_agent(host.mqtt_port, act)
    watching.close()
    assert (meter["power_w"], meter["is_stored"], meter["stale"]) == ("-231.4", False, False)
    assert host.json("/status")["counters"]["readings"] == 0


def test_agents_are_asked_for_live_readings_only_while_somebody_watches(host, wire):
    async def act(client):
        await client.publish("wattlog/1/cellar/s", wire.status(), retain=True)
        await asyncio.to_thread(wait_online)
        await client.subscribe("wattlog/1/cellar/c")
        host.get("/")  # who only looks and goes asks for nothing
        await client.publish("wattlog/1/cellar/b", wire.batch(wire.reading()))
        assert str((await anext(client.messages)).topic) == "wattlog/1/cellar/a"
        watching = Stream(host)
        message = await anext(client.messages)
        watching.close()
        return str(message.topic), msgpack.unpackb(message.payload)

    def wait_online():
        wait_until(lambda: "agent cellar online" in host.events())

    assert as_agent(host.mqtt_port, act) == ("wattlog/1/cellar/c", [2, "live", 60])


def test_what_an_agents_log_has_lost_is_a_gap(host, wire):
    async def act(client):
        await client.publish("wattlog/1/cellar/b", wire.batch(wire.reading(), first_seq=11))
        await anext(client.messages)
        log = {"id": wire.log, "first_seq": 21, "kind": "flash"}
        await client.publish("wattlog/1/cellar/s", wire.status(log=log), retain=True)
        await asyncio.to_thread(wait_until, lambda: host.json("/api/gaps")["runs"])

    as_agent(host.mqtt_port, act)
    gaps = host.json("/api/gaps")
    assert (gaps["runs"], gaps["records"]) == (2, 19)
    assert [(gap["first_seq"], gap["last_seq"]) for gap in gaps["newest"]] == [(12, 20), (1, 10)]
    assert "never came, no longer in its log" in host.get("/state")[1]
    assert "agent cellar: 19 records never came, no longer in its log" in host.events()
    host.end()
    host.start()
    assert host.json("/status")["gaps"]["records"] == 19


def test_an_update_is_offered_whatever_word_of_it_the_broker_has_kept(
    make_host, mosquitto, wire, tmp_path
):
    async def keep(client):
        trial = msgpack.packb([2, "cellar", 17, 1_000, "0.1.0+5", 0, "trial"])
        await client.publish("wattlog/1/cellar/u", trial, retain=True)

    async def act(client):
        await client.subscribe("wattlog/1/cellar/c")
        status = wire.status(board={"release": "0.1.0+4"})
        await client.publish("wattlog/1/cellar/s", status)
        command = [None, None, None]
        while command[1] != "update":
            command = msgpack.unpackb((await anext(client.messages)).payload)
        return command[2]

    as_agent(mosquitto.port, keep)
    updates = tmp_path / "data/updates"
    updates.mkdir(parents=True)
    head = f"wattlog-update 1 0.1.0+5 6 1 {'0' * 64} {'0' * 64}\n"
    (updates / "cellar.wlu").write_text(head + "x")
    host = make_host(mosquitto.port)
    host.start()
    assert as_agent(mosquitto.port, act) == "0.1.0+5"


def test_poison_is_refused_with_its_reason_and_blocks_nothing(host, wire):
    bad = msgpack.packb([2, "cellar", wire.log, 1, b""])
    good = wire.batch(wire.reading(), first_seq=2)
    assert send(host.mqtt_port, bad, good) == [
        wire.ack(bad, "records: empty"),
        wire.ack(good),
    ]
    assert host.json("/status")["counters"]["dead_letters"] == {"records: empty": 1}


def test_killed_and_started_again_the_data_is_there_and_it_is_said(host, wire, wait_until):
    payload = wire.batch(wire.sync(), wire.reading())
    send(host.mqtt_port, payload)
    before = host.json("/api/latest_reading")
    host.end(signal.SIGKILL)
    host.start()
    after = host.json("/api/latest_reading")
    assert (after["timestamp"], after["energy_in_kwh"]) == (
        before["timestamp"],
        before["energy_in_kwh"],
    )
    assert any(text.startswith("host stopped unexpectedly; last data ") for text in host.events())
    assert send(host.mqtt_port, payload) == [wire.ack(payload)]
    counters = host.json("/status")["counters"]
    assert (counters["readings"], counters["duplicates"]) == (1, 1)
    assert host.end() == 0
    host.start()
    assert host.events()[0] == "host started"


def test_an_agent_comes_goes_and_is_restarted(host, wire, wait_until):
    async def online(boot):
        async with aiomqtt.Client(
            "127.0.0.1",
            host.mqtt_port,
            identifier=f"wattlog-cellar-{boot}",
            logger=QUIET,
            will=aiomqtt.Will(
                "wattlog/1/cellar/s", wire.status("offline", boot=boot), retain=True
            ),
        ) as client:
            await client.publish("wattlog/1/cellar/s", wire.status(boot=boot), retain=True)
            await client.subscribe("wattlog/1/cellar/s")
            await anext(client.messages)
            client._client._sock.shutdown(2)  # a cable that is pulled out
            with pytest.raises(aiomqtt.MqttError):
                while True:
                    await anext(client.messages)

    asyncio.run(online(1))
    wait_until(lambda: "agent cellar offline" in host.events())
    asyncio.run(online(2))
    wait_until(lambda: "agent cellar restarted" in host.events())
    assert [agent["id"] for agent in host.json("/status")["agents"]] == ["cellar"]


def test_a_broker_that_is_killed_is_said_once_and_found_again(
    make_host, mosquitto, wire, wait_until
):
    host = make_host(mosquitto.port)
    host.start()
    mosquitto.kill()
    wait_until(lambda: host.get("/healthz")[0] == 503)
    assert "127.0.0.1" in host.get("/healthz")[1]
    mosquitto.start()
    wait_until(lambda: host.get("/healthz")[0] == 200)
    batch = wire.batch(wire.reading())
    assert send(mosquitto.port, batch) == [wire.ack(batch)]
    texts = [text for text in host.events() if "broker" in text]
    assert texts[0] == "broker connection is back"
    assert len(texts) == 2
    assert host.end() == 0
    assert "Traceback" not in host.log()


def test_without_a_broker_the_page_is_there_and_says_so(make_host, free_port, wait_until):
    host = make_host(free_port())
    host.start(healthy=False)
    wait_until(lambda: "refused" in host.get("/healthz")[1])
    assert "No connection to the broker" in host.get("/")[1]
    assert host.end() == 0


REFUSALS = (
    ("not authorized", b"\x20\x02\x00\x05"),
    ("bad user name or password", b"\x20\x02\x00\x04"),
)


@pytest.mark.parametrize("connack", [r[1] for r in REFUSALS], ids=[r[0] for r in REFUSALS])
def test_a_broker_that_refuses_the_password_is_one_clear_line(make_host, wait_until, connack):
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def refuse():
            with contextlib.suppress(OSError):
                while True:
                    with closing(server.accept()[0]) as peer:
                        peer.recv(1000)
                        peer.sendall(connack)

        thread = threading.Thread(target=refuse, daemon=True)
        thread.start()
        host = make_host(server.getsockname()[1])
        host.start(healthy=False)
        wait_until(lambda: "refuses mqtt.username or its password" in host.get("/healthz")[1])
        assert host.end() == 0
        assert host.log().count("refuses mqtt.username") == 1
        assert "Traceback" not in host.log()
        server.shutdown(socket.SHUT_RDWR)
        thread.join(PATIENCE_S)


def test_open_streams_do_not_hold_up_the_end(make_host):
    host = make_host()
    host.start()
    watching = [Stream(host) for _ in range(3)]
    for one in watching:
        one.next_view()
    assert host.end() == 0
    for one in watching:
        while one.next_view() is not None:
            pass
        one.close()
    assert "ERROR" not in host.log()  # uvicorn's word for: they had to be torn off


def test_a_database_that_is_deleted_is_no_place_for_readings(
    make_host, wire, tmp_path, wait_until
):
    host = make_host()
    host.start()
    send(host.mqtt_port, wire.batch(wire.reading()))
    (tmp_path / "data/wattlog.db").unlink()

    async def unanswered(client):
        await client.publish("wattlog/1/cellar/b", wire.batch(wire.reading(), first_seq=2))
        await asyncio.to_thread(wait_until, lambda: len(troubles()) == 1)
        await client.publish("wattlog/1/cellar/a", b"end")
        return (await anext(client.messages)).payload

    def troubles():
        return [text for text in host.events() if "was removed or replaced" in text]

    assert as_agent(host.mqtt_port, unanswered) == b"end"
    status, text = host.get("/healthz")
    assert (status, "was removed or replaced" in text) == (503, True)
    assert host.end() == 0
    assert "Traceback" not in host.log()


def test_no_visitor_can_write_into_the_log(make_host):
    host = make_host()
    host.start()
    for _ in range(3):
        with closing(socket.create_connection(("127.0.0.1", host.http_port))) as visitor:
            visitor.sendall(b"no request\r\n\r\n")
            assert visitor.recv(100).startswith(b"HTTP/1.1 400")
    assert host.end() == 0
    assert "request" not in host.log()


def test_what_the_host_keeps_is_for_its_owner_alone(make_host, tmp_path):
    host = make_host()
    host.start()
    kept = [tmp_path / "data", *(tmp_path / "data").iterdir()]
    assert {file.name: file.stat().st_mode & 0o077 for file in kept} == dict.fromkeys(
        [file.name for file in kept], 0
    )


class Failing:
    """Fails after it ran for so long; counts the waits in between."""

    def __init__(self, monkeypatch, *ran_s):
        self.now_ms, self.ran_s, self.waits_s = 0, list(ran_s), []
        monkeypatch.setattr(errands, "monotonic_ms", lambda: self.now_ms)
        monkeypatch.setattr(asyncio, "sleep", self.sleep)

    async def act(self):
        if not self.ran_s:
            raise asyncio.CancelledError
        self.now_ms += 1000 * self.ran_s.pop(0)
        raise RuntimeError

    async def sleep(self, wait_s):
        self.waits_s.append(wait_s)


@pytest.mark.logs_warnings
def test_the_wait_before_a_restart_grows_and_begins_anew_after_a_good_run(monkeypatch):
    failing = Failing(monkeypatch, 0, 0, 0, 31, 0)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(errands.supervised("it", failing.act))
    assert failing.waits_s == [1, 2, 4, 1, 2]


def test_a_second_host_on_the_same_data_is_one_line(make_host, run_host, tmp_path, free_port):
    host = make_host()
    host.start()
    other = tmp_path / "other.toml"
    other.write_text(
        f'data = "{tmp_path / "data"}"\n[http]\nport = {free_port()}\n[mqtt]\nport = {free_port()}\n'
    )
    ended = run_host("--config", other)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "another wattlog-host uses" in ended.stderr


def test_a_commit_does_not_wait_long_for_those_who_answer_questions(monkeypatch):
    intervals = []

    def refuse(_settings):
        raise app.StartError("no port is free")

    monkeypatch.setattr(app, "_listen", refuse)
    monkeypatch.setattr("sys.setswitchinterval", intervals.append)
    with pytest.raises(app.StartError):
        asyncio.run(app.run(None))
    assert len(intervals) == 1
    assert 0 < intervals[0] < 0.001, "what the interpreter takes without is 0.005"
