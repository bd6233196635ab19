"""What a host's database holds, read beside it and by the host's own code."""

import contextlib
from pathlib import Path

import sqlalchemy as sa

from wattlog_host.store import lookup
from wattlog_host.store.records import Losses, StoredReading


def stored_readings(database: Path | sa.URL) -> list[StoredReading]:
    """Every reading, by edge's log and seq; none while the host is still making its tables."""
    return _read(database, lambda connection: list(lookup.readings(connection))) or []


def stored_losses(database: Path | sa.URL, count_max: int = 1_000) -> Losses:
    """Everything that is noted as lost."""
    return _read(database, lambda connection: lookup.losses(connection, count_max)) or Losses()


def rows(database: Path | sa.URL, query: str) -> list:
    """What a query of SQL gives."""
    with contextlib.closing(_engine(database).connect()) as connection:
        return connection.exec_driver_sql(query).all()


def execute(database: Path | sa.URL, statement: str) -> None:
    """Change something in the database."""
    with _engine(database).begin() as connection:
        connection.exec_driver_sql(statement)


def _read(database, act):
    if isinstance(database, Path) and not database.exists():
        return None
    try:
        with contextlib.closing(_engine(database, "?mode=ro&uri=true").connect()) as connection:
            return act(connection)
    except (sa.exc.OperationalError, sa.exc.ProgrammingError):
        return None


def _engine(database, how="?uri=true"):
    if isinstance(database, Path):
        return sa.create_engine(f"sqlite:///file:{database}{how}", poolclass=sa.NullPool)
    return sa.create_engine(database.set(drivername="postgresql+psycopg"), poolclass=sa.NullPool)
