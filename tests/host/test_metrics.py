"""/metrics as Prometheus reads it."""

import asyncio
import inspect
import json
import re
from importlib.resources import files

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.requests import Request

from wattlog.channels import all_channels
from wattlog_host.live import HostView, LiveView
from wattlog_host.status import decode_status
from wattlog_host.store.records import Latest
from wattlog_host.web import metrics as metrics_module
from wattlog_host.web.metrics import metrics

NOW_MS = 1_795_000_000_000
IMPORT, IMPORT_T1, POWER, POWER_L1, VOLTAGE_L2, ANGLE = 1, 2, 10, 11, 22, 51
VALUES = {
    IMPORT: 1_234_567_890_000,
    IMPORT_T1: 100_000,
    POWER: -250_500,
    POWER_L1: 1000,
    VOLTAGE_L2: 230_125,
    ANGLE: 120_000,
}
OPEN_METRICS = b"application/openmetrics-text; version=1.0.0"


@pytest.fixture
def view(wire):
    made = LiveView(HostView("0.9", NOW_MS), {("readings", ""): 7, ("rejected", "crc"): 2})
    status = wire.status(
        meters=[wire.meter_status(quarantine={"held": 1, "glitch": 3})],
        log={"bytes": 250, "bytes_max": 1000},
        board={"rssi_dbm": -61},
    )
    made.on_status(decode_status(status), NOW_MS)
    made.on_latest([Latest(wire.meter, "1 ISK", "cellar", NOW_MS, "sync", VALUES, 17, 0)], NOW_MS)
    return made


def ask(view, now_ms=NOW_MS, accept=b"text/plain"):
    request = Request({"type": "http", "headers": [(b"accept", accept)]})
    answer = asyncio.run(metrics(view, lambda: now_ms)(request))
    return answer.headers["content-type"], answer.body.decode()


def samples(view, now_ms=NOW_MS):
    """(name, labels): value of all samples."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(ask(view, now_ms)[1])
        for sample in family.samples
    }


def of_meter(name, phase="", tariff=""):
    return name, (("meter", "1 ISK"), ("phase", phase), ("tariff", tariff))


def test_readings_are_in_base_units_with_phase_and_tariff(view):
    found = samples(view)
    assert found[of_meter("wattlog_energy_import_joules_total")] == 12_345_678.9 * 3600
    assert found[of_meter("wattlog_energy_import_watthours_total")] == 12_345_678.9
    assert found[of_meter("wattlog_energy_import_joules_total", tariff="1")] == 3600
    assert found[of_meter("wattlog_power_watts")] == -250.5
    assert found[of_meter("wattlog_power_watts", phase="l1")] == 1
    assert found[of_meter("wattlog_voltage_volts", phase="l2")] == 230.125
    assert not [name for name, _ in found if "angle" in name]


def test_what_the_host_counts_is_there(view):
    found = samples(view)
    agent = ("agent", "cellar")
    port = ("port", "/dev/ttyUSB0")
    assert found["wattlog_build_info", (("version", "0.9"),)] == 1
    assert found["wattlog_readings_total", ()] == 7
    assert found["wattlog_rejected_total", (("reason", "crc"),)] == 2
    assert found["wattlog_gap_records_total", ()] == 0
    assert found["wattlog_agent_up", (agent,)] == 1
    assert found["wattlog_log_used_ratio", (agent,)] == 0.25
    assert found["wattlog_wifi_signal_dbm", (agent,)] == -61
    assert found["wattlog_frames_total", (agent, port, ("result", "ok"))] == 5
    assert found["wattlog_frames_total", (agent, port, ("result", "crc"))] == 2
    assert found["wattlog_quarantine_total", (agent, port, ("what", "glitch"))] == 3
    assert found["wattlog_readings_held", (agent, port)] == 1, "a count that falls is a gauge"
    assert len([name for name, _ in found if name == "wattlog_quarantine_total"]) == 1
    assert found["wattlog_broker_connected", ()] == 0
    assert found["wattlog_last_reading_timestamp_seconds", (("meter", "1 ISK"),)] == NOW_MS / 1000


def test_a_reading_that_is_no_news_has_no_series(view):
    found = samples(view, NOW_MS + 3_600_000)
    assert not [name for name, _ in found if name.startswith(("wattlog_energy", "wattlog_power"))]
    assert found["wattlog_meter_up", (("meter", "1 ISK"),)] == 0
    assert samples(view)["wattlog_meter_up", (("meter", "1 ISK"),)] == 1


def test_what_is_unknown_has_no_sample(wire):
    view = LiveView(HostView("1", NOW_MS), {})
    view.on_status(decode_status(wire.status()), NOW_MS)
    names = {name for name, _ in samples(view)}
    assert "wattlog_agent_up" in names
    assert not names & {
        "wattlog_log_used_ratio",
        "wattlog_wifi_signal_dbm",
        "wattlog_frames_total",
    }
    assert "wattlog_backup_timestamp_seconds" not in names


def test_names_and_labels_keep_prometheus_rules(view):
    for family in text_string_to_metric_families(ask(view)[1]):
        assert family.documentation, family.name
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter"), sample.name
        # A label that is a value would be a series for each reading.
        assert set().union(*(sample.labels for sample in family.samples)) <= {
            "meter", "phase", "tariff", "agent", "port", "result", "reason", "version", "what",
        }  # fmt: skip


def test_the_form_is_what_was_asked_for(view):
    assert ask(view)[0].startswith("text/plain")
    kind, body = ask(view, accept=OPEN_METRICS)
    assert kind.startswith("application/openmetrics-text")
    assert body.endswith("# EOF\n")


def test_the_running_host_has_it(make_host):
    host = make_host()
    host.start()
    status, body = host.get("/metrics")
    assert status == 200 and "\nwattlog_build_info{" in body
    assert 'wattlog_commit_seconds_bucket{le="0.02"} 0.0\n' in body


# -- the dashboard ----------------------------------------------------------------------------

BOARD = json.loads((files("wattlog_host") / "grafana.json").read_text())
# What the fixture's host has not got, and where it comes from.
ELSEWHERE = {
    "wattlog_backup_timestamp_seconds": "a host that makes backups",
    "wattlog_energy_export_watthours_total": "a meter that tells it",
}


def asked():
    """Return (name, its labels) of all that the dashboard asks for."""
    texts = [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]
    texts += [one["query"] for one in BOARD["templating"]["list"] if one["type"] == "query"]
    for text in texts:
        for name, matchers in re.findall(r"(wattlog_\w+)(?:\{([^}]*)\})?", text):
            yield name, set(re.findall(r"(\w+)(?:=~|!=|=)", matchers))
    for panel in BOARD["panels"]:
        for target in panel["targets"]:
            name = re.search(r"wattlog_\w+", target["expr"])[0]
            yield name, set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))


def test_the_dashboard_asks_for_what_is_there(view):
    there = {}
    for name, labels in samples(view):
        there[name] = {label for label, _ in labels}
    source = inspect.getsource(metrics_module)
    wanted = list(asked())
    for name, labels in wanted:
        if name in ELSEWHERE:
            words = name.removesuffix("_watthours_total").removeprefix("wattlog_energy_")
            assert name in source or f"{words}_wh" in {one.key for one in all_channels()}, name
        else:
            assert labels <= there[name], name
    assert set(ELSEWHERE) <= {name for name, _ in wanted}
    assert len(wanted) > 30


def test_the_panels_of_the_dashboard_share_no_place():
    taken = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}  # fmt: skip
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_the_dashboard_is_printed(run_host):
    done = run_host("grafana")
    assert (done.returncode, json.loads(done.stdout)) == (0, BOARD)
