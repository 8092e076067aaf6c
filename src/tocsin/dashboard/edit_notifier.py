"""Changing a notifier: its settings, what it gets, and the pace of its messages, on one page."""

from collections.abc import Mapping
from typing import Any

from fastapi import Response

from tocsin.access import Access, Right
from tocsin.api.context import VerbsOf
from tocsin.dashboard.new_notifier import NO_PROBLEMS, Problems, labels_of, members_of, told
from tocsin.dashboard.notifier_forms import (
    choice_of,
    listed,
    pace_of,
    read_choice,
    shown_pace,
    shown_settings,
    type_data_of,
    typed_pace,
    typed_settings,
    wanted,
)
from tocsin.dashboard.notifiers import NotifierRef, address_of
from tocsin.dashboard.places import CurrentUser, WritesNotifiers
from tocsin.dashboard.routes import page_router
from tocsin.dashboard.visit import Visit, VisitOf
from tocsin.errors import InvalidInput
from tocsin.model import Notifier
from tocsin.notifier_rules import NotifierWish
from tocsin.platforms.base import Platform
from tocsin.verbs import Verbs

router = page_router()


@router.get("/apps/{app}/notifiers/{notifier}/edit")
async def ask_changes(access: WritesNotifiers, notifier: NotifierRef, visit: VisitOf, verbs: VerbsOf) -> Response:
    return await (await Edit.find(access, notifier, visit, verbs)).show_stored()


@router.post("/apps/{app}/notifiers/{notifier}/edit")
async def change(
    access: WritesNotifiers, notifier: NotifierRef, user: CurrentUser, visit: VisitOf, verbs: VerbsOf
) -> Response:
    edit = await Edit.find(access, notifier, visit, verbs)
    try:
        wish = await edit.checked()
        await verbs.notifiers.edit(access.app, user, notifier, wish)
    except InvalidInput as error:
        return await edit.show_typed(error.fields)
    return visit.go(address_of(access, notifier, "changed"))


@router.post("/apps/{app}/notifiers/{notifier}/edit/search")
async def search(access: WritesNotifiers, notifier: NotifierRef, visit: VisitOf, verbs: VerbsOf) -> Response:
    """The form again as it was typed, with those event types that a search finds."""
    return await (await Edit.find(access, notifier, visit, verbs)).show_typed(NO_PROBLEMS)


@router.post("/apps/{app}/notifiers/{notifier}/edit/check")
async def check_changes(access: WritesNotifiers, notifier: NotifierRef, visit: VisitOf, verbs: VerbsOf) -> Response:
    """What is wrong with what is typed so far, for the script that shows it at the fields."""
    edit = await Edit.find(access, notifier, visit, verbs)
    try:
        await edit.checked()
    except InvalidInput as error:
        return told(visit, error.fields)
    return told(visit, NO_PROBLEMS)


class Edit:
    """A notifier that is being changed, and the form in which it is."""

    def __init__(self, access: Access, notifier: Notifier, visit: Visit, verbs: Verbs) -> None:
        self._access = access
        self._notifier = notifier
        self._visit = visit
        self._verbs = verbs
        self._platform: Platform = verbs.notifiers.platforms[notifier.platform]
        self._is_whole = access.may(Right.SECRETS_READ)

    @classmethod
    async def find(cls, access: Access, notifier_id: str, visit: Visit, verbs: Verbs) -> "Edit":
        """Raises NotFound."""
        return cls(access, await verbs.notifiers.get(access.app, notifier_id), visit, verbs)

    async def checked(self) -> NotifierWish:
        """The wish that was typed. Raises InvalidInput that names every field that is wrong."""
        form, wrong = self._visit.form, dict[str, list[str]]()
        pace = pace_of(typed_pace(form), wrong)
        name = form.get("name", "").strip()
        if not name:
            wrong["name"] = ["is required"]
        given: dict[str, Any] = {"name": name, "type_data": self._type_data(), **pace}
        given |= wanted(self._verbs.notifiers.catalogue, read_choice(self._verbs.notifiers.catalogue, form))
        wish = NotifierWish(**given)
        try:
            await self._verbs.notifiers.check(self._access.app, wish, self._notifier.id)
        except InvalidInput as error:
            raise InvalidInput(error.fields | wrong) from error
        if wrong:
            raise InvalidInput(wrong)
        return wish

    def _type_data(self) -> dict[str, Any]:
        """The settings; a secret one that is not shown stays what it is unless something is typed."""
        data: dict[str, Any] = type_data_of(self._platform, typed_settings(self._platform, self._visit.form))
        for setting in self._platform.settings:
            if setting.secret and not self._is_whole and not data[setting.name]:
                data[setting.name] = self._notifier.type_data.get(setting.name)
        return data

    async def show_stored(self) -> Response:
        values = {
            "name": self._notifier.name,
            "typed": shown_settings(self._platform, self._notifier, is_whole=self._is_whole),
            "choice": choice_of(self._verbs.notifiers.catalogue, self._notifier),
            "pace": shown_pace(self._notifier),
        }
        return await self._show(values, NO_PROBLEMS)

    async def show_typed(self, problems: Problems) -> Response:
        form = self._visit.form
        values = {
            "name": form.get("name", ""),
            "typed": typed_settings(self._platform, form),
            "choice": read_choice(self._verbs.notifiers.catalogue, form),
            "pace": typed_pace(form),
        }
        return await self._show(values, problems)

    async def _show(self, values: Mapping[str, Any], problems: Problems) -> Response:
        search = self._visit.form.get("search", "")
        return self._visit.show(
            "notifiers/edit.html",
            status=422 if problems else 200,
            access=self._access,
            notifier=self._notifier,
            platform=self._platform,
            members=await members_of(self._access, self._platform, self._verbs),
            search=search,
            categories=listed(self._verbs.notifiers.catalogue, search, self._visit.words.sentence),
            problems=problems,
            labels=labels_of(self._visit, self._platform),
            is_whole=self._is_whole,
            **values,
        )
