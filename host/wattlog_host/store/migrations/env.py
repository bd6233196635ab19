"""Run by alembic inside the connection that the store hands over; there is no alembic.ini."""

from alembic import context

from wattlog_host.store.tables import METADATA

connection = context.config.attributes["connection"]
# SQLite cannot alter a constraint: batch mode copies the table instead.
context.configure(connection=connection, target_metadata=METADATA, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
