"""What a user would write instead, as subjects: small, fair, and with what these libraries are usually used for."""

import os
import sys
import time
from pathlib import Path

from benchmarks.subjects import START_SECONDS, Subject, free_port

_BIN = Path(sys.executable).parent
_CELERY_SCHEMA = """
CREATE TABLE events (id text PRIMARY KEY, app text, type text, body text, created_at timestamptz);
CREATE TABLE deliveries (
  id text PRIMARY KEY, event_id text, url text, state text, attempt_count int, finished_at timestamptz
)"""


class _Uvicorn(Subject):
    module = ""

    def _serve(self, environment: dict[str, str]) -> None:
        options = ("--port", str(self.port), "--no-access-log", "--log-level", "warning")
        self.launch(str(_BIN / "uvicorn"), self.module, *options, environment=environment, ready_port=self.port)

    def _environment(self, **more: str) -> dict[str, str]:
        receivers = f"http://127.0.0.{{last}}:{self.site.receivers.plain}/{{number}}"
        return {**os.environ, "RECEIVERS": receivers, **more}


class BackgroundTasks(_Uvicorn):
    """FastAPI's background tasks, httpx, SQLite."""

    name = "FastAPI background tasks"
    module = "benchmarks.background_tasks:app"

    def serve(self) -> None:
        self._serve(self._environment(DATABASE=str(self.site.folder / "background.db")))


class CeleryStack(_Uvicorn):
    """FastAPI, Celery with two processes, Redis, PostgreSQL."""

    name = "FastAPI, Celery, Redis"
    module = "benchmarks.celery_stack:app"

    def serve(self) -> None:
        assert self.postgres is not None
        for statement in _CELERY_SCHEMA.split(";"):
            self.postgres.run(statement, "bench")
        redis_port = free_port()
        options = ("--port", str(redis_port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.site.folder))
        self.launch("redis-server", *options, "--appendonly", "yes", "--appendfsync", "everysec")
        environment = self._environment(DATABASE=self.database_url(), REDIS=f"redis://127.0.0.1:{redis_port}/0")
        celery = (str(_BIN / "celery"), "-A", "benchmarks.celery_stack:celery", "worker")
        self.launch(*celery, "--concurrency", "2", "--loglevel", "warning", environment=environment)
        self._serve(environment)
        self._see_one_delivered()

    def _see_one_delivered(self) -> None:
        """Celery has no way to tell that its worker is ready: wait until one event has gone all the way."""
        assert self.postgres is not None
        event = {"type": "deployment", "type_data": {}}
        self.expect(201, "POST", "/v1/apps/bench-0/events", {"event": event})
        give_up_at = time.monotonic() + START_SECONDS
        while self.postgres.run("SELECT state FROM deliveries", "bench") != "delivered":
            if time.monotonic() > give_up_at:
                raise RuntimeError(f"{self.name} delivers nothing:\n{self.last_words()}")
            time.sleep(0.1)
