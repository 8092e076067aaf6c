"""The front page: what this is, whether it is ready, and where to go."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, Response

from tocsin import __version__
from tocsin.api.context import SiteOf
from tocsin.api.pages import Pages

router = APIRouter(include_in_schema=False)

STYLESHEET_SECONDS = 3600


def get_pages(request: Request) -> Pages:
    pages: Pages = request.app.state.pages
    return pages


PagesOf = Annotated[Pages, Depends(get_pages)]


@router.get("/")
async def show_status(request: Request, pages: PagesOf, site: SiteOf) -> HTMLResponse:
    problems: dict[str, Any] = dict(await request.app.state.readiness())
    return pages.show("status.html", version=__version__, site=site, problems=problems)


@router.get("/assets/style.css")
async def get_stylesheet(pages: PagesOf) -> Response:
    return Response(
        pages.stylesheet, media_type="text/css", headers={"cache-control": f"public, max-age={STYLESHEET_SECONDS}"}
    )
