"""What is known of clocks: whether an agent's is sure, and whether ours was when a batch came.

What was stored before counts as sure: nobody knew better. And logs that go on under another id.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

COLUMNS = (
    ("sync_point", "is_sure", sa.true()),
    ("batch", "is_received_sure", sa.true()),
    ("edge_log", "is_expected", sa.false()),
)


def upgrade() -> None:
    """Add the columns; SQLite does so without touching a row."""
    for table, name, before in COLUMNS:
        op.add_column(table, sa.Column(name, sa.Boolean, nullable=False, server_default=before))


def downgrade() -> None:
    """Refuse: an older program does not open a newer database; go back by a copy of the file."""
    raise NotImplementedError("revision 0002 does not know which clocks are sure")
