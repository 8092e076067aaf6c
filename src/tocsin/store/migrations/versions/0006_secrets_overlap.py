"""The signing secret before the present one, with which messages are signed as well for a while."""

import sqlalchemy as sa
from alembic import op

from tocsin.store.schema import Instant

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("notifiers", sa.Column("previous_secret", sa.Text()))
    op.add_column("notifiers", sa.Column("previous_secret_until", Instant()))
