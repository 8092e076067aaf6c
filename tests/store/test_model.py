"""Random lives of deliveries, compared with a model: the same ones on both databases.

What always holds: what was accepted is not lost; one key makes one event; no lease outlives its end once leases are
taken back; attempts are numbered without a gap, none is made after the end, and no two leases of a delivery overlap.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.conftest import EMPTY
from tests.sealer import SEALER
from tests.store.cast import LEASE, OWNER, FakeDispatch, OpenStore, Stage, add_events, insert, insert_cast, settle
from tests.store.conftest import DATABASES
from tests.store.model import LIVE, FirstUse, Known, Model
from tests.store.tallied import ended, told
from tocsin.clock import ManualClock
from tocsin.errors import Conflict
from tocsin.ids import new_hex_id, new_uuid7
from tocsin.model import Attempt, AttemptOutcome, DeliveryReason, DeliveryState, Notifier, NotifierState, Reason
from tocsin.retry import GiveUp, TryAgain, next_step
from tocsin.store import schema
from tocsin.store.apps import remove_app
from tocsin.store.deliveries import find_delivery
from tocsin.store.endings import REMOVAL_TYPE, cancel_unwanted, expire
from tocsin.store.leases import reap_leases, release
from tocsin.store.lives import lease_probe
from tocsin.store.notifiers import remove_notifier
from tocsin.store.port import Accepted, Claim, IdempotencyKey, NewEvent, NewEvents, Settlement, Store
from tocsin.store.postgres import open_postgres
from tocsin.store.replays import Chosen, Made, Pace, list_candidates, replay, replay_chosen
from tocsin.store.sqlite import SqliteStore

APPS = 2
WORKERS = 3
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
LIFETIME = HOUR
SCHEDULE_SECONDS = (0, 5, 60, 600)
ASKED_SECONDS = 300
OTHERS_FIRST = timedelta(seconds=0.2)
"""On PostgreSQL what has just become due is left to another worker for a moment."""

PICK = st.integers(0, 99)
WORKER = st.integers(0, WORKERS - 1)
OUTCOME = st.sampled_from(AttemptOutcome)
OUTCOMES = st.lists(st.none() | OUTCOME, min_size=1, max_size=5)
STATES = st.sampled_from([*NotifierState, NotifierState.ACTIVE, NotifierState.ACTIVE, NotifierState.FAILING])
ENDING_STATES = {NotifierState.PAUSED, NotifierState.HOLDING, NotifierState.FAILING}

Fresh = Callable[[ManualClock, FakeDispatch], Awaitable[OpenStore]]
"""Makes a database in which nothing is yet; answers with how it is opened."""


class Dispatch(FakeDispatch):
    """One under which deliveries expire within a machine's life."""

    def expires_at(self, event: NewEvent, notifier: Notifier) -> datetime:
        return event.received_at + LIFETIME


class Wish(msgspec.Struct, frozen=True):
    """A request as it is drawn: for which app, with which key and content, of how many events."""

    app: int
    key: str | None
    content: bytes
    count: int


CONTENT = st.sampled_from([b"this", b"that"])
WISH = st.builds(Wish, st.integers(0, APPS - 1), st.sampled_from([None, "one", "two"]), CONTENT, st.integers(1, 3))


class Rows(msgspec.Struct, frozen=True):
    live: dict[str, Any]
    over: dict[str, Any]
    attempts: list[Any]
    events: set[str]
    keys: set[tuple[str, str]]
    tallies: list[Any]


def look(connection: sa.Connection) -> Rows:
    """Everything that is stored of events and deliveries."""

    def rows(table: sa.Table) -> list[Any]:
        return list(connection.execute(sa.select(table).order_by(*table.primary_key)))

    return Rows(
        {row.id: row for row in rows(schema.deliveries)},
        {row.id: row for row in rows(schema.finished_deliveries)},
        rows(schema.attempts),
        {row.id for row in rows(schema.events)},
        {(row.app_id, row.key) for row in rows(schema.idempotency_keys)},
        rows(schema.tallies),
    )


class StoreMachine(RuleBasedStateMachine):
    fresh: Fresh
    processes: int
    """How many have the database open at once. One that is alone frees all leases when it starts."""
    examples: int
    """As many as fit into some 15 s."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock(datetime.now(UTC).replace(microsecond=0))
        self.begun_at = self.clock.now()
        self.dispatch = Dispatch()
        self.model = Model(self.clock)
        self.stores: list[Store] = []

    def run(self, act: Awaitable[Any]) -> Any:
        return self.loop.run_until_complete(act)

    def write(self, verb: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return self.run(self.stores[0].write(verb, *args, **kwargs))

    def look(self) -> Rows:
        rows: Rows = self.run(self.stores[0].read(look))
        return rows

    def store_of(self, worker: int) -> Store:
        return self.stores[worker % self.processes]

    @property
    def stage(self) -> Stage:
        return Stage(self.stores[0], self.clock, self.dispatch, self.reopen)

    @initialize()
    def begin(self) -> None:
        self.run(self._begin())

    async def _begin(self) -> None:
        self.reopen = await self.fresh(self.clock, self.dispatch)
        self.stores = [await self.reopen() for _ in range(self.processes)]
        await self.stores[0].write(insert_cast, self.clock.now())
        for _ in range(APPS):
            await self._add_app()

    async def _add_app(self) -> None:
        now, app_id = self.clock.now(), new_hex_id()
        app = {"id": app_id, "name": app_id, "owner_id": OWNER, "created_at": now, "updated_at": now}
        await self.stores[0].write(insert, schema.apps, app)
        self.model.apps.append(app_id)
        for name in ("one", "two"):
            await self._add_notifier(app_id, name)

    async def _add_notifier(self, app_id: str, name: str) -> None:
        notifier = await self.stage.add_notifier(name, app_id=app_id)
        self.model.notifiers[notifier.id] = notifier

    def teardown(self) -> None:
        for store in self.stores:
            self.run(store.close())
        self.run(asyncio.sleep(0))
        self.loop.close()

    def _note_new(self) -> list[Known]:
        """Take what the store has made since the last look into the model, and answer with it."""
        now, new = self.clock.now(), []
        for id_, row in self.look().live.items():
            if id_ not in self.model.known:
                assert (row.next_attempt_at or row.claimed_at, row.expires_at) == (now, now + LIFETIME)
                known = Known(
                    event_id=row.event_id,
                    event_type=row.event_type,
                    notifier_id=row.notifier_id,
                    due_at=now,
                    expires_at=row.expires_at,
                    replay_of=row.replay_of,
                )
                self.model.known[id_] = known
                new.append(known)
        return new

    def _take(self, claim: Claim) -> None:
        known, now = self.model.known[claim.delivery_id], self.clock.now()
        assert known.is_pending, "claimed while it was under way, or over"
        assert known.due_at is not None
        assert known.due_at <= claim.claimed_at == now
        assert claim.attempt == len(known.outcomes) + 1
        assert claim.notifier == self.model.notifiers[known.notifier_id]
        assert (claim.event_id, claim.expires_at) == (known.event_id, known.expires_at)
        assert claim.body == b'{"id":"%s"}' % claim.event_id.encode()
        known.take(claim)

    @rule(wish=WISH, content_of_twin=st.none() | CONTENT, slots=st.integers(0, 3))
    def ingest(self, wish: Wish, content_of_twin: bytes | None, slots: int) -> None:
        """One request, or two of a kind at once: with a key to different processes, where one of them is first."""
        self.dispatch.free = slots
        requests = [self._request(wish)]
        if content_of_twin is not None:
            requests.append(self._request(msgspec.structs.replace(wish, content=content_of_twin)))

        async def send() -> list[Accepted | BaseException]:
            places = (0, 0 if wish.key is None else 1)
            answers = [add_events(self.store_of(place), sent) for place, sent in zip(places, requests, strict=False)]
            return await asyncio.gather(*answers, return_exceptions=True)

        pairs = list(zip(requests, self.run(send()), strict=True))
        pairs.sort(key=lambda pair: not isinstance(pair[1], Accepted) or pair[1].is_replay)
        wanted: set[tuple[str, str]] = set()
        for request, answer in pairs:
            if self._is_new(request, answer):
                wanted |= self.model.accept(request.events, request.app_id)
        assert {(known.event_id, known.notifier_id) for known in self._note_new()} == wanted
        claims = [claim for _, answer in pairs if isinstance(answer, Accepted) for claim in answer.claims]
        for claim in claims:
            self._take(claim)
        assert len(claims) == slots - self.dispatch.free
        self.dispatch.free = 0

    def _request(self, wish: Wish) -> NewEvents:
        app_id = self.model.apps[wish.app]
        events = tuple(self.stage.event(app_id=app_id) for _ in range(wish.count))
        key = None if wish.key is None else IdempotencyKey(wish.key, wish.content)
        return NewEvents(app_id=app_id, events=events, idempotency=key)

    def _is_new(self, request: NewEvents, answer: Accepted | BaseException) -> bool:
        """Whether the request was to be stored; what it was answered with is checked."""
        sent, bodies = request.idempotency, tuple(event.body for event in request.events)
        first = self.model.keys.get((request.app_id, sent.key)) if sent else None
        if sent is None or first is None:
            assert isinstance(answer, Accepted)
            assert (answer.is_replay, answer.bodies) == (False, bodies)
            if sent is not None:
                self.model.keys[request.app_id, sent.key] = FirstUse(sent.request_hash, bodies, self.clock.now())
            return True
        if first.content == sent.request_hash:
            assert answer == Accepted(bodies=first.bodies, is_replay=True)
        else:
            assert isinstance(answer, Conflict)
        return False

    @precondition(lambda self: self.model.has(DeliveryState.PENDING))
    @rule(pick=PICK, worker=WORKER, wait=st.sampled_from([OTHERS_FIRST, MINUTE, HOUR / 2]), outcomes=OUTCOMES)
    def claim(self, pick: int, worker: int, wait: timedelta, outcomes: list[AttemptOutcome | None]) -> None:
        """As many as there are outcomes; an attempt that has none goes on."""
        self.clock.advance(wait)
        count = len(outcomes)
        notifiers = list(self.model.notifiers.values())
        notifier = notifiers[pick % len(notifiers)]
        claims = self.run(self.store_of(worker).claim({notifier.id: count})).claims
        due = self.model.due(notifier)
        suspects = [id_ for id_ in due if self.model.known[id_].is_suspect]
        is_one_free = bool(suspects) and not self.model.has_suspect_under_way()
        assert len(claims) == min(count, len(due) - len(suspects) + is_one_free)
        if not suspects:
            assert {claim.delivery_id for claim in claims} == set(due[:count]), "what waits longest comes first"
        for claim in claims:
            self._take(claim)
        for claim, outcome in zip(sorted(claims, key=attrgetter("delivery_id")), outcomes, strict=False):
            if outcome is not None:
                self._settle(claim, self._settlement(claim, outcome), worker)

    @precondition(lambda self: self.model.has(DeliveryState.PENDING))
    @rule(workers=st.lists(WORKER, min_size=2, max_size=2))
    def claim_at_once(self, workers: list[int]) -> None:
        """Each delivery goes to one of them, and what is due is left to nobody."""
        self.clock.advance(OTHERS_FIRST)
        slots = dict.fromkeys(self.model.notifiers, 100)

        async def claim() -> list[Claim]:
            found = await asyncio.gather(*(self.store_of(worker).claim(slots) for worker in workers))
            return [claim for claimed in found for claim in claimed.claims]

        claims = self.run(claim())
        due = {id_ for notifier in self.model.notifiers.values() for id_ in self.model.due(notifier)}
        suspects = {id_ for id_ in due if self.model.known[id_].is_suspect}
        taken = {claim.delivery_id for claim in claims}
        assert due - suspects <= taken
        assert len(suspects & taken) == (bool(suspects) and not self.model.has_suspect_under_way())
        for claim in claims:
            self._take(claim)

    @precondition(lambda self: self.model.under_way())
    @rule(pick=PICK, outcome=OUTCOME, chance=st.sampled_from([0.0, 0.99]), is_asked_to_wait=st.booleans())
    def settle(self, pick: int, outcome: AttemptOutcome, chance: float, *, is_asked_to_wait: bool) -> None:
        under_way = self.model.under_way()
        _, claim = under_way[pick % len(under_way)]
        self._settle(claim, self._settlement(claim, outcome, chance, is_asked_to_wait=is_asked_to_wait), pick)

    def _settle(self, claim: Claim, settlement: Settlement, worker: int) -> None:
        assert self.run(settle(self.store_of(worker), settlement))
        self.model.settle(self.model.known[claim.delivery_id], settlement)

    def _settlement(
        self, claim: Claim, outcome: AttemptOutcome, chance: float = 0, *, is_asked_to_wait: bool = False
    ) -> Settlement:
        now = self.clock.now()
        state, reason, next_at = DeliveryState.DELIVERED, None, None
        if outcome is AttemptOutcome.FAILED:
            state, reason = DeliveryState.FAILED, DeliveryReason.GONE
        elif outcome is AttemptOutcome.UNKNOWN:
            state, next_at = DeliveryState.PENDING, now
        elif outcome is AttemptOutcome.RETRY:
            match next_step(
                attempt=claim.attempt,
                schedule_seconds=SCHEDULE_SECONDS,
                now=now,
                expires_at=claim.expires_at,
                chance=chance,
                wait_seconds=ASKED_SECONDS if is_asked_to_wait else None,
            ):
                case TryAgain(at=next_at):
                    state = DeliveryState.PENDING
                case GiveUp(reason=reason):
                    state = DeliveryState.FAILED
        why = None if outcome is AttemptOutcome.DELIVERED else Reason.SERVER_ERROR
        attempt = Attempt(number=claim.attempt, started_at=claim.claimed_at, outcome=outcome, reason=why)
        return Settlement(
            delivery_id=claim.delivery_id,
            lease_token=claim.lease_token,
            attempt=attempt,
            state=state,
            reason=reason,
            next_attempt_at=next_at,
            finished_at=None if next_at else now,
        )

    @precondition(lambda self: self.model.lost)
    @rule(pick=PICK, outcome=OUTCOME)
    def settle_late(self, pick: int, outcome: AttemptOutcome) -> None:
        """By a worker that slept while its lease was taken back, whatever has become of the delivery since."""
        claim = self.model.lost[pick % len(self.model.lost)]
        assert not self.run(settle(self.store_of(pick), self._settlement(claim, outcome)))

    @precondition(lambda self: self.model.told)
    @rule(pick=PICK)
    def tell_again(self, pick: int) -> None:
        """By a worker that was not answered."""
        assert self.run(settle(self.store_of(pick), self.model.told[pick % len(self.model.told)]))

    @precondition(lambda self: self.model.under_way() or self.model.lost)
    @rule(pick=PICK)
    def give_back(self, pick: int) -> None:
        """An attempt that was not begun; nothing comes of it when the lease is lost already."""
        claims = [claim for _, claim in self.model.under_way()] + self.model.lost
        claim = claims[pick % len(claims)]
        self.write(release, [(claim.delivery_id, claim.lease_token)], at=self.clock.now())
        known = self.model.known[claim.delivery_id]
        if known.lease == claim:
            known.put_off(self.clock.now())

    @precondition(lambda self: self.model.under_way())
    @rule(worker=WORKER, with_process=st.sampled_from([True, False, False, False]))
    def crash(self, worker: int, *, with_process: bool) -> None:
        """A worker forgets its leases, or a whole process does, and starts again."""
        gone = range(worker % self.processes, WORKERS, self.processes) if with_process else (worker,)
        for place, (known, _) in enumerate(self.model.under_way()):
            known.is_forgotten = place % WORKERS in gone
        if with_process:
            place = worker % self.processes
            self.run(self.stores[place].close())
            self.stores[place] = self.run(self.reopen())
            if self.processes == 1:
                self.model.lose(known for known in self.model.known.values() if known.lease)

    @precondition(lambda self: self.model.has(DeliveryState.SENDING))
    @rule(wait=st.sampled_from([timedelta(), LEASE, LEASE + timedelta(seconds=1)]))
    def reap(self, wait: timedelta) -> None:
        self.clock.advance(wait)
        now = self.clock.now()
        over = [known for known in self.model.known.values() if known.lease and known.lease.claimed_at + LEASE < now]
        assert self.write(reap_leases, lease_until=now, at=now) == len(over)
        self.model.lose(over)
        assert all(row.lease_until is None or row.lease_until >= now for row in self.look().live.values())

    @precondition(lambda self: self.model.known)
    @rule(wait=st.sampled_from([timedelta(), HOUR / 2, DAY]), chore=st.sampled_from(["expire", "cancel", "forget"]))
    def upkeep(self, wait: timedelta, chore: str) -> None:
        self.clock.advance(wait)
        now = self.clock.now()
        if chore == "expire":
            assert self.write(expire, at=now) == self.model.expire()
        elif chore == "cancel":
            assert self.write(cancel_unwanted, at=now) == self.model.cancel_unwanted(self.model.known.values())
        else:
            oldest = self.model.forget_keys()
            self.run(self.stores[0].prune(finished_before=schema.EPOCH, keys_before=oldest))

    @precondition(lambda self: self.model.known and self.model.present())
    @rule(pick=PICK, state=STATES, is_rotated=st.booleans())
    def edit_notifier(self, pick: int, state: NotifierState, *, is_rotated: bool) -> None:
        """Pause, resume, hold, stop, disable, turn off or on, and give it another secret."""
        present = self.model.present()
        notifier = present[pick % len(present)]
        secret = new_hex_id() if is_rotated else notifier.secret
        is_active = state not in {NotifierState.OFF, NotifierState.DISABLED}
        until = self.clock.now() + MINUTE if state in ENDING_STATES else None
        changes = {"state": state, "active": is_active, "held_until": until, "secret": secret}
        self.model.change(self.run(self.stage.edit_notifier(notifier, **changes)))

    @precondition(lambda self: any(each.state is NotifierState.FAILING for each in self.model.present()))
    @rule(pick=PICK, wait=st.sampled_from([timedelta(), MINUTE]))
    def probe(self, pick: int, wait: timedelta) -> None:
        self.clock.advance(wait)
        now = self.clock.now()
        failing = [each for each in self.model.present() if each.state is NotifierState.FAILING]
        notifier = failing[pick % len(failing)]
        expected = self.model.probe(notifier)
        lease = {"token": new_hex_id(), "at": now, "lease_until": now + LEASE}
        claim = self.write(lease_probe, notifier.id, **lease)
        assert ([] if claim is None else [claim.delivery_id]) == expected
        if claim is not None:
            self._take(claim)

    @precondition(lambda self: self.model.known)
    @rule(pick=PICK, what=st.sampled_from(["a new notifier", "a notifier goes"] * 2 + ["an app goes"]))
    def come_or_go(self, pick: int, what: str) -> None:
        app_id, present = self.model.apps[pick % APPS], self.model.present()
        if what == "a new notifier" and len(self.model.present(app_id)) < 3:
            self.run(self._add_notifier(app_id, "three"))
        elif what == "a notifier goes" and present:
            notifier = present[pick % len(present)]
            self.write(remove_notifier, notifier.id, at=self.clock.now())
            self.model.remove_notifier(notifier)
        elif what == "an app goes":
            self._remove_app(app_id)
            self.run(self._add_app())

    def _remove_app(self, app_id: str) -> None:
        """Only the event that tells of it is still delivered."""
        last = self.stage.event(REMOVAL_TYPE, app_id=app_id)
        wanted = self.model.accept([last], app_id)
        self.write(remove_app, app_id, last, self.dispatch)
        self.model.remove_app(app_id)
        assert {(known.event_id, known.notifier_id) for known in self._note_new()} == wanted

    @precondition(lambda self: self.model.replayable())
    @rule(pick=PICK, is_whole=st.booleans())
    def send_again(self, pick: int, *, is_whole: bool) -> None:
        """One delivery; or all that its notifier did not get, and that was not sent again since."""
        replayable, now = self.model.replayable(), self.clock.now()
        id_ = replayable[pick % len(replayable)]
        notifier = self.model.notifiers[self.model.known[id_].notifier_id]
        if is_whole:
            meant = self.model.missed(notifier.id)
            assert self._recover(notifier) == len(meant)
        else:
            meant = [id_]
            delivery = self.run(self.stores[0].read(find_delivery, notifier.app_id, id_))
            self.write(replay, delivery, notifier.id, at=now, expires_at=now + LIFETIME)
        assert sorted(known.replay_of or "" for known in self._note_new()) == meant

    def _recover(self, notifier: Notifier) -> int:
        chosen = Chosen(
            app_id=notifier.app_id,
            notifier_id=notifier.id,
            target_id=notifier.id,
            since=self.begun_at,
            before_id=new_uuid7("de"),
        )
        event_ids = self.run(self.stores[0].read(list_candidates, chosen, after=None, limit=1000))
        pace = Pace(gap=timedelta(), lifetime=LIFETIME)
        made: Made = self.write(replay_chosen, chosen, set(event_ids), pace=pace, at=self.clock.now())
        return made.count

    @invariant()
    def the_store_is_as_the_model_says(self) -> None:
        if not self.stores:
            return
        rows = self.look()
        live = {
            id_: (
                row.state,
                row.next_attempt_at,
                row.attempt_count,
                row.lost_lease_count,
                row.lease_token,
                row.lease_until,
                row.replay_of,
            )
            for id_, row in rows.live.items()
        }
        over = {id_: (row.state, row.reason, row.attempt_count, row.replay_of) for id_, row in rows.over.items()}
        known = self.model.known
        assert live == {id_: one.shown() for id_, one in known.items() if one.state in LIVE}
        assert over == {id_: one.shown() for id_, one in known.items() if one.state not in LIVE}
        self._check_nothing_is_lost(rows)
        self._check_attempts(rows)
        assert rows.events == self.model.events, "one key makes one event"
        assert rows.keys == set(self.model.keys)
        assert told(rows.tallies) == ended(rows.over.values())

    def _check_nothing_is_lost(self, rows: Rows) -> None:
        both = [*rows.live.values(), *rows.over.values()]
        firsts = [(row.event_id, row.notifier_id) for row in both if row.replay_of is None]
        assert sorted(firsts) == sorted(self.model.wanted)
        for row in rows.live.values():
            until = row.next_attempt_at if row.state == DeliveryState.PENDING else row.lease_until
            assert until is not None, "nobody would ever look after it"
        for row in rows.over.values():
            assert (row.reason is None) == (row.state == DeliveryState.DELIVERED)
            assert row.reason is None or DeliveryReason(row.reason)
            assert row.finished_at is not None

    def _check_attempts(self, rows: Rows) -> None:
        outcomes: dict[str, list[str]] = {id_: [] for id_ in self.model.known}
        for attempt in rows.attempts:
            outcomes[attempt.delivery_id].append(attempt.outcome)
            assert attempt.number == len(outcomes[attempt.delivery_id])
        assert outcomes == {id_: known.outcomes for id_, known in self.model.known.items()}


def fresh_sqlite(template: Path, folder: Path) -> Fresh:
    async def fresh(clock: ManualClock, dispatch: FakeDispatch) -> OpenStore:
        path = Path(tempfile.mkdtemp(dir=folder)) / "tocsin.db"
        shutil.copy(template, path)

        async def reopen() -> Store:
            return SqliteStore(f"sqlite:///{path}", clock=clock, dispatch=dispatch, sealer=SEALER)

        return reopen

    return fresh


def fresh_postgres(url: str) -> Fresh:
    async def fresh(clock: ManualClock, dispatch: FakeDispatch) -> OpenStore:
        connection = await asyncpg.connect(url)
        await connection.execute(EMPTY)
        await connection.close()

        async def reopen() -> Store:
            return await open_postgres(url, clock=clock, dispatch=dispatch, sealer=SEALER, pool_size=2)

        return reopen

    return fresh


@pytest.fixture(params=DATABASES)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> type[StoreMachine]:
    if request.param == "sqlite":
        fresh, processes, examples = fresh_sqlite(request.getfixturevalue("migrated_sqlite"), tmp_path), 1, 20
    else:
        fresh, processes, examples = fresh_postgres(request.getfixturevalue("migrated_postgres_url")), 2, 8
    own = {"fresh": staticmethod(fresh), "processes": processes, "examples": examples}
    return type("Machine", (StoreMachine,), own)


def run(machine: type[StoreMachine], *, examples: int, steps: int, phases: tuple[Phase, ...]) -> None:
    """The same lives each time."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            phases=phases,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_deliveries_live_as_the_model_says(machine: type[StoreMachine]) -> None:
    # What fails is shown as it was found: to make its steps few takes minutes.
    run(machine, examples=machine.examples, steps=70, phases=(Phase.generate,))


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_many_deliveries_live_long_as_the_model_says(machine: type[StoreMachine]) -> None:
    run(machine, examples=20 * machine.examples, steps=100, phases=(Phase.generate, Phase.shrink))
