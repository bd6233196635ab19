"""The mark of a database that a move fills: while it is there, nobody else uses the database.

It is a table of its own that the move makes first and drops last, not a row among what is moved.
"""

import sqlalchemy as sa

from wattlog_host.store.records import StoreError

# One row. source is what is moved, as a person calls it; whose and state are which database that
# is, and as of when. Up to the key behind_key of table_name everything is there: rows in all.
mark = sa.Table(
    "moving",
    sa.MetaData(),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("whose", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("table_name", sa.Text),
    sa.Column("behind_key", sa.JSON),
    sa.Column("rows", sa.BigInteger, nullable=False),
)


def mark_of(connection: sa.Connection) -> sa.Row[tuple[object, ...]] | None:
    """Return the mark, None where nothing is on its way into this database."""
    if not sa.inspect(connection).has_table(mark.name):
        return None
    return connection.execute(sa.select(mark)).one()


def require_finished(connection: sa.Connection, name: object) -> None:
    """Raise StoreError where a move into this database, called name, is not finished."""
    found = mark_of(connection)
    if found is not None:
        raise StoreError(
            f"the move from {found.source} into {name} is not finished: leave url out of [store] "
            f"and run wattlog-host move again"
        )
