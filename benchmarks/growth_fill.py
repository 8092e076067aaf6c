"""Fills a stopped Tocsin's database with rows by the million, by SQL; new ids are larger than any made here."""

import asyncio
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import NamedTuple

import asyncpg

from benchmarks.tocsin_subject import Tocsin

CHUNK = 100_000
SPAN_MS = 600_000
"""The rows seem to have come within the last ten minutes, so that every one is within retention."""
KEPT_MS = 86_400_000

_BODY = b'{"id":"5fd1f6a2e7ef8c00018b2f5b","type":"deployment","type_data":{"message":"%b"}}' % (b"Ship it. " * 32)


class Owner(NamedTuple):
    """Whose a row is."""

    app_id: str
    notifier_id: str


class Sqlite:
    series = "WITH RECURSIVE series(i) AS (VALUES ({low}) UNION ALL SELECT i + 1 FROM series WHERE i < {high})"
    blob = f"x'{_BODY.hex()}'"

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @staticmethod
    def hexadecimal(number: str, digits: int) -> str:
        return f"printf('%0{digits}x', {number})"

    @staticmethod
    def instant(ms: str) -> str:
        return f"({ms}) * 1000"

    def execute(self, sql: str) -> None:
        self._connection.execute(sql)

    def finish(self) -> None:
        self._connection.execute("ANALYZE")
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


class Postgres:
    series = "WITH series(i) AS (SELECT generate_series({low}::bigint, {high}::bigint))"
    blob = f"'\\x{_BODY.hex()}'::bytea"

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self._connection = self._runner.run(asyncpg.connect(url))

    @staticmethod
    def hexadecimal(number: str, digits: int) -> str:
        return f"lpad(to_hex({number}), {digits}, '0')"

    @staticmethod
    def instant(ms: str) -> str:
        return f"to_timestamp(({ms}) / 1000.0)"

    def execute(self, sql: str) -> None:
        self._runner.run(self._connection.execute(sql))

    def finish(self) -> None:
        self.execute("VACUUM ANALYZE")
        self.execute("CHECKPOINT")

    def close(self) -> None:
        self._runner.run(self._connection.close())
        self._runner.close()


class Fill:
    """The open database, and the expressions that make ids and times of a row's number `i`."""

    def __init__(self, database: Sqlite | Postgres) -> None:
        self._database = database

    def add_finished(
        self, count: int, owners: Sequence[Owner], *, span_ms: int = SPAN_MS, failing_every: int = 0
    ) -> None:
        """Events with their delivery and its one attempt, which arrived; of so many, one was refused instead."""
        rows = _Rows(self._database, count, span_ms)
        state, reason = "'delivered'", "NULL"
        if failing_every:
            state = f"CASE i % {failing_every} WHEN 1 THEN 'failed' ELSE 'delivered' END"
            reason = f"CASE i % {failing_every} WHEN 1 THEN 'rejected' END"
        self._set_owners(owners)
        for series in rows.chunks():
            self._add_events(rows, series)
            self._database.execute(
                f"{series} INSERT INTO finished_deliveries (id, app_id, event_id, event_type, notifier_id, state, "
                "reason, attempt_count, created_at, expires_at, finished_at) "
                f"SELECT {rows.delivery_id}, app_id, {rows.event_id}, 'deployment', notifier_id, {state}, {reason}, 1, "
                f"{rows.at()}, {rows.at(KEPT_MS)}, {rows.at(5)} {self._of_owners()}"
            )
            self._database.execute(
                f"{series} INSERT INTO attempts (delivery_id, number, started_at, duration_ms, outcome, "
                f"reason, response_status) SELECT {rows.delivery_id}, 1, {rows.at(3)}, 2, {state}, {reason}, 204 "
                "FROM series"
            )

    def add_pending(self, count: int, owners: Sequence[Owner]) -> None:
        """Events whose delivery is due."""
        rows = _Rows(self._database, count)
        self._set_owners(owners)
        for series in rows.chunks():
            self._add_events(rows, series)
            self._database.execute(
                f"{series} INSERT INTO deliveries (id, app_id, event_id, event_type, notifier_id, state, "
                "attempt_count, next_attempt_at, created_at, expires_at) "
                f"SELECT {rows.delivery_id}, app_id, {rows.event_id}, 'deployment', notifier_id, 'pending', 0, "
                f"{rows.at()}, {rows.at()}, {rows.at(KEPT_MS)} {self._of_owners()}"
            )

    def copy_notifier(self, notifier_id: str, settings: str, secret: str, count: int) -> None:
        """So many more like this one, which has place 0: they take the places from 1, each on the next address.

        Its settings, as JSON, and its secret are not sealed by this.
        """
        rows = _Rows(self._database, count)
        kind = "::json" if isinstance(self._database, Postgres) else ""
        text = f"'{settings}'"
        url = f"replace(replace({text}, '127.0.0.2:', '127.0.0.' || (2 + i % 200) || ':'), '/0\"', '/' || i || '\"')"
        copied = (
            "app_id, name, platform, active, state, send_all_alerts, send_all_events, selected_event_ids, created_at, "
            "updated_at"
        )
        for series in rows.chunks():
            self._database.execute(
                f"{series} INSERT INTO notifiers (id, type_data, secret, {copied}) "
                f"SELECT 'no' || substr({rows.delivery_id}, 3), ({url}){kind}, '{secret}', {copied} "
                f"FROM series, notifiers WHERE notifiers.id = '{notifier_id}'"
            )

    def _set_owners(self, owners: Sequence[Owner]) -> None:
        self._database.execute("DROP TABLE IF EXISTS owners")
        self._database.execute("CREATE TEMPORARY TABLE owners (place bigint, app_id text, notifier_id text)")
        values = ",".join(f"({place},'{owner.app_id}','{owner.notifier_id}')" for place, owner in enumerate(owners))
        self._database.execute(f"INSERT INTO owners VALUES {values}")
        self._owner_count = len(owners)

    def _of_owners(self) -> str:
        return f"FROM series JOIN owners ON place = i % {self._owner_count}"

    def _add_events(self, rows: "_Rows", series: str) -> None:
        self._database.execute(
            f"{series} INSERT INTO events (id, app_id, type, received_at, body) "
            f"SELECT {rows.event_id}, app_id, 'deployment', {rows.at()}, {self._database.blob} {self._of_owners()}"
        )


class _Rows:
    """So many numbered rows, evenly over the time until now. Ids as `tocsin.ids` makes them."""

    def __init__(self, database: Sqlite | Postgres, count: int, span_ms: int = SPAN_MS) -> None:
        self._database = database
        self._count = count
        begun_ms = int(time.time() * 1000) - span_ms
        self._ms = f"({begun_ms} + i * {span_ms} / {count + 1})"
        hexadecimal = database.hexadecimal
        self.event_id = f"({hexadecimal(f'{self._ms} * 4096 + i % 4096', 15)} || {hexadecimal('i', 9)})"
        ms = hexadecimal(self._ms, 12)
        self.delivery_id = (
            f"('de-' || substr({ms}, 1, 8) || '-' || substr({ms}, 9) || '-7' || {hexadecimal('i % 4096', 3)} "
            f"|| '-8000-' || {hexadecimal('i', 12)})"
        )

    def at(self, later_ms: int = 0) -> str:
        return self._database.instant(f"{self._ms} + {later_ms}")

    def chunks(self) -> Iterator[str]:
        for low in range(1, self._count + 1, CHUNK):
            yield self._database.series.format(low=low, high=min(low + CHUNK - 1, self._count))


@contextmanager
def filling(subject: Tocsin) -> Iterator[Fill]:
    """The subject's processes stop, its database is filled, and they start again."""
    subject.stop_programs()
    database: Sqlite | Postgres
    if subject.postgres is None:
        with closing(sqlite3.connect(subject.site.folder / "tocsin.db", isolation_level=None)) as embedded:
            embedded.execute("PRAGMA synchronous = OFF")
            database = Sqlite(embedded)
            yield Fill(database)
            database.finish()
    else:
        with closing(Postgres(subject.database_url())) as database:
            yield Fill(database)
            database.finish()
    subject.serve_again()
