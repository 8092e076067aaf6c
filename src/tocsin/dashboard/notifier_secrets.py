"""What a notifier's messages are signed with: shown when asked for, replaced, and ended.

A secret stands in the answer to the form that asked for it, and in no address.
"""

import msgspec
from fastapi import Response

from tocsin.api.context import VerbsOf
from tocsin.dashboard.notifier_views import NotifierPage
from tocsin.dashboard.notifiers import NotifierRef, address_of
from tocsin.dashboard.places import CurrentUser, ReadsSecrets, WritesNotifiers
from tocsin.dashboard.routes import page_router
from tocsin.dashboard.visit import VisitOf
from tocsin.platforms.signing import Algorithm

router = page_router()


@router.post("/apps/{app}/notifiers/{notifier}/secret")
async def show_secret(
    access: ReadsSecrets, notifier: NotifierRef, user: CurrentUser, visit: VisitOf, verbs: VerbsOf
) -> Response:
    found = await verbs.notifiers.secrets(access.app, notifier)
    page = NotifierPage(access, user, visit, verbs)
    return await page.show(notifier, is_new="is_new" in visit.form, secrets=found)


@router.post("/apps/{app}/notifiers/{notifier}/secret/rotate")
async def rotate_secret(
    access: WritesNotifiers, notifier: NotifierRef, user: CurrentUser, visit: VisitOf, verbs: VerbsOf
) -> Response:
    asked = visit.form.get("algorithm", "")
    algorithm = Algorithm(asked) if asked in set(Algorithm) else None
    revoke_now = "revoke_now" in visit.form
    made = await verbs.notifiers.rotate_secret(access.app, notifier, algorithm=algorithm, revoke_now=revoke_now)
    page = NotifierPage(access, user, visit, verbs)
    # Not the one before: whoever may rotate need not be one who may read secrets.
    return await page.show(notifier, done="rotated", secrets=msgspec.structs.replace(made, previous_secret=None))


@router.post("/apps/{app}/notifiers/{notifier}/secret/revoke")
async def revoke_previous_secret(
    access: WritesNotifiers, notifier: NotifierRef, visit: VisitOf, verbs: VerbsOf
) -> Response:
    await verbs.notifiers.revoke_previous_secret(access.app, notifier)
    return visit.go(address_of(access, notifier, "revoked"))
