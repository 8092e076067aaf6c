"""Who may do what: the rights of a user on an app, and the part of them that an API token carries. Pure."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from tocsin.errors import NotAllowed
from tocsin.limits import Allowance
from tocsin.model import App, User


class Right(StrEnum):
    """What a route asks for. All but `account` can be the scope of a token."""

    ACCOUNT = "account"
    APPS_READ = "apps:read"
    APPS_WRITE = "apps:write"
    VARIABLES_READ = "variables:read"
    VARIABLES_WRITE = "variables:write"
    NOTIFIERS_READ = "notifiers:read"
    NOTIFIERS_TEST = "notifiers:test"
    NOTIFIERS_WRITE = "notifiers:write"
    SECRETS_READ = "secrets:read"
    EVENTS_READ = "events:read"
    EVENTS_WRITE = "events:write"
    DELIVERIES_READ = "deliveries:read"
    DELIVERIES_WRITE = "deliveries:write"
    AUDIT_READ = "audit:read"


SCOPES = tuple(right for right in Right if right is not Right.ACCOUNT)
"""What a token can be limited to. Who may manage tokens could make one that is not limited: so that is no scope."""


class Role(StrEnum):
    """What a user is to an app; an admin is the owner of every app."""

    OWNER = "owner"
    COLLABORATOR = "collaborator"
    LIMITED = "limited collaborator"


_OF_ALL = frozenset(
    {
        Right.APPS_READ,
        Right.NOTIFIERS_READ,
        Right.NOTIFIERS_TEST,
        Right.EVENTS_READ,
        Right.DELIVERIES_READ,
    }
)
_OF_OWNER = frozenset(Right)
RIGHTS: Mapping[Role, frozenset[Right]] = {
    Role.OWNER: _OF_OWNER,
    Role.COLLABORATOR: _OF_OWNER - {Right.APPS_WRITE, Right.AUDIT_READ},
    Role.LIMITED: _OF_ALL,
}


class Principal(msgspec.Struct, frozen=True):
    """Who asks, with which of their API tokens (with none on a page), and its limits; None stands for no limit."""

    user: User
    token_id: str | None
    scopes: frozenset[Right] | None = None
    app_ids: frozenset[str] | None = None
    allowance: Allowance | None = None

    def carries(self, right: Right) -> bool:
        return self.scopes is None or right in self.scopes

    def require(self, right: Right) -> None:
        """Raises NotAllowed when the token does not carry this right."""
        if not self.carries(right):
            if right is Right.ACCOUNT:
                raise NotAllowed("this takes an API token that is not limited to scopes")
            raise NotAllowed(f"this API token lacks the scope {right}")
        if right is Right.ACCOUNT:
            self.require_every_app()

    def require_every_app(self) -> None:
        """Raises NotAllowed when the token is for some apps alone."""
        if self.app_ids is not None:
            raise NotAllowed("this API token is for some apps alone, and this is not about one app")

    def sees(self, app: App) -> bool:
        return self.app_ids is None or app.id in self.app_ids


class Access(msgspec.Struct, frozen=True):
    """An app and what somebody is to it."""

    app: App
    role: Role

    def may(self, right: Right) -> bool:
        return right in RIGHTS[self.role]

    def require(self, right: Right) -> None:
        """Raises NotAllowed when the role does not carry this right."""
        if not self.may(right):
            if self.role is Role.LIMITED:
                raise NotAllowed("a limited collaborator may not do this")
            raise NotAllowed("only the owner of the app may do this")
