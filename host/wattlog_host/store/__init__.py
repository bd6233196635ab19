"""The durable side of the host: SQLite through SQLAlchemy Core, migrated by alembic."""
