"""Alembic's entry: it migrates the connection that it is given, and opens none of its own."""

from alembic import context

from voxpop.records import Base

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
