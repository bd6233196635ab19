"""Brings the log to the host: connects, claims the id, sends batches until they are committed.

A state machine without I/O of its own: it is stepped with the time and drives a Link. A record
leaves the log only when the host has acknowledged its batch, so losing, repeating or
reordering messages costs time and nothing else.
"""

from wattlog import records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wattlog.ports import Describe, Link, Log, Randrange, Say

BACKOFF_MS_MIN = 1_000
BACKOFF_MS_MAX = 30_000
CONNECT_MS_MAX = 15_000
CLAIM_MS = 3_000
ACK_MS_MIN = 5_000
ACK_MS_MAX = 30_000
STATUS_EVERY_MS = 10_000
BATCH_EVERY_MS = 1_000  # what comes within it shares a batch, and the host a commit
RECEIVE_MAX = 32  # messages looked at in one step

DOWN = "down"
CONNECTING = "connecting"
CLAIMING = "claiming"
UP = "up"


class LinkError(Exception):
    """The link failed; str() says how in words for a person."""


class Backoff:
    """Doubling waits between two bounds, each shortened at random so that a fleet spreads out."""

    def __init__(self, low_ms: int, high_ms: int, randrange: "Randrange") -> None:
        self._low_ms = low_ms
        self._high_ms = high_ms
        self._wait_ms = low_ms
        self._randrange = randrange

    def reset(self) -> None:
        """Start again with the shortest wait."""
        self._wait_ms = self._low_ms

    def next_ms(self) -> int:
        """Return the next wait."""
        wait_ms = self._wait_ms
        self._wait_ms = min(2 * wait_ms, self._high_ms)
        return wait_ms - self._randrange(wait_ms // 4 + 1)


class Uplink:
    """The way of one agent's log to the host.

    edge       the agent's id
    boot       random number of this start
    log        where the records wait
    link       the MQTT connection
    randrange  randrange(n) -> 0..n-1
    describe   describe(now_ms) -> dict, what a status message says beside who we are
    say        say(text): one line for a person, once per change
    batch_buf  where a batch is built: BATCH_BYTES_MIN to BATCH_BYTES_MAX bytes
    """

    def __init__(
        self,
        edge: str,
        boot: int,
        log: "Log",
        link: "Link",
        randrange: "Randrange",
        describe: "Describe",
        say: "Say",
        batch_buf: bytearray,
    ) -> None:
        assert records.BATCH_BYTES_MIN <= len(batch_buf) <= records.BATCH_BYTES_MAX
        self.state = DOWN
        self.connects = 0
        self.resent = 0
        self.refused = 0
        self._edge = edge
        self._boot = boot
        self._log = log
        self._link = link
        self._describe = describe
        self._say = say
        self._said = ""
        self._link_backoff = Backoff(BACKOFF_MS_MIN, BACKOFF_MS_MAX, randrange)
        self._ack_backoff = Backoff(ACK_MS_MIN, ACK_MS_MAX, randrange)
        self._due_ms = 0  # DOWN: connect; CONNECTING: give up; CLAIMING: take the id
        self._status_due_ms = 0
        self._buf = batch_buf
        self._batch: memoryview | None = None  # in flight, until acknowledged; lies in _buf
        self._first_seq = 0
        self._count = 0
        self._resend_due_ms = 0
        self._batch_due_ms = 0
        self._acked_seq = 0

    def step(self, now_ms: int) -> int:
        """Do what is due; return when to come again at the latest (sooner does no harm)."""
        try:
            return self._step(now_ms)
        except LinkError as err:
            self._lost(now_ms, str(err))
            return self._due_ms

    def announce(self) -> None:
        """Have the status sent at the next step: something worth telling has changed."""
        self._status_due_ms = 0

    def stop(self) -> None:
        """Say goodbye and close; what is not acknowledged stays in the log."""
        try:
            if self.state == UP:
                self._link.publish(self._topic(records.STATUS), self.farewell(), True)
            self._link.close()
        except LinkError:
            return  # nobody is left to tell; the last will speaks for us
        finally:
            self.state = DOWN

    def farewell(self) -> bytes:
        """Return the status that says we are gone: the last will."""
        return self._pack("offline")

    def _topic(self, leaf: str) -> str:
        return records.topic(self._edge, leaf)

    def _pack(self, state: str) -> bytes:
        return records.pack_status(
            {"v": records.FORMAT_WIRE, "state": state, "edge": self._edge, "boot": self._boot}
        )

    def _say_once(self, text: str) -> None:
        if text != self._said:
            self._said = text
            self._say(text)

    def _lost(self, now_ms: int, why: str) -> None:
        self._say_once("no connection to the broker: %s; trying again" % why)
        self._link.close()
        self.state = DOWN
        self._due_ms = now_ms + self._link_backoff.next_ms()

    def _step(self, now_ms: int) -> int:
        if not self._connect(now_ms):
            return self._due_ms
        self._receive(now_ms)
        if self.state == CLAIMING:
            if now_ms < self._due_ms:
                return self._due_ms
            self._take(now_ms)
        if self.state != UP:
            return self._due_ms
        if now_ms >= self._status_due_ms:
            self._send_status(now_ms, None)
        return min(self._status_due_ms, self._pump(now_ms))

    def _connect(self, now_ms: int) -> bool:
        """Get the link up, claiming the id where it is new; False while that takes its time."""
        if self.state == DOWN:
            if now_ms < self._due_ms:
                return False
            self._link.open(self.farewell())
            self.state = CONNECTING
            self._due_ms = now_ms + CONNECT_MS_MAX
        if not self._link.is_up():
            if self.state != CONNECTING:
                raise LinkError("the broker closed the connection")
            if now_ms >= self._due_ms:
                raise LinkError("no answer within %d s" % (CONNECT_MS_MAX // 1000))
            return False
        if self.state == CONNECTING:
            self.connects += 1
            self.state = CLAIMING
            self._due_ms = now_ms + CLAIM_MS
            self._link.publish(self._topic(records.STATUS), self._pack("claim"), False)
        return True

    def _take(self, now_ms: int) -> None:
        """Nobody else holds the id: it is ours."""
        self.state = UP
        self._link_backoff.reset()
        self._ack_backoff.reset()
        self._resend_due_ms = now_ms  # what was in flight may have been lost with the old link
        self._status_due_ms = now_ms
        self._say_once("connected to the broker")

    def _send_status(self, now_ms: int, reply_to: int | None) -> None:
        fields = self._describe(now_ms)
        fields.update(
            v=records.FORMAT_WIRE,
            state="online",
            edge=self._edge,
            boot=self._boot,
            uptime_ms=now_ms,
            reply_to=reply_to,
            link={"connects": self.connects, "resent": self.resent, "refused": self.refused},
        )
        # An answer is for who asks now: kept by the broker, it would turn away those to come.
        packed = records.pack_status(fields)
        self._link.publish(self._topic(records.STATUS), packed, reply_to is None)
        self._status_due_ms = now_ms + STATUS_EVERY_MS

    def _receive(self, now_ms: int) -> None:
        for _ in range(RECEIVE_MAX):
            message = self._link.receive()
            if message is None:
                return
            topic, payload = message
            if topic == self._topic(records.ACK):
                self._on_ack(payload, now_ms)
            elif topic == self._topic(records.STATUS):
                self._on_status(payload, now_ms)
            if self.state == DOWN:
                return

    def _on_status(self, payload: bytes, now_ms: int) -> None:
        """Settle with others of the same id; SPEC.md has the rules."""
        fields = records.unpack_status(payload)
        if fields is None:
            return
        state = fields.get("state")
        other = fields.get("boot")
        if self.state == UP and state == "offline":
            # A late last will, of an earlier boot or of our own former connection.
            self._send_status(now_ms, None)
        elif not isinstance(other, int) or other == self._boot:
            return
        elif self.state == UP and state == "claim":
            self._send_status(now_ms, other)
        elif self.state == UP and state == "online":
            # Two that both believe they hold the id: the greater boot does.
            if other > self._boot:
                self._yield(now_ms)
            else:
                self._send_status(now_ms, other)
        elif self.state == CLAIMING and state == "claim" and other < self._boot:
            # It may not have heard our claim, made before it listened.
            self._link.publish(self._topic(records.STATUS), self._pack("claim"), False)
        elif self.state == CLAIMING and (
            state == "claim" or (state == "online" and fields.get("reply_to") == self._boot)
        ):
            self._yield(now_ms)

    def _yield(self, now_ms: int) -> None:
        self._say_once(
            'another agent with the id "%s" is connected to this broker: give each its own id; '
            "readings are kept here until it is gone" % self._edge
        )
        self._link.close()
        self.state = DOWN
        self._due_ms = now_ms + self._link_backoff.next_ms()

    def _on_ack(self, payload: bytes, now_ms: int) -> None:
        ack = records.unpack_ack(payload)
        if self._batch is None or ack is None:
            return
        boot, first_seq, count, reason = ack
        if (boot, first_seq) != (self._boot, self._first_seq):
            return  # a repeat of an earlier one
        if reason is None and count != self._count:
            return  # one who refuses may not have been able to count
        if reason is not None:
            self.refused += 1
            self._say_once("the host refused a batch of %d records: %s" % (self._count, reason))
        self._acked_seq = first_seq + self._count - 1
        self._log.release(self._acked_seq)
        self._batch = None
        self._ack_backoff.reset()

    def _pump(self, now_ms: int) -> int:
        """Keep one batch in flight; return when it is to be sent again."""
        if self._batch is None:
            if now_ms < self._batch_due_ms:
                return self._batch_due_ms
            self._batch, is_all = self._next_batch()
            if self._batch is None:
                return now_ms + STATUS_EVERY_MS
            self._batch_due_ms = now_ms + BATCH_EVERY_MS if is_all else now_ms
        elif now_ms < self._resend_due_ms:
            return self._resend_due_ms
        else:
            self.resent += 1
        self._link.publish(self._topic(records.BATCH), self._batch, False)
        self._resend_due_ms = now_ms + self._ack_backoff.next_ms()
        return self._resend_due_ms

    def _next_batch(self) -> "tuple[memoryview | None, bool]":
        """Return the next batch, None for an empty log; and whether it took all there was."""
        is_all = True
        packed: list[bytes] = []
        size = records.HEAD_BYTES_MAX
        for seq, payload in self._log.read_after(self._acked_seq):
            size += len(payload)
            if len(packed) == records.RECORDS_MAX or size > len(self._buf):
                is_all = False
                break
            if not packed:
                self._first_seq = seq
            packed.append(payload)
        if not packed:
            return None, True
        self._count = len(packed)
        batch = records.pack_batch(self._buf, self._edge, self._boot, self._first_seq, packed)
        return batch, is_all
