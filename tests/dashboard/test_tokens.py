"""A user's API tokens on pages: made and shown once, renewed, revoked."""

import re
from urllib.parse import urlencode

from tests.api.conftest import World
from tests.dashboard.browser import Browser, open_browser
from tests.dashboard.conftest import PASSWORD
from tocsin.tokens import TokenWish

SECRET = re.compile(r"tk-us-[\w-]+")


async def make(alice: Browser, **fields: str) -> str:
    """Make a token by the form; gives its secret."""
    await alice.open("/account/tokens")
    await alice.submit("/account/tokens", **fields)
    assert alice.answer.status_code == 200, alice.text
    [secret] = set(SECRET.findall(alice.text))
    return secret


async def status_of(world: World, secret: str, path: str = "/v1/users/self") -> int:
    async with open_browser(world.api) as program:
        answer = await program.client.get(path, headers={"authorization": f"Bearer {secret}"})
        return answer.status_code


async def test_a_token_is_made_and_shown_this_once(world: World, alice: Browser) -> None:
    secret = await make(alice, name="deploy script")
    assert await status_of(world, secret) == 200
    await alice.open("/account/tokens")
    assert "deploy script" in alice.text
    assert not SECRET.search(alice.answer.text)
    assert alice.answer.headers["cache-control"] == "no-store"


async def test_a_token_can_be_limited(world: World, alice: Browser) -> None:
    await alice.open("/account/tokens")
    fields = alice.form("/account/tokens").fields | {"name": "narrow", "lifetime": "30", "apps": "my-app"}
    fields |= {"reach": "some"}
    body = urlencode(fields | {"scopes": ["apps:read", "events:read"]}, doseq=True)
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = await alice.client.post("/account/tokens", content=body, headers=headers)
    [secret] = set(SECRET.findall(answer.text))
    assert await status_of(world, secret, "/v1/apps/my-app") == 200
    assert await status_of(world, secret, "/v1/apps/my-app/notifiers") == 403
    token = (await world.verbs.tokens.list(world.users["alice"]))[-1]
    assert token.app_ids == (world.app.id,)
    assert token.scopes == ("apps:read", "events:read")
    assert token.expires_at is not None


async def test_what_is_wrong_stands_at_its_field_and_nothing_typed_is_lost(alice: Browser) -> None:
    await alice.open("/account/tokens")
    await alice.submit("/account/tokens", name=" ", apps="my-app no-such-app", lifetime="90")
    assert alice.answer.status_code == 422
    assert "is required" in alice.text
    assert "has no app of yours: 'no-such-app'" in alice.text
    form = alice.form("/account/tokens")
    assert form.fields["apps"] == "my-app no-such-app"
    assert '<option value="90" selected>' in alice.answer.text


async def test_an_odd_lifetime_or_no_scope_is_refused(alice: Browser) -> None:
    for fields in ({"lifetime": "100000000000"}, {"lifetime": "-1"}, {"reach": "some", "scopes": "all"}):
        await alice.open("/account/tokens")
        await alice.submit("/account/tokens", name="odd", **fields)
        assert alice.answer.status_code == 422


async def test_a_token_is_revoked_after_a_question(world: World, alice: Browser) -> None:
    secret = await make(alice, name="old laptop")
    token = (await world.verbs.tokens.list(world.users["alice"]))[-1]
    await alice.open(f"/account/tokens/{token.id}/revoke")
    assert "Revoke old laptop?" in alice.text
    assert await status_of(world, secret) == 200
    await alice.submit(f"/account/tokens/{token.id}/revoke")
    assert "The token was revoked" in alice.text
    assert "old laptop" not in alice.text
    assert await status_of(world, secret) == 401


async def test_a_renewed_token_has_another_secret(world: World, alice: Browser) -> None:
    secret = await make(alice, name="robot")
    token = (await world.verbs.tokens.list(world.users["alice"]))[-1]
    await alice.open(f"/account/tokens/{token.id}/renew")
    await alice.submit(f"/account/tokens/{token.id}/renew")
    [renewed] = set(SECRET.findall(alice.text))
    assert renewed != secret
    assert (await status_of(world, secret), await status_of(world, renewed)) == (401, 200)


async def test_tokens_of_others_are_out_of_reach(world: World, alice: Browser) -> None:
    theirs = (await world.verbs.tokens.add(world.users["bob"], TokenWish(name="bob's"))).token
    for what in ("revoke", "renew"):
        assert (await alice.open(f"/account/tokens/{theirs.id}/{what}")).status_code == 404
        await alice.open("/account/tokens")
        token = {"form_token": alice.form("/account/tokens").fields["form_token"]}
        answer = await alice.client.post(f"/account/tokens/{theirs.id}/{what}", data=token)
        assert answer.status_code == 404
    assert theirs in await world.verbs.tokens.list(world.users["bob"])


async def test_many_tokens_stand_on_several_pages(world: World, alice: Browser) -> None:
    for number in range(30):
        await world.verbs.tokens.add(world.users["alice"], TokenWish(name=f"number {number:02}"))
    await alice.open("/account/tokens")
    assert "number 29" in alice.text
    assert "number 00" not in alice.text
    await alice.open("/account/tokens?skip=25")
    assert "number 00" in alice.text
    assert (await alice.open("/account/tokens?skip=-1")).status_code == 404


async def test_how_pages_are_read_is_kept(world: World, alice: Browser) -> None:
    await alice.open("/account")
    assert "Times are in UTC." in alice.text
    await alice.submit("/account/reading", language="fr", time_zone="Asia/Kolkata")
    assert "Enregistré." in alice.text
    assert "Les heures sont celles de Asia/Kolkata." in alice.text
    async with open_browser(world.api) as other:
        other.client.headers["accept-language"] = "en"
        await other.sign_in("alice", PASSWORD)
        await other.open("/account")
        assert other.page.get("lang") == "fr"
    await alice.submit("/account/reading", language="", time_zone="")
    assert "Times are in UTC." in alice.text


async def test_a_language_or_zone_that_is_not_offered_is_refused(alice: Browser) -> None:
    for fields in ({"language": "de"}, {"time_zone": "Mars/Olympus"}, {"time_zone": "../../etc/passwd"}):
        await alice.open("/account")
        await alice.submit("/account/reading", **({"language": "", "time_zone": ""} | fields))
        assert alice.answer.status_code == 422
