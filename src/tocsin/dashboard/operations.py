"""The operators' page: how Tocsin itself is doing, over all apps. For admins alone."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import Query, Response

from tocsin.api.context import VerbsOf
from tocsin.dashboard.live import SeenOf, StreamsOf, digest_of
from tocsin.dashboard.places import AdminOf
from tocsin.dashboard.routes import page_router
from tocsin.dashboard.visit import VisitOf
from tocsin.model import User
from tocsin.operations import Survey
from tocsin.store.operations import LOOKED_AT, Stopped

MEBIBYTE = 1 << 20

router = page_router()

NotifierId = Annotated[str, Query(max_length=100)]


@router.get("/operations")
async def show_operations(
    _: AdminOf, visit: VisitOf, verbs: VerbsOf, before: NotifierId = "", doctor: str = ""
) -> Response:
    survey = await verbs.operations.survey()
    stopped, following = await verbs.operations.list_stopped(before or None)
    is_examining = doctor == "yes"
    return visit.show(
        "operations.html",
        survey=survey,
        stopped=stopped,
        looked_at=LOOKED_AT,
        mebibyte=MEBIBYTE,
        is_examining=is_examining,
        findings=await verbs.operations.examine() if is_examining else None,
        older=f"/operations?{urlencode({'before': following})}" if following else None,
        newest="/operations" if before else None,
        stream=None if before or is_examining else "/operations/live",
        digest=_digest(survey, stopped),
    )


@router.get("/operations/live")
async def follow_operations(_: AdminOf, visit: VisitOf, verbs: VerbsOf, streams: StreamsOf, seen: SeenOf) -> Response:
    """Tells when the page says something else."""

    async def look() -> str:
        stopped, _ = await verbs.operations.list_stopped()
        return _digest(await verbs.operations.survey(), stopped)

    return streams.follow(visit, look, _is_admin, seen=seen)


async def _is_admin(user: User) -> bool:
    return user.is_admin


def _digest(survey: Survey, stopped: list[Stopped]) -> str:
    return digest_of((survey.queue, survey.workers, survey.problems, survey.notes, stopped))
