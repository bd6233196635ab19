"""The tables of the solar ledger; apart from the readings of meters, in the same database."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
)

ID = BigInteger().with_variant(Integer, "sqlite")

METADATA = MetaData()

# The last four say which record was stored last, so that it is known again after a restart.
device = Table(
    "solar_device",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("key", String(60), nullable=False, unique=True),
    Column("pn", String(40), nullable=False),
    Column("devcode", BigInteger, nullable=False),
    Column("devaddr", BigInteger, nullable=False),
    Column("alias", Text, nullable=False),
    Column("pid", String(20), nullable=False),
    Column("first_seen_ms", BigInteger, nullable=False),
    Column("identity", Text, nullable=True),
    Column("record_ms", BigInteger, nullable=True),
    Column("arrived_ms", BigInteger, nullable=True),
    Column("offset_s", Integer, nullable=True),
)

channel = Table(
    "solar_channel",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("device_id", ID, ForeignKey("solar_device.id"), nullable=False),
    Column("key", String(80), nullable=False),
    Column("label", Text, nullable=False),
    Column("unit", String(10), nullable=False),
    Column("period", String(5), nullable=False),
    Column("device_class", Text, nullable=True),
    Column("state_class", Text, nullable=True),
    Column("is_diagnostic", Boolean, nullable=False),
    Column("is_generic", Boolean, nullable=False),
    UniqueConstraint("device_id", "key"),
)

# The truth: one row per record, packed as MessagePack {channel id: millionths, or text}. A row per
# value would take five times the space, and the records of a year are read in a second.
record = Table(
    "solar_record",
    METADATA,
    Column("device_id", ID, ForeignKey("solar_device.id"), primary_key=True),
    Column("time_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("arrived_ms", BigInteger, nullable=False),
    # 0 by the device's clock, 1 by its arrival, 2 asked for later.
    Column("origin", SmallInteger, nullable=False),
    Column("packed", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

latest = Table(
    "solar_latest",
    METADATA,
    Column("channel_id", ID, ForeignKey("solar_channel.id"), primary_key=True),
    Column("time_ms", BigInteger, nullable=False),
    Column("value_e6", BigInteger, nullable=True),
    Column("text", Text, nullable=True),
    Column("text_class", Text, nullable=True),
    Column("source", Text, nullable=False),
)

counter = Table(
    "solar_counter",
    METADATA,
    Column("channel_id", ID, ForeignKey("solar_channel.id"), primary_key=True),
    Column("source", Text, nullable=False),
    Column("raw_e6", BigInteger, nullable=False),
    Column("raw_ms", BigInteger, nullable=False),
    Column("total_e6", BigInteger, nullable=False),
    Column("held_e6", BigInteger, nullable=True),
    Column("resets", Integer, nullable=False),
)
