"""Files of other programs, as they write them."""

import sqlite3
from contextlib import closing

ENERGY_MONITOR = """
CREATE TABLE energy_readings (
    timestamp DATETIME NOT NULL, meter_id VARCHAR(255), power_watts FLOAT, energy_in_kwh FLOAT,
    energy_out_kwh FLOAT, power_phase_1_watts FLOAT, power_phase_2_watts FLOAT,
    power_phase_3_watts FLOAT, raw_payload TEXT NOT NULL, PRIMARY KEY (timestamp)
)
"""


def energy_monitor(path, rows):
    """Write rows (timestamp, meter_id, power, import, export, L1, L2, L3); what is left out is None."""
    with closing(sqlite3.connect(path)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            connection.execute(ENERGY_MONITOR)
            connection.execute("CREATE INDEX ix_timestamp ON energy_readings (timestamp)")
        connection.executemany(
            "INSERT INTO energy_readings VALUES (?, ?, ?, ?, ?, ?, ?, ?, '{}')",
            [(*row, *[None] * (8 - len(row))) for row in rows],
        )
        connection.commit()
    return path
