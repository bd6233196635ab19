"""/metrics: the present for Prometheus, in base units; energy in joules, and in Wh beside it.

A meter whose reading is no news has no series: a value that stands still would look alive.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry
from starlette.requests import Request
from starlette.responses import Response

from wattlog.channels import COUNTER
from wattlog_host.live import EdgeView, LiveView, MeterView
from wattlog_host.snapshot import counters_of
from wattlog_host.units import BY_ID

# Unit of a channel: the metrics' suffixes, and what they are of one unit.
_SUFFIXES = {
    "Wh": (("joules", 3_600), ("watthours", 1)),
    "W": (("watts", 1),),
    "V": (("volts", 1),),
    "A": (("amperes", 1),),
    "Hz": (("hertz", 1),),
}
AlarmCounts = Callable[[], tuple[Mapping[str, int], Mapping[str, tuple[int, int]]]]
"""How many conditions stand by kind, and how many messages were sent and failed by target."""

_HELD = "held"
_LABELS = ("phase", "tariff")
_LABEL_WORD = re.compile(r"l[1-3]|t[0-9]")


def metrics(
    view: LiveView,
    clock_ms: Callable[[], int],
    alarms: AlarmCounts = lambda: ({}, {}),
    others: Iterable[Collector] = (),
) -> Callable[[Request], Awaitable[Response]]:
    """Return what answers /metrics: the present, and what others have measured."""
    registry = CollectorRegistry(auto_describe=False)
    for collector in (_Present(view, clock_ms, alarms), *others):
        registry.register(collector)

    async def answer(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), media_type=content_type)

    return answer


class _Present(Collector):
    """Reads the view when somebody asks."""

    def __init__(self, view: LiveView, clock_ms: Callable[[], int], alarms: AlarmCounts) -> None:
        self._view = view
        self._clock_ms = clock_ms
        self._alarms = alarms

    def describe(self) -> list[Metric]:
        """Return none: what there is depends on the meters."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield all families."""
        now_ms = self._clock_ms()
        meters = self._view.meters.values()
        yield from _readings([one for one in meters if not one.is_stale(now_ms)])
        yield from _meters(meters, now_ms)
        yield from _agents(self._view.edges.values())
        yield from _host(self._view)
        yield from _alerts(*self._alarms())


def _readings(meters: list[MeterView]) -> Iterator[Metric]:
    families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
    for meter in meters:
        for number, value in meter.latest.values.items():
            channel = BY_ID.get(number)
            if channel is None:
                continue
            words = channel.key.split("_")[:-1]
            labels = [meter.latest.label, *_labels(words)]
            what = "_".join(word for word in words if not _LABEL_WORD.fullmatch(word))
            what = f"energy_{what}" if channel.unit == "Wh" else what
            for suffix, factor in _SUFFIXES.get(channel.unit, ()):
                name = f"wattlog_{what}_{suffix}"
                if name not in families:
                    make = CounterMetricFamily if channel.kind == COUNTER else GaugeMetricFamily
                    about = f"{what.replace('_', ' ').capitalize()} in {suffix}, newest reading."
                    families[name] = make(name, about, labels=("meter", *_LABELS))
                families[name].add_metric(labels, value * factor / 10**channel.decimals)
    for name in sorted(families):
        yield families[name]


def _labels(words: list[str]) -> tuple[str, str]:
    """Return phase and tariff of a channel's key, empty where it is of all of them."""
    phases = [word for word in words if word.startswith("l") and _LABEL_WORD.fullmatch(word)]
    tariffs = [word[1:] for word in words if word.startswith("t") and _LABEL_WORD.fullmatch(word)]
    return "".join(phases), "".join(tariffs)


def _meters(meters: Iterable[MeterView], now_ms: int) -> Iterator[Metric]:
    at = _gauge("wattlog_last_reading_timestamp_seconds", "When it was taken.", "meter")
    up = _gauge("wattlog_meter_up", "Whether its newest reading is news.", "meter")
    for meter in meters:
        label = [meter.latest.label]
        at.add_metric(label, meter.latest.time_ms / 1000)
        up.add_metric(label, int(not meter.is_stale(now_ms)))
    yield from (at, up)


def _agents(edges: Iterable[EdgeView]) -> Iterator[Metric]:
    up = _gauge("wattlog_agent_up", "Whether it is connected.", "agent")
    used = _gauge("wattlog_log_used_ratio", "How full its log is.", "agent")
    rssi = _gauge("wattlog_wifi_signal_dbm", "What it hears of its Wi-Fi.", "agent")
    frames = _count(
        "wattlog_frames", "SML frames by what became of them.", "agent", "port", "result"
    )
    quarantine = _count(
        "wattlog_quarantine", "Readings that did not fit, and why or what then.",
        "agent", "port", "what",
    )  # fmt: skip
    held = _gauge("wattlog_readings_held", "Readings that wait for the next.", "agent", "port")
    for edge in edges:
        up.add_metric([edge.name], int(edge.state == "online"))
        status = edge.status
        if status is None:
            continue
        percent = status.log.fill_percent()
        _add(used, None if percent is None else percent / 100, edge.name)
        _add(rssi, status.board.rssi_dbm if status.board else None, edge.name)
        for port in status.meters:
            _add(frames, port.frames, edge.name, port.port, "ok")
            for reason, number in (port.drops or {}).items():
                _add(frames, number, edge.name, port.port, reason)
            doubted = dict(port.quarantine or {})
            _add(held, doubted.pop(_HELD, None), edge.name, port.port)
            for what, number in doubted.items():
                _add(quarantine, number, edge.name, port.port, what)
    yield from (up, used, rssi, frames, quarantine, held)


def _alerts(
    by_kind: Mapping[str, int], by_target: Mapping[str, tuple[int, int]]
) -> Iterator[Metric]:
    standing = _gauge("wattlog_alerts_standing", "What is wrong, by kind.", "kind")
    for kind, number in by_kind.items():
        standing.add_metric([kind], number)
    sent = _count("wattlog_alert_messages_sent", "Messages that went.", "target")
    failed = _count("wattlog_alert_messages_failed", "Tries that did not go.", "target")
    for target, (went, stayed) in by_target.items():
        sent.add_metric([target], went)
        failed.add_metric([target], stayed)
    yield from (standing, sent, failed)


def _host(view: LiveView) -> Iterator[Metric]:
    host = view.host
    built = _gauge("wattlog_build_info", "The version.", "version")
    built.add_metric([host.version], 1)
    yield built
    yield GaugeMetricFamily(
        "wattlog_start_time_seconds", "When the host started.", host.started_ms / 1000
    )
    yield GaugeMetricFamily(
        "wattlog_broker_connected", "Whether the host is.", int(host.broker_trouble is None)
    )
    yield GaugeMetricFamily(
        "wattlog_store_ok", "Whether the database works.", int(host.store_trouble is None)
    )
    yield GaugeMetricFamily(
        "wattlog_database_size_bytes", "What the database takes.", host.database_bytes
    )
    if host.backups is not None and host.backups.newest_ms is not None:
        yield GaugeMetricFamily(
            "wattlog_backup_timestamp_seconds", "The newest one.", host.backups.newest_ms / 1000
        )
    yield CounterMetricFamily("wattlog_gap_records", "Lost for good.", view.losses.records)
    for name, counted in counters_of(view).items():
        if isinstance(counted, int):
            yield CounterMetricFamily(f"wattlog_{name}", f"{_words(name)} ever.", counted)
            continue
        by_reason = _count(f"wattlog_{name}", f"{_words(name)}, by reason.", "reason")
        for reason, number in counted.items():
            by_reason.add_metric([reason], number)
        yield by_reason


def _add(
    family: GaugeMetricFamily | CounterMetricFamily, value: float | None, *labels: str
) -> None:
    """Add a sample, but none of what is unknown."""
    if value is not None:
        family.add_metric(labels, value)


def _gauge(name: str, about: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, about, labels=labels)


def _count(name: str, about: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(name, about, labels=labels)


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()
