"""Apps, the people who share them, and their variables."""

import re
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

import msgspec

from tocsin.access import Access, Principal
from tocsin.accounts import check_email, described
from tocsin.audit import Action, Note
from tocsin.catalogue import Catalogue
from tocsin.clock import Clock
from tocsin.errors import InvalidInput, NotAllowed, NotFound
from tocsin.ids import new_hex_id, new_uuid7
from tocsin.ingest import Ingest
from tocsin.model import App, Collaborator, User
from tocsin.notifier_rules import default_notifier
from tocsin.remembered import Remembered
from tocsin.store import apps as app_verbs
from tocsin.store import collaborators as collaborator_verbs
from tocsin.store import users as user_verbs
from tocsin.store import variables as variable_verbs
from tocsin.store.audit import with_note
from tocsin.store.events import with_event
from tocsin.store.port import Dispatch, Store
from tocsin.store.variables import Variable

MAX_VARIABLES = 1000
MAX_VALUE_CHARACTERS = 65_536

_NAME = re.compile(r"[a-z][a-z0-9-]{1,47}", re.ASCII)
_ID = re.compile(r"[0-9a-f]{24}", re.ASCII)
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}", re.ASCII)


class Apps:
    """Verbs over apps. Who may call which is decided by `tocsin.access` before."""

    def __init__(self, *, store: Store, clock: Clock, ingest: Ingest, dispatch: Dispatch, catalogue: Catalogue) -> None:
        self._store = store
        self._clock = clock
        self._ingest = ingest
        self._dispatch = dispatch
        self._catalogue = catalogue
        self._seen: Remembered[tuple[str, str], Access] = Remembered(clock)

    def forget(self) -> None:
        """Look everything up anew."""
        self._seen.drop(lambda _: True)

    async def get_access(self, principal: Principal, ref: str) -> Access:
        """The app with this id or name, and what who asks is to it.

        Raises NotFound when there is none, or who asks may not see it. A good answer is kept for up to 5 seconds, and
        dropped when the app or its collaborators change.
        """
        user = principal.user
        access = await self._seen.find((user.id, ref), partial(self._look_up, user, ref))
        if not principal.sees(access.app):
            raise NotFound("app")
        return access

    def known(self, principal: Principal, ref: str) -> Access | None:
        """As `get_access`, when that was answered a moment ago."""
        access = self._seen.known((principal.user.id, ref))
        return access if access is not None and principal.sees(access.app) else None

    async def _look_up(self, user: User, ref: str) -> tuple[Access, None]:
        if not (_NAME.fullmatch(ref) or _ID.fullmatch(ref)):
            raise NotFound("app")
        access = await self._store.read(app_verbs.find_access, ref, user)
        if access is None:
            raise NotFound("app")
        return access, None

    async def get_app(self, user: User, ref: str) -> App:
        """The app with this id or name. Raises NotFound when there is none or this user may not see it."""
        return (await self._seen.find((user.id, ref), partial(self._look_up, user, ref))).app

    async def list_apps(self, principal: Principal) -> list[App]:
        """What who asks may see, by name: own apps and shared ones; every app for an admin."""
        found = await self._store.read(app_verbs.list_apps, principal.user)
        return [app for app in found if principal.sees(app)]

    async def list_accesses(self, user: User, *, search: str = "", after: str = "", limit: int) -> list[Access]:
        """Some of the apps that a user may see and what they are to each, by name, beyond the name `after`."""
        return await self._store.read(
            app_verbs.list_accesses, user, search=search.strip().lower(), after=after, limit=limit
        )

    async def list_some(self, user: User, app_ids: Collection[str]) -> list[App]:
        """Those of these apps that a user may see, by name."""
        return await self._store.read(app_verbs.list_some, user, app_ids) if app_ids else []

    async def add_app(self, user: User, name: str, *, is_dry_run: bool = False) -> App:
        """A new app of this user, with its default notifier; a dry run only checks. Raises InvalidInput."""
        check_app_name(name, "name")
        now = self._clock.now()
        app = App(id=new_hex_id(), name=name, owner=user, created_at=now, updated_at=now)
        if is_dry_run:
            await self._store.read(app_verbs.refuse_taken, name)
            return app
        notifier = default_notifier(app, self._catalogue, now)
        change = partial(app_verbs.add_app, app=app, first_notifier=notifier)
        event = self._ingest.own_event(event_type="new_app", type_data={}, user=user, app=app)
        await self._ingest.write(change, event, self._note(Action.APP_ADDED, app, owner=user.username))
        return app

    async def rename_app(self, user: User, app: App, name: str, *, field: str = "name") -> App:
        """Raises InvalidInput naming `field`."""
        check_app_name(name, field)
        if name == app.name:
            return app
        renamed = msgspec.structs.replace(app, name=name, updated_at=self._clock.now())
        type_data = {"old_name": app.name, "new_name": name}
        event = self._ingest.own_event(event_type="rename_app", type_data=type_data, user=user, app=renamed)
        change = partial(app_verbs.rename_app, app_id=app.id, name=name, at=renamed.updated_at)
        try:
            note = self._note(Action.APP_RENAMED, renamed, old_name=app.name)
            await self._ingest.write(change, event, note)
        except InvalidInput as error:
            raise InvalidInput({field: error.fields["name"]}) from None
        self._forget(app)
        return renamed

    async def remove_app(self, user: User, app: App, *, current_name: str | None = None) -> None:
        """Take an app away; the event that tells of it is still delivered. Raises InvalidInput."""
        if current_name and current_name != app.name:
            raise InvalidInput({"current_name": ["is not the name of this app"]})
        event = self._ingest.own_event(event_type="delete_app", type_data={}, user=user, app=app)
        change = partial(app_verbs.remove_app, app_id=app.id, last_event=event, dispatch=self._dispatch)
        await self._store.write(with_note(change, self._note(Action.APP_REMOVED, app)))
        self._forget(app)

    def _forget(self, app: App) -> None:
        self._seen.drop(lambda seen: seen.app.id == app.id)

    async def list_collaborators(self, app: App) -> list[Collaborator]:
        return await self._store.read(collaborator_verbs.list_collaborators, app.id)

    async def add_collaborator(self, user: User, app: App, email: str, *, is_limited: bool = False) -> Collaborator:
        """Share an app: at once with a user who exists, else as soon as there is one with this e-mail address.

        Raises InvalidInput.
        """
        email = email.strip().lower()
        check_email(email)
        if email == app.owner.email:
            raise InvalidInput({"email": ["is the owner's: an owner cannot be a collaborator"]})
        known = await self._store.read(user_verbs.find_user_by_email, email)
        collaborator = Collaborator(
            id=new_uuid7("co"),
            app_id=app.id,
            email=email,
            username="" if known is None else known.username,
            user_id=None if known is None else known.id,
            is_limited=is_limited,
            created_at=self._clock.now(),
        )
        change = partial(collaborator_verbs.add_collaborator, collaborator=collaborator)
        await self._tell(Action.COLLABORATOR_ADDED, "new_collaborator", user, app, collaborator, change, known)
        return collaborator

    async def limit_collaborator(self, user: User, app: App, collaborator_id: str, *, is_limited: bool) -> Collaborator:
        """Change what a collaborator may do. Raises NotFound."""
        before = await self._get_collaborator(app, collaborator_id)
        if before.is_limited == is_limited:
            return before
        after = msgspec.structs.replace(before, is_limited=is_limited)
        change = partial(collaborator_verbs.limit_collaborator, collaborator=after)
        await self._tell(Action.COLLABORATOR_CHANGED, "change_collaborator_role", user, app, after, change)
        return after

    async def remove_collaborator(self, user: User, app: App, collaborator_id: str, *, is_owner: bool) -> None:
        """Stop sharing an app with somebody; everyone may leave. Raises NotFound, NotAllowed."""
        collaborator = await self._get_collaborator(app, collaborator_id)
        if collaborator.user_id != user.id and not is_owner:
            raise NotAllowed("only the owner of the app may stop sharing it with others")
        change = partial(collaborator_verbs.remove_collaborator, collaborator_id=collaborator_id)
        await self._tell(Action.COLLABORATOR_REMOVED, "delete_collaborator", user, app, collaborator, change)

    async def _tell(
        self,
        action: Action,
        event_type: str,
        user: User,
        app: App,
        collaborator: Collaborator,
        change: "partial[None]",
        accepted_by: User | None = None,
    ) -> None:
        """Write a change of a collaborator with its event and its entry in the audit log.

        A second event comes when an invitation needs no waiting.
        """
        details = {"email": collaborator.email, "is_limited": collaborator.is_limited}
        note = self._note(action, app, (collaborator.id, collaborator.username or None), **details)
        type_data = {"collaborator": described(collaborator, inviter=user)}
        event = self._ingest.own_event(event_type=event_type, type_data=type_data, user=user, app=app)
        if accepted_by is None:
            await self._ingest.write(change, event, note)
        else:
            accepted = self._ingest.own_event(
                event_type="accept_collaborator", type_data=type_data, user=accepted_by, app=app
            )
            both = partial(with_event, change=change, event=event, dispatch=self._dispatch)
            await self._ingest.write(both, accepted, note)
        self._forget(app)

    def _note(self, action: Action, app: App, about: tuple[str, str | None] | None = None, **details: Any) -> Note:
        """An entry of the audit log, about the object with this id and name; without one, about the app."""
        object_id, name = about or (app.id, app.name)
        return Note(
            action=action,
            at=self._clock.now(),
            app_id=app.id,
            object_id=object_id,
            object_name=name,
            details=details,
        )

    async def _get_collaborator(self, app: App, collaborator_id: str) -> Collaborator:
        found = await self._store.read(collaborator_verbs.find_collaborator, app.id, collaborator_id)
        if found is None:
            raise NotFound("collaborator")
        return found

    async def list_variables(self, app: App) -> list[Variable]:
        return await self._store.read(variable_verbs.list_variables, app.id)

    async def set_variables(self, app: App, given: Sequence[tuple[str, str]]) -> list[Variable]:
        """Add or change variables; others stay. Answers with those given. Raises InvalidInput."""
        if len(given) > MAX_VARIABLES:
            raise InvalidInput({"variables": [f"must be at most {MAX_VARIABLES}"]})
        for name, value in given:
            _check_variable(name, value)
        change = partial(variable_verbs.set_variables, app_id=app.id, given=given)
        note = self._note(Action.VARIABLES_SET, app, names=[name for name, _ in given])
        return await self._store.write(with_note(change, note))

    async def edit_variable(self, app: App, variable_id: str, value: str) -> Variable:
        """Raises InvalidInput, NotFound."""
        _check_variable("NAME", value)
        change = partial(variable_verbs.edit_variable, app_id=app.id, variable_id=variable_id, value=value)
        return await self._store.write(with_note(change, self._note(Action.VARIABLES_SET, app, (variable_id, None))))

    async def remove_variable(self, app: App, variable_id: str) -> None:
        """Raises NotFound."""
        change = partial(variable_verbs.remove_variable, app_id=app.id, variable_id=variable_id)
        await self._store.write(with_note(change, self._note(Action.VARIABLE_REMOVED, app, (variable_id, None))))


def check_app_name(name: str, field: str) -> None:
    """Raises InvalidInput naming `field`."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            {field: ["must be 2 to 48 characters: a lower-case letter, then lower-case letters, digits or dashes"]}
        )
    if _ID.fullmatch(name):
        raise InvalidInput({field: ["must not look like an id (24 hexadecimal digits)"]})


def _check_variable(name: str, value: str) -> None:
    if not _VARIABLE_NAME.fullmatch(name):
        raise InvalidInput({"name": ["must be letters, digits and underscores, and not begin with a digit"]})
    if len(value) > MAX_VALUE_CHARACTERS:
        raise InvalidInput({"value": [f"must be at most {MAX_VALUE_CHARACTERS} characters"]})
