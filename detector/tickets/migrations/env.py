"""Alembic's entry: runs the migrations on the connection that :mod:`detector.tickets.database` hands in."""

from alembic import context

from detector.tickets.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
