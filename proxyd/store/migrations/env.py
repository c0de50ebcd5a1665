"""Runs the migrations on the connection that `proxyd.store.schema` hands over."""

from alembic import context

from proxyd.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
context.run_migrations()
