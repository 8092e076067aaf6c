"""Tocsin under measurement, by its documented interface: its command, its settings, its API."""

import base64
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.receivers import ADDRESSES, Kind
from benchmarks.subjects import APP_COUNT, Database, Site, Subject, free_port

WEBHOOK_PLATFORM = "5982f145d48c3600273ef08a"
COMMAND = Path(sys.executable).with_name("tocsin")
ROLES = ("all",)
SET_UP_AT_ONCE = 16


class Tocsin(Subject):
    """One process, or an API and workers, with a webhook notifier for each delivering app."""

    name = "Tocsin"
    program: tuple[str, ...] = (str(COMMAND),)

    def __init__(
        self,
        site: Site,
        database: Database = "sqlite",
        roles: tuple[str, ...] = ROLES,
        receivers: Kind = "plain",
        app_count: int = APP_COUNT,
    ) -> None:
        super().__init__(site, database)
        self.apps = tuple(f"bench-{number}" for number in range(app_count))
        self._roles = roles
        self._receivers: Kind = receivers
        self._environment = self._settings()

    def _settings(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")} | {
            "TOCSIN_EGRESS_ALLOW": "127.0.0.0/8",
            "TOCSIN_RATE_LIMIT": "off",
            "TOCSIN_METRICS_LISTEN": "off",
            "TOCSIN_LOG_FORMAT": "json",
            "TOCSIN_SECRET_KEY": base64.b64encode(bytes(range(32))).decode(),
            "SSL_CERT_FILE": str(self.site.authority),
        }

    def serve(self) -> None:
        if self.postgres is None:
            self._environment["TOCSIN_DATABASE_URL"] = f"sqlite:///{self.site.folder / 'tocsin.db'}"
        else:
            self._environment["TOCSIN_DATABASE_URL"] = self.database_url()
            self.run_command("migrate")
        self.run_command("user", "add", "bench", "--email", "bench@example.com")
        self.token = self.run_command("token", "add", "bench", "--name", "bench")
        self.serve_again()
        with ThreadPoolExecutor(SET_UP_AT_ONCE) as threads:  # so that they share commits
            list(threads.map(self.add_app, (*self.apps, *self.quiet_apps)))
            list(threads.map(self.add_notifier, self.apps, range(len(self.apps))))

    def serve_again(self) -> None:
        """Start the processes on what the database holds."""
        starting = []
        for role in self._roles:
            port = self.port if role in {"all", "api"} else free_port()
            options = ("--role", role, "--port", str(port))
            starting.append((self.launch(*self.program, "serve", *options, environment=self._environment), port))
        for process, port in starting:
            self.wait_until_ready(process, port)

    def run_command(self, *words: str) -> str:
        run = subprocess.run([str(COMMAND), *words], env=self._environment, capture_output=True, text=True, check=False)
        if run.returncode:
            raise RuntimeError(f"tocsin {' '.join(words[:2])} failed: {run.stderr.strip()}")
        return run.stdout.strip()

    def add_app(self, name: str) -> None:
        """An app without the notifier that each new one is given."""
        self.expect(201, "POST", "/v1/apps", {"app": {"name": name}})
        path = f"/v1/apps/{name}/notifiers"
        for notifier in self.expect(200, "GET", path)["notifiers"]:
            self.expect(204, "DELETE", f"{path}/{notifier['id']}")

    def add_notifier(self, app: str, place: int, url: str | None = None, **changes: object) -> Any:
        """A webhook on the receiver of that place, for all events unless told otherwise."""
        notifier = {
            "platform_id": WEBHOOK_PLATFORM,
            "name": f"bench {place}",
            "send_all_events": True,
            "type_data": {"webhook_url": url or self.site.receivers.url(self._receivers, place, len(ADDRESSES))},
        }
        made = self.expect(201, "POST", f"/v1/apps/{app}/notifiers", {"notifier": notifier | changes})
        return made["notifier"]
