"""A program for the kill tests: stores events for ever and prints the id of each once it was accepted."""

import asyncio
import sys
from pathlib import Path

from tests.sealer import SEALER
from tests.store.cast import APP, FakeDispatch, add_events, count_rows, insert_cast
from tocsin.clock import SystemClock
from tocsin.ids import new_hex_id, new_uuid7
from tocsin.model import Notifier
from tocsin.store import schema
from tocsin.store.notifiers import add_notifier
from tocsin.store.port import IdempotencyKey, NewEvent, NewEvents
from tocsin.store.sqlite import SqliteStore


async def main(folder: Path) -> None:
    clock, dispatch = SystemClock(), FakeDispatch()
    dispatch.free = 20  # some are handed over, the rest wait
    store = SqliteStore(f"sqlite:///{folder}/tocsin.db", clock=clock, dispatch=dispatch, sealer=SEALER)
    now = clock.now()
    if not await store.read(count_rows, schema.users):
        await store.write(insert_cast, now)
        notifier = Notifier(
            id=new_uuid7("no"), app_id=APP, name="n", platform="webhook", secret="s", created_at=now, updated_at=now
        )
        await store.write(add_notifier, notifier)

    async def report_for_ever() -> None:
        while True:
            event_id = new_hex_id()
            event = NewEvent(
                id=event_id, app_id=APP, user_id=None, type="deployment", body=b"{}" * 300, received_at=clock.now()
            )
            await add_events(store, NewEvents(app_id=APP, events=(event,), idempotency=IdempotencyKey(event_id, b"h")))
            sys.stdout.write(event_id + "\n")
            sys.stdout.flush()

    await asyncio.gather(*(report_for_ever() for _ in range(8)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
