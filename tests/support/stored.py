"""What a host's database holds, read beside it and by the host's own code."""

from pathlib import Path

import sqlalchemy as sa

from wattlog_host.store import lookup
from wattlog_host.store.records import Losses, StoredReading


def stored_readings(database: Path) -> list[StoredReading]:
    """Every reading, by edge's log and seq; none while the host is still making its tables."""
    return _read(database, lambda connection: list(lookup.readings(connection))) or []


def stored_losses(database: Path, count_max: int = 1_000) -> Losses:
    """Everything that is noted as lost."""
    return _read(database, lambda connection: lookup.losses(connection, count_max)) or Losses()


def _read(database, act):
    if not database.exists():
        return None
    engine = sa.create_engine(f"sqlite:///file:{database}?mode=ro&uri=true")
    try:
        with engine.connect() as connection:
            return act(connection)
    except sa.exc.OperationalError:
        return None
    finally:
        engine.dispose()
