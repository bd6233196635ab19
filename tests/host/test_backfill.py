"""Which hours are told to Home Assistant afterwards, and to whom; the real one is elsewhere."""

import asyncio
import http
import json

import pytest
from websockets.asyncio.server import serve

from wattlog.config import ConfigError
from wattlog_host.announce import config
from wattlog_host.announce.backfill import Backfill
from wattlog_host.announce.missed import HOUR_MS, QUARTER_MS, Quarter, Row, missed
from wattlog_host.announce.recorder import RecorderError, recorder_at
from wattlog_host.settings import load

TOKEN = "canary-token-4711"
BASE = 1000.0


def rows(*told):
    """Rows of (hour, climb); the sum began 10 kWh after the register did."""
    return [Row(hour * HOUR_MS, BASE + climb, climb - 10) for hour, climb in told]


def quarters(*climbs):
    """A reading in each quarter of hours with these climbs at their ends."""
    found = []
    for hour, (before, climb) in enumerate(zip((0, *climbs), climbs, strict=False)):
        for part in range(4):
            register = BASE + before + (climb - before) * (part + 1) / 4
            found.append(Quarter(hour * HOUR_MS + part * QUARTER_MS, register))
    return found


STEADY = quarters(1, 2, 3, 4, 5, 6)


def told(*found):
    return [
        (row.start_ms // HOUR_MS, round(row.state - BASE, 6), round(row.sum, 6)) for row in found
    ]


def test_nothing_is_told_where_nothing_was_missed():
    assert missed(rows((0, 1), (1, 2), (2, 3)), STEADY) == []
    # The last reading before the end of the hour came a little later than Home Assistant's.
    assert missed(rows((0, 0.9), (1, 1.9), (2, 2.9)), STEADY) == []


def test_hours_that_are_not_there_or_late_are_told_with_the_sum_that_belongs_to_them():
    wanted = [(1, 2, -8), (2, 3, -7), (3, 4, -6)]
    assert told(*missed(rows((0, 1), (4, 5)), STEADY)) == wanted
    # The recorder made up for its own absence with what it knew.
    assert told(*missed(rows((0, 1), (1, 1), (2, 1), (3, 1), (4, 5)), STEADY)) == wanted
    # The outage began within an hour.
    assert told(*missed(rows((0, 1), (1, 1.3), (4, 5)), STEADY)) == wanted


def test_what_was_told_is_not_told_again():
    found = missed(rows((0, 1), (4, 5)), STEADY)
    there = sorted([*rows((0, 1), (4, 5)), *found])
    assert missed(there, STEADY) == []


def test_nothing_is_told_before_home_assistant_has_counted_a_later_hour():
    assert missed(rows((0, 1)), STEADY) == []
    assert missed(rows((0, 1), (1, 1)), STEADY) == []
    assert missed([], STEADY) == []


def test_what_we_do_not_know_stays_as_it_is():
    silent = [one for one in STEADY if one.start_ms != 2 * HOUR_MS + 3 * QUARTER_MS]
    assert [hour for hour, *_ in told(*missed(rows((0, 1), (4, 5)), silent))] == [1, 3]
    assert missed(rows((0, 1), (4, 5)), []) == []


def test_sums_that_somebody_changed_and_registers_that_fell_are_left_alone():
    changed = [*rows((0, 1)), Row(4 * HOUR_MS, BASE + 5, 100.0)]
    assert missed(changed, STEADY) == []
    between = [*rows((0, 1)), Row(2 * HOUR_MS, BASE + 1, 7.0), *rows((4, 5))]
    assert missed(between, STEADY) == []
    assert missed(rows((0, 1), (4, 0.5)), quarters(1, 2, 3, 0.2, 0.5)) == []


def test_an_hour_in_which_nothing_was_used_needs_no_word():
    assert missed(rows((0, 1), (3, 2)), quarters(1, 1, 1, 2)) == []
    # But one that the recorder made up from before what was used does.
    late = rows((0, 1), (1, 1), (2, 1), (3, 3))
    assert told(*missed(late, quarters(1, 2, 2, 3))) == [(1, 2, -8), (2, 2, -8)]


# -- over the wire ---------------------------------------------------------------------------


class Home:
    """A Home Assistant of a few words; answer(message) is what it says to each command."""

    def __init__(self, answer, version="2025.4.4"):
        self.heard, self._answer, self._version = [], answer, version
        self.status = None

    async def __aenter__(self):
        self._server = await serve(self._speak, "127.0.0.1", 0, process_request=self._redirect)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        await self._server.wait_closed()

    def _redirect(self, connection, request):
        if self.status is None:
            return None
        answer = connection.respond(self.status, "")
        answer.headers["Location"] = "/elsewhere"
        self.heard.append(request.path)
        return answer

    async def _speak(self, socket):
        await socket.send(json.dumps({"type": "auth_required", "ha_version": self._version}))
        async for text in socket:
            message = json.loads(text)
            self.heard.append(message)
            if message["type"] == "auth":
                is_right = message["access_token"] == TOKEN
                await socket.send(json.dumps({"type": "auth_ok" if is_right else "auth_invalid"}))
            else:
                await socket.send(self._answer(message))


def fine(message):
    return json.dumps({"id": message["id"], "type": "result", "success": True, "result": []})


async def tell(home, token=TOKEN):
    async with recorder_at(home.url, token) as recorder:
        await recorder.tell("sensor.x", rows((1, 2)))


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("2025.4.4", {"has_mean": False}),
        ("2025.10.9", {"has_mean": False}),
        ("2025.11.0b1", {"mean_type": 0, "unit_class": "energy"}),
        ("2027.1.0", {"mean_type": 0, "unit_class": "energy"}),
    ],
)
def test_hours_are_told_in_the_words_of_its_version(version, kind):
    async def act():
        async with Home(fine, version) as home:
            await tell(home)
            return home.heard[-1]

    message = asyncio.run(act())
    assert message["metadata"] == {
        "has_sum": True, "name": None, "source": "recorder", "statistic_id": "sensor.x",
        "unit_of_measurement": "kWh", **kind,
    }  # fmt: skip
    assert message["stats"] == [
        {"start": "1970-01-01T01:00:00+00:00", "state": 1002.0, "sum": -8.0}
    ]


REFUSED = json.dumps(
    {"id": 1, "success": False, "error": {"code": "unauthorized", "message": "x"}}
)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (REFUSED, "recorder/import_statistics is refused: unauthorized"),
        ("[]", "answers what Home Assistant does not"),
        ("{", "answers what Home Assistant does not"),
        ('{"id": 7, "success": true}', "is refused: None"),
    ],
)
def test_what_it_refuses_or_garbles_is_one_line(answer, words):
    async def act():
        async with Home(lambda _: answer) as home:
            await tell(home)

    with pytest.raises(RecorderError, match=words):
        asyncio.run(act())


def test_the_token_goes_to_nobody_else_and_into_no_text():
    async def refused():
        async with Home(fine) as home:
            await tell(home, "another-canary")

    async def redirected():
        async with Home(fine) as home:
            home.status = http.HTTPStatus.TEMPORARY_REDIRECT
            with pytest.raises(RecorderError, match="cannot be reached: InvalidStatus") as found:
                await tell(home)
            assert home.heard == ["/api/websocket"]
            return found

    with pytest.raises(RecorderError, match="backfill_token_file is refused") as found:
        asyncio.run(refused())
    assert "canary" not in str(found.value)
    assert "canary" not in str(asyncio.run(redirected()).value)


def test_a_trouble_is_said_once_until_it_is_over(tmp_path, free_port):
    (tmp_path / "token").write_text(TOKEN)
    said = []

    async def nothing(_):
        return {}

    class Store:
        ask = staticmethod(nothing)

    async def act():
        settings = settings_of(tmp_path, f'backfill_url = "http://127.0.0.1:{free_port()}"\n')
        fill = Backfill(settings, Store, lambda: 10**12, lambda *words: said.append(words))
        await fill.look()
        assert await fill.look() == 0

    asyncio.run(act())
    assert len(said) == 1 and said[0][0] == "announce"
    assert "cannot be reached: ConnectionRefusedError" in said[0][1]


# -- settings --------------------------------------------------------------------------------


def settings_of(folder, lines, token='backfill_token_file = "token"\n'):
    (folder / "host.toml").write_text(f"[announce]\n{lines}{token}")
    return load(folder / "host.toml", {}).announce


def test_the_settings_show_no_token(tmp_path):
    (tmp_path / "token").write_text(TOKEN + "\n")
    found = settings_of(tmp_path, 'backfill_url = "https://home.example:8123/"\n')
    assert found.backfill_url == "https://home.example:8123"
    shown = "\n".join(found.lines())
    assert f'backfill_token_file = "{tmp_path / "token"}"' in shown
    assert TOKEN not in shown + repr(found)
    assert not config.read(
        {key.path.partition(".")[2]: key.default for key in config.SCHEMA}, ValueError
    ).backfill_url


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('backfill_url = "http://192.168.1.5:8123"\n', "backfill_url must begin with https://"),
        ('backfill_url = "https://u:p@home"\n', "backfill_url must be like https://"),
        ('backfill_url = "home:8123"\n', "backfill_url must be like https://"),
        ("", "backfill_token_file has no use without announce.backfill_url"),
    ],
)
def test_a_mistake_names_key_and_line(tmp_path, line, words):
    (tmp_path / "token").write_text(TOKEN)
    with pytest.raises(ConfigError, match=f"host.toml line 2: announce.{words}"):
        settings_of(tmp_path, line)


def test_an_address_without_a_token_and_an_empty_file_are_mistakes(tmp_path):
    with pytest.raises(ConfigError, match=r"has no use without announce\.backfill_token"):
        settings_of(tmp_path, 'backfill_url = "https://home"\n', "")
    (tmp_path / "token").write_text("\n")
    with pytest.raises(ConfigError, match=r"line 3: announce\.backfill_token_file .* is empty"):
        settings_of(tmp_path, 'backfill_url = "https://home"\n')
