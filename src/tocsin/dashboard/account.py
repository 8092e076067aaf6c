"""A user's own page: who is signed in, where else, the password, and how pages are read."""

from functools import cache
from itertools import groupby
from typing import Annotated

from fastapi import Path, Response

from tocsin.api.context import VerbsOf
from tocsin.dashboard.devices import device_of
from tocsin.dashboard.routes import page_router
from tocsin.dashboard.times import zone_names
from tocsin.dashboard.visit import SignedInOf, Visit, VisitOf
from tocsin.errors import InvalidInput, NotAuthenticated
from tocsin.verbs import Verbs

router = page_router()

SessionId = Annotated[str, Path(max_length=100)]


@router.get("/account")
async def show_account(signed_in: SignedInOf, visit: VisitOf, verbs: VerbsOf, done: str = "") -> Response:
    return await _show(
        visit, verbs, signed_in, done=done if done in {"password", "session", "sessions", "reading"} else None
    )


@router.post("/account/password")
async def change_password(signed_in: SignedInOf, visit: VisitOf, verbs: VerbsOf) -> Response:
    """Whoever finds an open browser needs the old password to take the account over, if there is one."""
    user, form = signed_in.user, visit.form
    if form.get("password", "") != form.get("repeated", ""):
        return await _show(visit, verbs, signed_in, problem=visit.words("account.not_repeated"), status=422)
    try:
        if await verbs.accounts.has_password(user):
            await verbs.accounts.sign_in(user.username, form.get("current", ""), address=visit.caller)
        await verbs.accounts.set_password(user, form.get("password", ""), keep_session=signed_in.session.id)
    except NotAuthenticated:
        return await _show(visit, verbs, signed_in, problem=visit.words("account.wrong_password"), status=403)
    except InvalidInput as error:
        problem = "; ".join(visit.words.sentence(reason) for reason in error.fields["password"])
        problem = visit.words("account.bad_password", reason=problem)
        return await _show(visit, verbs, signed_in, problem=problem, status=422)
    return visit.go("/account?done=password")


@router.post("/account/reading")
async def change_preferences(signed_in: SignedInOf, visit: VisitOf, verbs: VerbsOf) -> Response:
    """What is not offered is refused; an empty choice leaves it to the browser."""
    language, time_zone = visit.form.get("language") or None, visit.form.get("time_zone") or None
    wrong = {}
    if language not in {None, *visit.languages}:
        wrong["language"] = [f"must be one of {', '.join(visit.languages)}"]
    if time_zone not in {None, *zone_names()}:
        wrong["time_zone"] = ["must be a time zone, such as Europe/Paris"]
    if wrong:
        raise InvalidInput(wrong)
    await verbs.accounts.set_preferences(signed_in.user, language=language, time_zone=time_zone)
    return visit.go("/account?done=reading")


@router.post("/account/sessions/end-others")
async def end_other_sessions(signed_in: SignedInOf, visit: VisitOf, verbs: VerbsOf) -> Response:
    await verbs.sessions.end_others(signed_in.user, signed_in.session)
    return visit.go("/account?done=sessions")


@router.post("/account/sessions/{session_id}/end")
async def end_session(session_id: SessionId, signed_in: SignedInOf, visit: VisitOf, verbs: VerbsOf) -> Response:
    await verbs.sessions.end(signed_in.user, session_id)
    return visit.go("/account?done=session")


async def _show(
    visit: Visit,
    verbs: Verbs,
    signed_in: SignedInOf,
    *,
    done: str | None = None,
    problem: str | None = None,
    status: int = 200,
) -> Response:
    return visit.show(
        "account.html",
        status=status,
        user=signed_in.user,
        current=signed_in.session,
        sessions=[(session, device_of(session.device)) for session in await verbs.sessions.list(signed_in.user)],
        zones=_by_region(),
        languages=visit.languages,
        has_password=await verbs.accounts.has_password(signed_in.user),
        done=done,
        problem=problem,
    )


@cache
def _by_region() -> list[tuple[str, list[str]]]:
    """The zones, by what stands before the slash."""
    grouped = groupby(zone_names(), lambda name: name.partition("/")[0])
    return [(region, list(names)) for region, names in grouped]
