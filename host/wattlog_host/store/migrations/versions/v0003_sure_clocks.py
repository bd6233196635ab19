"""What is known of clocks: whether an agent's is sure, and whether ours was when a batch came.

What was stored before counts as sure: nobody knew better. And logs that go on under another id.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

COLUMNS = (
    ("sync_point", sa.Column("grade", sa.SmallInteger, nullable=False, server_default="2")),
    ("batch", sa.Column("received_trust", sa.SmallInteger, nullable=False, server_default="2")),
    ("edge_log", sa.Column("is_expected", sa.Boolean, nullable=False, server_default=sa.false())),
)


def upgrade() -> None:
    """Add the columns; SQLite does so without touching a row."""
    for table, column in COLUMNS:
        op.add_column(table, column)


def downgrade() -> None:
    """Refuse: an older program does not open a newer database; go back by a copy of the file."""
    raise NotImplementedError("revision 0002 does not know which clocks are sure")
