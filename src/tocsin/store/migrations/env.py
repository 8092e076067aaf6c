"""Alembic's entry: it runs on the connection that `tocsin.store.migrate` hands in, inside its transaction."""

from alembic import context

from tocsin.store.schema import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    transactional_ddl=False,
    render_as_batch=connection.dialect.name == "sqlite",
)
context.run_migrations()
