"""Apps, the people who share them, and their variables."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import msgspec
import sqlalchemy as sa

from tocsin.accounts import check_email, described
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
from tocsin.store.events import with_event
from tocsin.store.port import Dispatch, Store
from tocsin.store.variables import Variable

T = TypeVar("T")

MAX_VARIABLES = 1000
MAX_VALUE_CHARACTERS = 65_536

_NAME = re.compile(r"[a-z][a-z0-9-]{1,47}", re.ASCII)
_ID = re.compile(r"[0-9a-f]{24}", re.ASCII)
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}", re.ASCII)


class Apps:
    """Verbs over apps. Whoever may see an app may work on it; its owner and admins decide over the app itself."""

    def __init__(self, *, store: Store, clock: Clock, ingest: Ingest, dispatch: Dispatch, catalogue: Catalogue) -> None:
        self._store = store
        self._clock = clock
        self._ingest = ingest
        self._dispatch = dispatch
        self._catalogue = catalogue
        self._seen: Remembered[tuple[str, str], App] = Remembered(clock)

    def forget(self) -> None:
        """Look everything up anew."""
        self._seen.drop(lambda _: True)

    async def get_app(self, user: User, ref: str) -> App:
        """The app with this id or name. Raises NotFound when there is none or this user may not see it.

        A good answer is kept for up to 5 seconds, and dropped when the app or its collaborators change.
        """
        return await self._seen.find((user.id, ref), partial(self._look_up, user, ref))

    def known(self, user: User, ref: str) -> App | None:
        """As `get_app`, when that was answered a moment ago."""
        return self._seen.known((user.id, ref))

    async def _look_up(self, user: User, ref: str) -> tuple[App, None]:
        if not (_NAME.fullmatch(ref) or _ID.fullmatch(ref)):
            raise NotFound("app")
        app = await self._store.read(app_verbs.find_app, ref, user)
        if app is None:
            raise NotFound("app")
        return app, None

    async def list_apps(self, user: User) -> list[App]:
        """What a user may see, by name: own apps and shared ones; every app for an admin."""
        return await self._store.read(app_verbs.list_apps, user)

    async def add_app(self, user: User, name: str, *, is_dry_run: bool = False) -> App:
        """A new app of this user, with its default notifier; a dry run only checks. Raises InvalidInput."""
        check_app_name(name, "name")
        now = self._clock.now()
        app = App(id=new_hex_id(), name=name, owner=user, created_at=now, updated_at=now)
        if is_dry_run:
            await self._store.read(app_verbs.refuse_taken, name)
            return app
        notifier = default_notifier(app, self._catalogue, now)
        await self._ingest.write(
            partial(app_verbs.add_app, app=app, first_notifier=notifier),
            self._ingest.own_event(event_type="new_app", type_data={}, user=user, app=app),
        )
        return app

    async def rename_app(self, user: User, app: App, name: str, *, field: str = "name") -> App:
        """Raises InvalidInput naming `field`, NotAllowed for who is not its owner."""
        _check_owner(user, app)
        check_app_name(name, field)
        if name == app.name:
            return app
        renamed = msgspec.structs.replace(app, name=name, updated_at=self._clock.now())
        type_data = {"old_name": app.name, "new_name": name}
        event = self._ingest.own_event(event_type="rename_app", type_data=type_data, user=user, app=renamed)
        change = partial(app_verbs.rename_app, app_id=app.id, name=name, at=renamed.updated_at)
        try:
            await self._ingest.write(change, event)
        except InvalidInput as error:
            raise InvalidInput({field: error.fields["name"]}) from None
        self._forget(app)
        return renamed

    async def remove_app(self, user: User, app: App, *, current_name: str | None = None) -> None:
        """Take an app away; the event that tells of it is still delivered. Raises InvalidInput, NotAllowed."""
        _check_owner(user, app)
        if current_name and current_name != app.name:
            raise InvalidInput({"current_name": ["is not the name of this app"]})
        event = self._ingest.own_event(event_type="delete_app", type_data={}, user=user, app=app)
        await self._store.write(app_verbs.remove_app, app.id, event, self._dispatch)
        self._forget(app)

    def _forget(self, app: App) -> None:
        self._seen.drop(lambda seen: seen.id == app.id)

    async def list_collaborators(self, app: App) -> list[Collaborator]:
        return await self._store.read(collaborator_verbs.list_collaborators, app.id)

    async def add_collaborator(self, user: User, app: App, email: str, *, is_limited: bool = False) -> Collaborator:
        """Share an app: at once with a user who exists, else as soon as there is one with this e-mail address.

        Raises InvalidInput, NotAllowed.
        """
        _check_owner(user, app)
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
        await self._tell("new_collaborator", user, app, collaborator, change, accepted_by=known)
        return collaborator

    async def limit_collaborator(self, user: User, app: App, collaborator_id: str, *, is_limited: bool) -> Collaborator:
        """Change what a collaborator may do. Raises NotFound, NotAllowed."""
        _check_owner(user, app)
        before = await self._get_collaborator(app, collaborator_id)
        if before.is_limited == is_limited:
            return before
        after = msgspec.structs.replace(before, is_limited=is_limited)
        change = partial(collaborator_verbs.limit_collaborator, collaborator=after)
        await self._tell("change_collaborator_role", user, app, after, change)
        return after

    async def remove_collaborator(self, user: User, app: App, collaborator_id: str) -> None:
        """Stop sharing an app with somebody; everyone may leave. Raises NotFound, NotAllowed."""
        collaborator = await self._get_collaborator(app, collaborator_id)
        if collaborator.user_id != user.id:
            _check_owner(user, app)
        change = partial(collaborator_verbs.remove_collaborator, collaborator_id=collaborator_id)
        await self._tell("delete_collaborator", user, app, collaborator, change)

    async def _tell(
        self,
        event_type: str,
        user: User,
        app: App,
        collaborator: Collaborator,
        change: "partial[None]",
        accepted_by: User | None = None,
    ) -> None:
        """Write a change of a collaborator with its event, and a second event when an invitation needs no waiting."""
        type_data = {"collaborator": described(collaborator, inviter=user)}
        event = self._ingest.own_event(event_type=event_type, type_data=type_data, user=user, app=app)
        if accepted_by is None:
            await self._ingest.write(change, event)
        else:
            accepted = self._ingest.own_event(
                event_type="accept_collaborator", type_data=type_data, user=accepted_by, app=app
            )
            both = partial(with_event, change=change, event=event, dispatch=self._dispatch)
            await self._ingest.write(both, accepted)
        self._forget(app)

    async def _get_collaborator(self, app: App, collaborator_id: str) -> Collaborator:
        found = await self._store.read(collaborator_verbs.find_collaborator, app.id, collaborator_id)
        if found is None:
            raise NotFound("collaborator")
        return found

    async def list_variables(self, user: User, app: App) -> list[Variable]:
        """Raises NotAllowed for a limited collaborator, who may not see secrets."""
        return await self._store.read(_with_variables, user, app, variable_verbs.list_variables)

    async def set_variables(self, user: User, app: App, given: Sequence[tuple[str, str]]) -> list[Variable]:
        """Add or change variables; others stay. Answers with those given. Raises InvalidInput, NotAllowed."""
        if len(given) > MAX_VARIABLES:
            raise InvalidInput({"variables": [f"must be at most {MAX_VARIABLES}"]})
        for name, value in given:
            _check_variable(name, value)
        change = partial(variable_verbs.set_variables, given=given)
        return await self._store.write(_with_variables, user, app, change)

    async def edit_variable(self, user: User, app: App, variable_id: str, value: str) -> Variable:
        """Raises InvalidInput, NotFound, NotAllowed."""
        _check_variable("NAME", value)
        change = partial(variable_verbs.edit_variable, variable_id=variable_id, value=value)
        return await self._store.write(_with_variables, user, app, change)

    async def remove_variable(self, user: User, app: App, variable_id: str) -> None:
        """Raises NotFound, NotAllowed."""
        change = partial(variable_verbs.remove_variable, variable_id=variable_id)
        await self._store.write(_with_variables, user, app, change)


def check_app_name(name: str, field: str) -> None:
    """Raises InvalidInput naming `field`."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            {field: ["must be 2 to 48 characters: a lower-case letter, then lower-case letters, digits or dashes"]}
        )
    if _ID.fullmatch(name):
        raise InvalidInput({field: ["must not look like an id (24 hexadecimal digits)"]})


def _check_owner(user: User, app: App) -> None:
    if not user.is_admin and user.id != app.owner.id:
        raise NotAllowed("only the owner of the app may do this")


def _with_variables(connection: sa.Connection, user: User, app: App, verb: Callable[[sa.Connection, str], T]) -> T:
    """Run a verb over an app's variables. Raises NotAllowed for a limited collaborator: variables hold secrets."""
    if collaborator_verbs.is_limited(connection, app.id, user.id):
        raise NotAllowed("a limited collaborator may not see or change variables")
    return verb(connection, app.id)


def _check_variable(name: str, value: str) -> None:
    if not _VARIABLE_NAME.fullmatch(name):
        raise InvalidInput({"name": ["must be letters, digits and underscores, and not begin with a digit"]})
    if len(value) > MAX_VALUE_CHARACTERS:
        raise InvalidInput({"value": [f"must be at most {MAX_VALUE_CHARACTERS} characters"]})
