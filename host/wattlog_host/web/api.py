"""The API over HTTP: who answers which address, errors, caching."""

import json
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any, Protocol, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from wattlog_host.clock import local_iso
from wattlog_host.history.answers import (
    METERS_SUM_MAX,
    NO_SUM_TEXT,
    Answers,
    Unanswerable,
    UnknownMeter,
)
from wattlog_host.history.book import Book
from wattlog_host.history.changes import Notes
from wattlog_host.history.columns import History
from wattlog_host.history.house import exchanged
from wattlog_host.live import LiveView, MeterView
from wattlog_host.snapshot import lost_json, snapshot
from wattlog_host.store.records import Losses, LostRun, StoreError
from wattlog_host.stream import Hub, TooManyWatchers
from wattlog_host.units import by_obis, kwh, stored, watts
from wattlog_host.web import schemas
from wattlog_host.web.alarms import NO_ALARMS, Alarms
from wattlog_host.web.asking import END, METER, START, BadQuestion, Parameter, parse
from wattlog_host.web.door import caller_of
from wattlog_host.web.exports import CSV, JSON_LINES, PARAMETERS, days_csv, exported
from wattlog_host.web.gate import Gate, TooBusy
from wattlog_host.web.languages import LANGUAGES, Speech
from wattlog_host.web.openapi import Described, document
from wattlog_host.web.questions import QUESTIONS, Answer, Asked, House, Question

T = TypeVar("T")

RETRY_AFTER_S = 5
SETTLED_S = 60
"""So long an answer about what is over may be kept without asking again."""
# Each costs a look at the batches beside it.
LOSSES_MAX = 100
EVENTS = "text/event-stream"
LANGUAGE = Parameter(
    "lang", "choice", "The language of its texts; English by default.", "de", choices=LANGUAGES
)
_DAYS = next(one for one in QUESTIONS if one.path == "/api/days")


class Store(Protocol):
    """What the API asks the store."""

    async def check(self) -> None:
        """Raise StoreError where something is wrong."""

    async def losses(self, count_max: int) -> Losses:
        """Return what is lost, and the newest runs of it."""

    async def ask(self, question: Callable[[History], T]) -> T:
        """Return what a question finds out of the past, on a thread of its own."""


Endpoint = Callable[[dict[str, Any]], Awaitable[Response]]


class Api:
    """All addresses below /api/, and /status and /events."""

    def __init__(
        self,
        view: LiveView,
        hub: Hub,
        store: Store,
        clock_ms: Callable[[], int],
        house: House,
        changes: Notes | None = None,
        alarms: Alarms = NO_ALARMS,
    ) -> None:
        """Take what is true now, the store for what was, and who tells when that changes."""
        self._alarms = alarms
        self._view, self._hub, self._store, self._clock_ms = view, hub, store, clock_ms
        self._house = house
        self._book = Book(house.zone, house.tariffs, changes)
        self._gate = Gate()
        # Server ids by meter id, and the meters that were exchanged: as the store last told.
        self._ids: dict[str, bytes] = {}
        self._gone: frozenset[bytes] = frozenset()

    def routes(self, others: Sequence[Described] = ()) -> list[BaseRoute]:
        """Return the routes; the document tells of others, too."""
        ours = [*self._described(), *(_described_question(one) for one in QUESTIONS)]
        described = [*ours, *others]
        text = json.dumps(document(described, self._view.host.version), separators=(",", ":"))

        async def openapi(request: Request) -> Response:
            return _cached(request, text.encode(), "no-cache")

        made: list[BaseRoute] = [Route("/api/openapi.json", openapi)]
        made += [Route(one.path, self._asking(one)) for one in QUESTIONS]
        acts: dict[str, Endpoint] = {
            "/status": self._status,
            "/api/latest_reading": self._latest_reading,
            "/api/live_power": self._live_power,
            "/api/gaps": self._gaps,
            "/api/alerts": self._alerts,
            "/api/days.csv": self._days_csv,
            "/api/export.csv": lambda of: self._exported(of, CSV),
            "/api/export.jsonl": lambda of: self._exported(of, JSON_LINES),
            "/api/stream": self._stream,
            "/events": self._events,
        }
        for one in self._described():
            made.append(Route(one.path, self._answering(one.parameters, acts[one.path])))
        return made

    def _described(self) -> list[Described]:
        text = {"type": "string"}
        return [
            Described("/status", "The state of host, agents and meters", (), schemas.STATUS),
            Described("/api/latest_reading", "The newest reading of one meter", (METER,),
                      schemas.LATEST, statuses=(400, 404, 503)),
            Described("/api/live_power", "The power now, and how old it is", (METER,),
                      schemas.LIVE_POWER, statuses=(400, 404, 503)),
            Described("/api/gaps", "What is lost for good; the newest 100 runs of it",
                      (START, END, METER), schemas.GAPS, statuses=(400, 404, 503)),
            Described("/api/alerts", "What is wrong, what was told of it, and where to",
                      (LANGUAGE,), schemas.ALERTS, statuses=(400,)),
            Described("/api/days.csv", f"{_DAYS.about}, as CSV", _DAYS.parameters, text, CSV,
                      (400, 404, 503)),
            Described("/api/export.csv", "Readings or buckets of a meter as CSV, however many",
                      PARAMETERS, text, CSV, (400, 404, 503)),
            Described("/api/export.jsonl", "The same as a JSON object a line",
                      PARAMETERS, text, JSON_LINES, (400, 404, 503)),
            Described("/api/stream", "Events: 'reading' for each new one, 'view' for the state",
                      (), text, EVENTS, (503,)),
            Described("/events", "The state as events without a name", (), text, EVENTS, (503,)),
        ]  # fmt: skip

    # --- the past ----------------------------------------------------------------------------

    def _asking(self, question: Question) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            async def act(of: dict[str, Any]) -> Response:
                body, caching = await self.ask(lambda answers: self._said(question, of, answers))
                return _cached(request, body, caching)

            return await self.answered(request, question.parameters, act)

        return endpoint

    def _said(self, question: Question, of: dict[str, Any], answers: Answers) -> tuple[bytes, str]:
        """Return the answer as JSON and how it may be kept; runs on a thread of the store."""
        now_ms = self._clock_ms()
        answer = question.act(Asked(of, answers, self._house, now_ms))
        return _packed(answer.body), _caching(answer, answers, now_ms)

    async def ask(self, question: Callable[[Answers], T]) -> T:
        """Return what the question finds out; raise StoreError, TooBusy or its own error."""

        def on_thread(history: History) -> T:
            answers = Answers(
                history, self._book, self._house.zone, self._house.tariffs, self._clock_ms()
            )
            self._note_meters(answers)
            return question(answers)

        async with self._gate.turn():
            return await self._store.ask(on_thread)

    def _note_meters(self, answers: Answers) -> None:
        if not answers.is_house:
            # Of thousands nobody is missed, and they are not listed for that.
            self._gone = frozenset()
            return
        self._ids = {str(meter.id): meter.server_id for meter in answers.meters}
        self._gone = exchanged(answers.meters)

    # --- now ---------------------------------------------------------------------------------

    async def _status(self, _: dict[str, Any]) -> Response:
        return JSONResponse(snapshot(self._view, self._clock_ms()))

    async def _alerts(self, of: dict[str, Any]) -> Response:
        say = Speech(of["lang"] or LANGUAGES[0], self._house.zone.local)
        return JSONResponse(self._alarms.shown(say))

    async def _latest_reading(self, of: dict[str, Any]) -> Response:
        name = of["meter"]
        meter = await self._meter(name)
        if meter is None:
            reason = "no reading yet" if name is None or not self._view.meters else "unknown meter"
            return _error(404, reason)
        return JSONResponse(_latest(meter, self._clock_ms()))

    async def _live_power(self, of: dict[str, Any]) -> Response:
        """Answer with one meter's power, or the sum of all that were not exchanged."""
        now_ms = self._clock_ms()
        if of["meter"] is not None:
            meter = await self._meter(of["meter"])
            if meter is None:
                return _error(404, "unknown meter")
            found = [meter]
        else:
            meters = self._view.meters.items()
            if len(meters) > METERS_SUM_MAX:
                return _error(400, NO_SUM_TEXT)
            found = [one for server_id, one in meters if server_id not in self._gone]
        powers = [stored(one.latest.values, "power_w") for one in found]
        known = [power for power in powers if power is not None]
        age_ms = max((one.age_ms(now_ms) for one in found), default=None)
        return JSONResponse(
            {
                "t": min((one.latest.time_ms for one in found), default=None),
                # Of a house, the part that is not known is not nothing.
                "w": sum(known) / 1000 if known and len(known) == len(powers) else None,
                "age_s": None if age_ms is None else round(age_ms / 1000, 1),
                "stale": not found or any(one.is_stale(now_ms) for one in found),
            }
        )

    async def _meter(self, name: str | None) -> MeterView | None:
        """Return the meter of a server id, label, or id as the store has it."""
        meter = self._view.meter_of(name)
        if meter is None and name is not None and name.isdecimal():
            server_id = self._ids.get(name)
            if server_id is None:
                server_id = await self.ask(partial(_server_id, name))
            meter = self._view.meters.get(server_id)
            if meter is not None:
                self._ids[name] = server_id
        return meter

    async def _gaps(self, of: dict[str, Any]) -> Response:
        start_ms, end_ms = of["start"], of["end"]
        if start_ms is not None and end_ms is not None and start_ms >= end_ms:
            raise BadQuestion("start must lie before end")
        meter = None
        if of["meter"] is not None:
            meter = await self._meter(of["meter"])
            if meter is None:
                return _error(404, "unknown meter")
        losses = await self._store.losses(LOSSES_MAX)
        newest = [
            lost
            for lost in losses.newest
            if _is_within(lost, start_ms, end_ms)
            and (meter is None or meter.latest.label in self._view.labels_of(lost.edge))
        ]
        if len(newest) < len(losses.newest):
            losses = Losses(len(newest), sum(lost.count for lost in newest), tuple(newest))
        now_ms = self._clock_ms()
        return JSONResponse(
            {
                "runs": losses.runs,
                "records": losses.records,
                "newest": [
                    {"meters": self._view.labels_of(lost.edge), **lost_json(lost, now_ms)}
                    for lost in newest
                ],
            }
        )

    async def _exported(self, of: dict[str, Any], media: str) -> Response:
        return await exported(self.ask, of, self._house.zone, self._clock_ms(), media)

    async def _days_csv(self, of: dict[str, Any]) -> Response:
        def rows(answers: Answers) -> str:
            return days_csv(_DAYS.act(Asked(of, answers, self._house, self._clock_ms())).body)

        return Response(await self.ask(rows), media_type=CSV)

    async def _stream(self, _: dict[str, Any]) -> Response:
        return self._watching(is_named=True)

    async def _events(self, _: dict[str, Any]) -> Response:
        return self._watching(is_named=False)

    def _watching(self, *, is_named: bool) -> Response:
        try:
            stream = self._hub.watch(is_named=is_named)
        except TooManyWatchers:
            return _error(503, "too many watchers", {"retry-after": str(RETRY_AFTER_S)})
        return StreamingResponse(stream, media_type=EVENTS)

    # --- all ---------------------------------------------------------------------------------

    def _answering(
        self, parameters: Sequence[Parameter], act: Endpoint
    ) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            if act in (self._stream, self._events) and request.method == "HEAD":
                return Response(media_type=EVENTS)
            return await self.answered(request, parameters, act)

        return endpoint

    async def answered(
        self, request: Request, parameters: Sequence[Parameter], act: Endpoint
    ) -> Response:
        """Return what act makes of the parameters, or what is wrong as JSON."""
        try:
            return await act(
                parse(parameters, request.query_params.multi_items(), self._house.zone)
            )
        except (BadQuestion, Unanswerable) as err:
            return _error(400, str(err))
        except UnknownMeter as err:
            return _error(404, str(err))
        except TooBusy:
            again = {"retry-after": str(RETRY_AFTER_S)}
            return _error(503, "too much is asked at once; ask again in 5 s", again)
        except StoreError as err:
            return _error(503, f"database: {err}")


def _described_question(one: Question) -> Described:
    return Described(
        one.path, one.about, one.parameters, one.schema, statuses=(304, 400, 404, 503)
    )


def _server_id(name: str, answers: Answers) -> bytes:
    """Return the server id of a meter, none where there is no such meter."""
    try:
        (member,) = answers.chosen(name)
    except UnknownMeter:
        return b""
    return member.meter.server_id


def _packed(body: Any) -> bytes:
    return json.dumps(
        body, ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
    ).encode()


def _caching(answer: Answer, answers: Answers, now_ms: int) -> str:
    """Return how an answer may be kept: what is over and has all its readings rarely changes."""
    is_over = answer.end_ms is not None and answer.end_ms <= min(now_ms, answers.read_ms())
    return f"private, max-age={SETTLED_S}" if is_over and answer.is_complete else "no-cache"


def _cached(request: Request, body: bytes, caching: str) -> Response:
    """Return the body, or that it is the one which the visitor has."""
    # Weak: compressed or not, it is the same answer.
    etag = f'W/"{blake2b(body, digest_size=9).hexdigest()}"'
    headers = {"etag": etag, "cache-control": caching}
    had = [one.strip() for one in request.headers.get("if-none-match", "").split(",")]
    if etag in had or "*" in had:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


def _error(status: int, reason: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": reason}, status, headers)


def _is_within(lost: LostRun, start_ms: int | None, end_ms: int | None) -> bool:
    """Tell whether it may have been lost in this time; what has no time is in none."""
    if start_ms is None and end_ms is None:
        return True
    if lost.from_ms is None and lost.to_ms is None:
        return False
    return (start_ms is None or lost.to_ms is None or lost.to_ms > start_ms) and (
        end_ms is None or lost.from_ms is None or lost.from_ms < end_ms
    )


def healthz(view: LiveView, store: Store) -> Callable[[Request], Awaitable[Response]]:
    """Return what answers whether all is well; why not, only readers hear."""

    async def answer(request: Request) -> Response:
        troubles = [view.host.broker_trouble, view.host.store_trouble]
        try:
            await store.check()
        except StoreError as err:
            troubles.append(f"database: {err}")
        reasons = [text for text in troubles if text is not None]
        if reasons and not caller_of(request).may_read:
            return PlainTextResponse("not ok\n", 503)
        if reasons:
            return PlainTextResponse("\n".join(dict.fromkeys(reasons)) + "\n", 503)
        return PlainTextResponse("ok\n")

    return answer


def _latest(meter: MeterView, now_ms: int) -> dict[str, Any]:
    latest = meter.latest
    values = latest.values
    return {
        "timestamp": local_iso(latest.time_ms),
        "meter_id": latest.label,
        "power_watts": watts(values, "power_w"),
        "energy_in_kwh": kwh(values, "import_wh"),
        "energy_out_kwh": kwh(values, "export_wh"),
        "power_phase_1_watts": watts(values, "power_l1_w"),
        "power_phase_2_watts": watts(values, "power_l2_w"),
        "power_phase_3_watts": watts(values, "power_l3_w"),
        "raw_payload": by_obis(values),
        "age_s": meter.age_ms(now_ms) / 1000,
        "time_source": latest.time_source,
    }
