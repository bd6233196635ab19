"""`wattlog-host dess`: tables for people, JSON for machines, one line for a mistake."""

import json
import stat

import pytest

from dess_world import PASSWORD, world
from wattlog_host import cli as host_cli
from wattlog_host.dess import analyze, parts
from wattlog_host.dess import cli as dess_cli

GARAGE, BARN = "Q0045000100101094801", "Q0045000100101651502"


@pytest.fixture
def w(tmp_path, monkeypatch):
    with world(tmp_path) as made:
        (tmp_path / "secret").write_text(PASSWORD + "\n")
        made.config = tmp_path / "host.toml"
        made.config.write_text(
            f'data = "{tmp_path / "data"}"\n[dessmonitor]\nusername = "demo"\n'
            f'url = "{made.server.url}"\npassword_file = "secret"\nwritable = "{GARAGE}"\n'
        )
        # The device's time and ours must agree, and no test waits for a read-back.
        monkeypatch.setattr(dess_cli, "now_ms", made.clock.now_ms)
        monkeypatch.setattr(parts, "now_ms", made.clock.now_ms)
        monkeypatch.setattr(
            dess_cli, "Event", lambda: type("Soon", (), {"wait": lambda *_: None})()
        )
        yield made


@pytest.fixture
def run(w, capsys):
    def run_one(*words):
        status = host_cli.main(["dess", *words, "--config", str(w.config)])
        out, err = capsys.readouterr()
        assert PASSWORD not in out + err
        return status, out, err

    return run_one


def json_of(run, *words):
    status, out, err = run(*words, "--json")
    assert (status, err) == (0, "")
    return json.loads(out)


def test_login_keeps_the_token_and_no_password(w, run):
    status, out, _ = run("login")
    assert status == 0
    assert "7.0 days" in out
    path = w.folder / "data/dess-token.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert PASSWORD not in path.read_text()


def test_what_there_is_is_listed(run):
    assert json_of(run, "plants")[0]["plant"] == "512001"
    assert [one["zone"] for one in json_of(run, "collectors")] == ["UTC+02:00"] * 2
    assert [one["devcode"] for one in json_of(run, "devices")] == [2376, 6515, 2452]
    status, out, _ = run("devices")
    assert status == 0
    assert out.splitlines()[0].split() == [
        "device",
        "alias",
        "devcode",
        "address",
        "collector",
        "status",
    ]
    assert len(out.splitlines()) == 4


def test_data_has_units_and_age(w, run):
    status, out, _ = run("data", "--device", "Garage")
    head, columns, *rows = out.splitlines()
    assert status == 0
    assert head.startswith("Garage (Q0045000100101), devcode 2376: 2026-06-15")
    assert "s old" in head
    assert columns.split() == ["reading", "value", "unit", "class"]
    assert any(row.startswith("Solar Power ") and " W" in row for row in rows)
    assert not any("Output Priority" in row for row in rows)
    found = json_of(run, "data", "--device", GARAGE, "--all")
    assert 0 <= found["age_s"] < 600
    by_channel = {one["channel"]: one for one in found["readings"]}
    assert by_channel["state_of_charge"]["unit"] == "%"
    assert by_channel["pv2_input_current"]["value"] is None
    assert by_channel["output_priority"]["class"] == "solar_battery_utility"


def test_parameters_settings_and_history_are_shown(w, run):
    assert json_of(run, "params", "--device", GARAGE)[1]["unit"] == "kW"
    menu = json_of(run, "settings", "--device", GARAGE, "--values")
    assert [one["value"] for one in menu] == ["SBU", "56.4", "60", None]
    assert "48 to 61 by 0.1" in run("settings", "--device", GARAGE, "--values")[1]
    rows = json_of(
        run, "history", "--device", BARN, "--date", "2026-06-14", "--channel", "solar_power"
    )
    assert len(rows) == 288
    assert rows[0]["time"] < rows[-1]["time"]
    assert json_of(run, "history", "--device", BARN, "--list")[0]["series"] == "PV_OUTPUT_POWER"
    series = json_of(
        run, "history", "--device", BARN, "--date", "2026-06-14", "--parameter", "PV_OUTPUT_POWER"
    )
    assert len(series) == 288


def test_a_setting_is_changed_and_confirmed(w, run):
    found = json_of(run, "set", "--device", GARAGE, "Output priority", "UTI")
    assert (found["outcome"], found["before"], found["after"]) == ("confirmed", "SBU", "UTI")
    assert (w.folder / "data/dess-changes.jsonl").read_text().count("\n") == 2


NO = (
    ("a wrong value", ("set", "--device", GARAGE, "Output priority", "X"), 1, "must be one of: UTI (0)"),
    ("not allowed", ("set", "--device", BARN, "Output priority", "UTI"), 1, "dessmonitor.writable"),
    ("no such device", ("data", "--device", "no"), 2, f"there are: {GARAGE} (Garage)"),
    ("which device", ("data",), 2, "give --device"),
    ("no date", ("history", "--device", BARN, "--date", "today"), 2, "like 2026-06-15"),
    ("no capture", ("verify", "/no/such"), 2, "is no capture"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("words", "status", "text"), [row[1:] for row in NO], ids=[row[0] for row in NO]
)
def test_a_mistake_is_one_line(w, capsys, words, status, text):
    config = [] if words[0] == "verify" else ["--config", str(w.config)]
    assert dess_cli.main([*words, *config]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert text in err
    assert w.cloud.writes == []


def test_trouble_with_the_cloud_is_one_line_and_status_1(w, run):
    run("login")
    w.cloud.order("err", 9, action="queryPlants")
    status, out, err = run("plants")
    assert (status, out) == (1, "")
    assert err.count("\n") == 1
    assert "the cloud says 9" in err


def test_without_an_account_it_says_what_to_set(w, capsys):
    w.config.write_text(f'data = "{w.folder}"\n')
    assert dess_cli.main(["plants", "--config", str(w.config)]) == 2
    assert "--user" in capsys.readouterr().err


def test_without_a_password_it_says_what_to_do(w, capsys, monkeypatch):
    monkeypatch.delenv("WATTLOG_DESS_PASSWORD", raising=False)
    w.config.write_text(w.config.read_text().replace('password_file = "secret"\n', ""))
    assert dess_cli.main(["plants", "--config", str(w.config)]) == 1
    assert "password" in capsys.readouterr().err
    monkeypatch.setenv("WATTLOG_DESS_PASSWORD", PASSWORD)
    assert dess_cli.main(["plants", "--config", str(w.config)]) == 0


def test_no_password_can_be_an_argument(capsys):
    with pytest.raises(SystemExit):
        dess_cli.main(["login", "--password", "x"])
    assert "unrecognized arguments" in capsys.readouterr().err


def test_an_empty_answer_of_the_cloud_commands_no_terminal(w, run):
    w.cloud.devices[0].alias = "\x1b]0;title\x07Garage"
    status, out, _ = run("devices")
    assert status == 0
    assert "\x1b" not in out


# --- a capture for support ------------------------------------------------------------------


def test_a_capture_names_no_device_and_is_checked(w, run):
    capture, template = w.folder / "capture.json", w.folder / "4711.toml"
    w.cloud.devices[1].devcode = 4711
    assert (
        run("analyze", "--device", BARN, "--output", str(capture), "--template", str(template))[0]
        == 0
    )
    text = capture.read_text()
    for secret in (BARN, "Q0045000100101", "Barn", "Hillside"):
        assert secret not in text
    found = json.loads(text)
    assert found["devcode"] == 4711
    assert not found["devcode_known"]
    assert "Flux reading" in found["unknown_titles"]
    assert '# "Flux reading" = ""  # kX' in template.read_text()
    assert dess_cli.main(["verify", str(capture)]) == 0
    capture.write_text(text.replace("Flux", "Luxf"))
    assert dess_cli.main(["verify", str(capture)]) == 1


def test_a_capture_has_settings_modes_and_redacts_serial_numbers(w, run):
    found = json.loads(run("analyze", "--device", GARAGE)[1])
    assert [one["name"] for one in found["settings"]][:2] == [
        "Output priority",
        "Bulk Charging Voltage",
    ]
    assert found["settings"][1]["hint"] == "25.0~31.5V 48.0~61.0V"
    assert set(found["modes"]) <= {"Hybrid Mode", "Grid Mode", "Off-Grid Mode"}
    assert "SBU" in found["priorities"]
    barn = json.loads(run("analyze", "--device", BARN)[1])
    samples = {one["title"]: one["sample"] for one in barn["titles"]}
    assert samples["Devise serial number"] == samples["id"] == analyze.REDACTED
    assert barn["suspected_typos"]
    assert "00:00" not in barn["priorities"]
