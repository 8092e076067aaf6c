"""The API put together: every router, the errors' shape, and what holds for every answer."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.routing import Route

from tocsin import __version__
from tocsin.api import (
    alerts,
    apps,
    audit,
    collaborators,
    deliveries,
    event_types,
    explain,
    health,
    notifiers,
    platforms,
    reference,
    regions,
    timeline,
    tokens,
    users,
    variables,
)
from tocsin.api.answers import Answers
from tocsin.api.context import Site
from tocsin.api.problems import add_problems
from tocsin.errors import NotFound
from tocsin.proxies import Proxies
from tocsin.verbs import Verbs

Readiness = Callable[[], Awaitable[Mapping[str, str]]]
"""What stands in the way of serving, each by name with a sentence; nothing means ready."""

ROUTERS = (
    tokens.router,
    users.router,
    regions.router,
    apps.router,
    collaborators.router,
    variables.router,
    platforms.router,
    event_types.router,
    notifiers.router,
    alerts.router,
    timeline.router,
    explain.router,
    deliveries.router,
    audit.router,
    health.router,
    reference.router,
)


async def always_ready() -> Mapping[str, str]:
    return {}


async def _answered_in_front(_: Request) -> Response:
    """The end of a route that exists for `Allow` alone: its requests never come this far."""
    raise NotFound("page")


def build_api(
    verbs: Verbs,
    *,
    public_url: str,
    region: str,
    readiness: Readiness = always_ready,
    extra_paths: Mapping[str, Any] | None = None,
    extra_schemas: Mapping[str, Any] | None = None,
    extra_routers: Sequence[APIRouter] = (),
    proxies: Proxies | None = None,
) -> FastAPI:
    """The ASGI application. `extra_paths` are OpenAPI path items of routes that stand in front of it.

    They may refer to `extra_schemas`, which join the document's components.
    """
    app = FastAPI(
        title="Tocsin",
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )
    app.state.verbs = verbs
    app.state.site = Site(public_url=public_url.rstrip("/"), region=region)
    app.state.readiness = readiness
    app.state.notes = dict
    app.state.proxies = proxies or Proxies()
    add_problems(app)
    routers = (*ROUTERS, *extra_routers)
    for router in routers:
        app.include_router(router)
    in_front = [Route(path, _answered_in_front, methods=list(item)) for path, item in (extra_paths or {}).items()]
    app.state.routes = [*in_front, *(route for router in routers for route in router.routes)]
    app.state.describe = cache(partial(reference.describe, app, extra_paths or {}, extra_schemas or {}))
    app.add_middleware(Answers, is_https=public_url.startswith("https:"))
    return app


def build_health(readiness: Readiness) -> FastAPI:
    """What a process answers that only delivers: whether it lives and can do its work."""
    app = FastAPI(title="Tocsin", version=__version__, openapi_url=None, docs_url=None, redoc_url=None)
    app.state.readiness = readiness
    app.state.notes = dict
    add_problems(app)
    app.include_router(health.router)
    return app
