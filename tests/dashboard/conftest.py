"""The pages over the same world as the API's: alice owns my-app, bob shares it, charlie is a stranger."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.api.conftest import World, anonymous, api, world
from tests.dashboard.browser import Browser, open_browser
from tests.dashboard.chromium import (
    PASSWORD,
    chromium,
    each_site,
    postgres_site,
    pytest_collection_modifyitems,
    site,
    watched,
    windows,
)
from tests.dashboard.sample import Sample

__all__ = [
    "anonymous",
    "api",
    "chromium",
    "each_site",
    "postgres_site",
    "pytest_collection_modifyitems",
    "site",
    "watched",
    "windows",
    "world",
]


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sample]:
    """A site in which everything is there once: tests look at it, and change nothing in it."""
    sample = Sample(tmp_path_factory.mktemp("sample"))
    sample.build()
    yield sample
    sample.end()


@pytest.fixture
async def browser(world: World) -> AsyncIterator[Browser]:
    """Somebody's browser, in which nobody is signed in."""
    async with open_browser(world.api) as browser:
        yield browser


@pytest.fixture
async def alice(world: World) -> AsyncIterator[Browser]:
    """A browser in which alice is signed in; she has a password."""
    await world.verbs.accounts.set_password(world.users["alice"], PASSWORD)
    async with open_browser(world.api) as browser:
        await browser.sign_in("alice", PASSWORD)
        yield browser


@pytest.fixture
async def limited(world: World) -> AsyncIterator[Browser]:
    """A browser of charlie's, who may look at my-app and test its notifiers, and change nothing."""
    await world.verbs.apps.add_collaborator(world.users["alice"], world.app, "charlie@example.com", is_limited=True)
    await world.verbs.accounts.set_password(world.users["charlie"], PASSWORD)
    async with open_browser(world.api) as browser:
        await browser.sign_in("charlie", PASSWORD)
        yield browser
