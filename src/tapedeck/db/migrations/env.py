"""How Alembic runs here: on the connection that `db.engine` hands over, inside its transaction."""

from alembic import context

from tapedeck.db.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
