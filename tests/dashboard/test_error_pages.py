"""What readers of pages are shown when something is wrong: a page, never what went on inside."""

from typing import Any

import httpx
import pytest

from tests.api.conftest import PUBLIC_URL, World
from tests.dashboard.browser import Browser
from tests.dashboard.test_pages import HTML, check_headers


@pytest.mark.parametrize("path", ["/account/password", "/logout"])
async def test_an_address_that_takes_forms_alone_says_so(alice: Browser, path: str) -> None:
    answer = await alice.open(path, accept=HTML)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert "This address takes forms alone" in alice.text
    assert "alice" in alice.text, "she is still signed in"
    check_headers(alice)
    await alice.open(path, accept=HTML, **{"accept-language": "fr"})
    assert "Cette adresse ne prend que des formulaires" in alice.text


async def test_a_form_sent_to_a_page_that_takes_none_is_answered_with_a_page(alice: Browser) -> None:
    answer = await alice.client.post("/account", headers={"accept": HTML, "origin": PUBLIC_URL})
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(("path", "accept"), [("/logout", "*/*"), ("/v1/apps/my-app/rename", HTML)])
async def test_other_clients_are_told_in_json_what_an_address_takes(
    anonymous: httpx.AsyncClient, path: str, accept: str
) -> None:
    answer = await anonymous.get(path, headers={"accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (405, "application/json")
    assert "POST" in answer.json()["error"]


async def test_of_a_crash_nothing_is_shown_but_a_page(
    world: World, alice: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crash(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("what only the log should tell")

    monkeypatch.setattr(world.verbs.tokens, "list", crash)
    answer = await alice.open("/account/tokens", accept=HTML)
    assert answer.status_code == 500
    assert "Something went wrong on the server" in alice.text
    assert "alice" in alice.text
    assert not {"ZeroDivisionError", "Traceback", "only the log"} & set(alice.text.split())
    assert "what only" not in answer.text
    assert answer.headers["x-request-id"]
    check_headers(alice)
    api = await alice.client.get("/v1/tokens", headers=world.bearer("alice") | {"accept": HTML})
    assert (api.status_code, api.headers["content-type"]) == (500, "application/json")
