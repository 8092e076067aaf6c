"""Settings of notifiers, signing secrets and variables are sealed with a key that the database does not hold."""

from alembic import op

from tocsin.store.sealed import SEALED, reseal

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    for column in SEALED:
        last_id: str | None = ""
        while last_id is not None:
            _, last_id = reseal(op.get_bind(), column, last_id)
