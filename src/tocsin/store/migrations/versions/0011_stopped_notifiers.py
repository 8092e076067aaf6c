"""The notifiers that are stopped, by themselves: operators see those of every app."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

IS_STOPPED = sa.text("state IN ('failing', 'holding', 'disabled') AND removed_at IS NULL")


def upgrade() -> None:
    op.create_index("notifiers_stopped", "notifiers", ["id"], sqlite_where=IS_STOPPED, postgresql_where=IS_STOPPED)
