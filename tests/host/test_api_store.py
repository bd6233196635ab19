"""The API over the real store: the same answers as over a list of readings, also while it fills."""

import pytest

from api_world import DAY_MS, HOUR_MS, ApiWorld
from memory_history import EXPORT, IMPORT, POWER, MemoryHistory
from wattlog_host.store.records import Incoming
from wattlog_host.store.writer import Writer
from wattlog_host.wire import decode_batch

T0_MS = 1_774_600_000_000 // DAY_MS * DAY_MS  # 2026-03-27: two days before the short one
NOW_MS = T0_MS + 5 * DAY_MS


class StoreWorld(ApiWorld):
    """An API over a database."""

    def __init__(self, writer, now_ms):
        super().__init__({}, now_ms, changes=writer.changes)
        self.writer = writer

    async def ask(self, question):
        return self.writer.ask(question)


@pytest.fixture
def writer(tmp_path):
    made = Writer(tmp_path / "data" / "wattlog.db", "test", NOW_MS)
    yield made
    made.let_go()


def pieces():
    """Readings of three days in pieces of an hour: a counter that falls once, a silence of a night."""
    found, imported, exported = [], 500_000, 7
    for hour in range(72):
        if 20 <= hour < 27:
            imported += 900
            continue
        if hour == 50:
            imported = 3
        piece = []
        for second in range(0, 3600, 70):
            power = 200 + (hour * 37 + second) % 1900
            imported += power * 70 // 3600
            exported += second % 3
            at_ms = (hour * 3600 + second) * 1000 + 17 * hour
            piece.append((at_ms, (1, imported, 0, 4, exported, 0, 10, power, 0)))
        found.append(piece)
    return found


ASKED = (
    "/api/energy?per=hour&start={t0}&end={end}", "/api/energy?per=day&start={t0}&end={end}",
    "/api/energy?per=month&start={t0}&end={end}", "/api/energy_summary?start={t0}&end={end}",
    "/api/stats?start={odd}&end={end}", "/api/stats?start={t0}&end={odd}",
    "/api/readings?points=500&energy=yes&start={t0}&end={end}", "/api/readings?points=40&start={odd}&end={end}",
    "/api/readings?points=500&channel=import_wh&start={t0}&end={end}", "/api/readings?start={odd}&end={end}",
    "/api/summary", "/api/days?month=2026-03", "/api/compare?preset=previous_day", "/api/meters",
)  # fmt: skip


def test_the_store_and_a_list_of_readings_give_the_same_answers(writer, wire):
    api = StoreWorld(writer, NOW_MS)
    seq, sent = 1, []
    todo = pieces()
    # One hour comes late, when the others have been asked for.
    order = [*todo[:30], *todo[31:], todo[30]]
    seqs = {}
    for piece in todo:
        seqs[piece[0][0]] = seq
        seq += len(piece) + 1
    for number, piece in enumerate(order):
        records = [wire.sync(0, T0_MS), *(wire.reading(at, values) for at, values in piece)]
        payload = wire.batch(*records, first_seq=seqs[piece[0][0]])
        batch = decode_batch(payload)
        assert writer.commit([Incoming("t", batch, NOW_MS, payload)]).outcomes[0].reason is None
        while writer.roll():
            pass
        sent += piece
        if number % 23 == 0 or number >= len(order) - 2:
            compare(api, sent)


def compare(api, sent):
    decimals = {IMPORT: 10**5, EXPORT: 10**5, POWER: 10**3}
    rows = [
        (T0_MS + at, {values[i]: values[i + 1] * decimals[values[i]] for i in (0, 3, 6)})
        for at, values in sorted(sent)
    ]
    naive = ApiWorld({1: rows}, NOW_MS)
    naive.history = NamedHistory({1: rows}, api)
    for path in ASKED:
        path = path.format(t0=T0_MS, end=NOW_MS, odd=T0_MS + 31 * HOUR_MS + 12_345)
        if "points" not in path and path.startswith("/api/readings") and len(rows) > 5000:
            continue
        assert api.get(path).json() == naive.get(path).json(), path


class NamedHistory(MemoryHistory):
    """Its meter is called as the store calls it."""

    def __init__(self, readings, api):
        super().__init__(readings)
        self.named = api.writer.ask(lambda history: history.meters())[0]

    def meters(self):
        return [self.named._replace(**{key: getattr(one, key) for key in ("first_ms", "last_ms", "channels")}) for one in super().meters()]  # fmt: skip
