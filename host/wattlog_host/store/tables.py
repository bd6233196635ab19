"""The tables, as the newest migration leaves them; tests compare the two."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
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

# What an edge calls its log: a number drawn when it was formatted. seq counts within it.
edge_log = Table(
    "edge_log",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("edge_id", ID, ForeignKey("edge.id"), nullable=False),
    Column("log", BigInteger, nullable=False),
    Column("first_seen_ms", BigInteger, nullable=False),
    # Up to here each record is stored or in a gap.
    Column("settled_seq", BigInteger, nullable=False),
    # Of an id that a log was told to take: where it begins is told with its first floor.
    Column("is_expected", Boolean, nullable=False, server_default=false()),
    # In which days its batches are: days.Marks.
    Column("newest_day", Integer, nullable=False, server_default="0"),
    Column("newest_seq", BigInteger, nullable=False, server_default="0"),
    Column("before_day", Integer, nullable=False, server_default="0"),
    Column("before_seq", BigInteger, nullable=False, server_default="0"),
    UniqueConstraint("edge_id", "log"),
)

# The durable truth, and the only place of readings: they are read from packed, and their times
# are their uptimes seen through offset_ms and steps. skipped has a bit for each record that
# counts in another batch.
batch = Table(
    "batch",
    METADATA,
    Column("log_id", ID, ForeignKey("edge_log.id"), nullable=False),
    Column("first_seq", BigInteger, nullable=False),
    Column("records", Integer, nullable=False),
    Column("readings", Integer, nullable=False),
    Column("skipped", BigInteger, nullable=False),
    Column("boot", BigInteger, nullable=False),  # 0: the head of the run could not be read
    Column("first_uptime_ms", BigInteger, nullable=False),
    Column("last_uptime_ms", BigInteger, nullable=False),
    Column("offset_ms", BigInteger, nullable=False),
    Column("steps", LargeBinary),  # MessagePack: uptime_ms, offset_ms, uptime_ms, ...
    Column("time_source", String(8), nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("packed", LargeBinary, nullable=False),
    # Who had set our clock when it came: 0 nobody, 1 a chip, 2 the network.
    Column("received_trust", SmallInteger, nullable=False, server_default="2"),
    # In which partition of PostgreSQL it lies (store/days.py), where it is of the key, too.
    Column("day", Integer, nullable=False, server_default="0"),
    PrimaryKeyConstraint("log_id", "first_seq"),
    Index("ix_batch_log_id_boot_last_uptime_ms", "log_id", "boot", "last_uptime_ms"),
    Index("ix_batch_log_id_time_source_first_seq", "log_id", "time_source", "first_seq"),
)

# Which meters a batch has readings of, and from when to when: how a question finds batches.
series = Table(
    "series",
    METADATA,
    Column("log_id", ID, nullable=False),
    Column("first_seq", BigInteger, nullable=False),
    Column("meter_id", ID, ForeignKey("meter.id"), nullable=False),
    Column("readings", Integer, nullable=False),
    Column("first_ms", BigInteger, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
    Column("zero_ms", BigInteger),  # when the meter's seconds counter stood at 0
    Column("day", Integer, nullable=False, server_default="0"),  # its batch's
    PrimaryKeyConstraint("log_id", "first_seq", "meter_id"),
    ForeignKeyConstraint(("log_id", "first_seq"), ("batch.log_id", "batch.first_seq")),
    Index("ix_series_meter_id_last_ms_first_ms", "meter_id", "last_ms", "first_ms"),
    sqlite_with_rowid=False,
)
# So few are longer that each question looks at all of them.
SERIES_MS_MAX = 24 * 3_600_000
_IS_LONG = series.c.last_ms - series.c.first_ms > text(str(SERIES_MS_MAX))
Index(
    "ix_series_long",
    series.c.meter_id,
    sqlite_where=_IS_LONG,
    postgresql_where=_IS_LONG,
)

# Buckets of a channel, as history/blocks.py packs them: made from batches, and again at any time.
rollup = Table(
    "rollup",
    METADATA,
    Column("meter_id", ID, ForeignKey("meter.id"), nullable=False),
    Column("channel", SmallInteger, nullable=False),
    Column("step_s", SmallInteger, nullable=False),
    Column("start_ms", BigInteger, nullable=False),
    Column("packed", LargeBinary, nullable=False),
    PrimaryKeyConstraint("meter_id", "channel", "step_s", "start_ms"),
)

# Hours whose buckets do not show yet what is in batches: from from_ms on something has changed;
# store/due.py says what 0 and -1 mean.
rollup_due = Table(
    "rollup_due",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("meter_id", ID, nullable=False),
    Column("hour_ms", BigInteger, nullable=False),
    Column("from_ms", BigInteger, nullable=False),
    Index("ix_rollup_due_hour_ms_meter_id", "hour_ms", "meter_id"),
)

sync_point = Table(
    "sync_point",
    METADATA,
    Column("log_id", ID, ForeignKey("edge_log.id"), nullable=False),
    Column("boot", BigInteger, nullable=False),
    Column("uptime_ms", BigInteger, nullable=False),
    Column("epoch_ms", BigInteger, nullable=False),
    Column("grade", SmallInteger, nullable=False, server_default="2"),
    PrimaryKeyConstraint("log_id", "boot", "uptime_ms"),
)

# Runs of records that are lost for good; they never overlap.
gap = Table(
    "gap",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("log_id", ID, ForeignKey("edge_log.id"), nullable=False),
    Column("first_seq", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("reason", String(8), nullable=False),
    Column("noted_ms", BigInteger, nullable=False),
    Index("ix_gap_log_id_last_seq", "log_id", "last_seq"),
)

# What the database took, once a day.
size = Table(
    "size",
    METADATA,
    Column("time_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("bytes", BigInteger, nullable=False),
)

# Times up to which something was done for good: raw_from_ms, before which batches were let go.
watermark = Table(
    "watermark",
    METADATA,
    Column("name", String(32), primary_key=True),
    Column("value", BigInteger, nullable=False),
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

# Totals since the database exists, so that no page ever counts rows. Each writer of a cell adds to
# its own ones (its slot), so that none waits for another one's commit.
counter = Table(
    "counter",
    METADATA,
    Column("name", String(32), nullable=False),
    Column("reason", String(120), nullable=False),
    Column("value", BigInteger, nullable=False),
    Column("slot", SmallInteger, nullable=False, server_default="0"),
    PrimaryKeyConstraint("name", "reason", "slot"),
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

# --- solar: what inverters in the cloud say (dess/ledger.py) -----------------------------------

# The last four say which record was stored last, so that it is known again after a restart.
solar_device = Table(
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

solar_channel = Table(
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
solar_record = Table(
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

solar_latest = Table(
    "solar_latest",
    METADATA,
    Column("channel_id", ID, ForeignKey("solar_channel.id"), primary_key=True),
    Column("time_ms", BigInteger, nullable=False),
    Column("value_e6", BigInteger, nullable=True),
    Column("text", Text, nullable=True),
    Column("text_class", Text, nullable=True),
    Column("source", Text, nullable=False),
)

solar_counter = Table(
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

# What a device produced, and its battery took and gave, in a quarter of an hour, in Wh * 10^3:
# made from records (dess/quarters.py), and again at any time. NULL where a part is not known.
solar_quarter = Table(
    "solar_quarter",
    METADATA,
    Column("device_id", ID, ForeignKey("solar_device.id"), primary_key=True),
    Column("start_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("production_wh_e3", BigInteger, nullable=True),
    Column("charged_wh_e3", BigInteger, nullable=True),
    Column("discharged_wh_e3", BigInteger, nullable=True),
    sqlite_with_rowid=False,
)
