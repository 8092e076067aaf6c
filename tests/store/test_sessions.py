"""Sessions, codes and what is over of them, on each database."""

import asyncio
from datetime import timedelta

import pytest

from tests.store.cast import Stage
from tocsin.errors import NotFound, TooMany
from tocsin.ids import new_uuid7
from tocsin.model import Session, User
from tocsin.store import codes, schema, sessions, users

SECRET = b"s" * 32
ALICE, BOB = new_uuid7("us"), new_uuid7("us")


@pytest.fixture(autouse=True)
async def _users(stage: Stage) -> None:
    for user_id, name in ((ALICE, "alice"), (BOB, "bob")):
        user = User(id=user_id, username=name, email=f"{name}@example.com", created_at=stage.clock.now())
        await stage.store.write(users.add_user, user, None)


async def begin(stage: Stage, secret_hash: bytes = SECRET, *, user_id: str = ALICE, days: int = 7) -> Session:
    now = stage.clock.now()
    session = Session(
        id=new_uuid7("se"), user_id=user_id, created_at=now, last_used_at=now, expires_at=now + timedelta(days=days)
    )
    await stage.store.write(sessions.add_session, session, secret_hash, replaces=None)
    return session


async def ask(stage: Stage, name: str, browser: bytes = b"browser", code: bytes = b"code", address: str = "a") -> bool:
    """Whether somebody is to be written to."""
    new = codes.NewCode(
        id=new_uuid7("sc"),
        browser_hash=browser,
        name_hash=name.encode(),
        code_hash=code,
        tries_left=5,
        address=address,
        expires_at=stage.clock.now() + timedelta(minutes=10),
    )
    return await stage.store.write(codes.add_code, new, name, stage.clock.now()) is not None


async def take(stage: Stage, browser: bytes = b"browser", code: bytes = b"code") -> str | None:
    user = await stage.store.write(codes.take_code, browser, code, stage.clock.now())
    return None if user is None else user.id


async def test_a_session_is_found_by_its_secret_until_it_is_over(stage: Stage) -> None:
    session = await begin(stage)
    found = await stage.store.read(sessions.find_session, SECRET, stage.clock.now())
    assert found is not None
    assert (found[0], found[1].id) == (session, ALICE)
    assert await stage.store.read(sessions.find_session, b"t" * 32, stage.clock.now()) is None
    assert await stage.store.read(sessions.find_session, SECRET, session.expires_at) is None


async def test_a_session_ends_for_its_user_alone(stage: Stage) -> None:
    session = await begin(stage)
    with pytest.raises(NotFound):
        await stage.store.write(sessions.remove_session, BOB, session.id)
    await stage.store.write(sessions.remove_session, ALICE, session.id)
    with pytest.raises(NotFound):
        await stage.store.write(sessions.remove_session, ALICE, session.id)


async def test_what_is_ended_in_one_process_is_over_in_the_others_at_once(stage: Stage, store_kind: str) -> None:
    if store_kind == "sqlite":
        pytest.skip("one process has the database")
    session = await begin(stage)
    other = await stage.reopen()
    try:
        assert await other.read(sessions.find_session, SECRET, stage.clock.now()) is not None
        await stage.store.write(sessions.remove_session, ALICE, session.id)
        assert await other.read(sessions.find_session, SECRET, stage.clock.now()) is None
    finally:
        await other.close()


async def test_a_changed_password_leaves_one_session_and_those_of_others(stage: Stage) -> None:
    kept = await begin(stage, b"1" * 32)
    await begin(stage, b"2" * 32)
    await begin(stage, b"3" * 32, user_id=BOB)
    await stage.store.write(sessions.change_password, ALICE, "hash", keep_session=kept.id)
    assert await stage.store.read(sessions.list_sessions, ALICE, stage.clock.now()) == [kept]
    assert len(await stage.store.read(sessions.list_sessions, BOB, stage.clock.now())) == 1
    await stage.store.write(sessions.change_password, BOB, "hash", keep_session=None)
    assert await stage.store.read(sessions.list_sessions, BOB, stage.clock.now()) == []


async def test_what_is_over_is_removed_in_steps(stage: Stage) -> None:
    for number in range(5):
        await begin(stage, bytes([number]) * 32, days=1)
    later = await begin(stage, b"x" * 32, days=30)
    await ask(stage, "alice")
    await stage.store.write(
        users.add_link, ALICE, b"link", expires_at=stage.clock.now() + timedelta(minutes=10), now=stage.clock.now()
    )
    at = stage.clock.now() + timedelta(days=2)
    counts = [await stage.store.write(sessions.remove_expired, at=at, limit=3) for _ in range(3)]
    assert counts == [3, 2, 0]
    assert await stage.store.read(sessions.list_sessions, ALICE, at) == [later]
    for table in (schema.sign_in_codes, schema.sign_in_links):
        assert await stage.count(table) == 0


async def test_a_code_signs_in_once_even_when_it_comes_many_times_at_once(stage: Stage) -> None:
    assert await ask(stage, "alice")
    taken = await asyncio.gather(*(take(stage) for _ in range(10)))
    assert sorted(taken, key=str) == [None] * 9 + [ALICE]


async def test_guesses_that_come_at_once_are_all_counted(stage: Stage) -> None:
    assert await ask(stage, "alice")
    assert set(await asyncio.gather(*(take(stage, code=b"wrong") for _ in range(10)))) == {None}
    assert await take(stage) is None


async def test_nobody_has_a_code_that_fits(stage: Stage) -> None:
    assert not await ask(stage, "nobody")
    assert await take(stage) is None


async def test_three_codes_a_name_and_a_user(stage: Stage) -> None:
    for name in ("alice", "nobody"):
        for number in range(3):
            assert await ask(stage, name, browser=b"%d" % number) is (name == "alice")
        with pytest.raises(TooMany):
            await ask(stage, name, browser=b"new")
    assert not await ask(stage, "alice@example.com")
    stage.clock.advance(600)
    assert await ask(stage, "alice")


async def test_codes_that_are_asked_for_at_once_are_all_counted(stage: Stage) -> None:
    asked = (ask(stage, "alice", browser=b"%d" % number) for number in range(10))
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert results.count(True) == 3
    assert sum(isinstance(result, TooMany) for result in results) == 7
