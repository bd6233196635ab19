"""A database as an earlier revision had it, filled with what one of today's holds."""

from pathlib import Path

import sqlalchemy as sa

from wattlog_host.store import database, tables
from wattlog_host.store.kinds import kind_of
from wattlog_host.store.role import Role

# What came after revision 0006.
_LATER = {
    "counter": ("slot",),
    "batch": ("day",),
    "series": ("day",),
    "edge_log": ("newest_day", "newest_seq", "before_day", "before_seq"),
}


def as_of_0006(today: Path, place: Path | sa.URL) -> None:
    """Make one at place with all that is in the database of today's at the other one."""
    kind = kind_of(place)
    if isinstance(place, Path):
        place.parent.mkdir(parents=True, exist_ok=True)
    engine = kind.engine(place, Role.ALONE)
    if isinstance(place, Path):
        database.upgrade(engine, kind.name(place), "0006")
    else:
        # The first revisions are SQLite's alone.
        with engine.begin() as connection:
            tables.METADATA.create_all(connection)
            connection.exec_driver_sql("ALTER TABLE counter DROP CONSTRAINT counter_pkey")
            for name, columns in _LATER.items():
                for column in columns:
                    connection.exec_driver_sql(f"ALTER TABLE {name} DROP COLUMN {column}")
            connection.exec_driver_sql("ALTER TABLE counter ADD PRIMARY KEY (name, reason)")
            database.command.stamp(_config(connection), "0006")
    source = kind_of(today).engine(today, None)
    with source.begin() as there, engine.begin() as here:
        for table in tables.METADATA.sorted_tables:
            names = [one.name for one in table.columns if one.name not in _later(table.name)]
            rows = [dict(row._mapping) for row in there.execute(sa.select(*_of(table, names)))]
            if rows:
                here.execute(sa.insert(sa.table(table.name, *map(sa.column, names))), rows)
            if "id" in names and here.dialect.name == "postgresql":
                greatest = max((row["id"] for row in rows), default=0) + 1
                sequence = f"pg_get_serial_sequence('{table.name}', 'id')"
                here.exec_driver_sql(f"SELECT setval({sequence}, {greatest}, false)")
    source.dispose()
    engine.dispose()


def _later(name):
    return _LATER.get(name, ())


def _of(table, names):
    return [table.c[name] for name in names]


def _config(connection):
    config = database._config()
    config.attributes["connection"] = connection
    return config
