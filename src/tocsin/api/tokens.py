"""API tokens, and their exchange for the JWT that existing clients send."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel

from tocsin.access import Right
from tocsin.api.bodies import Sent, described_body, read_body
from tocsin.api.callers import authenticate, caller_of, count_request
from tocsin.api.context import OwnAccount, VerbsOf
from tocsin.api.instants import InstantIn
from tocsin.api.problems import AS_USER, WITH_BODY, answers
from tocsin.dates import format_instant
from tocsin.errors import InvalidInput, NotFound
from tocsin.model import App, Token, User
from tocsin.tokens import NewToken, TokenWish
from tocsin.verbs import Verbs

router = APIRouter(tags=["Tokens"])

EXAMPLE = {"name": "builds", "scopes": ["events:write"], "apps": ["my-app"], "expires_at": "2099-01-02T03:04:05Z"}
BASIC_OR_BEARER: dict[str, Any] = {"security": [{"basic": []}, {"bearer": [Right.ACCOUNT]}]}


class TokenIn(Sent):
    """What the token is for, in up to 200 characters, and what it is limited to: scopes, apps (ids or names), a time.

    What is not given does not limit it. A token that is limited makes no others.
    """

    name: str | None = None
    scopes: list[str] | None = None
    apps: list[str] | None = None
    expires_at: InstantIn | None = None


class TokenOut(BaseModel):
    """Of `scopes`, `app_ids` and `expires_at`, null is no limit."""

    id: str
    name: str
    scopes: list[str] | None
    app_ids: list[str] | None
    created_at: str
    last_used_at: str | None
    expires_at: str | None


class TokenShownOnce(TokenOut):
    """`token` is the secret; it is shown in this answer and never again."""

    token: str


class TokensAnswer(BaseModel):
    tokens: list[TokenOut]


class TokenAnswer(BaseModel):
    token: TokenShownOnce


class Exchanged(BaseModel):
    """`token` is a JWT, good for an hour."""

    token: str


@router.post(
    "/v1/tokens/exchange",
    operation_id="exchange_token",
    summary="Exchange an API token for a JWT: Basic authentication with an empty username",
    responses=answers(*AS_USER),
    openapi_extra={"security": [{"basic": []}]},
)
async def exchange_token(request: Request, verbs: VerbsOf) -> Exchanged:
    # Clients send `{}`, nothing, or a form without fields: the body says nothing and is not read.
    authorization = request.headers.get("authorization")
    exchange = await verbs.tokens.exchange(authorization, address=caller_of(request))
    count_request(request, exchange.principal)
    return Exchanged(token=exchange.bearer)


@router.get("/v1/tokens", operation_id="list_tokens", summary="List your API tokens", responses=answers(*AS_USER))
async def list_tokens(user: OwnAccount, verbs: VerbsOf) -> TokensAnswer:
    return TokensAnswer(tokens=[TokenOut(**_shown(token)) for token in await verbs.tokens.list(user)])


@router.post(
    "/v1/tokens",
    status_code=201,
    operation_id="add_token",
    summary="Make an API token, with username and password or with another token",
    responses=answers(*AS_USER, *WITH_BODY),
    openapi_extra=BASIC_OR_BEARER | described_body(TokenIn, "token", required=False, example=EXAMPLE),
)
async def add_token(request: Request, verbs: VerbsOf) -> TokenAnswer:
    user = await _sign_in(request, verbs)
    sent = await read_body(request, TokenIn, "token")
    app_ids = None if sent.apps is None else [(await _find_app(verbs, user, ref)).id for ref in sent.apps]
    wish = TokenWish(name=sent.name, scopes=sent.scopes, app_ids=app_ids, expires_at=sent.expires_at)
    return _shown_once(await verbs.tokens.add(user, wish))


async def _sign_in(request: Request, verbs: Verbs) -> User:
    """Whose account it is, by a header that may also be Basic with username and password."""
    authorization = request.headers.get("authorization")
    user = await verbs.tokens.sign_in_by_header(authorization, address=caller_of(request))
    if user is not None:
        return user
    principal = await authenticate(request, verbs)
    principal.require(Right.ACCOUNT)
    return principal.user


async def _find_app(verbs: Verbs, user: User, ref: str) -> App:
    try:
        return await verbs.apps.get_app(user, ref)
    except NotFound:
        raise InvalidInput({"apps": [f"there is no app {ref!r}"]}) from None


@router.patch(
    "/v1/tokens/{token_id}/renew",
    operation_id="renew_token",
    summary="Give a token a new secret; the one before ends at once",
    responses=answers(*AS_USER, 404),
)
@router.put(
    "/v1/tokens/{token_id}/renew",
    operation_id="renew_token_by_put",
    summary="Give a token a new secret: the same as PATCH",
    responses=answers(*AS_USER, 404),
)
async def renew_token(token_id: str, user: OwnAccount, verbs: VerbsOf) -> TokenAnswer:
    return _shown_once(await verbs.tokens.renew(user, token_id))


@router.delete(
    "/v1/tokens/{token_id}",
    status_code=204,
    operation_id="remove_token",
    summary="Remove a token; it ends at once",
    responses=answers(*AS_USER, 404),
)
async def remove_token(token_id: str, user: OwnAccount, verbs: VerbsOf) -> None:
    await verbs.tokens.remove(user, token_id)


def _shown(token: Token) -> dict[str, Any]:
    return {
        "id": token.id,
        "name": token.name,
        "scopes": None if token.scopes is None else list(token.scopes),
        "app_ids": None if token.app_ids is None else list(token.app_ids),
        "created_at": format_instant(token.created_at),
        "last_used_at": _instant(token.last_used_at),
        "expires_at": _instant(token.expires_at),
    }


def _instant(at: datetime | None) -> str | None:
    return None if at is None else format_instant(at)


def _shown_once(new: NewToken) -> TokenAnswer:
    return TokenAnswer(token=TokenShownOnce(**_shown(new.token), token=new.secret))
