"""The command `wattlog-tools`: finds the tool and hands it the rest of the command line."""

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from wattlog import __version__
from wattlog_tools.console import EXIT_OK, EXIT_USAGE, ToolError


class Tool(NamedTuple):
    """One subcommand; `entry` is `module:function`, imported only when the tool is called.

    The function takes the arguments after the subcommand and returns the exit status. It may
    raise ToolError.
    """

    name: str
    entry: str
    help: str


TOOLS = (
    Tool("meter", "wattlog_tools.meter:main", "play simulated electricity meters, or a capture"),
    Tool("bench", "wattlog_tools.bench:main", "measure the decoder beside a peer"),
    Tool("fuzz", "wattlog_tools.fuzz:main", "throw damaged streams at the decoder"),
    Tool("powercut", "wattlog_tools.powercut:main", "cut the power of the log everywhere"),
    Tool("bundle", "wattlog_tools.bundle:main", "make an update that a host offers to its heads"),
    Tool("flash", "wattlog_tools.flash:main", "make an IR head of an ESP32"),
    Tool("fleet", "wattlog_tools.fleet:main", "many heads against a host, and what is stored"),
    Tool("head", "wattlog_tools.head:main", "ask an IR head for raw bytes, or restart it"),
    Tool("pin", "wattlog_tools.pin:main", "have an IR head enter the meter's PIN by light"),
    Tool("icons", "wattlog_tools.icons:main", "draw the page's icons anew"),
    Tool("log", "wattlog_tools.log:main", "print what waits in an agent's log"),
    Tool(
        "manifest",
        "wattlog_tools.manifest:main",
        "build a folder from which browsers flash heads",
    ),
    Tool("mpy", "wattlog_tools.mpy:main", "print the bytes of a head's modules"),
    Tool(
        "dess-cloud",
        "wattlog_tools.dess_cloud:main",
        "play a cloud of solar inverters, with faults to order",
    ),
    Tool(
        "sim", "wattlog_tools.sim:main", "days of trouble in virtual time, then the books compared"
    ),
    Tool(
        "settings",
        "wattlog_tools.settings_reference:main",
        "write the reference of all settings anew",
    ),
    Tool("run", "wattlog_tools.run:main", "run the whole of wattlog on this machine"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one tool; return its exit status, 2 with one line on stderr if the user erred."""
    parser = _parser()
    parsed = parser.parse_args(arguments)
    tool = next(tool for tool in TOOLS if tool.name == parsed.command)
    try:
        return _load(tool)(parsed.arguments)
    except ToolError as err:
        print(f"wattlog-tools {tool.name}: {err}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        # Ctrl-C before the tool took over the signal: nothing has been started yet.
        return EXIT_OK


def _parser() -> argparse.ArgumentParser:
    width = max(len(tool.name) for tool in TOOLS)
    lines = [f"  {tool.name:{width}}  {tool.help}" for tool in TOOLS]
    parser = argparse.ArgumentParser(
        prog="wattlog-tools",
        description="Tools around wattlog, the logger for German smart meters.",
        epilog="\n".join(
            ["commands:", *lines, "", "'wattlog-tools COMMAND --help' tells more about each."]
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"wattlog-tools {__version__}")
    parser.add_argument(
        "command",
        metavar="COMMAND",
        choices=[tool.name for tool in TOOLS],
        help="one of the commands below",
    )
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def _load(tool: Tool) -> Callable[[Sequence[str]], int]:
    module_name, function_name = tool.entry.split(":")
    function: Callable[[Sequence[str]], int] = getattr(
        importlib.import_module(module_name), function_name
    )
    return function
