"""Totals by writer: those of a cell share the database, and each adds to its own."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the table anew, since SQLite cannot change a key; it has a few rows."""
    op.rename_table("counter", "counter_of_one")
    op.create_table(
        "counter",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("reason", sa.String(120), nullable=False),
        sa.Column("value", sa.BigInteger, nullable=False),
        sa.Column("slot", sa.SmallInteger, nullable=False, server_default="0"),
        # A name of its own: in PostgreSQL the one before still has the other.
        sa.PrimaryKeyConstraint("name", "reason", "slot", name="counter_by_slot_pkey"),
    )
    op.execute(
        "INSERT INTO counter (name, reason, value) SELECT name, reason, value FROM counter_of_one"
    )
    op.drop_table("counter_of_one")


def downgrade() -> None:
    """Refuse: an older program does not open a newer database; go back by a copy of the file."""
    raise NotImplementedError("revision 0006 knows one writer only")
