"""The demo's sample user, app, token and notifier: made at the first start, found again at the next."""

import msgspec

from tocsin.apps import Apps
from tocsin.errors import ConfigError, InvalidInput, NotFound
from tocsin.model import App, Notifier, User
from tocsin.notifier_rules import NotifierWish
from tocsin.notifiers import Notifiers
from tocsin.tokens import TokenWish
from tocsin.verbs import Verbs

USERNAME = "demo"
APP_NAME = "my-app"
NOTIFIER_NAME = "demo receiver"
PLATFORM = "webhook"
TOKEN_NAME = "demo"  # noqa: S105 - a label

# The app's own e-mail notifier writes to its owner: to nobody, in a demo (RFC 2606), yet in a form that can be sent.
EMAIL = "demo@example.com"


class Samples(msgspec.Struct, frozen=True, kw_only=True):
    """`token` is there when it was made just now; `link_secret` signs the user in, once."""

    user: User
    app: App
    notifier: Notifier
    signing_secret: str
    token: str | None = None
    link_secret: str

    def __repr__(self) -> str:
        return f"Samples({self.app.name})"


async def prepare_samples(verbs: Verbs, receiver_url: str) -> Samples:
    """Make what is not there yet. Raises ConfigError when the app's name is somebody else's."""
    user = await _user(verbs)
    app = await _app(verbs.apps, user)
    notifier = await _notifier(verbs.notifiers, app, user, receiver_url)
    has_token = bool(await verbs.tokens.list(user))
    return Samples(
        user=user,
        app=app,
        notifier=notifier,
        signing_secret=(await verbs.notifiers.secrets(app, notifier.id)).secret,
        link_secret=await verbs.accounts.add_link(user),
        token=None if has_token else (await verbs.tokens.add(user, TokenWish(name=TOKEN_NAME))).secret,
    )


async def _user(verbs: Verbs) -> User:
    try:
        return await verbs.accounts.get_user(USERNAME)
    except NotFound:
        return await verbs.accounts.add_user(username=USERNAME, email=EMAIL)


async def _app(apps: Apps, user: User) -> App:
    try:
        return await apps.get_app(user, APP_NAME)
    except NotFound:
        pass
    try:
        return await apps.add_app(user, APP_NAME)
    except InvalidInput:
        raise ConfigError(
            f"this database has an app {APP_NAME} of somebody else: run the demo on a database of its own, "
            "as with TOCSIN_DATABASE_URL=sqlite:///data/demo.db"
        ) from None


async def _notifier(notifiers: Notifiers, app: App, user: User, receiver_url: str) -> Notifier:
    settings = {"webhook_url": receiver_url}
    for notifier in await notifiers.list(app):
        if notifier.name != NOTIFIER_NAME or notifier.platform != PLATFORM:
            continue
        if notifier.type_data == settings:
            return notifier
        # Another program has the port of last time.
        return await notifiers.edit(app, user, notifier.id, NotifierWish(type_data=settings))
    platform_id = notifiers.platforms[PLATFORM].id
    wish = NotifierWish(platform_id=platform_id, name=NOTIFIER_NAME, send_all_events=True, type_data=settings)
    return await notifiers.add(app, user, wish)
