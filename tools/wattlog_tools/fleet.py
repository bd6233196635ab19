"""`wattlog-tools fleet`: many heads against a real broker, host and database, and honest figures.

All of it is started here, killed on the way where that is wished, and ended by its process id.
In the end the database is compared with what the heads have read.
"""

import argparse
import contextlib
import json
import os
import resource
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import sqlalchemy as sa

from wattlog_host.settings import STORE_PASSWORD
from wattlog_host.store.kinds import Place
from wattlog_tools import fleet_check, fleet_parts
from wattlog_tools.console import EXIT_OK, StopSignal, ToolError
from wattlog_tools.fleet_crew import Stopped
from wattlog_tools.fleet_report import lines, report
from wattlog_tools.fleet_run import KINDS, Fleet, progress

EXIT_FAILED = 1
HEADS_MAX = 1_000_000
OWN_CONNECTIONS_MAX = 10_000
BEGIN_PER_S = 100
"""For the host each is a new agent with a new meter."""
FILES_BESIDE = 200
"""Open files that are no connections."""


def main(arguments: Sequence[str]) -> int:
    """Run the fleet, compare, print; return the exit status."""
    options = _parser().parse_args(arguments)
    _check(options)
    folder = Path(tempfile.mkdtemp(prefix="wattlog-fleet-", dir=options.folder))
    os.chmod(folder, 0o700)
    stop = StopSignal()
    try:
        with _database(options, folder) as (place, server):
            fleet = Fleet(options, folder, place, server, stop)
            try:
                figures = report(fleet.run())
            except Stopped:
                progress("")
                print("fleet: stopped; nothing was compared")
                return EXIT_FAILED
    finally:
        if options.keep:
            print(f"fleet: kept in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print("\n".join(lines(figures)))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return EXIT_OK if figures["verdict"] == "clean" else EXIT_FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wattlog-tools fleet",
        description="Starts mosquitto, a host and its database, has many heads send to it as real "
        "ones do, kills what you wish on the way, and then looks in the database whether each "
        "reading is there once.",
    )
    number = parser.add_argument
    number("--heads", type=int, default=100, metavar="N", help="how many (default 100)")
    number(
        "--interval", type=float, default=10, metavar="S", help="s between readings (default 10)"
    )
    number("--minutes", type=float, default=10, metavar="M", help="how long (default 10)")
    number("--batch", type=float, default=30, metavar="S", help="s between batches (default 30)")
    number(
        "--begin",
        type=int,
        default=BEGIN_PER_S,
        metavar="N",
        help=f"heads that begin in a second, at most (default {BEGIN_PER_S}); it is measured from "
        "when all are on",
    )
    number(
        "--connections",
        type=int,
        metavar="C",
        help="to the broker; with fewer than heads many share one, and a name that may write for "
        f"all of them (default: one each up to {OWN_CONNECTIONS_MAX} heads)",
    )
    number(
        "--status",
        type=float,
        default=10,
        metavar="S",
        help="s between status messages, 0: only when a head connects (default 10)",
    )
    number(
        "--live",
        type=float,
        default=10,
        metavar="S",
        help="s between live readings of a head, 0: none (default 10)",
    )
    number("--workers", type=int, default=0, metavar="W", help="of the host (default 0)")
    number("--postgres", action="store_true", help="start a PostgreSQL (default: SQLite)")
    number(
        "--database",
        metavar="URL",
        help="use this empty PostgreSQL, postgresql://user@host/name; its password comes from "
        f"the environment as {STORE_PASSWORD}",
    )
    number(
        "--kill",
        action="append",
        default=[],
        choices=[kind.word for kind in KINDS],
        help="SIGKILL, and start again at once; as often as given, evenly over the run",
    )
    number("--generators", type=int, default=1, metavar="N", help="processes (default 1)")
    number("--seed", type=int, default=1, metavar="S", help="other heads (default 1)")
    number("--json", type=Path, metavar="FILE", help="write the figures there, too")
    number("--folder", type=Path, metavar="DIR", help="where data go (default: a temporary one)")
    number("--keep", action="store_true", help="leave database and logs there")
    return parser


def _check(options: argparse.Namespace) -> None:
    """Raise ToolError for what cannot be."""
    if options.connections is None:
        options.connections = min(options.heads, OWN_CONNECTIONS_MAX)
    for name, low, high in (
        ("heads", 1, HEADS_MAX),
        ("interval", 0.05, 3_600),
        ("minutes", 0.01, 100_000),
        ("batch", 0.1, 3_600),
        ("begin", 1, HEADS_MAX),
        ("connections", 1, options.heads),
        ("status", 0, 3_600),
        ("live", 0, 3_600),
        ("workers", 0, 64),
        ("generators", 1, options.connections),
        ("seed", 0, 1 << 31),
    ):
        if not low <= getattr(options, name) <= high:
            raise ToolError(f"--{name} must be from {low} to {high}")
    for is_wrong, why in _contradictions(options):
        if is_wrong:
            raise ToolError(why)
    wanted = options.connections + FILES_BESIDE
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise ToolError(
            f"{options.connections} connections need {wanted} open files and this machine allows "
            f"{hard} (ulimit -Hn): fewer --connections, which heads then share"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard >= 0 else wanted, hard))


def _contradictions(options: argparse.Namespace) -> list[tuple[bool, str]]:
    """Return what cannot be together, and whether it is so."""
    is_server = options.postgres or options.database is not None
    folders = [("folder", options.folder)]
    folders += [("json", options.json and options.json.absolute().parent)]
    return [
        *(
            (path is not None and not path.is_dir(), f"--{name}: there is no folder {path}")
            for name, path in folders
        ),
        (options.database is not None and options.postgres, "either --postgres or --database"),
        (
            options.workers > 0 and not is_server,
            "--workers needs --postgres or --database: SQLite has one writer",
        ),
        (
            "worker" in options.kill and not options.workers,
            "--kill worker needs --workers",
        ),
        (
            "postmaster" in options.kill and not options.postgres,
            "--kill postmaster needs --postgres: only our own is killed",
        ),
    ]


@contextlib.contextmanager
def _database(
    options: argparse.Namespace, folder: Path
) -> Iterator[tuple[Place, fleet_parts.Postgres | None]]:
    """Hand out where the host is to store, and the server where it is our own."""
    if options.database is not None:
        yield _given(options.database), None
        return
    if not options.postgres:
        yield folder / "data" / "wattlog.db", None
        return
    server = fleet_parts.Postgres()
    try:
        yield server.url, server
    finally:
        server.remove()


def _given(text: str) -> sa.URL:
    try:
        url = sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        raise ToolError("--database must be like postgresql://user@host/name") from None
    if url.password is not None:
        raise ToolError(f"--database must not hold the password: set {STORE_PASSWORD}")
    url = url.set(password=os.environ.get(STORE_PASSWORD))
    if not fleet_parts.answers(url):
        raise ToolError("--database: it takes no connection")
    engine = sa.create_engine(url.set(drivername="postgresql+psycopg"), poolclass=sa.NullPool)
    with engine.connect() as connection:
        has_tables = "batch" in sa.inspect(connection).get_table_names()
    if has_tables and not fleet_check.is_empty(url):
        raise ToolError("--database: there are readings in it")
    return url
