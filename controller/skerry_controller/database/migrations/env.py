"""Run by Alembic for each migration; :mod:`skerry_controller.database.database` hands in the connection."""

from alembic import context

from skerry_controller.database import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite alters tables by copying them
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
