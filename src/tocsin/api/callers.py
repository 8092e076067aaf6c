"""Who calls: from which address, with which token, and how much they may still ask."""

from collections.abc import Mapping

from fastapi import Request
from starlette.types import Scope

from tocsin.access import Principal
from tocsin.limits import Allowance
from tocsin.proxies import NOWHERE, Proxies
from tocsin.verbs import Verbs

ALLOWANCE = "allowance"


def caller_of(request: Request) -> str:
    """The address that a request counts for."""
    return caller_in(request.scope, request.app.state.proxies)


def caller_in(scope: Scope, proxies: Proxies) -> str:
    return proxies.caller(*_said_of(scope))


def address_in(scope: Scope) -> str | None:
    """The address that a request comes from, for the record."""
    proxies: Proxies = scope["app"].state.proxies
    return proxies.address(*_said_of(scope))


def _said_of(scope: Scope) -> tuple[str, str]:
    """Who is connected, and what is said of whom it asks for."""
    peer = scope.get("client")
    forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
    return peer[0] if peer else NOWHERE, forwarded.decode("latin-1")


async def authenticate(request: Request, verbs: Verbs) -> Principal:
    """Who asks; their request is counted. Raises NotAuthenticated or TooMany."""
    principal = await verbs.tokens.authenticate(request.headers.get("authorization"), address=caller_of(request))
    count_request(request, principal)
    return principal


def count_request(request: Request, principal: Principal) -> None:
    """Count a request for its token, once however often it is looked at who asks. Raises TooMany."""
    state = request.scope["state"]
    if ALLOWANCE not in state:
        state[ALLOWANCE] = principal.allowance
        if principal.allowance is not None:
            principal.allowance.spend()


def told_of(allowance: Allowance | None) -> Mapping[str, str]:
    """The headers that tell of what is left (draft-ietf-httpapi-ratelimit-headers-11)."""
    return {} if allowance is None else {"ratelimit-policy": allowance.policy, "ratelimit": allowance.state}
