"""The first numbers of the page, from the same answers as the API's."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from wattlog_host.history.answers import Answers, Span, Unanswerable
from wattlog_host.store.records import StoreError
from wattlog_host.web import shapes
from wattlog_host.web.api import Api
from wattlog_host.web.gate import TooBusy
from wattlog_host.web.pages import NO_FIGURES, Figures
from wattlog_host.web.questions import QUESTIONS, Asked, House

_SUMMARY = next(one for one in QUESTIONS if one.path == "/api/summary")
_ISO_DATE = len("2026-11-27")


class FirstNumbers:
    """Asks for summary and days as a visitor's script will, and keeps nothing."""

    def __init__(self, api: Api, house: House, clock_ms: Callable[[], int]) -> None:
        """Take who answers."""
        self._api, self._house, self._clock_ms = api, house, clock_ms

    def local(self, time_ms: int) -> datetime:
        """Return this moment by the clock of the house."""
        return self._house.zone.local(time_ms)

    def tariff(self) -> dict[str, Any] | None:
        """Return the tariff in effect, as of /api/tariffs, and its currency; None without."""
        house = self._house
        found = shapes.tariffs(house.tariffs, house.currency, house.zone, self._clock_ms())
        now = [one for one in found["tariffs"] if one["is_in_effect"]]
        return {**now[0], "currency": house.currency} if now else None

    async def figures(self, days: int) -> Figures:
        """Return the summary and the last so many days, newest first; the page comes anyway."""
        try:
            return await self._api.ask(lambda answers: self._figures(answers, days))
        except (StoreError, TooBusy, Unanswerable):
            # What is wrong with the database the page says above all.
            return NO_FIGURES

    def _figures(self, answers: Answers, days: int) -> Figures:
        if not answers.is_house or not answers.meters:
            return NO_FIGURES
        house, now_ms = self._house, self._clock_ms()
        asked = Asked({"meter": None}, answers, house, now_ms)
        span = Span(house.zone.shifted(now_ms, 1 - days), now_ms + 1)
        found = answers.days(asked.chosen(), span)
        rows = shapes.days(found, house.currency, _ISO_DATE)["rows"]
        return Figures(_SUMMARY.act(asked).body, rows[::-1], house.currency)
