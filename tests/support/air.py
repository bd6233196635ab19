"""The air between a head and its broker: a TCP relay that can fall silent, as a lost Wi-Fi does."""

import select
import socket
import threading
from contextlib import contextmanager

_CHUNK_BYTES = 4_096
_LOOK_EVERY_S = 0.05


class Air:
    """Carries the connections to its port on to a broker's.

    While it is silent nothing passes, and nobody is told: no byte, no end, no refusal. What was
    under way is carried on afterwards, for a TCP sends it again.
    """

    def __init__(self, broker_port):
        self._broker_port = broker_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._is_silent = False
        self._ends = False
        self._peers = {}  # each socket: the one at the other side
        self._thread = threading.Thread(target=self._carry)
        self._thread.start()

    @contextmanager
    def silent(self):
        self._is_silent = True
        try:
            yield
        finally:
            self._is_silent = False

    def close(self):
        self._ends = True
        self._thread.join()
        for one in (self._listener, *self._peers):
            one.close()

    def _carry(self):
        while not self._ends:
            heard = [] if self._is_silent else [self._listener, *self._peers]
            for one in select.select(heard, [], [], _LOOK_EVERY_S)[0]:
                if one is self._listener:
                    self._join(one.accept()[0])
                elif one in self._peers:  # else its other side has just ended
                    self._pass_on(one)

    def _join(self, head):
        try:
            broker = socket.create_connection(("127.0.0.1", self._broker_port), 1)
        except OSError:  # nobody listens there
            head.close()
            return
        self._peers |= {head: broker, broker: head}

    def _pass_on(self, one):
        other = self._peers[one]
        try:
            data = one.recv(_CHUNK_BYTES)
            other.sendall(data)
        except OSError:
            data = b""
        if not data:
            for gone in (one, other):
                del self._peers[gone]
                gone.close()
