"""The tables, as the newest migration leaves them; tests compare the two."""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

# SQLite numbers rows by itself only where the key is called INTEGER.
ID = BigInteger().with_variant(Integer, "sqlite")

METADATA = MetaData()

edge = Table(
    "edge",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("name", String(32), nullable=False, unique=True),
    Column("first_seen_ms", BigInteger, nullable=False),
)

meter = Table(
    "meter",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("server_id", LargeBinary(32), nullable=False, unique=True),
    Column("label", Text, nullable=False),
    Column("first_seen_ms", BigInteger, nullable=False),
)

# The durable truth: every message as it came. All other readings tables can be made from it.
batch = Table(
    "batch",
    METADATA,
    Column("edge_id", ID, ForeignKey("edge.id"), nullable=False),
    Column("boot", BigInteger, nullable=False),
    Column("first_seq", BigInteger, nullable=False),
    Column("count", Integer, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    PrimaryKeyConstraint("edge_id", "boot", "first_seq"),
)

sync_point = Table(
    "sync_point",
    METADATA,
    Column("edge_id", ID, ForeignKey("edge.id"), nullable=False),
    Column("boot", BigInteger, nullable=False),
    Column("uptime_ms", BigInteger, nullable=False),
    Column("epoch_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("edge_id", "boot", "uptime_ms"),
)

reading = Table(
    "reading",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("meter_id", ID, ForeignKey("meter.id"), nullable=False),
    Column("edge_id", ID, ForeignKey("edge.id"), nullable=False),
    Column("boot", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("uptime_ms", BigInteger, nullable=False),
    Column("sec_index", BigInteger),
    Column("time_ms", BigInteger, nullable=False),
    Column("time_source", String(8), nullable=False),
    UniqueConstraint("edge_id", "boot", "seq"),
    Index("ix_reading_meter_id_time_ms", "meter_id", "time_ms"),
)

# value is an integer with the channel's fixed decimals (wattlog.channels).
reading_value = Table(
    "reading_value",
    METADATA,
    Column("reading_id", ID, ForeignKey("reading.id"), nullable=False),
    Column("channel", Integer, nullable=False),
    Column("value", BigInteger, nullable=False),
    PrimaryKeyConstraint("reading_id", "channel"),
    sqlite_with_rowid=False,
)

event = Table(
    "event",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("time_ms", BigInteger, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("edge", String(32)),
    Column("text", Text, nullable=False),
)

dead_letter = Table(
    "dead_letter",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("received_ms", BigInteger, nullable=False),
    Column("topic", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
)

# Totals since the database exists, so that no page ever counts rows.
counter = Table(
    "counter",
    METADATA,
    Column("name", String(32), nullable=False),
    Column("reason", String(120), nullable=False),
    Column("value", BigInteger, nullable=False),
    PrimaryKeyConstraint("name", "reason"),
)

# One row per start of the host; one without ended_ms did not stop cleanly.
run = Table(
    "run",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("version", String(32), nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("last_data_ms", BigInteger),
    Column("ended_ms", BigInteger),
)
