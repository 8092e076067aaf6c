"""Settings of notifiers, signing secrets and variables are sealed with a key that the database does not hold."""

from alembic import op

from tocsin.store.schema import notifiers, variables
from tocsin.store.sealed import reseal

revision = "0004"
down_revision = "0003"

SEALED_SINCE = (notifiers.c.type_data, notifiers.c.secret, variables.c.value)


def upgrade() -> None:
    for column in SEALED_SINCE:
        last_id: str | None = ""
        while last_id is not None:
            _, last_id = reseal(op.get_bind(), column, last_id)
