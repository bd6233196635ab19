"""The newest hours that are due are found without looking at all of them."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Order the notes by hour."""
    op.drop_index("ix_rollup_due_meter_id_hour_ms", "rollup_due")
    op.create_index("ix_rollup_due_hour_ms_meter_id", "rollup_due", ["hour_ms", "meter_id"])


def downgrade() -> None:
    """Refuse: an older program does not open a newer database; go back by a copy of the file."""
    raise NotImplementedError("revision 0004 takes a note that sets an hour aside for another one")
