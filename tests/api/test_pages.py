from html.parser import HTMLParser

import pytest

from tests.api.conftest import PUBLIC_URL
from tocsin import __version__

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Outline(HTMLParser):
    """The elements of a page, checked to be closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.names: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        found = dict(attrs)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found[name] for name in ("href", "src") if name in found]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_a_page_is_whole_and_needs_nothing_from_elsewhere(anonymous, path):
    answer = await anonymous.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = Outline(answer.text)
    assert page.open == []
    assert "script" not in page.names
    assert "style=" not in answer.text
    assert len(page.ids) == len(set(page.ids))
    assert all(link.startswith(("/", "#")) for link in page.links)
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
        else:
            assert (await anonymous.get(link)).status_code == 200


async def test_the_front_page_says_where_to_go_and_whether_it_is_ready(anonymous, world):
    text = (await anonymous.get("/")).text
    assert __version__ in text
    assert f"{PUBLIC_URL}/v1" in text
    assert "Ready" in text
    world.problems["database"] = "the disk is <full>"
    text = (await anonymous.get("/")).text
    assert "Not ready" in text
    assert "the disk is &lt;full&gt;" in text


async def test_the_reference_shows_every_operation_of_the_document(anonymous):
    document = (await anonymous.get("/openapi.json")).json()
    page = Outline((await anonymous.get("/docs")).text)
    ids = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    assert len(ids) == len(set(ids))
    assert set(ids) <= set(page.ids)


async def test_the_reference_shows_how_to_make_a_request(anonymous):
    text = (await anonymous.get("/docs")).text
    assert "curl -X POST" in text
    assert f"{PUBLIC_URL}/v1/apps/my-app/collaborators" in text
    assert "{&#34;app&#34;:{&#34;name&#34;:&#34;my-app&#34;}}" in text


@pytest.mark.parametrize(
    ("operation", "told"),
    [
        ("rotate_secret", "Scope: <code>notifiers:write</code>"),
        ("list_deliveries", "Scope: <code>deliveries:read</code>"),
        ("list_tokens", "Takes a token that is not limited."),
    ],
)
async def test_the_reference_says_what_each_operation_takes(anonymous, operation, told):
    text = (await anonymous.get("/docs")).text
    article = text.partition(f'<article id="{operation}">')[2].partition("</article>")[0]
    assert told in article


async def test_health_is_told_in_json(anonymous, world):
    assert (await anonymous.get("/livez")).json() == {"status": "ok", "problems": {}, "notes": {}}
    ready = await anonymous.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"status": "ok", "problems": {}, "notes": {}})
    world.problems["schema"] = "run tocsin migrate"
    unready = await anonymous.get("/readyz")
    assert unready.status_code == 503
    assert unready.json() == {"status": "unavailable", "problems": {"schema": "run tocsin migrate"}, "notes": {}}
    assert (await anonymous.get("/livez")).status_code == 200


async def test_the_region_is_this_server(anonymous):
    answer = await anonymous.get("/v1/regions?")
    assert answer.status_code == 200
    assert list(answer.json()) == ["regions"]
    [region] = answer.json()["regions"]
    assert region["name"] == "osc-fr1"
    assert region["api"] == region["database_api"] == PUBLIC_URL
    assert region["default"] is True


async def test_an_admin_is_not_flagged_to_clients(admin, world):
    answer = await admin.get("/v1/users/self")
    user = world.users["admin"]
    assert answer.json() == {
        "user": {"id": user.id, "username": "admin", "email": "admin@example.com", "fullname": "", "flags": {}}
    }
