"""A browser without a screen: it keeps cookies, reads pages strictly, and sends forms with what they hold."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from xml.etree.ElementTree import Element

import html5lib
import httpx
from starlette.types import ASGIApp

from tests.api.conftest import PUBLIC_URL

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def parse(text: str) -> Element:
    """The page's tree. Raises ParseError for what is not right in HTML."""
    tree: Element = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(text)
    return tree


class Form:
    """A form of a page, as it would be sent."""

    def __init__(self, element: Element) -> None:
        self.method = element.get("method", "get")
        self.action = element.get("action", "")
        self.fields: dict[str, str] = {}
        for each in element.iter():
            name, value = each.get("name"), _value_of(each)
            if name and value is not None:
                self.fields[name] = value


def _value_of(field: Element) -> str | None:
    """What a field would send, None for nothing."""
    match field.tag:
        case "input" if field.get("type") in {"checkbox", "radio"}:
            return field.get("value", "on") if "checked" in field.attrib else None
        case "input":
            return field.get("value", "")
        case "textarea":
            return (field.text or "").removeprefix("\n")
        case "select":
            options = list(field.iter("option"))
            chosen = next((each for each in options if "selected" in each.attrib), options[0])
            return chosen.get("value", chosen.text or "")
        case _:
            return None


class Browser:
    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.answer = httpx.Response(204)

    async def open(self, path: str, **headers: str) -> httpx.Response:
        """Go to a page, and along redirects."""
        self.answer = await self.client.get(path, headers=headers, follow_redirects=True)
        return self.answer

    @property
    def page(self) -> Element:
        return parse(self.answer.text)

    @property
    def path(self) -> str:
        """Where the browser is."""
        return self.answer.url.raw_path.decode()

    @property
    def cookies(self) -> dict[str, str]:
        return dict(self.client.cookies)

    def forms(self) -> Iterator[Form]:
        return map(Form, self.page.iter("form"))

    def form(self, action: str) -> Form:
        return next(form for form in self.forms() if form.action == action and form.method == "post")

    async def submit(self, action: str, *, to: str | None = None, **fields: str) -> httpx.Response:
        """Fill in the form of the page that has this action, send it, and go along redirects.

        `to` is the address that a button of it has of its own.
        """
        sent = self.form(action).fields | fields
        self.answer = await self.client.post(
            to or action, data=sent, headers={"origin": PUBLIC_URL}, follow_redirects=True
        )
        return self.answer

    async def sign_in(self, name: str, password: str) -> httpx.Response:
        await self.open("/login")
        return await self.submit("/login", username=name, password=password)

    @property
    def text(self) -> str:
        """What the page shows, with single spaces."""
        return " ".join(" ".join(self.page.itertext()).split())


@asynccontextmanager
async def open_browser(app: ASGIApp, base_url: str = PUBLIC_URL) -> AsyncIterator[Browser]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url=base_url, headers={"user-agent": FIREFOX}) as client:
        yield Browser(client)
