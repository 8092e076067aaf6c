"""Pages that keep up, over a real server: a stream tells that what a page shows has changed, and nothing more."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from shutil import copy

import httpx
import pytest

from tests.api.conftest import World
from tests.api.listening import serving, until
from tests.api.sent import add_hook, fail
from tests.dashboard.browser import Browser, open_browser
from tests.dashboard.chromium import Site
from tests.dashboard.conftest import PASSWORD
from tests.dashboard.test_deliveries import LOG, delivery, report
from tocsin.dashboard import live
from tocsin.dashboard.live import Streams
from tocsin.model import Notifier
from tocsin.server import REQUEST_PATIENCE_SECONDS

LIVE = f"{LOG}/live"


@pytest.fixture
async def notifier(world: World) -> Notifier:
    return await add_hook(world)


@pytest.fixture
async def streams(world: World) -> AsyncIterator[Streams]:
    streams = world.api.state.streams = Streams(pace_seconds=0.01)
    yield streams
    streams.close()


@pytest.fixture
async def listener(world: World, alice: Browser, streams: Streams) -> AsyncIterator[httpx.AsyncClient]:
    """Alice's browser, on a socket."""
    async with serving(world.api) as served:
        url = f"http://127.0.0.1:{served.port}"
        async with httpx.AsyncClient(base_url=url, cookies=alice.cookies, timeout=20, trust_env=False) as client:
            yield client


class Told:
    """What a stream says, message by message."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._lines = answer.aiter_lines()

    async def message(self) -> str:
        """The next one, without its last line, which is empty; an empty text when there are no more."""
        lines: list[str] = []
        async for line in self._lines:
            if not line:
                break
            lines.append(line)
        return "\n".join(lines)

    async def until(self, digest: str) -> None:
        """Read until that change is told: what happens in steps may be told in steps."""
        while (message := await self.message()) != changed(digest):
            assert message.startswith("event: changed"), message


@asynccontextmanager
async def following(client: httpx.AsyncClient, path: str = LIVE, **headers: str) -> AsyncIterator[Told]:
    async with client.stream("GET", path, headers=headers) as answer:
        assert answer.status_code == 200, answer.headers
        told = Told(answer)
        assert await told.message() == "retry: 3000"
        yield told


async def seen_on(browser: Browser, path: str = LOG) -> str:
    """The digest of what a page shows."""
    await browser.open(path)
    [seen] = [each.get("data-seen", "") for each in browser.page.iter() if "data-live" in each.attrib]
    return seen


def changed(digest: str) -> str:
    return f"event: changed\nid: {digest}\ndata: {digest}"


async def test_a_change_is_told_once_it_is_there(
    world: World, alice: Browser, listener: httpx.AsyncClient, notifier: Notifier
) -> None:
    await report(world)
    seen = await seen_on(alice)
    async with following(listener, f"{LIVE}?seen={seen}") as told:
        await fail(world, notifier)
        now = await seen_on(alice)
        assert now != seen
        await told.until(now)
        await report(world)
        await told.until(await seen_on(alice))


async def test_one_delivery_is_followed_too(
    world: World, alice: Browser, listener: httpx.AsyncClient, notifier: Notifier
) -> None:
    await report(world)
    path = f"{LOG}/{(await delivery(world)).id}"
    async with following(listener, f"{path}/live?seen={await seen_on(alice, path)}") as told:
        await fail(world, notifier)
        await told.until(await seen_on(alice, path))


async def test_what_is_filtered_out_is_not_told(
    world: World, alice: Browser, listener: httpx.AsyncClient, notifier: Notifier
) -> None:
    seen = await seen_on(alice, f"{LOG}?state=failed")
    async with following(listener, f"{LIVE}?state=failed&seen={seen}") as told:
        await report(world)
        await report(world)
        await fail(world, notifier)
        assert await told.message() == changed(await seen_on(alice, f"{LOG}?state=failed"))


async def test_what_was_missed_between_the_page_and_the_stream_is_told_at_once(
    world: World, alice: Browser, listener: httpx.AsyncClient, notifier: Notifier
) -> None:
    seen = await seen_on(alice)
    await report(world)
    now = await seen_on(alice)
    async with following(listener, f"{LIVE}?seen={seen}") as told:
        assert await told.message() == changed(now)
    # A browser that comes back tells what it heard last.
    async with following(listener, f"{LIVE}?seen={seen}", **{"last-event-id": now}) as told:
        await fail(world, notifier)
        await told.until(await seen_on(alice))


async def test_nobody_keeps_a_stream_back(listener: httpx.AsyncClient) -> None:
    async with following(listener) as told:
        headers = told.answer.headers
        assert headers["content-type"].startswith("text/event-stream")
        assert headers["cache-control"] == "no-store"
        assert headers["x-accel-buffering"] == "no"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


async def test_a_silent_stream_shows_that_it_is_there(
    world: World, alice: Browser, listener: httpx.AsyncClient
) -> None:
    world.api.state.streams = Streams(pace_seconds=0.01, heartbeat_seconds=0.02)
    async with following(listener, f"{LIVE}?seen={await seen_on(alice)}") as told:
        assert [await told.message() for _ in range(2)] == [": nothing new"] * 2
    world.api.state.streams.close()


class TestTheEnd:
    async def test_with_the_session(self, world: World, alice: Browser, listener: httpx.AsyncClient) -> None:
        user = world.users["alice"]
        async with following(listener, f"{LIVE}?seen={await seen_on(alice)}") as told:
            for session in await world.verbs.sessions.list(user):
                await world.verbs.sessions.end(user, session.id)
            assert await told.message() == ""
        assert (await listener.get(LIVE)).status_code == 303

    async def test_with_the_right_to_see_the_app(
        self, world: World, listener: httpx.AsyncClient, streams: Streams
    ) -> None:
        await world.verbs.accounts.set_password(world.users["bob"], PASSWORD)
        async with open_browser(world.api) as bob:
            await bob.sign_in("bob", PASSWORD)
            seen = await seen_on(bob)
            listener.cookies = httpx.Cookies(bob.cookies)
        [collaborator] = await world.verbs.apps.list_collaborators(world.app)
        async with following(listener, f"{LIVE}?seen={seen}") as told:
            await world.verbs.apps.remove_collaborator(world.users["alice"], world.app, collaborator.id, is_owner=True)
            assert await told.message() == ""
        await until(lambda: streams.count == 0)

    async def test_after_a_while(self, world: World, listener: httpx.AsyncClient) -> None:
        world.api.state.streams = Streams(pace_seconds=0.01, lifetime_seconds=0)
        async with following(listener) as told:
            assert await told.message() == ""

    async def test_with_the_process(self, alice: Browser, listener: httpx.AsyncClient, streams: Streams) -> None:
        async with following(listener, f"{LIVE}?seen={await seen_on(alice)}") as told:
            streams.close()
            assert await told.message() == ""

    async def test_of_those_who_leave(self, listener: httpx.AsyncClient, streams: Streams) -> None:
        async with following(listener):
            assert streams.count == 1
        await until(lambda: streams.count == 0)


async def test_streams_are_bounded(
    listener: httpx.AsyncClient, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MAX_OF_USER", 1)
    async with following(listener):
        refused = await listener.get(LIVE)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        monkeypatch.setattr(live, "MAX_OF_USER", 2)
        monkeypatch.setattr(live, "MAX_STREAMS", 1)
        refused = await listener.get(LIVE)
        assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
    await until(lambda: streams.count == 0)
    async with following(listener):
        assert streams.count == 1


async def test_listening_is_no_use_of_a_session(world: World, alice: Browser, listener: httpx.AsyncClient) -> None:
    seen = await seen_on(alice)
    async with following(listener, f"{LIVE}?seen={seen}") as told:
        [before] = await world.verbs.sessions.list(world.users["alice"])
        world.clock.advance(timedelta(hours=1))
        await add_hook(world)
        await report(world)
        assert (await told.message()).startswith("event: changed")
        assert await world.verbs.sessions.list(world.users["alice"]) == [before]


async def test_a_server_that_stops_waits_for_no_listener(tmp_path: Path, migrated_sqlite: Path) -> None:
    copy(migrated_sqlite, tmp_path / "tocsin.db")
    site = Site(tmp_path)
    await asyncio.to_thread(site.start)
    try:
        app = await asyncio.to_thread(site.add_app)
        async with httpx.AsyncClient(base_url=site.url, timeout=20, trust_env=False) as client:
            form = (await client.get("/login")).text
            token = form.partition('name="form_token" value="')[2].partition('"')[0]
            await client.post("/login", data={"username": "alice", "password": PASSWORD, "form_token": token})
            async with following(client, f"/apps/{app}/deliveries/live") as told:
                began_at = time.monotonic()
                [process] = site.installation.processes
                assert await asyncio.to_thread(process.stop) == 0
                assert time.monotonic() - began_at < REQUEST_PATIENCE_SECONDS / 2
                while await told.message():
                    pass
    finally:
        await asyncio.to_thread(site.end)
