"""Tells Home Assistant, once an hour, which hours its statistics missed and what was used then."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

from wattlog_host.announce.config import AnnounceSettings
from wattlog_host.announce.missed import HOUR_MS, QUARTER_MS, Quarter, missed
from wattlog_host.announce.recorder import UNIT, Recorder, RecorderError, recorder_at
from wattlog_host.announce.views import field_of
from wattlog_host.dess.config import read_secret
from wattlog_host.history.columns import History
from wattlog_host.store.records import StoreError
from wattlog_host.units import BY_ID

T = TypeVar("T")

AFTER_MS = 420_000
"""So long after a full hour: Home Assistant has then counted it."""
DAYS = 7
_DAY_MS = 86_400_000


class Store(Protocol):
    """Who can be asked about the past."""

    async def ask(self, question: Callable[[History], T]) -> T:
        """Return what a question finds; raise StoreError."""


class Backfill:
    """Runs until cancelled; says each trouble once, and what was told."""

    def __init__(
        self,
        settings: AnnounceSettings,
        store: Store,
        clock_ms: Callable[[], int],
        say: Callable[[str, str], None],
    ) -> None:
        """Take where Home Assistant is, who knows the past, the clock, and whom to tell."""
        self._settings = settings
        self._store = store
        self._clock_ms = clock_ms
        self._say = say
        self._trouble: str | None = None

    async def run(self) -> None:
        """Look after each full hour."""
        while True:
            wait_ms = HOUR_MS - (self._clock_ms() - AFTER_MS) % HOUR_MS
            await asyncio.sleep(wait_ms / 1000)
            await self.look()

    async def look(self) -> int:
        """Tell what was missed in the last days; return how many hours that were."""
        trouble, count = None, 0
        try:
            file = self._settings.backfill_token_file
            token = None if file is None else read_secret(file)
            if token is None:
                raise RecorderError("announce.backfill_token_file holds no token any more")
            async with recorder_at(self._settings.backfill_url, token) as recorder:
                count = await self._fill(recorder)
        except (RecorderError, StoreError) as err:
            trouble = str(err)
        if trouble is not None and self._trouble is None:
            self._say("announce", f"hours that Home Assistant missed cannot be told: {trouble}")
        self._trouble = trouble
        return count

    async def _fill(self, recorder: Recorder) -> int:
        since_ms = (self._clock_ms() - DAYS * _DAY_MS) // HOUR_MS * HOUR_MS
        registers = await self._store.ask(_registers)
        ids = await recorder.entities()
        there = {ids[unique]: of for unique, of in registers.items() if unique in ids}
        units = await recorder.units(list(there)) if there else {}
        count = 0
        # Another unit, which somebody has chosen there, would be overwritten.
        for entity in [entity for entity, unit in units.items() if unit == UNIT]:
            rows = await recorder.rows(entity, since_ms)
            question = partial(_quarters, *there[entity], since_ms, self._clock_ms())
            found = missed(rows, await self._store.ask(question))
            if found:
                await recorder.tell(entity, found)
                hours = "hour" if len(found) == 1 else "hours"
                self._say("announce", f"Home Assistant was told {len(found)} {hours} of {entity}")
            count += len(found)
        return count


def _registers(history: History) -> dict[str, tuple[int, int]]:
    """Return (meter, channel) of each register by its unique id at Home Assistant."""
    return {
        f"wattlog_{meter.server_id.hex()}_{field_of(BY_ID[channel].key)}": (meter.id, channel)
        for meter in history.meters()
        for channel in meter.channels
        if channel in BY_ID and BY_ID[channel].unit == "Wh"
    }


def _quarters(
    meter: int, channel: int, start_ms: int, end_ms: int, history: History
) -> list[Quarter]:
    of = history.registers(meter, channel, start_ms, end_ms, QUARTER_MS // 1000)
    places = 10 ** (BY_ID[channel].decimals + 3)
    return [
        Quarter(start, last / places) for start, last in zip(of.start_ms, of.last, strict=True)
    ]
