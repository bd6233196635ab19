"""The newest hours that are due are found without looking at all of them; sizes by day."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Order the notes by hour; make the table of sizes."""
    op.drop_index("ix_rollup_due_meter_id_hour_ms", "rollup_due")
    op.create_index("ix_rollup_due_hour_ms_meter_id", "rollup_due", ["hour_ms", "meter_id"])
    op.create_table(
        "size",
        sa.Column("time_ms", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Refuse: an older program does not open a newer database; go back by a copy of the file."""
    raise NotImplementedError("revision 0004 takes a note that sets an hour aside for another one")
