"""An update over the air: takes it in pieces, checks it, and starts it on trial. Format: SPEC.md.

What arrives goes into the folder that we do not run from. Nothing in there counts before the
whole of it has the checksum that the offer's keyed MAC vouches for. Loaded when it is offered.
"""

import json
import os
import sys
from hashlib import sha256

from wattlog import msgpack, records
from wattlog.compat import const
from wattlog.uplink import LinkError
from wattlog_esp32 import slots
from wattlog_esp32.start import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wattlog.ports import Link
    from wattlog_esp32.uart import UartSource

BYTES_MAX = const(400_000)  # half of what the file system has
ASK_AGAIN_MS = const(5_000)
GIVE_UP_MS = const(300_000)  # after the last piece
_HEAD_BYTES_MAX = const(80)
_RELEASE_LETTERS_MAX = const(40)
# Who can publish may send what nobody signed; it has to leave a folder that can be cleared.
_FILES_MAX = const(128)
_FOLDERS_MAX = const(3)  # one inside the other
_BLOCK_BYTES = const(64)  # of SHA-256
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789_./"


def mac_of(key: bytes, text: bytes) -> bytes:
    """Return HMAC-SHA256: MicroPython has no hmac."""
    block = key + b"\0" * (_BLOCK_BYTES - len(key))
    inner = sha256(bytes([byte ^ 0x36 for byte in block]) + text).digest()
    return sha256(bytes([byte ^ 0x5C for byte in block]) + inner).digest()


def vouched(release: str, mpy: int, size: int, digest: bytes) -> bytes:
    """Return what the MAC is of."""
    return ("%s %d %d %s" % (release, mpy, size, digest.hex())).encode()


class _Trouble(Exception):
    """Why an update cannot be taken; str() is a few words."""


class Job:
    """Takes one update at a time; another offer means nothing meanwhile.

    See eyes.Job for the arguments; root is where the file system begins.
    """

    def __init__(
        self,
        sources: "list[UartSource]",
        edge: str,
        boot: int,
        link: "Link",
        root: str = "/",
    ) -> None:
        del sources
        self._edge = edge
        self._boot = boot
        self._link = link
        self._root = root
        self._release = ""
        self._size = self._at = 0
        self._digest = b""
        self._hash: Any = None
        self._file: Any = None
        self._file_left = 0
        self._files = 0
        self._head = b""
        self._ask_due_ms = self._give_up_ms = 0
        self.wants_restart = False

    def on_command(self, payload: bytes, now_ms: int) -> None:
        """Take an offer, or a piece; anything else means nothing."""
        try:
            value = msgpack.unpack(payload)
        except msgpack.MsgpackError:
            return
        if not isinstance(value, list) or value[:1] != [records.FORMAT_WIRE]:
            return
        try:
            if len(value) == 7 and value[1] == "update":
                self._on_offer(value[2:], now_ms)
            elif len(value) == 5 and value[1] == "chunk" and value[2] == self._release:
                self._on_chunk(value[3], value[4], now_ms)
        except _Trouble as err:
            self._end(str(err), now_ms)
        except OSError as err:
            self._end("the file system fails (error %s)" % err.args[0], now_ms)

    def step(self, now_ms: int) -> bool:
        """Ask for the next piece when it is time; return False when there is nothing to do."""
        if self._release and now_ms >= self._give_up_ms:
            self._end("nobody answers", now_ms)
        if not self._release:
            return False
        if now_ms >= self._ask_due_ms:
            self._ask_due_ms = now_ms + ASK_AGAIN_MS
            self._tell(None, now_ms)
        return True

    def _on_offer(self, offer: "list[Any]", now_ms: int) -> None:
        release, mpy, size, digest, mac = offer
        kinds = ((release, str), (mpy, int), (size, int), (digest, bytes), (mac, bytes))
        if self._release or not all(isinstance(part, kind) for part, kind in kinds):
            return
        if len(release) > _RELEASE_LETTERS_MAX:
            return
        self._release = release  # the answer names it
        key = self._key()
        if mac_of(key, vouched(release, mpy, size, digest)) != mac:
            raise _Trouble("its signature is not of this head's update.key")
        new = slots.release_of(release)
        if new is None:
            raise _Trouble("its release is no release")
        present = slots.read_release(self._root + slots.running())
        if new <= (slots.release_of(present) or (0, 0, 0, 0)):
            raise _Trouble("it is not newer than %s" % present)
        ours = sys.implementation._mpy & 0xFF
        if mpy != ours:
            raise _Trouble("its byte code is version %d, the firmware's %d" % (mpy, ours))
        if not 0 < size <= BYTES_MAX:
            raise _Trouble("its size")
        if slots.read_state(self._root + "slot")[0]:
            raise _Trouble("the last one is still on trial")
        say("update %s is offered" % release)
        if slots.read_words(self._root + "slot")[0] != slots.running():
            # The loader has left the other one and could not write that down.
            slots.write_state(slots.running(), self._root + "slot")
        _clear(self._root + slots.spare())
        self._size = size
        self._at = self._files = 0
        self._digest = digest
        self._hash = sha256()
        self._head = b""
        self._ask_due_ms = now_ms
        self._give_up_ms = now_ms + GIVE_UP_MS

    def _key(self) -> bytes:
        key = None
        try:
            with open(self._root + "wattlog.json") as file:
                key = json.loads(file.read()).get("update.key")
            return bytes.fromhex(key)
        except (OSError, ValueError, TypeError):
            raise _Trouble("this head has no update.key") from None

    def _on_chunk(self, offset: "Any", data: "Any", now_ms: int) -> None:
        if offset != self._at or not isinstance(data, bytes) or not data:
            return  # an answer that came twice
        if len(data) > self._size - self._at:
            raise _Trouble("it is longer than was offered")
        self._hash.update(data)
        self._at += len(data)
        self._unpack(data)
        self._give_up_ms = now_ms + GIVE_UP_MS
        self._ask_due_ms = now_ms
        if self._at == self._size:
            self._finish(now_ms)

    def _unpack(self, data: bytes) -> None:
        """Write what is in there: a line with path and size, so many bytes, and so on."""
        at = 0
        while at < len(data):
            if self._file is not None:
                part = memoryview(data)[at : at + self._file_left]
                self._file.write(part)
                at += len(part)
                self._file_left -= len(part)
            else:
                end = data.find(b"\n", at) + 1 or len(data)
                self._head += data[at:end]
                at = end
                if len(self._head) > _HEAD_BYTES_MAX:
                    raise _Trouble("it is not made as an update is")
                if self._head[-1:] == b"\n":
                    self._open()
            if self._file is not None and not self._file_left:
                self._file.close()
                self._file = None

    def _open(self) -> None:
        try:
            path, size = self._head.decode().split()
            self._file_left = int(size)
        except ValueError:  # UnicodeError is one
            raise _Trouble("it is not made as an update is") from None
        self._files += 1
        if not 0 <= self._file_left <= BYTES_MAX or self._files > _FILES_MAX:
            raise _Trouble("it is not made as an update is")
        if path.count("/") > _FOLDERS_MAX:
            raise _Trouble("it is not made as an update is")
        if ".." in path or path[0] in "./" or any(letter not in _LETTERS for letter in path):
            raise _Trouble("a path in it leads elsewhere")
        folder = self._root + slots.spare()
        for name in path.split("/")[:-1]:
            folder += "/" + name
            _make_folder(folder)
        self._file = open(self._root + slots.spare() + "/" + path, "wb")  # noqa: SIM115
        self._head = b""

    def _finish(self, now_ms: int) -> None:
        if self._hash.digest() != self._digest or self._file is not None or self._head:
            raise _Trouble("it came damaged")
        state = "%s %d" % (slots.spare(), slots.STARTS)
        slots.write_state(state, self._root + "slot")
        self.wants_restart = True
        say("update %s starts on trial" % self._release)
        self._tell("trial", now_ms)
        self._stop()

    def _end(self, why: str, now_ms: int) -> None:
        say("update %s: %s" % (self._release, why))
        self._tell(why, now_ms)
        self._stop()

    def _stop(self) -> None:
        self._release = ""
        if self._file is not None:
            try:
                self._file.close()
            except OSError:
                pass  # what it says was said already
            self._file = None

    def _tell(self, what: "str | None", now_ms: int) -> None:
        """Ask for what comes next, or say how it ended."""
        who = (records.FORMAT_WIRE, self._edge, self._boot, now_ms)
        try:
            topic = records.topic(self._edge, records.UPDATE)
            message = msgpack.pack(who + (self._release, self._at, what))
            self._link.publish(topic, message, False)
        except LinkError:
            self._ask_due_ms = now_ms + ASK_AGAIN_MS


def _make_folder(path: str) -> None:
    try:
        os.mkdir(path)
    except OSError:
        os.stat(path)  # it is there, or cannot be made: that raises


def _clear(folder: str) -> None:
    """Have an empty folder there."""
    _make_folder(folder)
    for row in list(os.ilistdir(folder)):  # type: ignore[attr-defined]
        path = folder + "/" + row[0]
        if row[1] == 0x4000:
            _clear(path)
            os.rmdir(path)
        else:
            os.remove(path)
