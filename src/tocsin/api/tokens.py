"""API tokens, and their exchange for the JWT that existing clients send."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel

from tocsin.accounts import NewToken
from tocsin.api.bodies import Sent, described_body, read_body
from tocsin.api.context import CurrentUser, VerbsOf
from tocsin.api.problems import AS_USER, WITH_BODY, answers
from tocsin.dates import format_instant
from tocsin.model import Token

router = APIRouter(tags=["Tokens"])

BASIC_OR_BEARER: dict[str, Any] = {"security": [{"basic": []}, {"bearer": []}]}


class TokenWish(Sent):
    name: str | None = None
    """What the token is for; up to 200 characters."""


class TokenOut(BaseModel):
    id: str
    name: str
    created_at: str
    last_used_at: str | None


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
    return Exchanged(token=await verbs.accounts.exchange(request.headers.get("authorization")))


@router.get("/v1/tokens", operation_id="list_tokens", summary="List your API tokens", responses=answers(*AS_USER))
async def list_tokens(user: CurrentUser, verbs: VerbsOf) -> TokensAnswer:
    return TokensAnswer(tokens=[TokenOut(**_shown(token)) for token in await verbs.accounts.list_tokens(user)])


@router.post(
    "/v1/tokens",
    status_code=201,
    operation_id="add_token",
    summary="Make an API token, with username and password or with another token",
    responses=answers(*AS_USER, *WITH_BODY),
    openapi_extra=BASIC_OR_BEARER | described_body(TokenWish, "token", required=False, example={"name": "laptop"}),
)
async def add_token(request: Request, verbs: VerbsOf) -> TokenAnswer:
    user = await verbs.accounts.authenticate_login(request.headers.get("authorization"))
    wish = await read_body(request, TokenWish, "token")
    return _shown_once(await verbs.accounts.add_token(user, wish.name))


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
async def renew_token(token_id: str, user: CurrentUser, verbs: VerbsOf) -> TokenAnswer:
    return _shown_once(await verbs.accounts.renew_token(user, token_id))


@router.delete(
    "/v1/tokens/{token_id}",
    status_code=204,
    operation_id="remove_token",
    summary="Remove a token; it ends at once",
    responses=answers(*AS_USER, 404),
)
async def remove_token(token_id: str, user: CurrentUser, verbs: VerbsOf) -> None:
    await verbs.accounts.remove_token(user, token_id)


def _shown(token: Token) -> dict[str, Any]:
    return {
        "id": token.id,
        "name": token.name,
        "created_at": format_instant(token.created_at),
        "last_used_at": _instant(token.last_used_at),
    }


def _instant(at: datetime | None) -> str | None:
    return None if at is None else format_instant(at)


def _shown_once(new: NewToken) -> TokenAnswer:
    return TokenAnswer(token=TokenShownOnce(**_shown(new.token), token=new.secret))
