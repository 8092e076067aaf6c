"""Users and what signs them in, where no route does it yet: through the verbs."""

import asyncio
import string
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.accounts import check_email
from tocsin.apps import check_app_name
from tocsin.errors import InvalidInput, NotAuthenticated, NotFound

HERE = "192.0.2.1"


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"username": "alice"}, {"username": ["is already taken"]}),
        ({"email": "ALICE@example.com"}, {"email": ["is already taken"]}),
        ({"username": ""}, {"username": ["must be 1 to 63 letters, digits, dots, dashes or underscores"]}),
        ({"username": "a b"}, {"username": ["must be 1 to 63 letters, digits, dots, dashes or underscores"]}),
        ({"email": "dora"}, {"email": ["must be an e-mail address such as alice@example.com"]}),
        ({"email": "dora@x\r\nBcc: y@z"}, {"email": ["must be an e-mail address such as alice@example.com"]}),
        ({"fullname": "x\ny"}, {"fullname": ["must be at most 200 printable characters"]}),
        ({"password": "short"}, {"password": ["must have 8 to 1024 characters"]}),
    ],
)
async def test_a_user_that_cannot_be_is_refused_by_field(world, changes, fields):
    values = {"username": "dora", "email": "dora@example.com"} | changes
    with pytest.raises(InvalidInput) as caught:
        await world.verbs.accounts.add_user(**values)
    assert caught.value.fields == fields


async def test_a_user_is_found_by_name_or_address(world):
    accounts = world.verbs.accounts
    assert await accounts.get_user("alice") == await accounts.get_user("Alice@example.com") == world.users["alice"]
    with pytest.raises(NotFound):
        await accounts.get_user("nobody")


async def test_a_password_signs_in_until_it_is_changed(world):
    accounts = world.verbs.accounts
    dora = await accounts.add_user(username="dora", email="dora@example.com", password="first password")
    assert await accounts.sign_in("dora", "first password", address=HERE) == dora
    await accounts.set_password(dora, "second password")
    assert await accounts.sign_in("dora@example.com", "second password", address=HERE) == dora
    for name, password in (("dora", "first password"), ("dora", ""), ("dora", "x" * 5000), ("nobody", "x")):
        with pytest.raises(NotAuthenticated):
            await accounts.sign_in(name, password, address=HERE)


async def test_a_link_signs_in_once(world):
    accounts = world.verbs.accounts
    secret = await accounts.add_link(world.users["bob"])
    taken = await asyncio.gather(*(accounts.take_link(secret) for _ in range(3)), return_exceptions=True)
    assert [one for one in taken if not isinstance(one, NotAuthenticated)] == [world.users["bob"]]


async def test_a_link_ends_after_ten_minutes(world):
    accounts = world.verbs.accounts
    secret = await accounts.add_link(world.users["bob"])
    world.clock.advance(timedelta(minutes=10))
    with pytest.raises(NotAuthenticated):
        await accounts.take_link(secret)


async def test_who_asks_is_kept_for_five_seconds(world):
    tokens = world.verbs.tokens
    header = world.bearer("alice")["authorization"]
    first = await tokens.authenticate(header, address=HERE)
    assert await tokens.authenticate(header, address=HERE) is first
    world.clock.advance(5)
    again = await tokens.authenticate(header, address=HERE)
    assert again == first
    assert again is not first


async def test_a_token_that_is_removed_while_it_is_looked_up_is_not_kept(world):
    tokens = world.verbs.tokens
    header = world.bearer("alice")["authorization"]
    [token] = await tokens.list(world.users["alice"])
    await asyncio.gather(
        tokens.authenticate(header, address=HERE), tokens.remove(world.users["alice"], token.id), return_exceptions=True
    )
    with pytest.raises(NotAuthenticated):
        await tokens.authenticate(header, address=HERE)


async def test_secrets_of_tokens_and_links_are_not_stored(world, tmp_path):
    link = await world.verbs.accounts.add_link(world.users["bob"])
    await world.store.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"alice@example.com" in stored
    assert link.encode() not in stored
    assert all(secret.encode() not in stored for secret in world.secrets.values())


@given(st.text(max_size=60) | st.from_regex(r"[a-z][a-z0-9-]{1,47}", fullmatch=True))
def test_an_app_name_is_safe_in_an_address_or_refused(name):
    try:
        check_app_name(name, "name")
    except InvalidInput:
        return
    assert 2 <= len(name) <= 48
    assert set(name) <= set(string.ascii_lowercase + string.digits + "-")
    assert not (len(name) == 24 and set(name) <= set(string.hexdigits))


@given(st.text(max_size=40) | st.emails())
def test_an_address_has_no_room_for_other_headers(email):
    try:
        check_email(email)
    except InvalidInput:
        return
    assert email.count("@") == 1
    assert not any(character in email for character in "\r\n\0 <>,;")
