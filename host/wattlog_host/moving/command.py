"""`wattlog-host move`: from the options to what to do next."""

import argparse
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

from sqlalchemy import URL

from wattlog_host.moving.move import Move
from wattlog_host.progress import Progress
from wattlog_host.settings import STORE_PASSWORD, Settings, postgres_at, without_password
from wattlog_host.store.records import StoreError


def move(
    options: argparse.Namespace, settings: Settings, environ: Mapping[str, str], now_ms: int
) -> Iterator[str]:
    """Move all of it; yield lines for a person, the last of which say what to do next."""
    source = settings.database
    if not isinstance(source, Path):
        raise StoreError(
            f"{settings.name} names {settings.store_url()} already: leave url out of [store] "
            "until the move is finished"
        )
    file = options.password_file
    file = None if file is None else file.expanduser().absolute()
    target = postgres_at(options.to, file, environ)
    with closing(Move(source, target)) as work:
        if work.rows_there:
            yield f"going on: {work.rows_there} of {work.rows_total} rows are there"
        with Progress("copying") as progress:
            work.copy(progress)
        with Progress("comparing") as progress:
            work.finish(now_ms, progress)
    yield f"{work.rows_total} rows are in {without_password(target)}, read back and the same"
    yield from _next(source, target, file)


def _next(source: Path, target: URL, password_file: Path | None) -> Iterator[str]:
    yield from ("Put into host.toml, and then start the host:", "", "[store]")
    yield f'url = "{without_password(target)}"'
    if password_file is not None:
        yield f'password_file = "{password_file}"'
    elif target.password is not None:
        yield f"# the password stays in the environment, as {STORE_PASSWORD}"
    yield from (
        "",
        f"{source} is as it was: keep it until you trust the new one. Without these",
        "lines the host goes on with it, and has nothing of what came since. Backups of the new",
        "one are PostgreSQL's own (pg_dump).",
    )
