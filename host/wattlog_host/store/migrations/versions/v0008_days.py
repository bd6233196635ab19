"""Days: in PostgreSQL batches lie in a partition for each; in SQLite the columns stay 0."""

import sqlalchemy as sa
from alembic import op

from wattlog_host.store import days

revision = "0008"
down_revision = "0007"

_DAY = ("batch", "series")
_MARKS = (
    ("newest_day", sa.Integer),
    ("newest_seq", sa.BigInteger),
    ("before_day", sa.Integer),
    ("before_seq", sa.BigInteger),
)
_OF_BATCH = """
UPDATE batch SET day = LEAST(10000000, GREATEST(1, received_ms / 86400000, (
    SELECT max(last_ms) / 86400000 FROM series
    WHERE series.log_id = batch.log_id AND series.first_seq = batch.first_seq)))
"""
_OF_SERIES = """
UPDATE series SET day = batch.day FROM batch
WHERE batch.log_id = series.log_id AND batch.first_seq = series.first_seq
"""


def upgrade() -> None:
    """Add the columns; SQLite does so without touching a row, PostgreSQL moves all of them."""
    for table in _DAY:
        op.add_column(table, sa.Column("day", sa.Integer, nullable=False, server_default="0"))
    for name, kind in _MARKS:
        column = sa.Column(name, kind, nullable=False, server_default="0")
        op.add_column("edge_log", column)
    connection = op.get_bind()
    if days.are_apart(connection):
        op.execute(_OF_BATCH)
        op.execute(_OF_SERIES)
        days.partition(connection)


def downgrade() -> None:
    """Refuse: an older program does not open a newer database; go back by a copy of the file."""
    raise NotImplementedError("revision 0007 looks for batches in one table")
