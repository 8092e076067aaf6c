"""The audit log: its entries, and where their chain ends."""

import sqlalchemy as sa
from alembic import op

from tocsin.audit import NO_DIGEST
from tocsin.store.schema import TEXT, Instant

revision = "0008"
down_revision = "0007"

IS_OF_APP = "app_id IS NOT NULL"


def upgrade() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("actor", TEXT, nullable=False),
        sa.Column("user_id", TEXT),
        sa.Column("username", TEXT),
        sa.Column("token_id", TEXT),
        sa.Column("address", TEXT),
        sa.Column("request_id", TEXT),
        sa.Column("app_id", TEXT),
        sa.Column("action", TEXT, nullable=False),
        sa.Column("object_id", TEXT),
        sa.Column("object_name", TEXT),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", TEXT, nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "audit_by_app",
        "audit_entries",
        ["app_id", "number"],
        sqlite_where=sa.text(IS_OF_APP),
        postgresql_where=sa.text(IS_OF_APP),
    )
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.bulk_insert(head, [{"id": 1, "number": 0, "digest": NO_DIGEST}])
