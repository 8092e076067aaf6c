"""Sessions of browsers, and the codes that sign in by mail."""

import sqlalchemy as sa
from alembic import op

from tocsin.store.schema import TEXT, Instant

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("user_id", TEXT, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
        sa.Column("secret_hash", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("last_used_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False, index=True),
        sa.Column("address", TEXT),
        sa.Column("device", TEXT, nullable=False),
    )
    op.create_table(
        "sign_in_codes",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("browser_hash", sa.LargeBinary, nullable=False, index=True),
        sa.Column("name_hash", sa.LargeBinary, nullable=False, index=True),
        sa.Column("user_id", TEXT, sa.ForeignKey("users.id", ondelete="CASCADE"), index=True),
        sa.Column("code_hash", sa.LargeBinary, nullable=False),
        sa.Column("tries_left", sa.Integer, nullable=False),
        sa.Column("address", TEXT, nullable=False, index=True),
        sa.Column("expires_at", Instant(), nullable=False, index=True),
    )
