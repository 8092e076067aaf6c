"""What pages show of a notifier: how it fares, what it gets, how its messages look, and how a test went."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec
from fastapi import Response

from tocsin.access import Access, Right
from tocsin.catalogue import Catalogue
from tocsin.dashboard.new_notifier import NO_PROBLEMS, members_of
from tocsin.dashboard.notifier_forms import Events, choice_of
from tocsin.dashboard.overview import SHARES, Chart, chart_ends, chart_latency
from tocsin.dashboard.reasons import reason_of
from tocsin.dashboard.snippets import snippets_of
from tocsin.dashboard.visit import Visit
from tocsin.dashboard.words import Words
from tocsin.model import Attempt, Delivery, Notifier, User
from tocsin.notifiers import TEST_TYPE
from tocsin.platforms.base import Platform, SettingKind
from tocsin.platforms.settings import mask_settings
from tocsin.platforms.signing import Algorithm, algorithm_of
from tocsin.preview import Preview
from tocsin.statistics import ENDS, SPANS
from tocsin.store.delivery_search import DeliverySearch
from tocsin.verbs import Verbs

RECENT = 10


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """An example of an event as a notifier would send it; `choices` are the others, by category."""

    event_type: str
    preview: Preview
    body: str
    choices: Sequence[tuple[str, Sequence[tuple[str, str]]]]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a test went."""

    delivery: Delivery
    attempt: Attempt


def gets(words: Words, catalogue: Catalogue, notifier: Notifier) -> list[str]:
    """What a notifier gets, in words."""
    choice = choice_of(catalogue, notifier)
    found = []
    if choice.events is Events.ALL:
        found.append(words("notifiers.gets.all"))
    elif choice.events is Events.CRITICAL:
        found.append(words("notifiers.gets.critical"))
    elif choice.selected:
        found.append(words("notifiers.gets.types", count=len(choice.selected)))
    if choice.all_alerts:
        found.append(words("notifiers.gets.alerts"))
    return found or [words("notifiers.gets.nothing")]


class NotifierPage:
    """The pages of one notifier, for who reads them."""

    def __init__(self, access: Access, user: User, visit: Visit, verbs: Verbs) -> None:
        self._access = access
        self._user = user
        self._visit = visit
        self._verbs = verbs

    async def show(
        self,
        notifier_id: str,
        *,
        is_new: bool = False,
        event: str = "",
        done: str = "",
        status: int = 200,
        **said: Any,
    ) -> Response:
        """A notifier's page, or the last step of adding it; `event` is the type to preview. Raises NotFound.

        `said` is what has come of a form: a `test`, `secrets`, `problems` of fields or one `problem`.
        """
        notifier = await self._verbs.notifiers.get(self._access.app, notifier_id)
        platform = self._verbs.notifiers.platforms[notifier.platform]
        return self._visit.show(
            f"notifiers/{'finish' if is_new else 'show'}.html",
            status=status,
            access=self._access,
            notifier=notifier,
            platform=platform,
            waits_for=self._verbs.notifiers.waits_for(platform.name),
            reason=reason_of(notifier.state, notifier.state_reason),
            gets=gets(self._visit.words, self._verbs.notifiers.catalogue, notifier),
            settings=await self._settings(notifier, platform),
            sample=await self._sample(notifier, event),
            deliveries=[] if is_new else await self._recent(notifier),
            charts=None if is_new else await self._charts(notifier),
            ends=ENDS,
            percentiles=list(SHARES),
            rate=self._rate(notifier.rate_per_second or platform.rate_per_second),
            lifetime=self._lifetime(notifier),
            snippets=snippets_of(algorithm_of(notifier.secret)) if platform.signs else (),
            algorithms=list(Algorithm),
            has_previous=notifier.previous_secret_at(self._visit.times.now()) is not None,
            labels={"until": self._visit.words("notifier.until")},
            form=self._visit.form,
            done=done if done in DONE else None,
            is_new=is_new,
            **({"test": None, "secrets": None, "problems": NO_PROBLEMS, "problem": None} | said),
        )

    async def _settings(self, notifier: Notifier, platform: Platform) -> list[tuple[str, list[str]]]:
        """Each setting that is given: its label, and what it holds; secrets are masked for who may not write them."""
        is_whole = self._access.may(Right.NOTIFIERS_WRITE)
        values = notifier.type_data if is_whole else mask_settings(platform, notifier.type_data)
        names = dict(await members_of(self._access, platform, self._verbs))
        shown: list[tuple[str, list[str]]] = []
        for setting in platform.settings:
            value = values.get(setting.name)
            if not value:
                continue
            each = [str(entry) for entry in (value if isinstance(value, list) else [value])]
            lines = [names.get(entry, entry) for entry in each] if setting.kind is SettingKind.MEMBERS else each
            shown.append((self._visit.words.sentence(setting.label), lines))
        return shown

    def _rate(self, rate: float | None) -> str | None:
        return None if rate is None else self._visit.words.number(rate, 0 if rate == int(rate) else 2)

    def _lifetime(self, notifier: Notifier) -> str:
        words: Words = self._visit.words
        lifetime = self._verbs.history.lifetime(notifier)
        if lifetime % timedelta(days=1):
            return self._visit.times.lasting(lifetime.total_seconds() * 1000)
        return words("notifier.days", count=lifetime.days)

    async def _charts(self, notifier: Notifier) -> Mapping[str, Chart | None] | None:
        """A week of deliveries, where any has ended."""
        series = await self._verbs.statistics.series(self._access.app, SPANS["7d"], notifier_id=notifier.id)
        if not series.whole.total:
            return None
        latency = chart_latency(series, self._visit) if series.whole.by_latency else None
        return {"ends": chart_ends(series, self._visit), "latency": latency}

    async def _recent(self, notifier: Notifier) -> list[Delivery]:
        if not self._access.may(Right.DELIVERIES_READ):
            return []
        only = DeliverySearch(notifier_id=notifier.id)
        return (await self._verbs.history.search_deliveries(self._access.app, only, limit=RECENT)).items

    async def _sample(self, notifier: Notifier, asked: str) -> Sample:
        catalogue = self._verbs.notifiers.catalogue
        event_type = asked if asked in catalogue.events else usual_sample(catalogue, notifier)
        preview = await self._verbs.explain.sample(self._access.app, self._user, notifier, event_type)
        body = "" if preview.request is None else readable(preview.request.body)
        return Sample(event_type=event_type, preview=preview, body=body, choices=self._choices(catalogue))

    def _choices(self, catalogue: Catalogue) -> list[tuple[str, list[tuple[str, str]]]]:
        words = self._visit.words
        by_category: dict[str, list[tuple[str, str]]] = {}
        for kind in catalogue.events.values():
            found = catalogue.event_type_of(kind.type)
            if found is not None:
                label = f"{words.sentence(found.display_name)} ({kind.type})"
                by_category.setdefault(found.category_id, []).append((kind.type, label))
        categories = sorted(catalogue.categories, key=lambda category: category.position)
        return [(words.sentence(each.display_name), by_category[each.id]) for each in categories]


DONE = frozenset({"added", "changed", "paused", "resumed", "on", "off", "rotated", "revoked"})
"""What a page can say has just been done."""


def usual_sample(catalogue: Catalogue, notifier: Notifier) -> str:
    """The event that a notifier is previewed with at first: one that it gets, a deployment if it does."""
    kinds = [kind.type for kind in catalogue.events.values() if _is_selected(catalogue, notifier, kind.type)]
    return TEST_TYPE if notifier.send_all_events or not kinds or TEST_TYPE in kinds else kinds[0]


def _is_selected(catalogue: Catalogue, notifier: Notifier, event_type: str) -> bool:
    found = catalogue.event_type_of(event_type)
    return found is not None and found.id in notifier.selected_event_ids


def readable(body: str) -> str:
    """A body with its JSON indented; as it is, if it is none."""
    try:
        return msgspec.json.format(body.encode(), indent=2).decode()
    except msgspec.DecodeError:
        return body
