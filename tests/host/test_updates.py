"""Updates of heads: who is offered what, and the bytes that are handed out."""

import os
from hashlib import sha256
from pathlib import Path

import msgpack
import pytest

import wattlog_esp32
from wattlog_host.updates import (
    BUNDLE_BYTES_MAX,
    CHUNK_BYTES,
    OFFER_EVERY_MS,
    RETRY_MS,
    TRIALS_MAX,
    UNPROVEN,
    Updates,
    parse_bundle,
    release_of,
)

BODY = b"release 8\n0.1.0+5\n" + b"x" * 600
MAC = bytes(range(32))
U = "wattlog/1/cellar/u"
C = "wattlog/1/cellar/c"


def bundle_file(release="0.1.0+5", body=BODY, size=None):
    size = len(body) if size is None else size
    head = f"wattlog-update 1 {release} 6 {size} {sha256(body).hexdigest()} {MAC.hex()}\n"
    return head.encode() + body


class World:
    def __init__(self, folder):
        self.folder = folder
        self.said = []
        self.updates = Updates(folder, self.say)
        self.now_ms = 10_000_000

    def say(self, kind, text, edge):
        assert kind == "update"
        assert edge in ("cellar", "attic"), "the host's own budget is not for it"
        self.said.append(text)

    def put(self, data, edge="cellar", age_s=0):
        path = self.folder / f"{edge}.wlu"
        path.write_bytes(data)
        os.utime(path, (1_790_000_000 - age_s, 1_790_000_000 - age_s))

    def offers(self, release="0.1.0+4", edge="cellar", pass_ms=0, unproven=()):
        self.now_ms += pass_ms
        found = self.updates.offers({edge: release}, unproven, self.now_ms)
        return {topic: msgpack.unpackb(payload) for topic, payload in found.items()}

    def ask(self, offset=0, outcome=None, release="0.1.0+5", edge="cellar", topic=U):
        message = msgpack.packb([2, edge, 7, 1_000, release, offset, outcome])
        answer = self.updates.on_message(topic, message, self.now_ms)
        return answer and (answer[0], msgpack.unpackb(answer[1]))


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_what_lies_there_is_offered_to_its_head_and_to_nobody_else(world):
    assert world.offers() == {}
    world.put(bundle_file())
    offer = [2, "update", "0.1.0+5", 6, len(BODY), sha256(BODY).digest(), MAC]
    assert world.offers() == {C: offer}
    assert world.offers(edge="attic") == {}


def test_it_is_offered_once_a_minute_while_nobody_asks_for_it(world):
    world.put(bundle_file())
    assert world.offers()
    assert not world.offers(pass_ms=OFFER_EVERY_MS - 1)
    assert world.offers(pass_ms=1)
    world.ask(0)
    assert not world.offers(pass_ms=OFFER_EVERY_MS - 1)


@pytest.mark.parametrize(
    ("present", "is_offered"),
    [
        ("0.1.0+4", True), ("0.0.9+99", True), ("0.1.0+5", False), ("0.1.0+10", False),
        ("0.2.0+0", False), (None, False), ("", False), ("x", False),
    ],
)  # fmt: skip
def test_only_a_newer_one_is_offered(world, present, is_offered):
    world.put(bundle_file())
    assert bool(world.offers(present)) == is_offered


def test_the_pieces_together_are_the_body(world):
    world.put(bundle_file())
    found = b""
    while len(found) < len(BODY):
        topic, (version, name, release, offset, piece) = world.ask(len(found))
        assert (topic, version, name, release, offset) == (C, 2, "chunk", "0.1.0+5", len(found))
        assert len(piece) == min(CHUNK_BYTES, len(BODY) - offset)
        assert world.updates.progress == {"cellar": f"0.1.0+5: {100 * offset // len(BODY)} %"}
        found += piece
    assert found == BODY
    assert world.ask(len(BODY)) is None


def test_a_trial_is_said_and_not_repeated_until_another_file_lies_there(world):
    world.put(bundle_file())
    world.ask(0, "trial")
    assert world.said == ["agent cellar: update 0.1.0+5 is on trial"]
    assert world.updates.progress == {}, "the head itself tells it now"
    assert not world.offers(pass_ms=10 * RETRY_MS), "it has been left"
    world.put(bundle_file(), age_s=9)
    assert world.offers(), "at once"
    assert not world.offers("0.1.0+5", pass_ms=OFFER_EVERY_MS)
    assert world.updates.progress == {}, "it runs: nothing more to say"


def test_a_trial_that_ended_for_want_of_a_broker_is_repeated_some_hours_later(world):
    world.put(bundle_file())
    left = {"unproven": ["cellar"]}
    for trial in range(1, TRIALS_MAX + 1):
        assert world.offers(**left, pass_ms=OFFER_EVERY_MS), trial
        world.ask(0)
        world.ask(0, "trial")
        # What the head said last, until it has restarted, is of the trial before.
        assert not world.offers(**left, pass_ms=OFFER_EVERY_MS)
        assert not world.offers("0.1.0+5", pass_ms=OFFER_EVERY_MS), "it runs, on trial"
        assert not world.offers(**left, pass_ms=RETRY_MS - 3 * OFFER_EVERY_MS), "and was left"
    world.now_ms += 10 * RETRY_MS
    assert not world.offers(**left), "enough of it"
    world.put(bundle_file(), age_s=9)
    assert world.offers(**left), "another file lies there"


def test_a_trial_that_ended_otherwise_is_not_repeated(world):
    world.put(bundle_file())
    world.ask(0, "trial")
    assert not world.offers(unproven=["attic"], pass_ms=10 * RETRY_MS)


def test_what_cannot_be_taken_between_two_trials_does_not_begin_the_count_anew(world):
    world.put(bundle_file())
    left = {"unproven": ["cellar"]}
    for _ in range(TRIALS_MAX):
        assert world.offers(**left, pass_ms=RETRY_MS)
        world.ask(0, "nobody answers")
        assert world.offers(**left, pass_ms=RETRY_MS)
        world.ask(0, "trial")
    assert not world.offers(**left, pass_ms=RETRY_MS)


def test_the_words_for_it_are_the_heads():
    source = Path(wattlog_esp32.__file__).with_name("trial.py").read_text()
    assert f'"{UNPROVEN.removeprefix("left: ")}"' in source


def test_what_a_head_could_not_take_is_offered_again_some_hours_later(world):
    world.put(bundle_file())
    world.ask(300, "nobody answers")
    assert world.said == ["agent cellar: update 0.1.0+5 is not taken: nobody answers"]
    assert not world.offers(pass_ms=RETRY_MS - 1)
    assert world.offers(pass_ms=1)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it does not begin as an update does"),
        (b"x" * 999, "it does not begin as an update does"),
        (bundle_file("1.0+5"), "it does not begin as an update does"),
        (bundle_file()[:-1], f"it has {len(BODY) - 1} bytes where {len(BODY)} belong"),
        (bundle_file() + b"x" * BUNDLE_BYTES_MAX, "it is too large"),
    ],
)
def test_a_file_that_is_no_update_is_said_once(world, data, words):
    world.put(data)
    for _ in range(3):
        assert world.offers(pass_ms=OFFER_EVERY_MS) == {}
    assert world.said == [f"cellar.wlu is no update: {words}"]


@pytest.mark.parametrize(
    "change",
    [
        {"release": "0.1.0+6"}, {"edge": "attic"}, {"offset": -1}, {"offset": BUNDLE_BYTES_MAX + 1},
        {"topic": "wattlog/1/attic/u"}, {"topic": "wattlog/1/cellar/b"}, {"topic": "other/u"},
        {"outcome": 5}, {"release": 7}, {"release": "x" * 300},
    ],
)  # fmt: skip
def test_a_message_that_is_no_request_is_not_answered(world, change):
    world.put(bundle_file())
    assert world.ask(**change) is None


def test_garbage_is_said_in_one_line(world):
    world.put(bundle_file())
    for payload in (b"", b"\xc1", msgpack.packb([1, "cellar", 7, 0, "0.1.0+5", 0, None])):
        assert world.updates.on_message(U, payload, 0) is None
    assert all(text.startswith("agent cellar: its message") for text in world.said)
    assert len(world.said) == 3
    world.ask(0, "evil\nline\x1b[2J")
    assert "\n" not in world.said[-1] and "\x1b" not in world.said[-1]


def test_releases_compare_as_numbers():
    assert release_of("0.10.0+2") > release_of("0.9.99+100")
    assert release_of("0.1.0+10") > release_of("0.1.0+9")
    for text in ("", "1.2.3", "1.2.3+", "1.2+3", "a.b.c+d", "1.2.3+4 ", None, "-1.2.3+4"):
        assert release_of(text) is None, text


def test_a_bundle_is_what_was_signed():
    bundle = parse_bundle(bundle_file())
    assert (bundle.release, bundle.mpy, bundle.mac, bundle.body) == ("0.1.0+5", 6, MAC, BODY)
    assert sha256(bundle.body).digest() == bundle.digest


def test_a_head_that_tells_a_trial_whose_message_was_lost_is_not_offered_it_again(world):
    world.put(bundle_file())
    assert world.offers()
    world.ask(0)
    assert not world.offers("0.1.0+5", pass_ms=OFFER_EVERY_MS), "it runs, on trial"
    assert not world.offers(pass_ms=RETRY_MS), "and was left"
    world.put(bundle_file(), age_s=9)
    assert world.offers(), "another file lies there"


def test_what_is_taken_away_is_not_shown_any_more(world):
    world.put(bundle_file())
    world.ask(300)
    assert world.updates.progress
    (world.folder / "cellar.wlu").unlink()
    assert not world.offers()
    assert world.updates.progress == {}


def test_a_file_that_may_be_read_only_later_is_noticed(world, monkeypatch):
    world.put(bundle_file())
    path = world.folder / "cellar.wlu"

    def refuse(_):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(type(path), "read_bytes", refuse)
        assert not world.offers()
    path.chmod(0o600 if path.stat().st_mode & 0o077 else 0o644)
    assert world.offers()
