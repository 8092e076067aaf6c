"""A user's API tokens: made, shown once, renewed, revoked."""

from datetime import timedelta
from typing import Annotated

from fastapi import Path, Query, Response

from tocsin.access import SCOPES
from tocsin.api.context import VerbsOf
from tocsin.dashboard.places import CurrentUser
from tocsin.dashboard.routes import page_router
from tocsin.dashboard.visit import Visit, VisitOf
from tocsin.errors import InvalidInput, NotFound
from tocsin.model import User
from tocsin.tokens import NewToken, TokenWish
from tocsin.verbs import Verbs

LIFETIMES = (30, 90, 365)
"""Days that are offered for a new token, beside no end."""

SHOWN = 25
"""On a page, newest first."""

router = page_router()

TokenId = Annotated[str, Path(max_length=100)]


@router.get("/account/tokens")
async def list_tokens(
    user: CurrentUser, visit: VisitOf, verbs: VerbsOf, skip: Annotated[int, Query(ge=0)] = 0, done: str = ""
) -> Response:
    return await _show(visit, verbs, user, skip=skip, is_done=done == "revoked")


@router.post("/account/tokens")
async def add_token(user: CurrentUser, visit: VisitOf, verbs: VerbsOf) -> Response:
    """The page with the secret is the answer itself: it is stored nowhere from which a second page could take it."""
    try:
        new = await verbs.tokens.add(user, await _wish(visit, verbs, user))
    except InvalidInput as error:
        return await _show(visit, verbs, user, problems=error.fields, status=422)
    return await _show(visit, verbs, user, new=new)


@router.get("/account/tokens/{token_id}/revoke")
async def ask_to_revoke(token_id: TokenId, user: CurrentUser, visit: VisitOf, verbs: VerbsOf) -> Response:
    return visit.show("tokens/revoke.html", token=await verbs.tokens.get(user, token_id))


@router.post("/account/tokens/{token_id}/revoke")
async def revoke_token(token_id: TokenId, user: CurrentUser, visit: VisitOf, verbs: VerbsOf) -> Response:
    await verbs.tokens.remove(user, token_id)
    return visit.go("/account/tokens?done=revoked")


@router.get("/account/tokens/{token_id}/renew")
async def ask_to_renew(token_id: TokenId, user: CurrentUser, visit: VisitOf, verbs: VerbsOf) -> Response:
    return visit.show("tokens/renew.html", token=await verbs.tokens.get(user, token_id))


@router.post("/account/tokens/{token_id}/renew")
async def renew_token(token_id: TokenId, user: CurrentUser, visit: VisitOf, verbs: VerbsOf) -> Response:
    return await _show(visit, verbs, user, new=await verbs.tokens.renew(user, token_id))


async def _wish(visit: Visit, verbs: Verbs, user: User) -> TokenWish:
    """What the form asks for. Raises InvalidInput that names all fields that are wrong."""
    form = visit.form
    wrong: dict[str, list[str]] = {}
    days = form.get("lifetime", "")
    if days not in {"", *map(str, LIFETIMES)}:
        wrong["lifetime"] = [f"must be empty or one of {', '.join(map(str, LIFETIMES))} days"]
    name = form.get("name", "").strip()
    if not name:
        wrong["name"] = ["is required"]
    app_ids: list[str] = []
    for ref in form.get("apps", "").replace(",", " ").split():
        try:
            app_ids.append((await verbs.apps.get_app(user, ref)).id)
        except NotFound:
            wrong.setdefault("apps", []).append(f"has no app of yours: {ascii(ref)[:80]}")
    scopes = None if form.get("reach", "all") == "all" else form.all("scopes")
    if wrong:
        raise InvalidInput(wrong)
    lifetime = timedelta(days=int(days)) if days else None
    return TokenWish(name=name, scopes=scopes, app_ids=app_ids or None, lifetime=lifetime)


async def _show(
    visit: Visit,
    verbs: Verbs,
    user: User,
    *,
    new: NewToken | None = None,
    problems: dict[str, list[str]] | None = None,
    skip: int = 0,
    is_done: bool = False,
    status: int = 200,
) -> Response:
    every = list(reversed(await verbs.tokens.list(user)))
    tokens = every[skip : skip + SHOWN]
    older = f"/account/tokens?skip={skip + SHOWN}" if len(every) > skip + SHOWN else None
    named = {app_id for token in tokens for app_id in token.app_ids or ()}
    names = {app.id: app.name for app in await verbs.apps.list_some(user, named)}
    return visit.show(
        "tokens/list.html",
        status=status,
        tokens=tokens,
        names=names,
        older=older,
        newest="/account/tokens" if skip else None,
        new=new,
        problems=problems or {},
        is_done=is_done,
        scopes=SCOPES,
        lifetimes=LIFETIMES,
        form=visit.form if problems else {},
        chosen=visit.form.all("scopes") if problems else [],
        now=visit.times.now(),
    )
