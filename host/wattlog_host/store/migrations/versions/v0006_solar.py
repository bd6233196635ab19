"""The tables of solar, which its ledger made itself until now, and quarters of an hour of it.

Where the ledger has made them they stay as they are; the host makes the quarters of their records
when it starts.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the tables that are missing."""
    known = set(sa.inspect(op.get_bind()).get_table_names())
    for name, make in TABLES.items():
        if name not in known:
            make()


def downgrade() -> None:
    """Refuse: an older program does not open a newer database; go back by a copy of the file."""
    raise NotImplementedError("revision 0005 does not know the tables of solar")


def _device() -> None:
    op.create_table(
        "solar_device",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("key", sa.String(60), nullable=False, unique=True),
        sa.Column("pn", sa.String(40), nullable=False),
        sa.Column("devcode", sa.BigInteger, nullable=False),
        sa.Column("devaddr", sa.BigInteger, nullable=False),
        sa.Column("alias", sa.Text, nullable=False),
        sa.Column("pid", sa.String(20), nullable=False),
        sa.Column("first_seen_ms", sa.BigInteger, nullable=False),
        sa.Column("identity", sa.Text),
        sa.Column("record_ms", sa.BigInteger),
        sa.Column("arrived_ms", sa.BigInteger),
        sa.Column("offset_s", sa.Integer),
    )


def _channel() -> None:
    op.create_table(
        "solar_channel",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("device_id", _ID, sa.ForeignKey("solar_device.id"), nullable=False),
        sa.Column("key", sa.String(80), nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("unit", sa.String(10), nullable=False),
        sa.Column("period", sa.String(5), nullable=False),
        sa.Column("device_class", sa.Text),
        sa.Column("state_class", sa.Text),
        sa.Column("is_diagnostic", sa.Boolean, nullable=False),
        sa.Column("is_generic", sa.Boolean, nullable=False),
        sa.UniqueConstraint("device_id", "key"),
    )


def _record() -> None:
    op.create_table(
        "solar_record",
        sa.Column("device_id", _ID, sa.ForeignKey("solar_device.id"), primary_key=True),
        sa.Column("time_ms", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("arrived_ms", sa.BigInteger, nullable=False),
        sa.Column("origin", sa.SmallInteger, nullable=False),
        sa.Column("packed", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )


def _latest() -> None:
    op.create_table(
        "solar_latest",
        sa.Column("channel_id", _ID, sa.ForeignKey("solar_channel.id"), primary_key=True),
        sa.Column("time_ms", sa.BigInteger, nullable=False),
        sa.Column("value_e6", sa.BigInteger),
        sa.Column("text", sa.Text),
        sa.Column("text_class", sa.Text),
        sa.Column("source", sa.Text, nullable=False),
    )


def _counter() -> None:
    op.create_table(
        "solar_counter",
        sa.Column("channel_id", _ID, sa.ForeignKey("solar_channel.id"), primary_key=True),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("raw_e6", sa.BigInteger, nullable=False),
        sa.Column("raw_ms", sa.BigInteger, nullable=False),
        sa.Column("total_e6", sa.BigInteger, nullable=False),
        sa.Column("held_e6", sa.BigInteger),
        sa.Column("resets", sa.Integer, nullable=False),
    )


def _quarter() -> None:
    op.create_table(
        "solar_quarter",
        sa.Column("device_id", _ID, sa.ForeignKey("solar_device.id"), primary_key=True),
        sa.Column("start_ms", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("production_wh_e3", sa.BigInteger),
        sa.Column("charged_wh_e3", sa.BigInteger),
        sa.Column("discharged_wh_e3", sa.BigInteger),
        sqlite_with_rowid=False,
    )


TABLES = {
    "solar_device": _device,
    "solar_channel": _channel,
    "solar_record": _record,
    "solar_latest": _latest,
    "solar_counter": _counter,
    "solar_quarter": _quarter,
}
_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
