"""Brings the log to the host: connects, claims the id, sends batches until they are committed.

A state machine without I/O of its own: it is stepped with the time and drives a Link. A record
leaves the log only when the host has acknowledged its batch, so losing, repeating or
reordering messages costs time and nothing else.
"""

from binascii import crc32

from wattlog import records
from wattlog.live import Live
from wattlog.ringlog import LogError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wattlog.ports import Describe, Link, Log, OnCommand, Randrange, Say
    from wattlog.records import GroupWriter

BACKOFF_MS_MIN = 1_000
BACKOFF_MS_MAX = 30_000
CONNECT_MS_MAX = 15_000
CLAIM_MS = 3_000
ACK_MS_MIN = 5_000
ACK_MS_MAX = 30_000
STATUS_EVERY_MS = 10_000
BATCH_MS = 30_000  # what comes within it shares a batch, and the host a commit
BATCHES_PER_STEP = 4  # the meters want to be read in between
LOG_WAIT_MS = 1_000  # after a log that failed
RENEW_EVERY_MS = 10_000  # whoever asks for it: the flash is not his
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


class _Flight:
    """A batch on its way: sent, and to be sent again until it is acknowledged."""

    def __init__(self, first_seq: int, count: int, backoff: Backoff) -> None:
        self.first_seq = first_seq
        self.count = count
        self.backoff = backoff
        self.check = 0  # of the message as it was sent last
        self.due_ms = 0
        self.is_acked = False
        self.is_taken = False  # by other records, of which the host has these numbers


class Uplink:
    """The way of one agent's log to the host.

    edge        the agent's id
    boot        random number of this start
    log         where the records wait
    writer      what writes them there: a group that still grows is not sent
    link        the MQTT connection
    randrange   randrange(n) -> 0..n-1
    describe    describe(now_ms) -> dict, what a status message says beside who we are
    say         say(text): one line for a person, once per change
    batch_buf   where batches are built: records.BATCH_BYTES
    window_max  batches that may be on their way at once
    batch_ms    a group is ended after this time, so that it can be sent

    live        takes the readings that are to be shown at once
    on_command  on_command(payload, now_ms), for commands that are the rim's; None for no such rim
    acked       batches that the host has settled
    """

    def __init__(
        self,
        edge: str,
        boot: int,
        log: "Log",
        writer: "GroupWriter",
        link: "Link",
        randrange: "Randrange",
        describe: "Describe",
        say: "Say",
        batch_buf: bytearray,
        window_max: int,
        batch_ms: int = BATCH_MS,
    ) -> None:
        assert window_max > 0
        self.state = DOWN
        self.connects = 0
        self.resent = 0
        self.refused = 0
        self.acked = 0
        self.on_command: OnCommand | None = None
        self.live = Live(edge, boot, link)
        self._edge = edge
        self._boot = boot
        self._own = records.boot_mark(boot)
        self._log = log
        self._writer = writer
        self._link = link
        self._describe = describe
        self._randrange = randrange
        self._say = say
        self._said = ""
        self._link_backoff = Backoff(BACKOFF_MS_MIN, BACKOFF_MS_MAX, randrange)
        self._due_ms = 0  # DOWN: connect; CONNECTING: give up; CLAIMING: take the id
        self._has_failed = False  # in the last step
        self._status_due_ms = 0
        self._buffer = records.BatchBuffer(batch_buf)
        self._window: list[_Flight] = []  # by rising first_seq
        self._window_max = window_max
        self._sent_seq = 0  # the last that has been in the window
        self._batch_ms = batch_ms
        self._close_due_ms = 0
        self._renew_due_ms = 0

    def step(self, now_ms: int) -> int:
        """Do what is due; return when to come again at the latest (sooner does no harm)."""
        try:
            return self._step(now_ms)
        except LinkError as err:
            self._lost(str(err))
            return now_ms

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
        return bytes(
            records.pack_status(
                {"v": records.FORMAT_WIRE, "state": state, "edge": self._edge, "boot": self._boot}
            )
        )

    def _say_once(self, text: str) -> None:
        if text != self._said:
            self._said = text
            self._say(text)

    def _lost(self, why: str) -> None:
        self._say_once("no connection to the broker: %s; trying again" % why)
        self._link.close()
        self.state = DOWN
        self._has_failed = True

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
        self.live.send(now_ms)
        try:
            due_ms = self._pump(now_ms)
        except LogError as err:
            self._say_once("the log fails: %s; trying again" % err)
            due_ms = now_ms + LOG_WAIT_MS
        return min(self._status_due_ms, due_ms)

    def _connect(self, now_ms: int) -> bool:
        """Get the link up, claiming the id where it is new; False while that takes its time."""
        if self.state == DOWN:
            if self._has_failed:
                # A link may have taken seconds to fail. The wait begins when that is over: else
                # there would be none, and the meters would not be read in between.
                self._has_failed = False
                self._due_ms = now_ms + self._link_backoff.next_ms()
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
        for flight in self._window:  # they may have been lost with the old link
            flight.due_ms = now_ms
            flight.backoff.reset()
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
        packed = self._buffer.status(fields)
        self._link.publish(self._topic(records.STATUS), packed, reply_to is None)
        self._status_due_ms = now_ms + STATUS_EVERY_MS

    def _receive(self, now_ms: int) -> None:
        for _ in range(RECEIVE_MAX):
            message = self._link.receive()
            if message is None:
                return
            topic, payload = message
            if topic == self._topic(records.ACK):
                self._on_ack(payload)
            elif topic == self._topic(records.STATUS):
                self._on_status(payload, now_ms)
            elif topic == self._topic(records.COMMAND):
                self.live.on_command(payload, now_ms)
                if self.on_command is not None:
                    self.on_command(payload, now_ms)
            if self.state == DOWN:
                return

    def _on_status(self, payload: bytes, now_ms: int) -> None:
        """Settle with others of the same id; SPEC.md has the rules."""
        # The broker sends us our own, too; unpacked it would be the largest thing in a small heap.
        # Our boot in another's status has another key before it.
        if self._own in payload and b"offline" not in payload:
            return
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

    def _on_ack(self, payload: bytes) -> None:
        ack = records.unpack_ack(payload)
        if ack is None or ack[0] != self._log.id:
            return
        _, first_seq, check, reason = ack
        for flight in self._window:
            # The same name is not enough: the answer may be to what another copy of this log sent.
            if flight.first_seq == first_seq and flight.check == check:
                if reason == records.RENEW:
                    flight.is_taken = True
                    continue
                if reason is not None and not flight.is_acked:
                    self._refuse(flight, reason)
                if not flight.is_acked:
                    self.acked += 1
                flight.is_acked = True

    def _refuse(self, flight: _Flight, reason: str) -> None:
        self.refused += 1
        self._say_once("the host refused a batch of %d records: %s" % (flight.count, reason))

    def _pump(self, now_ms: int) -> int:
        """Keep the window full and the host reminded; return when to come again."""
        self._release(now_ms)
        due_ms = now_ms + STATUS_EVERY_MS
        left = BATCHES_PER_STEP
        for flight in self._window:
            if flight.is_acked:
                continue
            if flight.is_taken:  # by itself the first one only; the others wait for those before
                if flight is self._window[0]:
                    due_ms = min(due_ms, self._renew_due_ms)
                continue
            if now_ms >= flight.due_ms:
                if not left:
                    return now_ms
                left -= 1
                self.resent += 1
                self._fill(flight.first_seq - 1, flight.count)
                self._send(flight, now_ms)
            due_ms = min(due_ms, flight.due_ms)
        while len(self._window) < self._window_max:
            if not left:
                return now_ms
            left -= 1
            new = self._next(now_ms)
            if new is None:
                is_open = self._writer.open_seq is not None
                return min(due_ms, self._close_due_ms) if is_open else due_ms
            self._send(new, now_ms)
            due_ms = min(due_ms, new.due_ms)
        return due_ms

    def _release(self, now_ms: int) -> None:
        """Forget what the host has; what the log has lost meanwhile cannot be sent again."""
        count = 0
        while count < len(self._window) and self._window[count].is_acked:
            count += 1
        if count:
            flight = self._window[count - 1]
            self._log.release(flight.first_seq + flight.count - 1)
            self._window = self._window[
                count:
            ]  # not before: should the log fail, it is asked again
        if self._window:
            first_seq = self._log.stats().first_seq
            while self._window and self._window[0].first_seq < first_seq:
                self._window.pop(0)
        if self._window and self._window[0].is_taken and now_ms >= self._renew_due_ms:
            self._renew(now_ms)

    def _renew(self, now_ms: int) -> None:
        """Send under another log id what the host has other records for.

        All before it is settled, so nothing is sent under both ids but what came out of turn;
        that the host knows by its bytes.
        """
        if not self._log.renew():
            self._window[0].is_acked = True
            self._refuse(self._window[0], "its log was renewed too often")
            return
        self._renew_due_ms = now_ms + RENEW_EVERY_MS
        self._say_once(
            "the host has other records under the numbers of this log: was it put back from an "
            "older copy? it goes on as log %d" % self._log.id
        )
        self._sent_seq = self._window[0].first_seq - 1
        self._window = []
        self.announce()

    def _next(self, now_ms: int) -> "_Flight | None":
        """Take the next batch into window and buffer; None while there is none to be sent."""
        first_seq = self._fill(self._sent_seq, 0)
        if not first_seq and self._writer.open_seq is not None and now_ms >= self._close_due_ms:
            self._writer.close()
            self._close_due_ms = now_ms + self._batch_ms
            first_seq = self._fill(self._sent_seq, 0)
        if not first_seq:
            return None
        backoff = Backoff(ACK_MS_MIN, ACK_MS_MAX, self._randrange)
        flight = _Flight(first_seq, self._buffer.count, backoff)
        self._sent_seq = first_seq + flight.count - 1
        self._window.append(flight)
        return flight

    def _fill(self, after_seq: int, count: int) -> int:
        """Put the group behind after_seq into the buffer; return its first seq, 0 for none.

        A count says that it is a batch which was sent before: it has the same records again,
        and a hole for each that has become unreadable.
        """
        buffer = self._buffer
        buffer.clear()
        open_seq = self._writer.open_seq
        if open_seq == after_seq + 1:
            return 0
        first_seq = after_seq + 1 if count else 0
        group_seq = 0
        for seq, payload in self._log.read_after(after_seq):
            if open_seq is not None and seq >= open_seq:
                break
            if not first_seq:
                group_seq = records.group_seq(seq, payload)
                # Of a group that was evicted in part the rest cannot be read by anybody; it is
                # sent to be refused, under a name that nothing else has had.
                first_seq = max(group_seq, self._log.stats().first_seq, after_seq + 1)
            if count:
                if seq >= first_seq + count:
                    break
            elif records.group_seq(seq, payload) != group_seq:
                break
            while first_seq + buffer.count < seq:
                buffer.add(b"")
            buffer.add(payload)
        while buffer.count < count:
            buffer.add(b"")
        return first_seq

    def _send(self, flight: _Flight, now_ms: int) -> None:
        batch = self._buffer.message(self._edge, self._log.id, flight.first_seq)
        flight.check = crc32(batch)
        self._link.publish(self._topic(records.BATCH), batch, False)
        flight.due_ms = now_ms + flight.backoff.next_ms()
