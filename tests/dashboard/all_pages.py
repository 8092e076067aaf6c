"""Every page of the site: where it is in the sample world, and for whom. Tests visit them all, and pictures are taken.

Who adds a page adds it here; a test compares this with the site's routes. One route may be shown in several states.
"""

from typing import Literal, NamedTuple

Reader = Literal["visitor", "user", "app", "owner", "admin"]
"""For whom a page is: anybody, whoever is signed in, whoever has to do with the app, its owner, or admins alone."""


class Shown(NamedTuple):
    """`address` is filled in with the names of the sample world (`tests.dashboard.sample`)."""

    name: str
    route: str
    address: str
    of: Reader = "app"

    def __str__(self) -> str:
        return self.name


DELIVERY = "/apps/{app}/deliveries/{delivery_id}"

ALL_PAGES = (
    Shown("status", "/", "/", "visitor"),
    Shown("apps", "/", "/", "user"),
    Shown("sign-in", "/login", "/login", "visitor"),
    Shown("sign-in-link", "/login/{secret}", "/login/not-a-link", "visitor"),
    Shown("reference", "/docs", "/docs", "visitor"),
    Shown("not-found", "/", "/nowhere", "visitor"),
    Shown("account", "/account", "/account", "user"),
    Shown("tokens", "/account/tokens", "/account/tokens", "user"),
    Shown("token-revoke", "/account/tokens/{token_id}/revoke", "/account/tokens/{token}/revoke", "user"),
    Shown("token-renew", "/account/tokens/{token_id}/renew", "/account/tokens/{token}/renew", "user"),
    Shown("app", "/apps/{app}", "/apps/{app}"),
    Shown("app-month", "/apps/{app}", "/apps/{app}?span=30d"),
    Shown("app-settings", "/apps/{app}/settings", "/apps/{app}/settings", "owner"),
    Shown("notifiers", "/apps/{app}/notifiers", "/apps/{app}/notifiers"),
    Shown("notifier-platforms", "/apps/{app}/notifiers/new", "/apps/{app}/notifiers/new"),
    Shown("notifier-new", "/apps/{app}/notifiers/new/{platform}", "/apps/{app}/notifiers/new/slack"),
    Shown("notifier-new-mail", "/apps/{app}/notifiers/new/{platform}", "/apps/{app}/notifiers/new/email"),
    Shown("notifier", "/apps/{app}/notifiers/{notifier}", "/apps/{app}/notifiers/{notifier}"),
    *(
        Shown(f"notifier-{name}", "/apps/{app}/notifiers/{notifier}", f"/apps/{{app}}/notifiers/{{{name}}}")
        for name in ("slack", "chosen", "failing", "disabled", "holding", "paused", "off", "mail")
    ),
    Shown("notifier-finish", "/apps/{app}/notifiers/{notifier}/finish", "/apps/{app}/notifiers/{notifier}/finish"),
    Shown("notifier-edit", "/apps/{app}/notifiers/{notifier}/edit", "/apps/{app}/notifiers/{chosen}/edit"),
    Shown("notifier-remove", "/apps/{app}/notifiers/{notifier}/remove", "/apps/{app}/notifiers/{failing}/remove"),
    Shown("events", "/apps/{app}/events", "/apps/{app}/events"),
    Shown("events-found", "/apps/{app}/events", "/apps/{app}/events?type=deployment"),
    Shown("event-new", "/apps/{app}/events/new", "/apps/{app}/events/new"),
    Shown("event", "/apps/{app}/events/{event_id}", "/apps/{app}/events/{event}"),
    Shown("explain", "/apps/{app}/events/{event_id}/explain", "/apps/{app}/events/{event}/explain"),
    Shown("deliveries", "/apps/{app}/deliveries", "/apps/{app}/deliveries"),
    Shown("deliveries-found", "/apps/{app}/deliveries", "/apps/{app}/deliveries?state=undelivered&q=deploy"),
    Shown("delivery", DELIVERY, "/apps/{app}/deliveries/{delivery_delivery}"),
    Shown("delivery-failed", DELIVERY, "/apps/{app}/deliveries/{failed_delivery}"),
    Shown("delivery-pending", DELIVERY, "/apps/{app}/deliveries/{pending_delivery}"),
    Shown("delivery-waiting", DELIVERY, "/apps/{app}/deliveries/{waiting_delivery}"),
    Shown("delivery-cancelled", DELIVERY, "/apps/{app}/deliveries/{cancelled_delivery}"),
    Shown("replay", f"{DELIVERY}/replay", "/apps/{app}/deliveries/{failed_delivery}/replay"),
    Shown("cancel", f"{DELIVERY}/cancel", "/apps/{app}/deliveries/{pending_delivery}/cancel"),
    Shown("recover", "/apps/{app}/notifiers/{notifier_id}/recover", "/apps/{app}/notifiers/{refusing}/recover"),
    Shown("alerts", "/apps/{app}/alerts", "/apps/{app}/alerts"),
    Shown("alert-new", "/apps/{app}/alerts/new", "/apps/{app}/alerts/new"),
    Shown("alert-edit", "/apps/{app}/alerts/{alert_id}/edit", "/apps/{app}/alerts/{alert}/edit"),
    Shown("alert-remove", "/apps/{app}/alerts/{alert_id}/remove", "/apps/{app}/alerts/{alert}/remove"),
    Shown("operations", "/operations", "/operations", "admin"),
    Shown("operations-doctor", "/operations", "/operations?doctor=yes", "admin"),
)

SHOWN_ELSEWHERE = {
    "/login/code": "is there where mail can be sent: tests/dashboard/test_codes.py",
    "/apps/{app}/events/{event_id}/raw": "is JSON",
    "/apps/{app}/notifiers/new/{platform}/{step}": "leads back to the first step",
    "/apps/{app}/deliveries/live": "is a stream",
    f"{DELIVERY}/live": "is a stream",
    "/operations/live": "is a stream",
}
"""Routes that are no pages, or none of the sample world, and why."""
