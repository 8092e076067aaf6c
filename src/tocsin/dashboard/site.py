"""All that one port answers: the API, and the pages beside it."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI

from tocsin.api.application import Readiness, always_ready, build_api
from tocsin.dashboard import (
    account,
    alerts,
    apps,
    deliveries,
    delivery,
    edit_notifier,
    events,
    explaining,
    home,
    new_notifier,
    notifier_secrets,
    notifiers,
    operations,
    pages,
    recovering,
    reference,
    sign_in,
    tokens,
)
from tocsin.dashboard.live import Streams
from tocsin.dashboard.pages import Pages
from tocsin.dashboard.routes import add_error_pages
from tocsin.dashboard.unsubscribe import unsubscribe_router
from tocsin.dashboard.words import Languages
from tocsin.proxies import Proxies
from tocsin.unsubscribe import Unsubscribe
from tocsin.verbs import Verbs

ROUTERS = (
    home.router,
    sign_in.router,
    account.router,
    tokens.router,
    apps.router,
    events.router,
    deliveries.router,
    delivery.router,
    explaining.router,
    recovering.router,
    alerts.router,
    new_notifier.router,  # before `notifiers`, whose paths have an id where these have `new`
    notifiers.router,
    edit_notifier.router,
    notifier_secrets.router,
    operations.router,
    reference.router,
    pages.router,
)


def build_site(
    verbs: Verbs,
    *,
    public_url: str,
    region: str,
    unsubscribe: Unsubscribe | None = None,
    readiness: Readiness = always_ready,
    extra_paths: Mapping[str, Any] | None = None,
    extra_schemas: Mapping[str, Any] | None = None,
    proxies: Proxies | None = None,
) -> FastAPI:
    """The ASGI application; see `build_api` for what stands in front of it."""
    app = build_api(
        verbs,
        public_url=public_url,
        region=region,
        readiness=readiness,
        extra_paths=extra_paths,
        extra_schemas=extra_schemas,
        proxies=proxies,
        extra_routers=[*ROUTERS, *([unsubscribe_router(unsubscribe)] if unsubscribe else [])],
    )
    app.state.pages = Pages()
    app.state.languages = Languages()
    app.state.streams = Streams()
    add_error_pages(app)
    return app
