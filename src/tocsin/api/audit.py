"""The audit log of an app, for its owner."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from tocsin.api.context import Meta, Page, ReadsAudit, VerbsOf, pagination
from tocsin.api.instants import InstantOut
from tocsin.api.problems import IN_APP, answers
from tocsin.audit_log import Recorded

router = APIRouter(prefix="/v1", tags=["Audit log"])

_MAX_NUMBER = (1 << 63) - 1


class ActorOut(BaseModel):
    """Who did it; `kind` is `user`, `operator` (on the command line), `recipient` (of a mail) or `system`."""

    kind: str
    id: str | None
    username: str | None
    token_id: str | None
    address: str | None


class ObjectOut(BaseModel):
    """What it was done to."""

    id: str | None
    name: str | None


class AuditEntryOut(BaseModel):
    """What was done. `number` counts over all apps; `digest` is the entry's place in the chain, in hexadecimal."""

    number: int
    created_at: InstantOut
    action: str = Field(examples=["notifier.changed"])
    actor: ActorOut
    object: ObjectOut
    details: dict[str, Any] = Field(examples=[{"settings": ["webhook_url"]}])
    request_id: str | None
    digest: str


class AuditAnswer(BaseModel):
    audit_entries: list[AuditEntryOut]
    meta: Meta


@router.get(
    "/apps/{app}/audit_entries",
    operation_id="list_audit_entries",
    summary="List who did what to an app, newest first",
    description="For the app's owner. Secrets are masked. `before` leads as far as one likes.",
    responses=answers(*IN_APP, 422),
)
async def list_audit_entries(
    app: ReadsAudit,
    page: Page,
    verbs: VerbsOf,
    before: Annotated[
        int | None,
        Query(description="Only those with a smaller number.", ge=1, le=_MAX_NUMBER, examples=[1042]),
    ] = None,
) -> AuditAnswer:
    found, total = await verbs.audit.list(app, limit=page.limit, offset=page.offset, before=before)
    return AuditAnswer(audit_entries=[_shown(each) for each in found], meta=pagination(page, total))


def _shown(recorded: Recorded) -> AuditEntryOut:
    entry = recorded.entry
    return AuditEntryOut(
        number=entry.number,
        created_at=entry.at,
        action=entry.action,
        actor=ActorOut(
            kind=entry.actor,
            id=entry.user_id,
            username=entry.username,
            token_id=entry.token_id,
            address=entry.address,
        ),
        object=ObjectOut(id=entry.object_id, name=entry.object_name),
        details=json.loads(entry.details),
        request_id=entry.request_id,
        digest=recorded.digest.hex(),
    )
