"""What the doctor finds on a PostgreSQL: each condition is made on a real one."""

import asyncio
import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.postgres import PgBouncer, PostgresServer
from tests.programs import ordinary_folder
from tocsin import wiring
from tocsin.cli.doctor import examine
from tocsin.clock import SharedClock
from tocsin.settings import read_settings
from tocsin.store.postgres.connections import LIMITS

KEY = base64.b64encode(b"k" * 32).decode()
CHECKS = (
    "settings",
    "database",
    "schema",
    "rights",
    "durability",
    "partitions",
    "vacuum",
    "pooler",
    "connections",
    "clock",
    "key",
    "mail",
    "egress",
)

Found = dict[str, tuple[str, str]]


class Patient:
    """A database, and the doctor's findings on it by the name of the check."""

    def __init__(self, server: PostgresServer, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.url = url
        self.name = url.rpartition("/")[2]
        self._server = server
        self._capsys = capsys

    def run(self, sql: str) -> str:
        return self._server.run(sql, self.name)

    def url_of(self, role: str) -> str:
        return self.url.replace("tocsin@", f"{role}@")

    def examine(self, **settings: str) -> Found:
        environment = {"TOCSIN_DATABASE_URL": self.url, "TOCSIN_SECRET_KEY": KEY, **settings}
        is_well = examine({name: value for name, value in environment.items() if value})
        lines = [line.split(None, 2) for line in self._capsys.readouterr().out.splitlines()]
        found = {name: (level, text) for level, name, text in lines}
        assert is_well == all(level != "FAIL" for level, _ in found.values())
        return found


@pytest.fixture(scope="module")
def sound_database(postgres: PostgresServer) -> Iterator[str]:
    url = postgres.add_database("sound")

    async def make() -> None:
        settings = read_settings({"TOCSIN_DATABASE_URL": url, "TOCSIN_SECRET_KEY": KEY})
        running = await wiring.build(settings, public_url="http://127.0.0.1:8600")
        await running.close()

    asyncio.run(make())
    yield "sound"
    postgres.remove_database("sound")


@pytest.fixture
def patient(
    postgres: PostgresServer, sound_database: str, database_names: Iterator[str], capsys: pytest.CaptureFixture[str]
) -> Iterator[Patient]:
    name = next(database_names)
    yield Patient(postgres, postgres.add_database(name, template=sound_database), capsys)
    postgres.remove_database(name)


@pytest.fixture
def newcomer(postgres: PostgresServer, postgres_url: str, capsys: pytest.CaptureFixture[str]) -> Patient:
    return Patient(postgres, postgres_url, capsys)


@pytest.fixture
def guest(postgres: PostgresServer) -> Iterator[str]:
    """A role without rights."""
    postgres.run("CREATE ROLE guest LOGIN")
    yield "guest"
    postgres.run("DROP ROLE guest")


@pytest.fixture
def lenient_pooler(postgres: PostgresServer, pgbouncer: PgBouncer) -> Iterator[PgBouncer]:
    """A pooler that takes limits on time without a word."""
    with ordinary_folder("pgbouncer") as folder:
        pooler = PgBouncer(folder, postgres, "127.0.0.1")
        with (folder / "pgbouncer.ini").open("a") as settings:
            settings.write(f"ignore_startup_parameters = {', '.join(LIMITS)}\n")
        pooler.start()
        yield pooler
        pooler.stop()


def test_a_sound_database_is_found_so(patient: Patient) -> None:
    found = patient.examine()
    assert tuple(found) == CHECKS
    assert {name: told for name, told in found.items() if told[0] != "ok"} == {}
    assert patient.url.partition("@")[2] in found["database"][1]


def test_an_empty_database_stays_so(newcomer: Patient) -> None:
    assert "the first start makes it" in newcomer.examine()["schema"][1]
    assert newcomer.run("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == "0"


def test_the_schema_of_a_newer_tocsin_fails(patient: Patient) -> None:
    patient.run("UPDATE alembic_version SET version_num = 'of-tomorrow'")
    found = patient.examine()
    assert found["schema"] == ("FAIL", "made by a newer Tocsin: upgrade this one")
    assert found["partitions"][0] == "ok"


def test_the_schema_of_an_older_tocsin_fails(patient: Patient) -> None:
    patient.run("UPDATE alembic_version SET version_num = '0001'")
    assert patient.examine()["schema"] == ("FAIL", "of an older Tocsin: run tocsin migrate")


def test_commits_that_would_not_be_synced_fail(patient: Patient) -> None:
    patient.run(f'ALTER DATABASE "{patient.name}" SET synchronous_commit = off')
    level, text = patient.examine()["durability"]
    assert level == "FAIL"
    assert "synchronous_commit" in text


def test_a_database_that_takes_no_writes_fails(patient: Patient) -> None:
    patient.run(f'ALTER DATABASE "{patient.name}" SET default_transaction_read_only = on')
    level, text = patient.examine()["database"]
    assert level == "FAIL"
    assert "takes no writes" in text


def test_another_encoding_fails(
    postgres: PostgresServer, database_names: Iterator[str], capsys: pytest.CaptureFixture[str]
) -> None:
    name = next(database_names)
    postgres.run(f"CREATE DATABASE {name} ENCODING 'LATIN1' TEMPLATE template0")
    assert Patient(postgres, postgres.url(name), capsys).examine()["database"][0] == "FAIL"
    postgres.remove_database(name)


def test_missing_partitions_are_a_warning(patient: Patient) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    patient.run(f"DROP TABLE events_{tomorrow:%Y%m%d}")
    level, text = patient.examine()["partitions"]
    assert level == "warn"
    assert f"1 missing, events_{tomorrow:%Y%m%d} the first" in text


def test_a_role_that_owns_nothing_fails(patient: Patient, guest: str) -> None:
    patient.run("GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest")
    found = patient.examine(TOCSIN_DATABASE_URL=patient.url_of(guest))
    patient.run("DROP OWNED BY guest")
    assert found["rights"][0] == "FAIL"
    assert "another role" in found["rights"][1]


def test_a_role_that_may_make_nothing_fails(newcomer: Patient, guest: str) -> None:
    level, text = newcomer.examine(TOCSIN_DATABASE_URL=newcomer.url_of(guest))["rights"]
    assert level == "FAIL"
    assert "may not make tables" in text


@pytest.mark.parametrize("limited", ["ROLE guest", "DATABASE"])
def test_too_few_connections_are_a_warning(newcomer: Patient, guest: str, limited: str) -> None:
    limited = f'DATABASE "{newcomer.name}"' if limited == "DATABASE" else limited
    newcomer.run(f"ALTER {limited} CONNECTION LIMIT 5")
    level, text = newcomer.examine(TOCSIN_DATABASE_URL=newcomer.url_of(guest))["connections"]
    assert level == "warn"
    assert "a process holds up to 9" in text


def test_the_pool_that_is_set_counts(patient: Patient) -> None:
    assert "a process holds up to 24" in patient.examine(TOCSIN_DATABASE_CONNECTIONS="20")["connections"][1]
    assert patient.examine(TOCSIN_DATABASE_CONNECTIONS="100")["connections"][0] == "ok"


@pytest.mark.parametrize("key", ["", "c2hvcnQ=", "no base64"])
def test_a_missing_or_wrong_key_fails_and_is_not_shown(patient: Patient, key: str) -> None:
    level, text = patient.examine(TOCSIN_SECRET_KEY=key)["key"]
    assert level == "FAIL"
    assert not key or key not in text


def test_a_machine_whose_clock_is_not_the_databases_is_a_warning(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    local_seconds = SharedClock.local_seconds
    monkeypatch.setattr(SharedClock, "local_seconds", lambda clock: local_seconds(clock) - 90)
    level, text = patient.examine()["clock"]
    assert level == "warn"
    assert "this machine's clock is 90 s behind" in text


def test_a_pooler_that_is_gone_past_is_well(patient: Patient, pgbouncer: PgBouncer) -> None:
    found = patient.examine(TOCSIN_DATABASE_URL=pgbouncer.url(patient.name), TOCSIN_DATABASE_DIRECT_URL=patient.url)
    assert found["pooler"] == ("ok", "TOCSIN_DATABASE_DIRECT_URL leads past it")
    assert "a process holds up to 1" in found["connections"][1]


def test_a_pooler_without_a_way_past_it_fails(patient: Patient, pgbouncer: PgBouncer) -> None:
    level, text = patient.examine(TOCSIN_DATABASE_URL=pgbouncer.url(patient.name))["database"]
    assert level == "FAIL"
    assert "is it a pooler?" in text


def test_a_pooler_that_lets_everything_pass_is_seen_all_the_same(patient: Patient, lenient_pooler: PgBouncer) -> None:
    through = lenient_pooler.url(patient.name)
    assert patient.examine(TOCSIN_DATABASE_URL=through)["pooler"][0] == "warn"
    level, text = patient.examine(TOCSIN_DATABASE_URL=through, TOCSIN_DATABASE_DIRECT_URL=through)["pooler"]
    assert level == "FAIL"
    assert "must lead past it" in text


def test_a_way_past_that_leads_elsewhere_fails(patient: Patient, newcomer: Patient, pgbouncer: PgBouncer) -> None:
    found = patient.examine(TOCSIN_DATABASE_URL=pgbouncer.url(patient.name), TOCSIN_DATABASE_DIRECT_URL=newcomer.url)
    assert found["pooler"][0] == "FAIL"
    assert "different databases" in found["pooler"][1]


def test_a_database_that_cannot_be_reached_fails_and_the_rest_is_looked_at(newcomer: Patient) -> None:
    found = newcomer.examine(TOCSIN_DATABASE_URL=f"{newcomer.url_of('alice:hunter2')}-not")
    assert tuple(found) == ("settings", "database", "key", "mail", "egress")
    assert found["database"][0] == "FAIL"
    assert not any("hunter2" in text for _, text in found.values())
    assert found["key"][0] == "ok"
