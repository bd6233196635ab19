"""The command line that strangers meet first."""

import importlib

import pytest

from wattlog import __version__
from wattlog_tools.cli import TOOLS, main


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_every_row_names_a_function_that_has_a_help(tool, capsys):
    module_name, function_name = tool.entry.split(":")
    assert callable(getattr(importlib.import_module(module_name), function_name))
    with pytest.raises(SystemExit) as ended:
        main([tool.name, "--help"])
    assert ended.value.code == 0
    assert f"usage: wattlog-tools {tool.name}" in capsys.readouterr().out


def test_the_help_lists_all_tools(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    width = max(len(tool.name) for tool in TOOLS)
    for tool in TOOLS:
        assert f"{tool.name:{width}}  {tool.help}" in printed


def test_the_version_is_the_packages(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"wattlog-tools {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "COMMAND"),
        (["nonsense"], "'nonsense'"),
        (["meter", "--model", "nonsense"], "there are mt681, reduced, dzg, edl, holley"),
        (["meter", "--meters", "mt681,nonsense"], "'nonsense'"),
        (["meter", "--count", "0"], "0 is less than 1"),
        (["meter", "--count", "x"], "whole number"),
        (["meter", "--serial", "100000000"], "more than eight digits"),
        (["meter", "--meters", "dzg", "--count", "2"], "--count"),
        (["meter", "--replay", "/nonexistent/file"], "/nonexistent/file: No such file"),
        (["meter", "--replay", "/dev/null"], "/dev/null is empty"),
        (["meter", "--interval", "nan"], "between 0.01 and 3600"),
        (["run", "--replay", "/nonexistent/file"], "/nonexistent/file: No such file"),
        (["run", "--http-port", "70000"], "'70000' is not a port number"),
        (["run", "--port", "/dev/x", "--replay", "/dev/null"], "either --port or --replay"),
        (["run", "--http-port", "4711", "--mqtt-port", "4711"], "cannot both have port 4711"),
    ],
)
def test_a_mistake_is_one_clear_line_and_status_2(arguments, said, capsys):
    try:
        status = main(arguments)
    except SystemExit as ended:
        status = ended.code
    assert status == 2
    errors = capsys.readouterr().err
    assert said in errors.splitlines()[-1], errors
    assert "Traceback" not in errors
