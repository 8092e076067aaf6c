"""Secrets in the database are sealed, each to its row and column; both databases."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
import sqlalchemy as sa

from tests.sealer import SEALER
from tests.store.cast import APP, Stage
from tocsin.audit_log import AuditLog
from tocsin.clock import Clock
from tocsin.errors import ConfigError
from tocsin.keys import Keys
from tocsin.sealing import Sealer
from tocsin.store import schema
from tocsin.store.notifiers import find_notifier, list_notifiers
from tocsin.store.port import Store
from tocsin.store.variables import edit_variable, list_variables, set_variables

SECRET, PREVIOUS, URL, VALUE = "whsec_Y2FuYXJ5", "whsk_Y2FuYXJ5", "http://example.com/canary", "canary value"


async def add_secrets(stage: Stage) -> str:
    notifier = await stage.add_notifier(secret=SECRET, previous_secret=PREVIOUS, type_data={"webhook_url": URL})
    await stage.store.write(set_variables, APP, [("TOKEN", "first"), ("OTHER", VALUE)])
    await stage.store.write(set_variables, APP, [("TOKEN", VALUE)])
    return notifier.id


async def dump(stage: Stage) -> str:
    """All that the database holds, as text."""

    def read(connection: sa.Connection) -> str:
        tables = schema.metadata.sorted_tables
        return repr([connection.execute(sa.select(table)).all() for table in tables])

    return await stage.store.read(read)


def keys_of(store: Store, clock: Clock, sealer: Sealer) -> Keys:
    return Keys(store=store, clock=clock, sealer=sealer, audit=AuditLog(store=store, sealer=sealer))


@asynccontextmanager
async def rekeyed(stage: Stage, **keys: bytes) -> AsyncIterator[tuple[Stage, Keys]]:
    """The same database, opened with these keys."""
    sealer = Sealer(keys)
    await stage.store.close()
    store = await stage.reopen(sealer)
    yield msgspec.structs.replace(stage, store=store), keys_of(store, stage.clock, sealer)
    await store.close()


async def test_no_secret_stands_in_the_database_as_it_is(stage: Stage) -> None:
    await add_secrets(stage)
    found = await dump(stage)
    assert "ops" in found
    for secret in (SECRET, PREVIOUS, URL, VALUE, "canary", "whsec_", "whsk_"):
        assert secret not in found


async def test_what_is_sealed_is_read_as_it_was_given(stage: Stage) -> None:
    notifier_id = await add_secrets(stage)
    notifier = await stage.store.read(find_notifier, APP, notifier_id)
    assert notifier is not None
    assert (notifier.secret, notifier.previous_secret) == (SECRET, PREVIOUS)
    assert notifier.type_data == {"webhook_url": URL}
    variables = await stage.store.read(list_variables, APP)
    assert [(each.name, each.value) for each in variables] == [("OTHER", VALUE), ("TOKEN", VALUE)]
    edited = await stage.store.write(edit_variable, APP, variables[0].id, "another")
    assert edited.value == "another"


async def test_values_that_were_swapped_between_rows_do_not_open(stage: Stage) -> None:
    first, second = await stage.add_notifier("first", secret=SECRET), await stage.add_notifier("second")

    def swap(connection: sa.Connection) -> None:
        table = schema.notifiers
        sealed = dict(connection.execute(sa.select(table.c.id, table.c.secret)).all())
        for notifier, other in ((first, second), (second, first)):
            connection.execute(table.update().where(table.c.id == notifier.id).values(secret=sealed[other.id]))

    await stage.store.write(swap)
    assert await stage.store.read(list_notifiers, APP) == []


async def test_the_secret_before_does_not_open_as_the_present_one(stage: Stage) -> None:
    notifier = await stage.add_notifier(secret=SECRET, previous_secret=PREVIOUS)

    def put_back(connection: sa.Connection) -> None:
        this = schema.notifiers.update().where(schema.notifiers.c.id == notifier.id)
        connection.execute(this.values(secret=schema.notifiers.c.previous_secret))

    await stage.store.write(put_back)
    assert await stage.store.read(list_notifiers, APP) == []


async def test_no_secret_before_stays_none_whatever_the_key(stage: Stage) -> None:
    notifier = await stage.add_notifier(secret=SECRET)
    async with rekeyed(stage, new=bytes(32), test=bytes(range(32))) as (reopened, keys):
        assert (await keys.rotate()).count == 2
        assert await reopened.store.read(find_notifier, APP, notifier.id) == notifier


async def test_a_secret_before_whose_key_is_not_here_keeps_the_database_closed(stage: Stage) -> None:
    notifier = await stage.add_notifier(secret=SECRET, previous_secret=PREVIOUS)
    old = await stage.store.read(_sealed_previous)
    async with rekeyed(stage, new=bytes(32), test=bytes(range(32))) as (reopened, keys):
        await keys.rotate()
        await reopened.store.write(_put_previous, notifier.id, old)
    with pytest.raises(ConfigError, match="sealed with the key test, which is not among the keys here"):
        await stage.reopen(Sealer({"new": bytes(32)}))


def _sealed_previous(connection: sa.Connection) -> str:
    return connection.execute(sa.select(schema.notifiers.c.previous_secret)).scalar_one()


def _put_previous(connection: sa.Connection, notifier_id: str, sealed: str) -> None:
    this = schema.notifiers.update().where(schema.notifiers.c.id == notifier_id)
    connection.execute(this.values(previous_secret=sealed))


async def test_rotation_seals_everything_with_the_first_key(stage: Stage) -> None:
    notifier_id = await add_secrets(stage)
    old, new = bytes(range(32)), bytes(range(7, 39))
    async with rekeyed(stage, new=new, test=old) as (_, keys):
        resealed = await keys.rotate()
        assert (resealed.count, resealed.key_id) == (5, "new")
        assert (await keys.rotate()).count == 0
    async with rekeyed(stage, new=new) as (reopened, _):
        notifier = await reopened.store.read(find_notifier, APP, notifier_id)
        assert notifier is not None
        assert (notifier.secret, notifier.previous_secret) == (SECRET, PREVIOUS)
        assert {each.value for each in await reopened.store.read(list_variables, APP)} == {VALUE}


async def test_rotation_goes_through_many_rows_and_passes_over_damaged_ones(stage: Stage) -> None:
    def fill(connection: sa.Connection) -> None:
        set_variables(connection, APP, [(f"NAME_{number}", "value") for number in range(450)])
        damaged = schema.variables.update().where(schema.variables.c.name == "NAME_7")
        connection.execute(damaged.values(value="sealed1:test:AAAA"))

    await stage.store.write(fill)
    async with rekeyed(stage, new=bytes(32), test=bytes(range(32))) as (_, keys):
        assert (await keys.rotate()).count == 449


async def test_what_was_never_sealed_is_sealed_by_rotation(stage: Stage) -> None:
    notifier = await stage.add_notifier()

    def lay_bare(connection: sa.Connection) -> None:
        bare = schema.notifiers.update().where(schema.notifiers.c.id == notifier.id)
        connection.execute(bare.values(secret=SECRET, type_data={"webhook_url": URL}))

    await stage.store.write(lay_bare)
    assert await stage.store.read(list_notifiers, APP) == []
    assert (await keys_of(stage.store, stage.clock, SEALER).rotate()).count == 2
    wanted = msgspec.structs.replace(notifier, secret=SECRET, type_data={"webhook_url": URL})
    assert await stage.store.read(list_notifiers, APP) == [wanted]


@pytest.mark.parametrize("other", ["other", "t_st"])
async def test_a_database_whose_key_is_not_here_is_not_opened(stage: Stage, other: str) -> None:
    await add_secrets(stage)
    await stage.store.close()
    with pytest.raises(ConfigError, match=rf"sealed with the key test, which is not among the keys here \({other}\)"):
        await stage.reopen(Sealer({other: bytes(32)}))


@pytest.mark.parametrize("stored", [7, ["a"], "plain", None])
async def test_settings_that_are_not_sealed_are_not_taken(stage: Stage, stored: object) -> None:
    notifier = await stage.add_notifier()

    def damage(connection: sa.Connection) -> None:
        this = schema.notifiers.update().where(schema.notifiers.c.id == notifier.id)
        connection.execute(this.values(type_data=sa.JSON.NULL if stored is None else stored))

    await stage.store.write(damage)
    assert await stage.store.read(list_notifiers, APP) == []
