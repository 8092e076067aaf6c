"""Regions: this server is one, and existing clients find its API here."""

from fastapi import APIRouter
from pydantic import BaseModel

from tocsin.api.context import SiteOf

router = APIRouter(tags=["Regions"])


class Region(BaseModel):
    name: str
    display_name: str
    api: str
    database_api: str
    dashboard: str
    ssh: str
    default: bool


class Regions(BaseModel):
    regions: list[Region]


@router.get(
    "/v1/regions",
    operation_id="list_regions",
    summary="List regions: always the one that this server is",
)
async def list_regions(site: SiteOf) -> Regions:
    here = Region(
        name=site.region,
        display_name=f"Tocsin ({site.region})",
        api=site.public_url,
        database_api=site.public_url,
        dashboard=site.public_url,
        ssh="",
        default=True,
    )
    return Regions(regions=[here])
