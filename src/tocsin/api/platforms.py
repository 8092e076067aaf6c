"""The platforms that notifiers can send to. No token is needed: clients read this before they log in."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel

from tocsin.api.context import Site, SiteOf, VerbsOf
from tocsin.api.problems import answers
from tocsin.errors import NotFound
from tocsin.platforms.base import Platform
from tocsin.verbs import Verbs

router = APIRouter(tags=["Platforms"])


class PlatformOut(BaseModel):
    """A kind of destination; every platform takes every event type."""

    id: str
    name: str
    display_name: str
    logo_url: str
    description: str
    available_event_ids: list[str]


class PlatformAnswer(BaseModel):
    notification_platform: PlatformOut


class PlatformsAnswer(BaseModel):
    notification_platforms: list[PlatformOut]


@router.get(
    "/v1/notification_platforms",
    operation_id="list_notification_platforms",
    summary="List the platforms that notifiers can send to",
)
async def list_notification_platforms(verbs: VerbsOf, site: SiteOf) -> PlatformsAnswer:
    return _listed(list(verbs.notifiers.platforms.values()), verbs, site)


@router.get(
    "/v1/notification_platforms/search",
    operation_id="search_notification_platforms",
    summary="Find the platform of a name: a list of one, or of none",
)
async def search_notification_platforms(
    verbs: VerbsOf,
    site: SiteOf,
    name: Annotated[str, Query(description="The platform's name.", examples=["webhook"])] = "",
) -> PlatformsAnswer:
    found = verbs.notifiers.platforms.get(name)
    return _listed([] if found is None else [found], verbs, site)


@router.get(
    "/v1/notification_platforms/{platform_id}",
    operation_id="get_notification_platform",
    summary="Show a platform",
    responses=answers(404),
)
async def get_notification_platform(
    verbs: VerbsOf,
    site: SiteOf,
    platform_id: Annotated[str, Path(description="The platform's id.", examples=["5982f145d48c3600273ef08a"])],
) -> PlatformAnswer:
    for platform in verbs.notifiers.platforms.values():
        if platform.id == platform_id:
            return PlatformAnswer(notification_platform=_shown(platform, verbs, site))
    raise NotFound("notification_platform")


@router.get("/logos/{name}.svg", include_in_schema=False)
async def get_logo(verbs: VerbsOf, name: str) -> Response:
    platform = verbs.notifiers.platforms.get(name)
    if platform is None:
        raise NotFound("logo")
    return Response(platform.logo, media_type="image/svg+xml", headers={"cache-control": "public, max-age=3600"})


def _listed(platforms: list[Platform], verbs: Verbs, site: Site) -> PlatformsAnswer:
    return PlatformsAnswer(notification_platforms=[_shown(platform, verbs, site) for platform in platforms])


def _shown(platform: Platform, verbs: Verbs, site: Site) -> PlatformOut:
    return PlatformOut(
        id=platform.id,
        name=platform.name,
        display_name=platform.display_name,
        logo_url=f"{site.public_url}/logos/{platform.name}.svg",
        description=platform.description,
        available_event_ids=[event_type.id for event_type in verbs.notifiers.catalogue.event_types],
    )
