"""`wattlog-agent` as a person meets it: each mistake one line and exit status 2, no traceback."""

import json
import os
import pty
import subprocess
import sys
import tty

import pytest

from wattlog_sim import sml_writer as w

SERVER_ID = bytes.fromhex("0a0145534d0000bc614e")
RUN_S_MAX = 30

GOOD = """
[agent]
id = "cellar"
[[meter]]
port = "/dev/ttyUSB0"
[mqtt]
host = "127.0.0.1"
"""


def agent(*arguments, **more):
    return subprocess.run(
        [sys.executable, "-m", "wattlog_pi", *map(str, arguments)],
        capture_output=True,
        timeout=RUN_S_MAX,
        check=False,
        **more,
    )


def frame(power, scaler=-1, status=0x1C0904):
    entries = [
        w.entry(bytes.fromhex("010060320101"), w.octets(b"ESM")),
        w.entry(
            bytes.fromhex("0100010800ff"),
            w.unsigned(1989275, 4),
            status=w.unsigned(status, 3),
            val_time=w.sec_index(0, 1),
            unit=30,
            scaler=-1,
        ),
        w.entry(bytes.fromhex("0100100700ff"), w.signed(power, 4), unit=27, scaler=scaler),
        w.entry(bytes.fromhex("0100603201ff"), w.ABSENT),
        w.entry(bytes.fromhex("0100603202ff"), w.boolean(True)),
    ]
    content = w.get_list_response(SERVER_ID, entries, sensor_time=w.sec_index(77))
    return w.transport(w.message(b"\x01", w.TAG_GET_LIST_RESPONSE, content))


def mistake(done):
    """The one line on standard error of a refused call."""
    # Which of the two says whether a service tries again: tests/test_services.py.
    assert done.returncode in (2, os.EX_CONFIG), done
    assert done.stdout == b""
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@pytest.fixture
def config(tmp_path):
    def write(text):
        path = tmp_path / "agent.toml"
        path.write_text(text)
        return path

    return write


def test_check_config_says_ok_and_what_holds(config):
    done = agent("--config", config(GOOD), "--check-config")
    assert done.returncode == 0
    out = done.stdout.decode()
    assert "agent.toml: ok" in out
    assert "/dev/ttyUSB0 at 9600 bit/s" in out
    assert "127.0.0.1:1883" in out


def test_tls_has_a_port_of_its_own_unless_one_is_given(config):
    for more, place in (("tls = true", "8883 with TLS"), ("tls = true\nport = 1884", "1884 with")):
        done = agent("--config", config(GOOD + more), "--check-config")
        assert f"127.0.0.1:{place}" in done.stdout.decode(), done.stderr


def test_a_password_is_never_shown(config, tmp_path):
    (tmp_path / "secret").write_text("canary-4711\n")
    text = GOOD + 'username = "cellar"\npassword_file = "secret"\n'
    done = agent("--config", config(text), "--check-config")
    assert done.returncode == 0
    assert b"canary" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (("port =", "prot ="), "line 5: unknown key prot (in [[meter]] number 1)"),
        (('"cellar"', "7"), "line 3: agent.id must be a text"),
        (('"cellar"', '"the cellar"'), "agent.id may hold a-z, 0-9, _ and -"),
        (('[[meter]]\nport = "/dev/ttyUSB0"\n', ""), "no meter: add a [[meter]] table"),
        (("[mqtt]", '[[meter]]\nport = "/dev/ttyUSB0"\n[mqtt]'), "given to more than one"),
        (("[mqtt]", "[mqtt]\nca_file = 'x'"), "mqtt.ca_file is set but mqtt.tls is not true"),
        (("[mqtt]", "[mqtt]\nusername='x'\npassword_file = 'none'"), "no such file"),
        (("[agent]", "[agent"), "not valid TOML"),
        (("[mqtt]", "[mqtt]\nusername='x'\npassword_file = '/dev/null'"), "first line is empty"),
        (("[mqtt]", "[mqtt]\ntls = true\nca_file = '/dev/null'"), "no certificate in PEM form"),
        (("[mqtt]", "[mqtt]\ntls = true\nca_file = 'none'"), "no such file"),
        (('port = "/dev/ttyUSB0"', f'port = "{"x" * 201}"'), "must have 1 to 200 characters"),
        (
            ("[mqtt]", "".join(f'[[meter]]\nport="/dev/{n}"\n' for n in range(16)) + "[mqtt]"),
            "17 [[meter]] tables",
        ),
    ],
)
def test_mistakes_in_the_configuration(config, change, wanted):
    assert change[0] in GOOD
    path = config(GOOD.replace(*change, 1))
    for arguments in ((), ("--check-config",)):
        line = mistake(agent("--config", path, *arguments))
        assert line.startswith(f"wattlog-agent: {path}")
        assert wanted in line


def test_a_configuration_that_is_not_there(tmp_path):
    line = mistake(agent("--config", tmp_path / "none.toml"))
    assert line == f"wattlog-agent: {tmp_path}/none.toml: no such file or directory"


def test_a_configuration_from_a_windows_editor(config):
    path = config("")
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert agent("--config", path, "--check-config").returncode == 0


def test_a_configuration_that_is_a_folder_or_no_text(tmp_path):
    assert "is a directory" in mistake(agent("--config", tmp_path))
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe")
    assert "not a text in UTF-8" in mistake(agent("--config", tmp_path / "x.toml"))


def test_decode_as_json(tmp_path):
    (tmp_path / "capture").write_bytes(b"noise" + frame(-28) + frame(5)[:40])
    done = agent("decode", "--json", tmp_path / "capture")
    assert done.returncode == 0
    (line,) = done.stdout.splitlines()
    empty = {"unit": None, "scaler": None, "status": None, "sec_index": None}
    assert json.loads(line) == {
        "server_id": SERVER_ID.hex(),
        "entries": [
            empty | {"obis": "010060320101", "value": "45534d"},
            {
                "obis": "0100010800ff",
                "value": 1989275,
                "scaler": -1,
                "unit": 30,
                "status": 0x1C0904,
                "sec_index": 0,
            },
            empty | {"obis": "0100100700ff", "value": -28, "unit": 27, "scaler": -1},
            empty | {"obis": "0100603201ff", "value": None},
            empty | {"obis": "0100603202ff", "value": True},
        ],
    }
    assert done.stderr.decode().strip() == (
        "1 valid frame; dropped: 1 truncated; 5 bytes outside of frames"
    )


def test_decode_from_standard_input():
    done = agent("decode", "--json", "-", input=frame(1) + frame(2))
    assert [json.loads(line)["entries"][2]["value"] for line in done.stdout.splitlines()] == [1, 2]
    assert done.stderr == b"2 valid frames\n"


def test_decode_as_a_table():
    done = agent("decode", input=frame(-28))
    assert done.stdout.decode() == (
        "Meter 1 ESM00 12345678, its second 77\n"
        "  1-0:96.50.1*1  Maker   ESM\n"
        "  1-0:1.8.0      Import  198927.5 Wh\n"
        "  1-0:16.7.0     Power   -2.8 W\n"
        "  1-0:96.50.1            –\n"
        "  1-0:96.50.2            yes\n"
        "\n"
    )


def test_interpret_settles_the_sign():
    done = agent("decode", "--json", "--interpret", input=frame(28))
    reading = json.loads(done.stdout)["reading"]
    assert reading == {
        "meter": "1 ESM00 12345678",
        "full_dataset": True,
        "values": {"import_wh": "198927.5", "power_w": "-2.8"},
    }
    assert "= power_w" in agent("decode", "--interpret", input=frame(28)).stdout.decode()


def test_decode_stops_after_a_count():
    done = agent("decode", "--json", "--count", "1", input=frame(1) + frame(2))
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == b"1 valid frame\n"
    for count in ("0", "-1", "x"):
        assert agent("decode", "--count", count, input=b"").returncode == 2


@pytest.mark.parametrize(
    ("redirect", "status", "said"),
    [
        ("<&-", 2, "-: bad file descriptor"),
        ("< {capture} >/dev/full", 1, "standard output: no space left on device"),
        ("< {capture} >&-", 2, ""),
    ],
)
def test_streams_that_are_none(tmp_path, redirect, status, said):
    (tmp_path / "capture").write_bytes(frame(1) * 300)
    redirect = redirect.format(capture=tmp_path / "capture")
    done = subprocess.run(
        f"{sys.executable} -m wattlog_pi decode {redirect}",
        shell=True,
        capture_output=True,
        timeout=RUN_S_MAX,
        check=False,
    )
    assert done.returncode == status
    lines = done.stderr.decode().splitlines()
    assert len(lines) <= 1, lines
    assert said in "".join(lines)


def test_a_terminal_without_a_degree_sign():
    environment = dict(os.environ, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    done = agent("decode", input=frame(1), env=environment)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr


def test_decode_of_nothing_and_of_noise():
    assert agent("decode", input=b"").stderr == b"0 valid frames\n"
    done = agent("decode", input=bytes(range(256)) * 40)
    assert done.returncode == 0
    assert done.stdout == b""
    assert "bytes come, but no SML" in done.stderr.decode()


def test_decode_names_another_protocol():
    telegram = b"/EBZ5DD32R06DTA_107\r\n\r\n1-0:1.8.0*255(000123.45*kWh)\r\n!\r\n"
    done = agent("decode", input=telegram)
    assert done.stderr.decode().splitlines() == [
        "the meter speaks ASCII (D0, 7E1), not SML: can it be switched?",
        f"0 valid frames; {len(telegram)} bytes outside of frames",
    ]


def test_decode_of_what_is_not_there():
    line = mistake(agent("decode", "/nowhere/x.bin"))
    assert line == "wattlog-agent: /nowhere/x.bin: no such file or directory"


def test_decode_of_a_serial_port():
    master, slave = pty.openpty()
    tty.setraw(slave)
    port = os.ttyname(slave)
    process = subprocess.Popen(
        [sys.executable, "-m", "wattlog_pi", "decode", "--json", "--count", "1", port],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    # The port throws away what came before it was opened: a meter repeats itself.
    while process.poll() is None:
        os.write(master, frame(-28))
        try:
            process.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
    out, err = process.communicate(timeout=RUN_S_MAX)
    os.close(slave)
    os.close(master)
    assert json.loads(out)["entries"][2]["value"] == -28, err


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    (tmp_path / "capture").write_bytes(frame(1) * 3000)
    command = f"{sys.executable} -m wattlog_pi decode {tmp_path}/capture | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, timeout=RUN_S_MAX, check=False)
    assert done.stdout.startswith(b"Meter")
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr
