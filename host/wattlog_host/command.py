"""What a sub-command is: a row of a table, with what it can do below it."""

import argparse
from collections.abc import Callable, Sequence
from typing import NamedTuple

from wattlog_host.settings import Settings


def no_options(_: argparse.ArgumentParser) -> None:
    """Take none."""


class Command(NamedTuple):
    """A sub-command: what it is for, its options, and what it does, returning the exit status.

    act is what one does that needs no settings, or makes them. One that has commands below it, as
    `token add` is of token, does nothing itself. is_service says that a service runs it.
    """

    name: str
    about: str
    add_options: Callable[[argparse.ArgumentParser], None] = no_options
    run: Callable[[argparse.Namespace, Settings], int] | None = None
    act: Callable[[argparse.Namespace], int] | None = None
    below: Sequence["Command"] = ()
    is_service: bool = False


def add_commands(
    parser: argparse.ArgumentParser,
    common: argparse.ArgumentParser,
    commands: Sequence[Command],
    *,
    is_required: bool = False,
) -> None:
    """Give the parser these sub-commands; options.run or .act is then what was asked for."""
    made = parser.add_subparsers(metavar="COMMAND", title="commands", required=is_required)
    for command in commands:
        parents = [] if command.act is not None else [common]
        one = made.add_parser(
            command.name, help=command.about, description=command.about, parents=parents
        )
        command.add_options(one)
        if command.below:
            add_commands(one, common, command.below, is_required=True)
        else:
            one.set_defaults(run=command.run, act=command.act, is_service=command.is_service)
