"""The audit log shows whether it was changed: every single change of it, on both databases."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from tests.sealer import SEALER
from tests.store.cast import APP, Stage
from tocsin.audit import NO_DIGEST, Action, Actor, Entry, Note, acting
from tocsin.audit_log import AuditBroken, AuditLog
from tocsin.errors import NotFound, RequestError
from tocsin.keys import Keys
from tocsin.sealing import Sealer
from tocsin.store.audit import Head, add_note, list_newest, prune_audit, read_head, read_links, with_note
from tocsin.store.schema import apps, audit_entries, audit_head
from tocsin.upkeep import STEP

ALICE = Actor(kind="user", user_id="us-alice", username="alice", token_id="tk-1", address="192.0.2.7", request_id="r-1")
COLUMNS = sorted({*Entry.__struct_fields__, "digest", "signature"} - {"number"})


def log(stage: Stage, sealer: Sealer = SEALER) -> AuditLog:
    return AuditLog(store=stage.store, sealer=sealer)


async def add(stage: Stage, count: int = 1) -> None:
    for number in range(count):
        with acting(ALICE):
            note = Note(
                action=Action.NOTIFIER_CHANGED,
                at=stage.clock.now(),
                app_id=APP,
                object_id=f"no-{number}",
                object_name="ops",
                details={"name": {"from": "a", "to": "b"}},
            )
        await stage.store.write(add_note, note)


async def tamper(stage: Stage, *statements: "sa.Executable") -> None:
    def change(connection: sa.Connection) -> None:
        for statement in statements:
            connection.execute(statement)

    await stage.store.write(change)


async def test_an_entry_tells_who_did_what_from_where(stage: Stage) -> None:
    await add(stage)
    (entry,) = await stage.store.read(list_newest, limit=10)
    assert (entry.number, entry.at, entry.action) == (1, stage.clock.now(), "notifier.changed")
    assert (entry.actor, entry.username, entry.token_id) == ("user", "alice", "tk-1")
    assert (entry.address, entry.request_id) == ("192.0.2.7", "r-1")
    assert msgspec.json.decode(entry.details) == {"name": {"from": "a", "to": "b"}}


async def test_a_log_that_nobody_touched_is_proved_with_its_end(stage: Stage) -> None:
    assert (await log(stage).verify()).count == 0
    await add(stage, 3)
    proved = await log(stage).verify()
    assert (proved.count, proved.head) == (3, await stage.store.read(read_head))
    assert str(proved).endswith(f"3:{proved.head.digest.hex()}")


async def test_a_change_that_fails_leaves_no_entry(stage: Stage) -> None:
    def fail(_: sa.Connection) -> None:
        raise NotFound("app")

    note = Note(action=Action.APP_REMOVED, at=stage.clock.now())
    with pytest.raises(NotFound):
        await stage.store.write(with_note(fail, note))
    assert (await log(stage).verify()).count == 0


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_an_entry_that_was_changed_in_any_column_shows(stage: Stage, number: int) -> None:
    await add(stage, 3)
    this = audit_entries.c.number == number
    row = await stage.store.read(lambda it: it.execute(sa.select(audit_entries).where(this)).one())
    for name in COLUMNS:
        changed: dict[str, Any] = {
            "at": row.at + timedelta(microseconds=1),
            "digest": bytes(32),
            "signature": bytes(32),
        }
        await tamper(stage, audit_entries.update().where(this).values({name: changed.get(name, "{}")}))
        with pytest.raises(AuditBroken, match=rf"entry ({number}|{number + 1}) "):
            await log(stage).verify()
        await tamper(stage, audit_entries.update().where(this).values({name: getattr(row, name)}))
    assert (await log(stage).verify()).count == 3


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_an_entry_that_was_taken_out_shows(stage: Stage, number: int) -> None:
    await add(stage, 3)
    await tamper(stage, audit_entries.delete().where(audit_entries.c.number == number))
    with pytest.raises(AuditBroken, match="missing"):
        await log(stage).verify()


async def test_an_end_that_was_cut_off_shows_to_whoever_kept_it(stage: Stage) -> None:
    await add(stage, 2)
    middle = (await log(stage).verify()).head
    await add(stage, 2)
    kept = (await log(stage).verify()).head

    back = audit_head.update().values(number=middle.number, digest=middle.digest)
    await tamper(stage, audit_entries.delete().where(audit_entries.c.number > 2), back)
    assert (await log(stage).verify()).count == 2
    with pytest.raises(AuditBroken, match="3 to 4 of the audit log are missing"):
        await log(stage).verify(kept)


async def test_a_log_that_was_written_anew_without_the_key_shows(stage: Stage) -> None:
    await add(stage, 2)
    await tamper(stage, audit_entries.delete(), audit_head.update().values(number=0, digest=bytes(32)))
    forger = Sealer({"test": bytes(32)})

    def write(connection: sa.Connection) -> None:
        add_note(
            connection.execution_options(tocsin_sealer=forger), Note(action=Action.APP_ADDED, at=stage.clock.now())
        )

    await stage.store.write(write)
    with pytest.raises(AuditBroken, match="was not written by Tocsin"):
        await log(stage).verify()


async def forge(stage: Stage, *, key_id: str) -> None:
    """Change the first entry and make all digests anew, as whoever can write to the database but has no key could."""

    def write(connection: sa.Connection) -> None:
        digest = NO_DIGEST
        for link in read_links(connection, after=0, limit=100):
            entry = msgspec.structs.replace(link.entry, username="mallory")
            digest = entry.digest(digest)
            changed = {"username": "mallory", "digest": digest, "key_id": key_id}
            connection.execute(audit_entries.update().where(audit_entries.c.number == entry.number).values(changed))
        connection.execute(audit_head.update().values(digest=digest))

    await stage.store.write(write)


@pytest.mark.parametrize("key_id", ["test", "of-nobody"])
async def test_what_was_forged_shows_although_tocsin_goes_on_from_there(stage: Stage, key_id: str) -> None:
    await add(stage, 2)
    await forge(stage, key_id=key_id)
    await add(stage)
    with pytest.raises(AuditBroken, match="entry 1 "):
        await log(stage).verify()
    with pytest.raises(AuditBroken, match="entry 1 "):
        await Keys(store=stage.store, clock=stage.clock, sealer=SEALER, audit=log(stage)).rotate()
    with pytest.raises(AuditBroken, match="entry 1 "):
        await log(stage).verify()


async def test_an_entry_that_says_of_itself_that_it_was_pruned_shows(stage: Stage) -> None:
    await add(stage, 3)
    (link,) = await stage.store.read(read_links, after=2, limit=1)
    told = {"action": "audit.pruned", "details": f'{{"through":3,"digest":"{link.digest.hex()}"}}'}
    this = audit_entries.c.number == 3
    await tamper(stage, audit_entries.update().where(this).values(told), audit_entries.delete().where(sa.not_(this)))
    await add(stage)
    with pytest.raises(AuditBroken, match="entry 3 "):
        await log(stage).verify()


async def test_an_earlier_end_is_found_again_and_another_is_not(stage: Stage) -> None:
    await add(stage, 2)
    kept = (await log(stage).verify()).head
    await add(stage, 2)
    assert (await log(stage).verify(kept)).count == 4
    with pytest.raises(AuditBroken, match=r"entry 2 .* is another"):
        await log(stage).verify(Head(2, bytes(32)))


async def test_old_entries_are_pruned_and_the_rest_stays_proved(stage: Stage) -> None:
    await add(stage, 3)
    first = (await log(stage).verify()).head
    stage.clock.advance(timedelta(days=400).total_seconds())
    await add(stage, 2)
    now = stage.clock.now()
    assert await stage.store.write(prune_audit, before=now - timedelta(days=365), at=now, limit=2) == 2
    assert await stage.store.write(prune_audit, before=now - timedelta(days=365), at=now, limit=STEP) == 1
    assert await stage.store.write(prune_audit, before=now - timedelta(days=365), at=now, limit=STEP) == 0
    numbers = [entry.number for entry in await stage.store.read(list_newest, limit=10)]
    assert numbers == [7, 6, 5, 4]
    assert (await log(stage).verify()).count == 4
    with pytest.raises(RequestError, match="were pruned"):
        await log(stage).verify(Head(2, first.digest))


async def test_the_last_entry_is_never_pruned(stage: Stage) -> None:
    await add(stage)
    stage.clock.advance(timedelta(days=400).total_seconds())
    now = stage.clock.now()
    assert await stage.store.write(prune_audit, before=now, at=now, limit=STEP) == 0
    assert (await log(stage).verify()).count == 1


async def test_entries_taken_off_the_front_show(stage: Stage) -> None:
    await add(stage, 3)
    stage.clock.advance(timedelta(days=400).total_seconds())
    await add(stage, 2)
    now = stage.clock.now()
    await stage.store.write(prune_audit, before=now - timedelta(days=365), at=now, limit=STEP)
    await tamper(stage, audit_entries.delete().where(audit_entries.c.number <= 4))
    with pytest.raises(AuditBroken, match="entry 4 of the audit log is missing"):
        await log(stage).verify()


async def test_once_the_key_was_rotated_the_old_one_is_not_needed(stage: Stage) -> None:
    await add(stage, 2)
    old, new = bytes(range(32)), bytes(range(1, 33))
    both = Sealer({"new": new, "test": old})
    await stage.store.close()
    store = await stage.reopen(both)
    stage = msgspec.structs.replace(stage, store=store)
    only_new = Sealer({"new": new})
    with pytest.raises(AuditBroken, match="put it back"):
        await log(stage, only_new).verify()
    await Keys(store=store, clock=stage.clock, sealer=both, audit=log(stage, both)).rotate()
    assert (await log(stage, only_new).verify()).count == 3
    await tamper(stage, audit_entries.update().values(username="mallory"))
    with pytest.raises(AuditBroken, match="entry 1 "):
        await log(stage, only_new).verify()
    await store.close()


async def test_the_entries_of_an_app_are_found_by_its_name(stage: Stage) -> None:
    await add(stage, 2)
    await stage.store.write(add_note, Note(action=Action.USER_ADDED, at=stage.clock.now()))
    name = await stage.store.read(
        lambda connection: connection.execute(sa.select(apps.c.name).where(apps.c.id == APP)).scalar_one()
    )
    assert len(await stage.store.read(list_newest, limit=10, app=name)) == 2
    assert len(await stage.store.read(list_newest, limit=10, app=APP)) == 2
    assert len(await stage.store.read(list_newest, limit=10)) == 3
