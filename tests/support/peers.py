"""A broker that does what a test tells it, packet by packet, with or without TLS."""

import itertools
import socket
import ssl
import subprocess
import threading
from contextlib import closing, contextmanager

RUN_S_MAX = 20
CONNECT, PUBLISH, SUBSCRIBE, PING, DISCONNECT = 0x10, 0x30, 0x80, 0xC0, 0xE0
CONNECTED = b"\x20\x02\x00\x00"
TOPICS = 3  # that the link subscribes to
ACK_TOPIC = b"wattlog/1/cellar/a"
STATUS_TOPIC = b"wattlog/1/cellar/s"
BOOT = 0xBEEF


def message(topic, payload):
    """A PUBLISH of QoS 0."""
    size = 2 + len(topic) + len(payload)
    length = bytes([size]) if size < 128 else bytes([size & 0x7F | 0x80, size >> 7])
    return b"\x30" + length + len(topic).to_bytes(2, "big") + topic + payload


class Peer(threading.Thread):
    """A broker of one connection after the other; each does as its script says.

    A script is a function that gets a packet, as one recv() gave it, and returns the answer:
    bytes, None to hang up, (bytes,) to say this and hang up, an iterator of bytes, or WAIT to
    read nothing more.
    """

    WAIT = object()

    def __init__(self, *scripts, context=None):
        """Take a script for each connection; context is an ssl.SSLContext, None for none."""
        super().__init__(daemon=True)
        self._context = context
        self.packets = []
        self._scripts = scripts
        self._done = threading.Event()
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.port = self._listener.getsockname()[1]

    def run(self):
        for script in self._scripts:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with closing(connection):
                try:
                    if self._context is None:
                        self._talk(connection, script)
                    else:
                        with self._context.wrap_socket(connection, server_side=True) as secured:
                            self._talk(secured, script)
                except (ConnectionError, ssl.SSLError):
                    continue

    def _talk(self, connection, script):
        while packet := connection.recv(65536):
            self.packets.append(packet)
            answer = script(packet)
            if answer is None:
                return
            if answer is self.WAIT:
                self._done.wait(RUN_S_MAX)
                return
            if isinstance(answer, tuple):
                connection.sendall(*answer)
                return
            for part in [answer] if isinstance(answer, bytes) else answer:
                connection.sendall(part)

    def stop(self):
        self._done.set()
        # shutdown() ends an accept() that waits; close() alone does not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.join(RUN_S_MAX)


def well_behaved(packet):
    """The right answer to CONNECT and SUBSCRIBE, nothing to all else."""
    if packet[0] == CONNECT:
        return CONNECTED
    if packet[0] & 0xF0 == SUBSCRIBE:
        return b"\x90\x03" + packet[2:4] + b"\x00"
    return b""


def after_subscribing(last_answer):
    """A broker that behaves, and follows its last SUBACK with this, or hangs up for None."""
    seen = []

    def script(packet):
        answer = well_behaved(packet)
        if packet[0] & 0xF0 == SUBSCRIBE:
            seen.append(packet)
            if len(seen) == TOPICS:
                return (answer,) if last_answer is None else answer + last_answer
        return answer

    return script


def endless_message(packet):
    """A broker that behaves, but for a message of 256 MB that it would send without a pause."""
    answer = well_behaved(packet)
    if packet[0] & 0xF0 == SUBSCRIBE and packet.endswith(b"c\x00"):
        head = answer + b"\x30\xff\xff\xff\x7f\x00\x01a"
        return itertools.chain([head], itertools.repeat(b"x" * 4096))
    return answer


@contextmanager
def peer_of(scripts, context=None):
    """A running Peer."""
    peer = Peer(*scripts, context=context)
    peer.start()
    try:
        yield peer
    finally:
        peer.stop()


def run_link(board, arguments):
    """Run drive_link.py on a board; return what it printed."""
    done = subprocess.run(
        board.command("drive_link", arguments),
        env=board.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=RUN_S_MAX,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
