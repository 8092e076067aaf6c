"""What pages are made of: templates, escaped throughout, and files that browsers keep, named by what is in them."""

import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import jinja2
from fastapi import APIRouter, Request
from fastapi.responses import Response

from tocsin.api.platforms import get_logo
from tocsin.dashboard.reasons import reason_of
from tocsin.errors import NotFound

router = APIRouter(include_in_schema=False)

MEDIA_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
FOR_EVER = "public, max-age=31536000, immutable"
DIGEST_CHARACTERS = 12


class Pages:
    def __init__(self) -> None:
        self.assets = {
            file.name: file.read_bytes()
            for file in files(__package__).joinpath("assets").iterdir()
            if file.name.rpartition(".")[2] in MEDIA_TYPES
        }
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader(__package__),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.globals |= {"asset": self.address_of, "reason_of": reason_of}

    def render(self, template: str, values: Mapping[str, Any]) -> str:
        return self._environment.get_template(template).render(values)

    def address_of(self, name: str) -> str:
        """Where browsers find a file: another address when there is something else in it."""
        stem, _, kind = name.rpartition(".")
        return f"/assets/{stem}.{_digest(self.assets[name])}.{kind}"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:DIGEST_CHARACTERS]


@router.get("/assets/{name}")
async def get_asset(name: str, request: Request) -> Response:
    """A file by its name, with or without the digest. One of another version of Tocsin is not kept by the browser."""
    pages: Pages = request.app.state.pages
    stem, _, kind = name.rpartition(".")
    plain = name if name in pages.assets else f"{stem.rpartition('.')[0]}.{kind}"
    content = pages.assets.get(plain)
    if content is None:
        raise NotFound("page")
    is_named = request.url.path == pages.address_of(plain)
    kept = FOR_EVER if is_named else "no-cache"
    return Response(content, media_type=MEDIA_TYPES[kind], headers={"cache-control": kept})


router.add_api_route("/assets/platforms/{name}.svg", get_logo)
