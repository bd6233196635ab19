"""Exports over HTTP: a page at a time is asked for and sent, however long it is; days as CSV."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar

from starlette.responses import Response, StreamingResponse

from wattlog_host.history.answers import DAY_MS, Answers, Span, UnknownMeter
from wattlog_host.history.export import RAW, RESOLUTIONS, Page, Row, Selection, csv_text, json_text
from wattlog_host.history.zone import Zone
from wattlog_host.web.asking import END, METER, START, BadQuestion, Parameter
from wattlog_host.web.gate import TooBusy

T = TypeVar("T")
BUSY_S = 1.0
Ask = Callable[[Callable[[Answers], T]], Awaitable[T]]
"""Ask the past one thing; see web.api."""

RESOLUTION = Parameter(
    "resolution", "choice", "Single readings, or buckets of a minute, a quarter of an hour, an "
    "hour or a local day.", "1h", choices=RESOLUTIONS,
)  # fmt: skip
PARAMETERS = (START, END, METER, RESOLUTION)
CSV, JSON_LINES = "text/csv", "application/jsonl"
DAY_COLUMNS = (
    "date", "import_kwh", "export_kwh", "estimated_kwh", "coverage", "is_partial", "cost",
    "standing_cost", "export_credit", "typical_kwh", "difference_kwh",
)  # fmt: skip


def days_csv(body: Mapping[str, Any]) -> str:
    """Return an answer of /api/days as CSV; what is not known is empty."""
    lines = [[*DAY_COLUMNS, "currency"]]
    for row in body["rows"]:
        lines.append([*(_cell(row[name]) for name in DAY_COLUMNS), body["currency"]])
    return "".join(",".join(line) + "\r\n" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    # A float would be written as 1e-05.
    return f"{Decimal(str(value)):f}" if isinstance(value, float) else str(value)


async def exported(
    ask: "Ask[Any]", of: dict[str, Any], zone: Zone, now_ms: int, media: str
) -> Response:
    """Return a stream of what was asked for; the last day where nobody says which time."""
    end_ms = now_ms + 1 if of["end"] is None else of["end"]
    last_ms = now_ms if of["end"] is None else end_ms
    start_ms = last_ms - DAY_MS if of["start"] is None else of["start"]
    if start_ms >= end_ms:
        raise BadQuestion("start must lie before end")
    span = Span(start_ms, end_ms)

    def select(answers: Answers) -> Selection:
        chosen = answers.chosen(of["meter"])
        if not chosen:
            raise UnknownMeter("there is no reading yet")
        meter = chosen[0].meter
        # Before the first reading and after the last there are no rows: nobody looks for them.
        low_ms = min(max(span.start_ms, meter.first_ms), span.end_ms)
        high_ms = max(low_ms, min(span.end_ms, meter.last_ms + 1))
        return Selection(meter, low_ms, high_ms, of["resolution"] or RAW, zone)

    selection: Selection = await ask(select)
    as_text = csv_text if media == CSV else json_text
    return StreamingResponse(_lines(ask, selection, as_text, media == CSV), media_type=media)


async def _lines(
    ask: "Ask[Any]",
    selection: Selection,
    as_text: Callable[[Selection, Sequence[Row]], str],
    has_header: bool,
) -> AsyncIterator[bytes]:
    if has_header:
        yield as_text(selection, []).encode()
    from_ms: int | None = selection.start_ms
    while from_ms is not None and from_ms < selection.end_ms:
        try:
            page: Page = await ask(_page_of(selection, from_ms))
        except TooBusy:
            # Half an export would look like a whole one: it waits until there is room.
            await asyncio.sleep(BUSY_S)
            continue
        if page.rows:
            yield as_text(selection, page.rows).encode()
        from_ms = page.next_ms


def _page_of(selection: Selection, from_ms: int) -> Callable[[Answers], Page]:
    return lambda answers: selection.page(answers.history, from_ms)
