"""What API tokens are limited to: scopes, apps, a time."""

import sqlalchemy as sa
from alembic import op

from tocsin.store.schema import Instant

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("tokens", sa.Column("scopes", sa.JSON(none_as_null=True)))
    op.add_column("tokens", sa.Column("app_ids", sa.JSON(none_as_null=True)))
    op.add_column("tokens", sa.Column("expires_at", Instant()))
