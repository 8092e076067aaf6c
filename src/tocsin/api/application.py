"""The API put together: every router, the errors' shape, and what holds for every answer."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

from fastapi import APIRouter, FastAPI

from tocsin import __version__
from tocsin.api import (
    alerts,
    apps,
    collaborators,
    deliveries,
    event_types,
    health,
    notifiers,
    platforms,
    reference,
    regions,
    status,
    timeline,
    tokens,
    users,
    variables,
)
from tocsin.api.answers import Answers
from tocsin.api.context import Site
from tocsin.api.pages import Pages
from tocsin.api.problems import add_problems
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
    deliveries.router,
    health.router,
    reference.router,
    status.router,
)


async def always_ready() -> Mapping[str, str]:
    return {}


def build_api(
    verbs: Verbs,
    *,
    public_url: str,
    region: str,
    readiness: Readiness = always_ready,
    extra_paths: Mapping[str, Any] | None = None,
    extra_routers: Sequence[APIRouter] = (),
) -> FastAPI:
    """The ASGI application. `extra_paths` are OpenAPI path items of routes that stand in front of it."""
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
    add_problems(app)
    routers = (*ROUTERS, *extra_routers)
    for router in routers:
        app.include_router(router)
    app.state.routes = [route for router in routers for route in router.routes]
    app.state.pages = Pages()
    app.state.describe = cache(partial(reference.describe, app, extra_paths or {}))
    app.add_middleware(Answers)
    return app
