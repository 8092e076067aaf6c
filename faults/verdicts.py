"""What the attempts of some notifiers were recorded as, held against what is documented."""

import asyncio
import time
from collections.abc import Mapping

from benchmarks.bench import say
from faults.database import Holdings, looking, read_holdings

LOOK_SECONDS = 0.1

_ATTEMPTED = """
SELECT count(DISTINCT notifier_id) FROM attempts JOIN (
  SELECT id, notifier_id FROM deliveries UNION ALL SELECT id, notifier_id FROM finished_deliveries
) AS deliveries_of_all ON id = delivery_id WHERE duration_ms IS NOT NULL AND notifier_id IN ({})"""


async def verdicts_of(url: str, names: Mapping[str, str], *, within_seconds: float) -> dict[str, list[str]]:
    """What the ended attempts of each notifier were recorded as, each word once, by the names given for their ids.

    Waits until each has had one, or the time is over.
    """
    asked = _ATTEMPTED.format(", ".join(f"'{notifier_id}'" for notifier_id in names))
    end_at = time.monotonic() + within_seconds
    async with looking(url) as ask:
        while await ask(asked) < len(names) and time.monotonic() < end_at:
            await asyncio.sleep(LOOK_SECONDS)  # nothing tells
    return _read(await read_holdings(url), names)


def _read(holdings: Holdings, names: Mapping[str, str]) -> dict[str, list[str]]:
    notifiers = {row.id: row.notifier_id for row in holdings.deliveries}
    found: dict[str, set[str]] = {}
    for attempt in holdings.attempts:
        name = names.get(notifiers[attempt.delivery_id])
        if name is not None and attempt.duration_ms is not None:
            verdict = f"{attempt.outcome} {attempt.reason}" if attempt.reason else attempt.outcome
            found.setdefault(name, set()).add(verdict)
    return {name: sorted(verdicts) for name, verdicts in found.items()}


def misread(found: Mapping[str, list[str]], wanted: Mapping[str, str]) -> set[str]:
    """The names whose attempts were recorded as anything but what is wanted: a verdict, or several with `or`."""
    wrong = {
        name
        for name, verdict in wanted.items()
        if not found.get(name) or not set(found[name]) <= set(verdict.split(" or "))
    }
    for name in sorted(wrong):
        say(f"  {name}: expected {wanted[name]}, found {', '.join(found.get(name, [])) or 'nothing'}")
    return wrong
