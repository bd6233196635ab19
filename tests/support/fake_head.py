"""What a head says to a person's command, at a real broker, without a head."""

import select
import threading

import msgpack
import paho.mqtt.client
import paho.mqtt.enums

EDGE = "cellar"
BOOT = 0xDEADBEEF
PIN = "3021"
STATES = ["started", "digit 1 of 4", "digit 2 of 4", "menu", "holding", "done"]
STATUS = {"v": 2, "state": "online", "edge": EDGE, "boot": BOOT, "board": {}}
METER = {"port": "uart1", "full_dataset": False}


class FakeStop:
    """Stands for the signals: a test must not lose its own Ctrl-C."""

    def __init__(self):
        self.count = 0

    def wait(self, timeout_s):
        select.select([], [], [], timeout_s)


class FakeHead:
    """Answers a command with the states that it was given, and takes down what it was asked."""

    def __init__(self, port):
        self.commands = []
        self.states = STATES
        self.then = None
        self.aborted = ["aborted"]
        self._client = paho.mqtt.client.Client(paho.mqtt.enums.CallbackAPIVersion.VERSION2)
        self._client.on_message = self._on_command
        self._client.connect("127.0.0.1", port)
        self._client.subscribe(f"wattlog/1/{EDGE}/c")
        self._client.loop_start()

    def say(self, **change):
        status = {**STATUS, "meters": [METER], **change}
        message = msgpack.packb(status)
        sent = self._client.publish(f"wattlog/1/{EDGE}/s", message, 1, retain=True)
        if threading.current_thread() is threading.main_thread():
            sent.wait_for_publish(5)

    def answer(self, *rest):
        message = msgpack.packb([2, EDGE, BOOT, 61_000, *rest])
        self._client.publish(f"wattlog/1/{EDGE}/r", message)

    def stop(self):
        self._client.disconnect()
        self._client.loop_stop()

    def _on_command(self, _client, _data, message):
        assert not message.retain
        command = msgpack.unpackb(message.payload)
        self.commands.append(command)
        if command[1] == "pin":
            for state in self.states if len(command) == 7 else self.aborted:
                self.answer(command[3] or 1, state)
        if self.then is not None:
            self.then(command)
