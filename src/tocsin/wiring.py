"""The one place where the parts are put together. What is shared is passed in; nobody else reads settings."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

from starlette.types import ASGIApp

from tocsin import __version__
from tocsin.accounts import Accounts
from tocsin.alerts import Alerts
from tocsin.api.application import build_health
from tocsin.api.events import EventsEndpoint
from tocsin.api.events_document import EVENTS_PATHS, EVENTS_SCHEMAS
from tocsin.apps import Apps
from tocsin.audit_log import AuditLog
from tocsin.care import Care
from tocsin.catalogue import Catalogue
from tocsin.clock import Clock, SharedClock, SystemClock
from tocsin.dashboard.live import Streams
from tocsin.dashboard.site import build_site
from tocsin.deliver import Deliver, Pace
from tocsin.dispatch import Dispatcher
from tocsin.doctor.checks import list_checks
from tocsin.doctor.finding import Finding, look
from tocsin.egress import Egress
from tocsin.egress.addresses import AddressPolicy, UrlRefused, check_url
from tocsin.egress.mail import MAX_CONNECTIONS, Mailer
from tocsin.errors import ConfigError
from tocsin.explain import Explain
from tocsin.health import Health
from tocsin.history import History
from tocsin.ingest import Ingest
from tocsin.keyring import SECRETS_AT_REST, Keyring, load_or_make, parse_keys
from tocsin.keys import Keys
from tocsin.lanes import Lanes
from tocsin.letters import Letters
from tocsin.limits import Allowances, Throttle
from tocsin.metrics import Metrics
from tocsin.model import Notifier
from tocsin.notifiers import Notifiers, waits_for_setup
from tocsin.operations import Findings, Operations
from tocsin.platforms import load_platforms
from tocsin.platforms.base import HttpPlatform, Platform, SettingKind
from tocsin.preview import Previews
from tocsin.proxies import Proxies
from tocsin.rates import Rates
from tocsin.sealing import Sealer
from tocsin.sending import Sender
from tocsin.sessions import Sessions
from tocsin.settings import Role, Settings
from tocsin.skew import Skew
from tocsin.slots import Slots
from tocsin.standings import Limits, Standings
from tocsin.statistics import Statistics
from tocsin.store.health import Readiness
from tocsin.store.members import list_members
from tocsin.store.opening import open_store
from tocsin.store.port import Store
from tocsin.store.sqlite.database import database_path, prepare_folder
from tocsin.tokens import Tokens
from tocsin.unsubscribe import Unsubscribe
from tocsin.upkeep import Retention, Upkeep
from tocsin.verbs import Verbs
from tocsin.worker import Worker

MAIL = "mail"
"""Stands for the operator's mail server among the hosts that messages go to."""

LIMITS = Limits(connections={MAIL: MAX_CONNECTIONS})


@dataclass(frozen=True, kw_only=True)
class Running:
    """A Tocsin process's parts; one that only answers requests has no worker and looks after nothing."""

    settings: Settings
    verbs: Verbs
    store: Store
    worker: Worker | None
    upkeep: Upkeep | None
    care: Care
    egress: Egress
    metrics: Metrics
    api: ASGIApp
    streams: Streams

    async def run(self) -> None:
        """Deliver and look after things until cancelled."""
        if self.worker is None or self.upkeep is None:
            await asyncio.Event().wait()
            return
        self.store.on_wake(self.worker.wake)
        self.store.on_wake(self.upkeep.wake)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.worker.run())
            tasks.create_task(self.upkeep.run())

    async def drain(self) -> None:
        """Let what is under way end, and give back the rest; `close` comes after."""
        if self.worker is not None:
            await self.worker.drain(patience_seconds=self.settings.delivery_timeout)
        await self.care.finish()

    async def close(self) -> None:
        await self.verbs.tokens.finish()
        await self.verbs.accounts.finish()
        await self.egress.aclose()
        await self.store.close()


def load_keyring(settings: Settings) -> Keyring:
    """The root secret: of the environment, or of the key file beside the embedded database."""
    if settings.secret_key is not None:
        return parse_keys(settings.secret_key)
    if not settings.is_on_sqlite:
        raise ConfigError(
            "TOCSIN_SECRET_KEY is required with PostgreSQL, the same for every process: base64 of 32 random bytes, "
            "such as openssl rand -base64 32 prints"
        )
    path = key_file(settings)
    prepare_folder(path)
    return load_or_make(path)


def key_file(settings: Settings) -> Path:
    """The key file beside the embedded database. Raises ConfigError when there is none to be."""
    if settings.secret_key is not None or not settings.is_on_sqlite:
        raise ConfigError("the keys stand in TOCSIN_SECRET_KEY: put the new one first there, as in NEW,OLD")
    path = database_path(settings.database_url)
    return path.with_name(f"{path.name}.key")


def ready_platforms(platforms: Mapping[str, Platform], settings: Settings) -> frozenset[str]:
    """The platforms that are set up: those that require nothing, or whose setting is there."""
    given = {"TOCSIN_SMTP_URL"} if settings.smtp_url else set()
    return frozenset(name for name, platform in platforms.items() if platform.requires in {None, *given})


async def build(
    settings: Settings,
    *,
    public_url: str,
    clock: Clock | None = None,
    role: Role = Role.ALL,
    is_migrating: bool = False,
) -> Running:
    """Open the database and put every part together.

    Raises ConfigError, DatabaseInUse among them, and StoreError for a database that cannot be reached now.
    """
    clock = clock or (SystemClock() if settings.is_on_sqlite else SharedClock())
    catalogue = Catalogue.load()
    platforms = load_platforms()
    ready = ready_platforms(platforms, settings)
    policy = AddressPolicy.parse(settings.egress_allow)
    rates = Rates(clock, {name: rate for name, each in platforms.items() if (rate := each.rate_per_second) is not None})
    standings = Standings(
        clock=clock,
        limits=LIMITS,
        host_of=lambda notifier: _host_of(notifier, platforms, policy),
        is_rated=lambda notifier: rates.rate_of(notifier) is not None,
    )
    slots = Slots(standings, rates)
    lanes = Lanes(standings, slots, clock)
    of_operator = [name for name, platform in platforms.items() if platform.requires is not None]
    health = Health(clock=clock, of_operator=of_operator)
    dispatch = Dispatcher(
        catalogue=catalogue,
        platforms=platforms,
        ready=ready,
        slots=None if role is Role.API else slots,
        health=health,
        lease_seconds=settings.lease_seconds,
    )
    keyring = load_keyring(settings)
    sealer = Sealer(keyring.derive(SECRETS_AT_REST))
    egress = build_egress(settings, policy, clock)
    metrics = Metrics()
    metrics.under_way.set_function(lambda: lanes.under_way)
    metrics.slow.set_function(lambda: lanes.slow_under_way)
    metrics.in_line.set_function(lambda: lanes.waiting)
    store = await open_store(
        settings.database_url,
        direct_url=settings.database_direct_url,
        clock=clock,
        dispatch=dispatch,
        sealer=sealer,
        connections=settings.database_connections,
        is_migrating=is_migrating,
    )
    link_keys = tuple(keyring.derive("unsubscribe links").values())
    unsubscribe = Unsubscribe(store=store, clock=clock, keys=link_keys, public_url=public_url)
    skew = Skew(clock)
    metrics.skew.set_function(lambda: skew.seconds)
    sender = Sender(
        clock=clock,
        platforms=platforms,
        network=egress,
        members_of=lambda app_id, user_ids: store.read(list_members, app_id, user_ids),
        unsubscribe_url=unsubscribe.url,
        skew=skew,
    )
    care = Care(store=store, clock=clock, dispatch=dispatch, health=health, platforms=platforms)
    deliver = Deliver(
        store=store,
        clock=clock,
        sender=sender,
        pace=Pace(
            schedule_seconds=settings.retry_schedule,
            timeout_seconds=settings.delivery_timeout,
            lease_seconds=settings.lease_seconds,
        ),
        metrics=metrics,
        health=health,
        on_finding=care.begin,
    )
    worker = None
    if role is not Role.API:
        worker = Worker(
            store=store,
            clock=clock,
            deliver=deliver,
            standings=standings,
            slots=slots,
            lanes=lanes,
            health=health,
            ready=ready,
        )
    ingest = Ingest(store=store, clock=clock, dispatch=dispatch, deliverer=worker)
    notifiers = Notifiers(
        store=store,
        clock=clock,
        ingest=ingest,
        catalogue=catalogue,
        platforms=platforms,
        check_url=lambda url: _refuse(url, policy),
        ready=ready,
        probe=deliver.probe,
    )
    throttle = Throttle(clock, is_on=settings.rate_limit is not None)
    accounts = Accounts(
        store=store,
        clock=clock,
        ingest=ingest,
        dispatch=dispatch,
        letters=Letters(lambda mail, to: egress.send_mail(mail, recipient=to), clock) if settings.smtp_url else None,
        throttle=throttle,
    )
    history = History(store=store, clock=clock, platforms=platforms, ready=ready)
    previews = Previews(
        platforms=platforms,
        members_of=lambda app_id, user_ids: store.read(list_members, app_id, user_ids),
        unsubscribe_url=unsubscribe.url,
    )
    explain = Explain(
        store=store,
        clock=clock,
        catalogue=catalogue,
        waits_for=partial(waits_for_setup, platforms, ready),
        history=history,
        ingest=ingest,
        previews=previews,
        schedule_seconds=settings.retry_schedule,
    )
    audit = AuditLog(store=store, sealer=sealer)
    readiness = Readiness(store, clock).check
    verbs = Verbs(
        accounts=accounts,
        tokens=Tokens(
            store=store,
            clock=clock,
            ingest=ingest,
            sign_in=accounts.sign_in,
            throttle=throttle,
            allowances=Allowances(clock, settings.rate_limit),
            bearer_keys=tuple(keyring.derive("bearer tokens").values()),
            issuer=public_url,
        ),
        sessions=Sessions(store=store, clock=clock),
        apps=Apps(store=store, clock=clock, ingest=ingest, dispatch=dispatch, catalogue=catalogue),
        notifiers=notifiers,
        alerts=Alerts(store=store, clock=clock, ingest=ingest, catalogue=catalogue),
        history=history,
        statistics=Statistics(store=store, clock=clock),
        explain=explain,
        ingest=ingest,
        keys=Keys(store=store, clock=clock, sealer=sealer, audit=audit),
        audit=audit,
        operations=Operations(
            store=store,
            clock=clock,
            ready=ready,
            examine=partial(_examine, settings, public_url),
            readiness=readiness,
            notes=skew.notes,
        ),
    )
    upkeep = None
    if worker is not None:
        upkeep = Upkeep(
            store=store,
            clock=clock,
            dispatch=dispatch,
            retention=Retention(
                history=timedelta(days=settings.retention_days), audit=timedelta(days=settings.audit_retention_days)
            ),
            lease_seconds=settings.lease_seconds,
            resume_due=notifiers.resume_due,
            probe=worker.probe,
            ready=ready,
        )
    store.on_change_elsewhere(verbs.forget)
    proxies = Proxies.parse(settings.trusted_proxies)
    api = (
        build_health(readiness)
        if role is Role.WORKER
        else build_site(
            verbs,
            public_url=public_url,
            region=settings.region,
            unsubscribe=unsubscribe,
            readiness=readiness,
            extra_paths=EVENTS_PATHS,
            extra_schemas=EVENTS_SCHEMAS,
            proxies=proxies,
        )
    )
    api.state.notes = skew.notes
    api.state.streams = streams = Streams()
    return Running(
        settings=settings,
        verbs=verbs,
        store=store,
        worker=worker,
        upkeep=upkeep,
        care=care,
        egress=egress,
        metrics=metrics,
        streams=streams,
        api=api if role is Role.WORKER else EventsEndpoint(api, verbs=verbs, metrics=metrics, proxies=proxies),
    )


def build_egress(settings: Settings, policy: AddressPolicy, clock: Clock) -> Egress:
    mailer = None
    if settings.smtp_url:
        mailer = Mailer(settings.smtp_url, settings.mail_from, timeout_seconds=settings.delivery_timeout, clock=clock)
    return Egress(
        policy=policy,
        user_agent=f"Tocsin/{__version__}",
        timeout_seconds=settings.delivery_timeout,
        mail=mailer,
        clock=clock,
        # Many notifiers often share one host (a chat's): what may be open to it at once may be kept.
        idle_per_address=LIMITS.per_host + LIMITS.slow_per_host,
    )


def _host_of(notifier: Notifier, platforms: Mapping[str, Platform], policy: AddressPolicy) -> str:
    """The host and port that a notifier's messages go to; empty when there is none that could be reached."""
    platform = platforms.get(notifier.platform)
    if not isinstance(platform, HttpPlatform):
        return MAIL
    named = next((setting.name for setting in platform.settings if setting.kind is SettingKind.URL), None)
    url = notifier.type_data.get(named) if named else None
    try:
        destination = check_url(url, policy) if isinstance(url, str) else None
    except UrlRefused:
        return ""
    return f"{destination.host}:{destination.port}" if destination else ""


def _refuse(url: str, policy: AddressPolicy) -> None:
    """Raise ValueError with a sentence for a URL that deliveries could never reach."""
    check_url(url, policy)


def _examine(settings: Settings, public_url: str) -> Findings:
    """What the doctor finds from within: the server on the embedded database is this one."""
    server = Finding("ok", f"version {__version__} runs at {public_url}")
    return {name: look(check) for name, check in list_checks(settings, lambda: server).items()}
