"""Buckets of a minute, a quarter and an hour, to be made from all that is stored.

Each series that is there is due; the host makes its buckets while it runs, newest first.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_LONG = sa.text("last_ms - first_ms > 86400000")
# The database does it in its own files: a fleet's years have millions of hours, and more rows.
# Nearly all rows lie within one hour; the others walk from their first to their last one.
_NOTE_ALL = """
INSERT INTO rollup_due (meter_id, hour_ms, from_ms)
WITH RECURSIVE walk (meter_id, hour_ms, last_ms) AS (
    SELECT meter_id, first_ms - first_ms % 3600000, last_ms
    FROM series WHERE first_ms / 3600000 < last_ms / 3600000
    UNION
    SELECT meter_id, hour_ms + 3600000, last_ms FROM walk WHERE hour_ms + 3600000 <= last_ms
)
SELECT meter_id, hour_ms, 0 FROM walk
UNION
SELECT meter_id, last_ms - last_ms % 3600000, 0 FROM series
"""


def upgrade() -> None:
    """Make the tables and note every hour that has readings as due."""
    op.drop_index("ix_series_meter_id_last_ms", "series")
    op.create_index(
        "ix_series_meter_id_last_ms_first_ms", "series", ["meter_id", "last_ms", "first_ms"]
    )
    op.create_index(
        "ix_series_long", "series", ["meter_id"], sqlite_where=_LONG, postgresql_where=_LONG
    )
    op.create_table(
        "rollup",
        sa.Column("meter_id", _ID, sa.ForeignKey("meter.id"), nullable=False),
        sa.Column("channel", sa.SmallInteger, nullable=False),
        sa.Column("step_s", sa.SmallInteger, nullable=False),
        sa.Column("start_ms", sa.BigInteger, nullable=False),
        sa.Column("packed", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("meter_id", "channel", "step_s", "start_ms"),
    )
    op.create_table(
        "rollup_due",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("meter_id", _ID, nullable=False),
        sa.Column("hour_ms", sa.BigInteger, nullable=False),
        sa.Column("from_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "watermark",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_rollup_due_meter_id_hour_ms", "rollup_due", ["meter_id", "hour_ms"])
    op.execute(_NOTE_ALL)


def downgrade() -> None:
    """Refuse: an older program does not open a newer database; go back by a copy of the file."""
    raise NotImplementedError("revision 0003 does not know the tables of buckets")


_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
