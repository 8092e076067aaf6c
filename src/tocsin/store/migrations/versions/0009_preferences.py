"""What users prefer: a language and a time zone for the pages that they read."""

import sqlalchemy as sa
from alembic import op

from tocsin.store.schema import TEXT

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("users", sa.Column("language", TEXT))
    op.add_column("users", sa.Column("time_zone", TEXT))
