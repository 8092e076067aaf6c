"""Apps as existing clients know them: much of an app's life happens elsewhere, so that many fields stand still."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from pydantic import BaseModel

from tocsin.api.bodies import Sent, described_body, read_body
from tocsin.api.context import CurrentUser, ListsApps, MakesApps, ReadsApp, Site, SiteOf, VerbsOf, WritesApp
from tocsin.api.problems import AS_USER, IN_APP, WITH_BODY, answers
from tocsin.dates import format_instant
from tocsin.errors import InvalidInput
from tocsin.ids import derived_hex_id
from tocsin.model import App

router = APIRouter(tags=["Apps"])

STACK_ID = derived_hex_id("stack", "tocsin")
STACK_CREATED_AT = "2026-01-01T00:00:00.000Z"


class AppWish(Sent):
    name: str
    """A lower-case letter, then lower-case letters, digits and dashes; 2 to 48 in all, unique on the server."""


class AppEdit(Sent):
    name: str | None = None
    """The new name."""
    owner: str | None = None
    """Refused: an app stays with its owner."""


class AppRename(Sent):
    new_name: str
    """The name from now on; the one before is free at once."""
    current_name: str | None = None
    """The name until now, as a safeguard."""


class Owner(BaseModel):
    id: str
    username: str
    email: str


class AppOut(BaseModel):
    id: str
    name: str
    status: str = "new"
    owner: Owner
    region: str
    url: str
    base_url: str
    git_url: str
    created_at: str
    updated_at: str
    last_deployed_at: str | None = None
    last_deployed_by: str | None = None
    links: dict[str, str] = {}
    stack_id: str = STACK_ID
    sticky_session: bool = False
    force_https: bool = False
    router_logs: bool = False
    flags: dict[str, bool] = {}
    limits: dict[str, int] = {}


class AppsAnswer(BaseModel):
    apps: list[AppOut]


class AppAnswer(BaseModel):
    app: AppOut


class Stack(BaseModel):
    id: str
    name: str
    description: str
    base_image: str
    default: bool
    created_at: str
    deprecated_at: str | None


class Stacks(BaseModel):
    stacks: list[Stack]


@router.get(
    "/v1/apps",
    operation_id="list_apps",
    summary="List the apps that you own or share; as an admin, all",
    responses=answers(*AS_USER),
)
async def list_apps(principal: ListsApps, verbs: VerbsOf, site: SiteOf) -> AppsAnswer:
    return AppsAnswer(apps=[_shown(app, site) for app in await verbs.apps.list_apps(principal)])


@router.post(
    "/v1/apps",
    status_code=201,
    operation_id="add_app",
    summary="Make an app; it starts with a notifier that mails critical events to its owner",
    responses=answers(*AS_USER, *WITH_BODY),
    openapi_extra=described_body(AppWish, "app", example={"name": "my-app"}),
)
async def add_app(
    request: Request,
    principal: MakesApps,
    verbs: VerbsOf,
    site: SiteOf,
    x_dry_run: Annotated[bool, Header(description="Check only, and make nothing.", examples=[True])] = False,
) -> AppAnswer:
    principal.require_every_app()
    wish = await read_body(request, AppWish, "app")
    return AppAnswer(app=_shown(await verbs.apps.add_app(principal.user, wish.name, is_dry_run=x_dry_run), site))


@router.get("/v1/apps/{app}", operation_id="get_app", summary="Show an app", responses=answers(*IN_APP))
async def get_app(app: ReadsApp, site: SiteOf) -> AppAnswer:
    return AppAnswer(app=_shown(app, site))


@router.patch(
    "/v1/apps/{app}",
    operation_id="edit_app",
    summary="Rename an app",
    description="What else existing clients set on an app (`force_https`, `stack_id`, ...) is accepted and ignored.",
    responses=answers(*IN_APP, *WITH_BODY),
    openapi_extra=described_body(AppEdit, "app", example={"name": "new-name"}),
)
@router.put(
    "/v1/apps/{app}",
    operation_id="edit_app_by_put",
    summary="Rename an app: the same as PATCH",
    responses=answers(*IN_APP, *WITH_BODY),
    openapi_extra=described_body(AppEdit, "app", example={"name": "new-name"}),
)
async def edit_app(request: Request, app: WritesApp, user: CurrentUser, verbs: VerbsOf, site: SiteOf) -> AppAnswer:
    edit = await read_body(request, AppEdit, "app")
    if edit.owner is not None:
        raise InvalidInput({"owner": ["cannot be changed"]})
    if edit.name is not None:
        app = await verbs.apps.rename_app(user, app, edit.name)
    return AppAnswer(app=_shown(app, site))


@router.post(
    "/v1/apps/{app}/rename",
    operation_id="rename_app",
    summary="Rename an app; `current_name`, when given, must be its name",
    responses=answers(*IN_APP, *WITH_BODY) | {200: {"description": "The app under its new name"}},
    openapi_extra=described_body(AppRename, None, example={"current_name": "my-app", "new_name": "new-name"}),
)
async def rename_app(request: Request, app: WritesApp, user: CurrentUser, verbs: VerbsOf, site: SiteOf) -> AppAnswer:
    rename = await read_body(request, AppRename, "app")
    if rename.current_name not in {None, app.name}:
        raise InvalidInput({"current_name": ["is not the name of this app"]})
    return AppAnswer(app=_shown(await verbs.apps.rename_app(user, app, rename.new_name, field="new_name"), site))


@router.delete(
    "/v1/apps/{app}",
    status_code=204,
    operation_id="remove_app",
    summary="Remove an app with its notifiers; the event that tells of it is still delivered",
    responses=answers(*IN_APP, 422),
)
async def remove_app(
    app: WritesApp,
    user: CurrentUser,
    verbs: VerbsOf,
    current_name: Annotated[str | None, Query(description="The app's name, as a safeguard.")] = None,
) -> None:
    await verbs.apps.remove_app(user, app, current_name=current_name)


@router.get(
    "/v1/features/stacks",
    operation_id="list_stacks",
    summary="List stacks: always one, for clients that look up an app's",
    responses=answers(*AS_USER),
)
async def list_stacks(_: CurrentUser) -> Stacks:
    stack = Stack(
        id=STACK_ID,
        name="tocsin",
        description="Apps run elsewhere; Tocsin tells what happens to them",
        base_image="none",
        default=True,
        created_at=STACK_CREATED_AT,
        deprecated_at=None,
    )
    return Stacks(stacks=[stack])


def _shown(app: App, site: Site) -> AppOut:
    page = f"{site.public_url}/apps/{app.name}"
    values: dict[str, Any] = {
        "owner": Owner(id=app.owner.id, username=app.owner.username, email=app.owner.email),
        "created_at": format_instant(app.created_at),
        "updated_at": format_instant(app.updated_at),
    }
    return AppOut(id=app.id, name=app.name, region=site.region, url=page, base_url=page, git_url="", **values)
