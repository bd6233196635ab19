"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create everything."""
    op.create_table(
        "edge",
        sa.Column("id", ID, primary_key=True),
        sa.Column("name", sa.String(32), nullable=False, unique=True),
        sa.Column("first_seen_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "meter",
        sa.Column("id", ID, primary_key=True),
        sa.Column("server_id", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("first_seen_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "batch",
        sa.Column("edge_id", ID, sa.ForeignKey("edge.id"), nullable=False),
        sa.Column("boot", sa.BigInteger, nullable=False),
        sa.Column("first_seq", sa.BigInteger, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("received_ms", sa.BigInteger, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("edge_id", "boot", "first_seq"),
    )
    op.create_table(
        "sync_point",
        sa.Column("edge_id", ID, sa.ForeignKey("edge.id"), nullable=False),
        sa.Column("boot", sa.BigInteger, nullable=False),
        sa.Column("uptime_ms", sa.BigInteger, nullable=False),
        sa.Column("epoch_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("edge_id", "boot", "uptime_ms"),
    )
    _create_readings()
    _create_bookkeeping()


def _create_readings() -> None:
    op.create_table(
        "reading",
        sa.Column("id", ID, primary_key=True),
        sa.Column("meter_id", ID, sa.ForeignKey("meter.id"), nullable=False),
        sa.Column("edge_id", ID, sa.ForeignKey("edge.id"), nullable=False),
        sa.Column("boot", sa.BigInteger, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("uptime_ms", sa.BigInteger, nullable=False),
        sa.Column("sec_index", sa.BigInteger),
        sa.Column("time_ms", sa.BigInteger, nullable=False),
        sa.Column("time_source", sa.String(8), nullable=False),
        sa.UniqueConstraint("edge_id", "boot", "seq"),
    )
    op.create_index("ix_reading_meter_id_time_ms", "reading", ["meter_id", "time_ms"])
    op.create_table(
        "reading_value",
        sa.Column("reading_id", ID, sa.ForeignKey("reading.id"), nullable=False),
        sa.Column("channel", sa.Integer, nullable=False),
        sa.Column("value", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("reading_id", "channel"),
        sqlite_with_rowid=False,
    )


def _create_bookkeeping() -> None:
    op.create_table(
        "event",
        sa.Column("id", ID, primary_key=True),
        sa.Column("time_ms", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("edge", sa.String(32)),
        sa.Column("text", sa.Text, nullable=False),
    )
    op.create_table(
        "dead_letter",
        sa.Column("id", ID, primary_key=True),
        sa.Column("received_ms", sa.BigInteger, nullable=False),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "counter",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("reason", sa.String(120), nullable=False),
        sa.Column("value", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", "reason"),
    )
    op.create_table(
        "run",
        sa.Column("id", ID, primary_key=True),
        sa.Column("version", sa.String(32), nullable=False),
        sa.Column("started_ms", sa.BigInteger, nullable=False),
        sa.Column("last_data_ms", sa.BigInteger),
        sa.Column("ended_ms", sa.BigInteger),
    )


def downgrade() -> None:
    """Refuse: an older program does not open a newer database; go back by a copy of the file."""
    raise NotImplementedError("there is nothing before the first tables")
