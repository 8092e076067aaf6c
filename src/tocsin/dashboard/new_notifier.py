"""Adding a notifier in steps: a platform, its settings, its events; then it is stored, switched off, and tried out.

What was typed travels in the forms of the steps, never in an address: it may be secret.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated

from fastapi import Depends, Path
from fastapi.responses import JSONResponse, Response

from tocsin.access import Access
from tocsin.api.context import VerbsOf
from tocsin.dashboard.notifier_forms import (
    SETTING,
    Choice,
    listed,
    read_choice,
    type_data_of,
    typed_settings,
    wanted,
)
from tocsin.dashboard.places import CurrentUser, WritesNotifiers
from tocsin.dashboard.routes import page_router
from tocsin.dashboard.visit import Visit, VisitOf
from tocsin.errors import InvalidInput, NotFound
from tocsin.notifier_rules import NotifierWish
from tocsin.platforms.base import Platform, SettingKind
from tocsin.verbs import Verbs

router = page_router()

Problems = Mapping[str, Sequence[str]]
NO_PROBLEMS: Problems = MappingProxyType({})


async def get_platform(platform: Annotated[str, Path(max_length=100)], verbs: VerbsOf) -> Platform:
    """The platform that the path names. Raises NotFound."""
    found = verbs.notifiers.platforms.get(platform)
    if found is None:
        raise NotFound("platform")
    return found


PlatformOf = Annotated[Platform, Depends(get_platform)]


@router.get("/apps/{app}/notifiers/new")
async def choose_platform(access: WritesNotifiers, visit: VisitOf, verbs: VerbsOf) -> Response:
    platforms = [(platform, verbs.notifiers.waits_for(name)) for name, platform in verbs.notifiers.platforms.items()]
    return visit.show("notifiers/platforms.html", access=access, platforms=platforms)


@router.get("/apps/{app}/notifiers/new/{platform}")
async def ask_settings(access: WritesNotifiers, platform: PlatformOf, visit: VisitOf, verbs: VerbsOf) -> Response:
    name = await _free_name(access, platform, verbs)
    return await Step(access, platform, visit, verbs).show_settings(name=name)


@router.post("/apps/{app}/notifiers/new/{platform}/settings")
async def ask_settings_again(access: WritesNotifiers, platform: PlatformOf, visit: VisitOf, verbs: VerbsOf) -> Response:
    return await Step(access, platform, visit, verbs).show_settings(name=visit.form.get("name", ""))


@router.get("/apps/{app}/notifiers/new/{platform}/{step}")
async def begin_again(access: WritesNotifiers, platform: PlatformOf, visit: VisitOf) -> Response:
    """A step that is asked for without what the steps before it sent."""
    return visit.go(f"/apps/{access.app.name}/notifiers/new/{platform.name}")


@router.post("/apps/{app}/notifiers/new/{platform}/events")
async def ask_events(access: WritesNotifiers, platform: PlatformOf, visit: VisitOf, verbs: VerbsOf) -> Response:
    step = Step(access, platform, visit, verbs)
    try:
        await verbs.notifiers.check(access.app, step.wish())
    except InvalidInput as error:
        return await step.show_settings(name=visit.form.get("name", ""), problems=error.fields)
    return step.show_events()


@router.post("/apps/{app}/notifiers/new/{platform}/check")
async def check_settings(access: WritesNotifiers, platform: PlatformOf, visit: VisitOf, verbs: VerbsOf) -> Response:
    """What is wrong with what is typed so far, for the script that shows it at the fields."""
    try:
        await verbs.notifiers.check(access.app, Step(access, platform, visit, verbs).wish())
    except InvalidInput as error:
        return told(visit, error.fields)
    return told(visit, {})


@router.post("/apps/{app}/notifiers/new/{platform}")
async def add_notifier(
    access: WritesNotifiers, platform: PlatformOf, user: CurrentUser, visit: VisitOf, verbs: VerbsOf
) -> Response:
    step = Step(access, platform, visit, verbs)
    try:
        added = await verbs.notifiers.add(access.app, user, step.wish())
    except InvalidInput as error:
        return await step.show_settings(name=visit.form.get("name", ""), problems=error.fields)
    return visit.go(f"/apps/{access.app.name}/notifiers/{added.id}/finish")


def told(visit: Visit, problems: Problems) -> JSONResponse:
    """Problems by field, in the reader's language."""
    fields = {name: "; ".join(map(visit.words.sentence, reasons)) for name, reasons in problems.items()}
    return JSONResponse({"problems": fields})


class Step:
    """A step of adding a notifier, with what its form holds."""

    def __init__(self, access: Access, platform: Platform, visit: Visit, verbs: Verbs) -> None:
        self._access = access
        self._platform = platform
        self._visit = visit
        self._verbs = verbs
        self._typed = typed_settings(platform, visit.form)
        self._choice: Choice = read_choice(verbs.notifiers.catalogue, visit.form)

    def wish(self) -> NotifierWish:
        """What has been asked for so far, switched off."""
        return NotifierWish(
            platform_id=self._platform.id,
            name=self._visit.form.get("name", "").strip(),
            type_data=type_data_of(self._platform, self._typed),
            active=False,
            **wanted(self._verbs.notifiers.catalogue, self._choice),
        )

    async def show_settings(self, *, name: str, problems: Problems = NO_PROBLEMS) -> Response:
        return self._visit.show(
            "notifiers/settings.html",
            status=422 if problems else 200,
            access=self._access,
            platform=self._platform,
            name=name,
            typed=self._typed,
            members=await members_of(self._access, self._platform, self._verbs),
            waits_for=self._verbs.notifiers.waits_for(self._platform.name),
            problems=problems,
            labels=labels_of(self._visit, self._platform),
            carried=self._carried(("events", "event", "category", "send_all_alerts")),
        )

    def show_events(self) -> Response:
        search = self._visit.form.get("search", "")
        return self._visit.show(
            "notifiers/events.html",
            access=self._access,
            platform=self._platform,
            choice=self._choice,
            search=search,
            categories=listed(self._verbs.notifiers.catalogue, search, self._visit.words.sentence),
            carried=self._carried(("name", *(SETTING + setting.name for setting in self._platform.settings))),
        )

    def _carried(self, names: Sequence[str]) -> list[tuple[str, str]]:
        """What other steps hold, to be carried on in this one's form."""
        return [pair for pair in self._visit.form.pairs if pair[0] in names]


async def members_of(access: Access, platform: Platform, verbs: Verbs) -> list[tuple[str, str]]:
    """Whom a notifier of this platform can name: their ids, and how they are called."""
    if not any(setting.kind is SettingKind.MEMBERS for setting in platform.settings):
        return []
    owner = access.app.owner
    others = [each for each in await verbs.apps.list_collaborators(access.app) if each.user_id is not None]
    known = {owner.id: f"{owner.username} ({owner.email})"}
    return list((known | {each.user_id or "": f"{each.username} ({each.email})" for each in others}).items())


def labels_of(visit: Visit, platform: Platform) -> dict[str, str]:
    """How the fields of a notifier's forms are called, by their names."""
    settings = {SETTING + setting.name: visit.words.sentence(setting.label) for setting in platform.settings}
    named = ("name", "rate_per_second", "retry_schedule", "expires_after")
    return {name: visit.words(f"notifier_form.{name}") for name in named} | settings


async def _free_name(access: Access, platform: Platform, verbs: Verbs) -> str:
    """The platform's name, with a number if a notifier is called so already."""
    taken = {notifier.name for notifier in await verbs.notifiers.list(access.app)}
    names = (platform.display_name if number == 1 else f"{platform.display_name} {number}" for number in range(1, 999))
    return next((name for name in names if name not in taken), platform.display_name)
