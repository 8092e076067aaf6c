"""The app that a page is of, for whoever has the right that the name says; `tocsin.api.context` has the API's."""

from typing import Annotated

from fastapi import Depends, Security
from fastapi.security import SecurityScopes

from tocsin.access import Access, Principal, Right
from tocsin.api.context import AppRef, VerbsOf
from tocsin.dashboard.visit import PrincipalOf, SignedInOf
from tocsin.errors import NotFound
from tocsin.model import User


async def get_access(rights: SecurityScopes, app: AppRef, principal: PrincipalOf, verbs: VerbsOf) -> Access:
    """The app that the path names, and what the reader is to it.

    Raises NotFound when there is none, or not for them, and NotAllowed when they may not do what is asked for.
    """
    access = await verbs.apps.get_access(principal, app)
    for right in rights.scopes:
        access.require(Right(right))
    return access


ReadsApp = Annotated[Access, Security(get_access, scopes=[Right.APPS_READ])]
WritesApp = Annotated[Access, Security(get_access, scopes=[Right.APPS_WRITE])]
ReadsNotifiers = Annotated[Access, Security(get_access, scopes=[Right.NOTIFIERS_READ])]
TestsNotifiers = Annotated[Access, Security(get_access, scopes=[Right.NOTIFIERS_TEST])]
WritesNotifiers = Annotated[Access, Security(get_access, scopes=[Right.NOTIFIERS_WRITE])]
ReadsSecrets = Annotated[Access, Security(get_access, scopes=[Right.SECRETS_READ])]
ReadsEvents = Annotated[Access, Security(get_access, scopes=[Right.EVENTS_READ])]
WritesEvents = Annotated[Access, Security(get_access, scopes=[Right.EVENTS_WRITE])]
ReadsDeliveries = Annotated[Access, Security(get_access, scopes=[Right.DELIVERIES_READ])]
WritesDeliveries = Annotated[Access, Security(get_access, scopes=[Right.DELIVERIES_WRITE])]


async def get_user(signed_in: SignedInOf) -> User:
    return signed_in.user


CurrentUser = Annotated[User, Depends(get_user)]
"""Who reads the page."""


async def get_admin(principal: PrincipalOf) -> Principal:
    """Raises NotFound: who is no admin needs not know what there is for them."""
    if not principal.user.is_admin:
        raise NotFound("page")
    return principal


AdminOf = Annotated[Principal, Depends(get_admin)]
