"""First attempts are claimed before retries, and no retry is passed over for ever."""

from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.store.cast import Stage, to_retry
from tocsin.model import Notifier
from tocsin.store.firsts import count_firsts
from tocsin.store.port import Claim

MINUTE = timedelta(minutes=1)


async def add_retries(stage: Stage, notifier: Notifier, count: int) -> set[str]:
    """So many deliveries that failed once and are due again now; their ids."""
    await stage.ingest(*(stage.event() for _ in range(count)))
    claims = await stage.claim(notifier)
    assert len(claims) == count
    for claim in claims:
        assert await stage.settle(to_retry(claim, stage.clock.now(), after=MINUTE))
    stage.clock.advance(MINUTE)
    return {claim.delivery_id for claim in claims}


def kinds(claims: tuple[Claim, ...]) -> Counter[str]:
    return Counter("first" if claim.attempt == 1 else "retry" for claim in claims)


async def test_seven_of_ten_slots_are_for_first_attempts_though_retries_are_due_longer(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await add_retries(stage, notifier, 20)
    stage.clock.advance(MINUTE)
    await stage.ingest(*(stage.event() for _ in range(20)))
    assert kinds(await stage.claim(notifier, 10)) == Counter(first=7, retry=3)


async def test_what_one_kind_does_not_use_the_other_has(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await add_retries(stage, notifier, 20)
    await stage.ingest(stage.event(), stage.event())
    assert kinds(await stage.claim(notifier, 10)) == Counter(first=2, retry=8)
    assert kinds(await stage.claim(notifier, 10)) == Counter(retry=10)
    await stage.ingest(*(stage.event() for _ in range(20)))
    claimed = await stage.store.claim({notifier.id: 15})
    assert (kinds(claimed.claims), claimed.next_due) == (Counter(first=13, retry=2), {})


async def test_first_attempts_are_claimed_in_the_order_in_which_they_became_due(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await add_retries(stage, notifier, 3)
    events = []
    for _ in range(4):
        stage.clock.advance(1)
        events.append(await stage.ingest())
    claims = await stage.claim(notifier, 4)
    assert {claim.event_id for claim in claims if claim.attempt == 1} == {event.id for event in events[:2]}
    assert kinds(claims) == Counter(first=2, retry=2)


@pytest.mark.parametrize(("chance", "attempt"), [(0.29, 2), (0.31, 1)])
async def test_a_single_slot_goes_by_chance(stage: Stage, chance: float, attempt: int) -> None:
    notifier = await stage.add_notifier()
    await add_retries(stage, notifier, 1)
    stage.clock.advance(MINUTE)
    await stage.ingest()
    stage.dice.value = chance
    [claim] = await stage.claim(notifier, 1)
    assert claim.attempt == attempt


async def test_retries_do_not_starve_while_first_attempts_never_end(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    retries = await add_retries(stage, notifier, 12)
    for _ in range(6):
        stage.clock.advance(1)
        await stage.ingest(*(stage.event() for _ in range(8)))
        retries -= {claim.delivery_id for claim in await stage.claim(notifier, 7)}
    assert retries == set()


@given(slots=st.integers(1, 200), chance=st.floats(0, 1, exclude_max=True))
def test_the_share_of_first_attempts_is_kept_whatever_the_chance(slots: int, chance: float) -> None:
    assert 0 <= count_firsts(slots, chance) <= slots
    assert abs(count_firsts(slots, chance) - 0.7 * slots) < 1
