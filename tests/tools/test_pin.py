"""`wattlog-tools pin` against a real broker and what a head would answer."""

import re

import pytest

from fake_head import BOOT, EDGE, METER, PIN, STATES
from layers import ROOT
from waiting import wait_until
from wattlog_esp32 import light
from wattlog_host.eyes import pack_pin, pack_pin_abort
from wattlog_tools import makers, pin
from wattlog_tools.cli import main

INF = ("--set", "menu_count=2")


def test_a_pin_is_sent_once_with_the_rows_numbers_and_the_progress_is_shown(fake, run):
    fake.say()
    status, printed = run("pin", *INF)
    assert status == 0
    lines = printed.splitlines()
    assert "Too many wrong PINs lock the meter" in lines[1]
    assert lines[2:-1] == STATES
    ((version, word, boot, request, port, text, timings),) = fake.commands
    assert (version, word, boot, port, text) == (2, "pin", BOOT, "uart1", PIN)
    assert request > 0
    assert timings == [2, 500, 500, 3_500, 2, 5_500]


def test_without_inf_the_menu_is_left_alone(fake, run):
    fake.say(meters=[{**METER, "full_dataset": True}])
    assert run("pin", "--no-inf")[0] == 0
    assert fake.commands[0][6][4] is None


def test_each_time_has_a_number_of_its_own(fake, run):
    fake.say()
    run("pin", *INF)
    run("pin", *INF)
    assert len({command[3] for command in fake.commands}) == 2


# what the head says, and in what words the tool ends
ENDS = (
    (["off"], "write allow = true below [pin] into its head.toml"),
    ([], "its wattlog is too old for this"),
    (["started", "failed: late"], "a flash or a pause became more than 250 ms too long"),
    (["started", "failed: connection"], "two minutes without light"),
    (["failed: what is not known yet"], "what is not known yet; look at the meter's display"),
)


@pytest.mark.parametrize(("states", "said"), ENDS)
def test_what_goes_wrong_is_one_line_in_words(states, said, fake, run):
    fake.say()
    fake.states = states
    status, printed = run("pin", *INF)
    assert status == 2
    assert said in printed.splitlines()[-1], printed


def test_answers_to_somebody_else_are_passed_over(fake, run):
    fake.say()
    fake.states = ["started"]

    def others(command):
        fake.answer(command[3] ^ 1, "failed: late")
        fake.answer("uart1", 0, "1b1b")
        fake.answer(command[3], "done")

    fake.then = others
    assert run("pin", *INF)[0] == 0


def test_a_head_that_goes_while_it_is_at_it_is_told(fake, run):
    fake.say()
    fake.states = ["started"]
    fake.then = lambda _: fake.say(state="offline")
    status, printed = run("pin", *INF)
    assert (status, printed.splitlines()[-1]) == (
        2,
        "wattlog-tools pin: the head cellar went offline, or started anew",
    )


def test_ctrl_c_ends_it_on_the_head_too(fake, run, stop):
    fake.say()
    fake.states = ["started", "digit 1 of 4"]

    def interrupt(command):
        stop.count += len(command) == 7

    fake.then = interrupt
    status, printed = run("pin", *INF)
    assert status == 1
    assert "aborted" in printed.splitlines()
    first, abort = fake.commands
    assert abort == [2, "pin", BOOT, first[3]]


def test_what_was_begun_elsewhere_can_be_ended(fake, run):
    fake.say()
    assert run("pin", "--abort", "--no-inf")[0] == 0
    assert fake.commands == [[2, "pin", BOOT, 0]]


# what the status has, and what the tool says of it before it asks for a PIN
STATUSES = (
    (None, [], "no head cellar has ever been at this broker"),
    ({"state": "offline"}, [], "the head cellar is offline"),
    ({"board": None}, [], "cellar is no head on a board"),
    ({"meters": [{**METER, "full_dataset": True}]}, [], '"InF" is on'),
    ({"meters": [METER, {"port": "uart2"}]}, [], "--port is missing: the head has uart1, uart2"),
    ({}, ["--port", "uart9"], "--port uart9: the head has uart1"),
)


@pytest.mark.parametrize(("change", "arguments", "said"), STATUSES)
def test_what_cannot_work_is_said_before_anything_is_sent(change, arguments, said, fake, run):
    if change is not None:
        fake.say(**change)
    status, printed = run("pin", *INF, *arguments)
    assert status == 2
    assert said in printed.splitlines()[-1], printed
    assert not fake.commands


@pytest.mark.parametrize("text", ["", "30211", "30a1", "\uff13\uff10\uff12\uff11"])
def test_what_is_no_pin_is_not_sent_and_not_shown(text, fake, run, monkeypatch):
    fake.say()
    monkeypatch.setenv(pin.PIN_ENVIRONMENT, text)
    status, printed = run("pin", *INF)
    assert (status, printed.splitlines()[-1]) == (
        2,
        "wattlog-tools pin: WATTLOG_METER_PIN: a PIN has 4 digits",
    )
    assert not fake.commands


def test_a_pin_comes_out_of_a_file_or_is_asked_for(fake, run, monkeypatch, tmp_path):
    fake.say()
    (tmp_path / "pin").write_text(f"{PIN}\nsecond line\n")
    monkeypatch.delenv(pin.PIN_ENVIRONMENT)
    assert run("pin", *INF, "--pin-file", str(tmp_path / "pin"))[0] == 0
    assert fake.commands[0][5] == PIN
    monkeypatch.setattr(pin.sys.stdin, "isatty", lambda: False)
    status, printed = run("pin", *INF)
    assert status == 2 and "no terminal to ask for the PIN" in printed
    monkeypatch.setattr(pin.sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(pin.getpass, "getpass", lambda _: PIN)
    assert run("pin", *INF)[0] == 0
    assert fake.commands[-1][5] == PIN


MISTAKES = (
    (["pin", "--no-inf"], "--edge is missing"),
    (["pin"], "add --set menu_count=NUMBER; or --no-inf"),
    (["pin", "--maker", "nobody"], "--maker nobody: there are default"),
    (["pin", "--set", "on=1"], "--set on=1: not NAME=NUMBER"),
    (["pin", "--no-inf", "--set", "on_ms=1"], "default: a time must be 50 to 10000 ms"),
    (["pin", "--no-inf", "--set", "gap_ms=900"], "default: gap_ms must be 1000 or more"),
    (["pin", "--no-inf", "--edge", "x", "--broker", "127.0.0.1:9"], "no broker at 127.0.0.1:9"),
    (["pin", "--no-inf", "--edge", "+"], "--edge +: an id may hold a-z, 0-9, _ and -"),
    (["pin", "--no-inf", "--edge", "x", "--broker", "h:x"], "not HOST or HOST:PORT"),
    (["head", "raw", "--edge", "x", "--password-file", "/nowhere"], "/nowhere: no such file"),
    (["head", "raw", "--edge", "x", "--bytes", "0"], "--bytes must be 1 to 4096"),
)


@pytest.mark.parametrize(("arguments", "said"), MISTAKES)
def test_a_mistake_is_one_line(arguments, said, capsys):
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_no_argument_takes_a_pin(capsys):
    with pytest.raises(SystemExit):
        main(["pin", "--edge", EDGE, "--pin", PIN])
    with pytest.raises(SystemExit):
        main(["pin", PIN])
    assert "unrecognized arguments" in capsys.readouterr().err


@pytest.mark.parametrize("maker", makers.MAKERS, ids=lambda maker: maker.name)
def test_every_row_is_one_that_a_head_takes_and_says_who_says_so(maker, capsys):
    numbers = makers.timings(maker._replace(menu_count=maker.menu_count or 9), True)
    assert len(numbers) == 6
    assert makers.timings(maker, False)[4] is None
    assert maker.source and maker.title
    assert [one.name for one in makers.MAKERS].count(maker.name) == 1
    assert makers.silence_ms_max(maker) > 9 * (maker.on_ms + maker.off_ms) + maker.gap_ms
    assert main(["pin", "--makers"]) == 0
    assert f"{maker.name}: {maker.title}" in capsys.readouterr().out


def test_every_reason_of_a_head_has_words_and_is_in_the_specification():
    source = (ROOT / "firmware/wattlog_esp32/light.py").read_text()
    reasons = set(
        re.findall(r'(?:Refused\("|_FAILED \+ "|request, "|"failed: )(\w+)"', source)
    ) - {"off"}
    assert reasons == set(makers.REASONS)
    specification = (ROOT / "agent/SPEC.md").read_text()
    for reason in reasons:
        assert f"`{reason}`" in specification, reason


class Port:
    name = "uart1"
    light = (17, 0)
    asked = ()


def test_the_firmware_understands_the_command_and_the_abort():
    ports = [Port()]
    job = light.Job(ports, EDGE, BOOT, None)
    numbers = makers.timings(makers.MAKERS[0], False)
    job.on_command(pack_pin(BOOT, 7, "uart1", PIN, numbers), 0)
    assert ports[0].asked == (7,)
    assert job._flasher.state() == "started"
    job.on_command(pack_pin_abort(BOOT, 7), 0)
    assert job._flasher.result == "aborted"


def test_the_broker_that_goes_is_told(fake, run, mosquitto):
    fake.say()
    fake.states = ["started"]
    fake.then = lambda _: mosquitto.kill()
    status, printed = run("pin", *INF)
    assert status == 2
    assert printed.splitlines()[-1].endswith("the broker closed the connection")
    wait_until(lambda: fake.commands)
