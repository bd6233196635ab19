"""From SQLite to PostgreSQL: every table copied, and both sides read again and compared."""
