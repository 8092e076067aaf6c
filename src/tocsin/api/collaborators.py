"""Who else works on an app."""

from fastapi import APIRouter, Request
from pydantic import BaseModel

from tocsin.access import Right
from tocsin.api.bodies import Sent, described_body, read_body
from tocsin.api.context import CurrentAccess, CurrentUser, ReadsApp, VerbsOf, WritesApp
from tocsin.api.problems import IN_APP, WITH_BODY, answers
from tocsin.model import Collaborator

router = APIRouter(tags=["Collaborators"])


class CollaboratorWish(Sent):
    email: str
    """Whom to share the app with."""
    is_limited: bool = False
    """Whether they may only read, and test notifiers: no variables, no secrets, no changes."""


class CollaboratorEdit(Sent):
    is_limited: bool
    """Whether they may only read, and test notifiers: no variables, no secrets, no changes."""


class CollaboratorOut(BaseModel):
    """`user_id` and `username` are empty while an invitation is `pending`."""

    id: str
    app_id: str
    username: str
    email: str
    status: str
    user_id: str
    is_limited: bool


class CollaboratorsAnswer(BaseModel):
    collaborators: list[CollaboratorOut]


class CollaboratorAnswer(BaseModel):
    collaborator: CollaboratorOut


@router.get(
    "/v1/apps/{app}/collaborators",
    operation_id="list_collaborators",
    summary="List an app's collaborators",
    responses=answers(*IN_APP),
)
async def list_collaborators(app: ReadsApp, verbs: VerbsOf) -> CollaboratorsAnswer:
    return CollaboratorsAnswer(collaborators=[_shown(one) for one in await verbs.apps.list_collaborators(app)])


@router.post(
    "/v1/apps/{app}/collaborators",
    status_code=201,
    operation_id="add_collaborator",
    summary="Share an app with the user of an e-mail address, at once or as soon as there is one",
    responses=answers(*IN_APP, 409, *WITH_BODY),
    openapi_extra=described_body(CollaboratorWish, "collaborator", example={"email": "bob@example.com"}),
)
async def add_collaborator(request: Request, app: WritesApp, user: CurrentUser, verbs: VerbsOf) -> CollaboratorAnswer:
    wish = await read_body(request, CollaboratorWish, "collaborator")
    new = await verbs.apps.add_collaborator(user, app, wish.email, is_limited=wish.is_limited)
    return CollaboratorAnswer(collaborator=_shown(new))


@router.patch(
    "/v1/apps/{app}/collaborators/{collaborator_id}",
    operation_id="edit_collaborator",
    summary="Limit a collaborator, who then may only read, and test notifiers; or lift that",
    responses=answers(*IN_APP, *WITH_BODY),
    openapi_extra=described_body(CollaboratorEdit, "collaborator", example={"is_limited": True}),
)
@router.put(
    "/v1/apps/{app}/collaborators/{collaborator_id}",
    operation_id="edit_collaborator_by_put",
    summary="Limit a collaborator, or lift that: the same as PATCH",
    responses=answers(*IN_APP, *WITH_BODY),
    openapi_extra=described_body(CollaboratorEdit, "collaborator", example={"is_limited": True}),
)
async def edit_collaborator(
    request: Request, collaborator_id: str, app: WritesApp, user: CurrentUser, verbs: VerbsOf
) -> CollaboratorAnswer:
    edit = await read_body(request, CollaboratorEdit, "collaborator")
    after = await verbs.apps.limit_collaborator(user, app, collaborator_id, is_limited=edit.is_limited)
    return CollaboratorAnswer(collaborator=_shown(after))


@router.delete(
    "/v1/apps/{app}/collaborators/{collaborator_id}",
    status_code=204,
    operation_id="remove_collaborator",
    summary="Stop sharing an app with a collaborator, or leave it yourself",
    responses=answers(*IN_APP),
)
async def remove_collaborator(
    collaborator_id: str, app: ReadsApp, access: CurrentAccess, user: CurrentUser, verbs: VerbsOf
) -> None:
    is_owner = access.may(Right.APPS_WRITE)
    await verbs.apps.remove_collaborator(user, app, collaborator_id, is_owner=is_owner)


def _shown(collaborator: Collaborator) -> CollaboratorOut:
    return CollaboratorOut(
        id=collaborator.id,
        app_id=collaborator.app_id,
        username=collaborator.username,
        email=collaborator.email,
        status=collaborator.status,
        user_id=collaborator.user_id or "",
        is_limited=collaborator.is_limited,
    )
