"""What routes get by dependency: the verbs, who asks, which app, which page."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request, Security
from fastapi.security import HTTPBearer, SecurityScopes
from pydantic import BaseModel, ConfigDict

from tocsin.access import Access, Principal, Right
from tocsin.api.callers import authenticate
from tocsin.errors import InvalidInput
from tocsin.model import App, User
from tocsin.verbs import Verbs

MAX_PER_PAGE = 100
DEFAULT_PER_PAGE = 20

# An offset beyond what the databases take (signed 64 bits) would fail in them; no list is as long as this.
MAX_PAGE = 1_000_000_000

BEARER = HTTPBearer(
    auto_error=False,
    scheme_name="bearer",
    description="An API token (`tk-us-...`), or the JWT that `POST /v1/tokens/exchange` gives for one.",
)


def get_verbs(request: Request) -> Verbs:
    verbs: Verbs = request.app.state.verbs
    return verbs


VerbsOf = Annotated[Verbs, Depends(get_verbs)]


async def get_principal(
    rights: SecurityScopes, request: Request, verbs: VerbsOf, _: Annotated[Any, Security(BEARER)]
) -> Principal:
    """Who asks, and with which token.

    Raises NotAuthenticated, TooMany, or NotAllowed when the token lacks a right.
    """
    principal = await authenticate(request, verbs)
    for right in rights.scopes:
        principal.require(Right(right))
    return principal


CurrentPrincipal = Annotated[Principal, Depends(get_principal)]


async def get_user(principal: CurrentPrincipal) -> User:
    return principal.user


ListsApps = Annotated[Principal, Security(get_principal, scopes=[Right.APPS_READ])]
MakesApps = Annotated[Principal, Security(get_principal, scopes=[Right.APPS_WRITE])]
ListsEvents = Annotated[Principal, Security(get_principal, scopes=[Right.EVENTS_READ])]

CurrentUser = Annotated[User, Depends(get_user)]
OwnAccount = Annotated[User, Security(get_user, scopes=[Right.ACCOUNT])]
"""Who asks, with a token that is not limited."""

AppRef = Annotated[str, Path(description="The app's id or its name.", examples=["my-app"])]


async def get_access(rights: SecurityScopes, app: AppRef, principal: CurrentPrincipal, verbs: VerbsOf) -> Access:
    """The app that the path names by id or name, and what who asks is to it.

    Raises NotFound when there is none, or not for them, and NotAllowed when they may not do what is asked for.
    """
    access = await verbs.apps.get_access(principal, app)
    for right in rights.scopes:
        access.require(Right(right))
    return access


CurrentAccess = Annotated[Access, Depends(get_access)]


async def get_app(access: CurrentAccess) -> App:
    return access.app


# The app of a route, for whoever has the right that the name says: every route below an app takes one of these, and
# the OpenAPI document shows which.
ReadsApp = Annotated[App, Security(get_app, scopes=[Right.APPS_READ])]
WritesApp = Annotated[App, Security(get_app, scopes=[Right.APPS_WRITE])]
ReadsVariables = Annotated[App, Security(get_app, scopes=[Right.VARIABLES_READ])]
WritesVariables = Annotated[App, Security(get_app, scopes=[Right.VARIABLES_WRITE])]
ReadsNotifiers = Annotated[App, Security(get_app, scopes=[Right.NOTIFIERS_READ])]
TestsNotifiers = Annotated[App, Security(get_app, scopes=[Right.NOTIFIERS_TEST])]
WritesNotifiers = Annotated[App, Security(get_app, scopes=[Right.NOTIFIERS_WRITE])]
ReadsSecrets = Annotated[App, Security(get_app, scopes=[Right.SECRETS_READ])]
ReadsEvents = Annotated[App, Security(get_app, scopes=[Right.EVENTS_READ])]
ReadsAudit = Annotated[App, Security(get_app, scopes=[Right.AUDIT_READ])]
ReadsDeliveries = Annotated[App, Security(get_app, scopes=[Right.DELIVERIES_READ])]
WritesDeliveries = Annotated[App, Security(get_app, scopes=[Right.DELIVERIES_WRITE])]


@dataclass(frozen=True)
class PageQuery:
    """Which part of a list is asked for; `number` counts from 1."""

    number: int
    size: int

    @property
    def limit(self) -> int:
        return self.size

    @property
    def offset(self) -> int:
        return (self.number - 1) * self.size


def get_page(
    page: Annotated[int, Query(description="Which page, from 1.", examples=[1])] = 1,
    per_page: Annotated[
        int, Query(description=f"How many on a page, 1 to {MAX_PER_PAGE}; more is cut to that.", examples=[20])
    ] = DEFAULT_PER_PAGE,
) -> PageQuery:
    """The page asked for; 0, which the Go client sends for "not given", stands for the usual one."""
    for name, value in (("page", page), ("per_page", per_page)):
        if value < 0:
            raise InvalidInput({name: ["must be at least 1"]})
    return PageQuery(number=min(page or 1, MAX_PAGE), size=min(per_page or DEFAULT_PER_PAGE, MAX_PER_PAGE))


Page = Annotated[PageQuery, Depends(get_page)]


class Pagination(BaseModel):
    """Where a page stands in its list; `prev_page` and `next_page` are null at the ends."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"current_page": 1, "prev_page": None, "next_page": 2, "total_pages": 3, "total_count": 42}]
        }
    )

    current_page: int
    prev_page: int | None
    next_page: int | None
    total_pages: int
    total_count: int


class Meta(BaseModel):
    pagination: Pagination


def pagination(page: PageQuery, total: int) -> Meta:
    """The `meta` of a page of a list with so many entries."""
    total_pages = max(1, -(-total // page.size))
    return Meta(
        pagination=Pagination(
            current_page=page.number,
            prev_page=page.number - 1 if 1 < page.number <= total_pages + 1 else None,
            next_page=page.number + 1 if page.number < total_pages else None,
            total_pages=total_pages,
            total_count=total,
        )
    )


@dataclass(frozen=True, kw_only=True)
class Site:
    """How this server presents itself: its public address without a trailing slash, and its region's name."""

    public_url: str
    region: str


def get_site(request: Request) -> Site:
    site: Site = request.app.state.site
    return site


SiteOf = Annotated[Site, Depends(get_site)]
