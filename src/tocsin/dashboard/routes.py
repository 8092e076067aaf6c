"""How a page is answered: with its visit, after the check of its form, and its errors as pages."""

from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from tocsin.api.answers import CRASH_PAGE
from tocsin.api.problems import answer, answer_http
from tocsin.dashboard.forms import read_form, refuse_foreign
from tocsin.dashboard.visit import Visit
from tocsin.errors import NotAuthenticated, NotFound, StoreError, TocsinError, TooMany

SAFE_METHODS = frozenset({"GET", "HEAD"})
EXPLAINED = frozenset({403, 404, 405, 429, 503})
"""Statuses whose pages have words of their own."""


class PageRoute(APIRoute):
    """Whatever is not GET must be one of our own forms, sent from where it was drawn: no route can forget to ask."""

    takes_foreign_forms = False

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def respond(request: Request) -> Response:
            visit = Visit(request)
            request.state.visit = visit
            try:
                await visit.arrive()
                if request.method not in SAFE_METHODS and not self.takes_foreign_forms:
                    visit.form = await read_form(request)
                    refuse_foreign(request, visit)
                response = await handle(request)
            except TocsinError as error:
                response = show_error(visit, request, error)
            except RequestValidationError:
                response = show_error(visit, request, NotFound("page"))
            except Exception:
                show_crash(visit, request)
                raise
            visit.leave(response)
            return response

        return respond


class OpenRoute(PageRoute):
    """A page whose address is the permission, for forms that are sent from anywhere."""

    takes_foreign_forms = True


def page_router() -> APIRouter:
    """A router of pages; they are no part of the API's description."""
    return APIRouter(include_in_schema=False, route_class=PageRoute)


def show_error(visit: Visit, request: Request, error: TocsinError) -> Response:
    """An error as a page, with the status and the headers that it has in the API; who has to sign in is sent there."""
    if isinstance(error, NotAuthenticated):
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return visit.go(f"/login?next={quote(target)}" if request.method in SAFE_METHODS else "/login")
    plain = answer(error)
    status = plain.status_code
    text = None
    if isinstance(error, TooMany):
        text = visit.words("error.429.text", seconds=error.wait_seconds)
    elif status < 500 and not isinstance(error, NotFound):
        text = visit.words.sentence(error.message)
    kind = str(status) if status in EXPLAINED else "other"
    response = visit.show("error.html", status=status, kind=kind, text=text)
    if "retry-after" in plain.headers:
        response.headers["retry-after"] = plain.headers["retry-after"]
    return response


def show_crash(visit: Visit, request: Request) -> None:
    """Leave a page for whoever logs the bug that was met, and answers. Nothing of it is shown."""
    page = visit.show("error.html", status=500, kind="other", text=None)
    visit.leave(page)
    setattr(request.state, CRASH_PAGE, page)


def add_error_pages(app: FastAPI) -> None:
    """Show whoever reads pages one for an address where there is nothing, or that does not take what was sent.

    Others get the API's answer.
    """
    app.add_exception_handler(HTTPException, _answer_http)


async def _answer_http(request: Request, error: Exception) -> Response:
    plain = await answer_http(request, error)
    is_read = "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/v1/")
    if not is_read or plain.status_code not in {404, 405}:
        return plain
    visit = Visit(request)
    try:
        await visit.arrive()
    except StoreError as failure:
        return show_error(visit, request, failure)
    page = visit.show("error.html", status=plain.status_code, kind=str(plain.status_code), text=None)
    if "allow" in plain.headers:
        page.headers["allow"] = plain.headers["allow"]
    return page
