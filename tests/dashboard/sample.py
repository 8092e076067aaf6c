"""A site as it looks after two weeks of use: everything that a page can show is there once, for tests and pictures."""

import asyncio
import http.server
import json
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.dashboard.chromium import PASSWORD, Site
from tests.line import PUBLIC_URL, migrated
from tests.processes import SECRET_KEY
from tocsin.catalogue import Catalogue
from tocsin.ids import first_hex_id, first_uuid7
from tocsin.settings import Settings
from tocsin.store.schema import to_micros
from tocsin.wiring import build

PEOPLE = ("alice", "bob", "dora", "charlie", "root")
"""alice owns the apps, bob is a collaborator, dora one of limited rights, charlie a stranger, root an admin."""

APP = "shop"
APPS = (APP, "billing", "newsletter")

TOLD = (
    "deployment",
    "deployment",
    "deployment",
    "restart",
    "scale",
    "crash",
    "alert",
    "edit_variable",
    "new_addon",
    "database_backup_succeeded",
)
"""What happens in an app, and what happens often, often."""

DAYS = 14
PAST = 420
"""Deliveries that were over before the server started."""


class Answers(http.server.BaseHTTPRequestHandler):
    """A receiver that does what the end of its address says."""

    protocol_version = "HTTP/1.1"
    by_name: dict[str, tuple[int, dict[str, str], bytes]] = {  # noqa: RUF012 - never changed
        "ok": (200, {"content-type": "text/plain"}, b"ok"),
        "broken": (500, {"content-type": "text/html"}, b"<h1>Internal Server Error</h1>\n<p>The database is down.</p>"),
        "gone": (410, {}, b""),
        "busy": (429, {"retry-after": "86000"}, b"slow down"),
        "refuse": (400, {"content-type": "application/json"}, b'{"error": "unknown channel #shop-alerts"}'),
    }

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        status, headers, body = self.by_name[self.path.rpartition("/")[2]]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """What arrives stands in the delivery log."""


class Sample:
    """The site, its receiver, and by what names its parts can be reached."""

    def __init__(self, folder: Path) -> None:
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.server.daemon_threads = True
        self._thread = threading.Thread(target=self.server.serve_forever)
        self._thread.start()
        self.hooks = f"http://127.0.0.1:{self.server.server_port}"
        self.site = Site(folder)
        self.names: dict[str, str] = {"app": APP}
        """What stands in addresses, by name."""
        self._types = Catalogue.load().events
        self._chance = random.Random(20)

    def build(self) -> None:
        (self.site.installation.folder / "tocsin.db").write_bytes(migrated())
        with ThreadPoolExecutor(1) as beside:  # in this thread a browser's event loop may be running
            beside.submit(lambda: asyncio.run(self._add_people())).result()
        self.site.know(PEOPLE)
        self.site.installation.serve()
        self._add_apps()
        self._add_notifiers()
        self.site.installation.stop()
        self._add_past()
        self.site.installation.serve()
        self._let_happen()
        self._find_names()

    async def _add_people(self) -> None:
        folder = self.site.installation.folder
        settings = Settings(database_url=f"sqlite:///{folder}/tocsin.db", secret_key=SECRET_KEY, metrics_listen=None)
        running = await build(settings, public_url=PUBLIC_URL)
        try:
            for name in PEOPLE:
                user = await running.verbs.accounts.add_user(
                    username=name, email=f"{name}@example.com", password=PASSWORD, is_admin=name == "root"
                )
                self.names[f"{name}_id"] = user.id
        finally:
            await running.close()

    def _add_apps(self) -> None:
        for app in APPS:
            self.site.post("/v1/apps", {"app": {"name": app}})
            for email, is_limited in (("bob@example.com", False), ("dora@example.com", True)):
                collaborator = {"email": email, "is_limited": is_limited}
                self.site.post(f"/v1/apps/{app}/collaborators", {"collaborator": collaborator})
        alert = {"container_type": "web", "metric": "cpu", "limit": 0.8, "duration_before_trigger": "5m"}
        self.names["alert"] = self.site.post(f"/v1/apps/{APP}/alerts", {"alert": alert})["alert"]["id"]
        alert = {"container_type": "worker", "metric": "memory", "limit": 0.9, "disabled": True}
        self.site.post(f"/v1/apps/{APP}/alerts", {"alert": alert})

    def _add_notifiers(self) -> None:
        ids = {each["name"]: each["id"] for each in self.site.api.get("/v1/notification_platforms").json().popitem()[1]}
        events = self.site.api.get("/v1/event_types").json()["event_types"]
        critical = [each["id"] for each in events if each["name"] in {"app_crashed", "app_alert_triggered"}]
        for name, platform, title, hook, wanted in (
            ("notifier", "webhook", "Deploy log", "ok", {"send_all_events": True}),
            ("slack", "slack", "#shop-alerts", "ok", {"send_all_events": True}),
            ("chosen", "rocket_chat", "On call", "ok", {"selected_event_ids": critical, "send_all_alerts": True}),
            ("failing", "webhook", "Status page", "broken", {"send_all_events": True}),
            ("disabled", "webhook", "Old wiki", "gone", {"send_all_events": True}),
            ("holding", "webhook", "Ticket system", "busy", {"send_all_events": True}),
            ("refusing", "slack", "#shop-archive", "refuse", {"send_all_events": True}),
            ("paused", "webhook", "Data warehouse", "ok", {"send_all_events": True}),
            ("off", "webhook", "Staging hook", "ok", {"send_all_events": True}),
            ("mail", "email", "Team by mail", None, {"send_all_events": True}),
        ):
            settings = {"webhook_url": f"{self.hooks}/{hook}"} if hook else {"user_ids": [self.names["bob_id"]]}
            wish = {"platform_id": ids[platform], "name": title, "type_data": settings} | wanted
            made = self.site.post(f"/v1/apps/{APP}/notifiers", {"notifier": wish})
            self.names[name] = made["notifier"]["id"]
        for app in APPS[1:]:
            wish = {"platform_id": ids["webhook"], "name": "Deploy log", "send_all_events": True}
            settings = {"webhook_url": f"{self.hooks}/{'ok' if app == 'billing' else 'broken'}"}
            self.site.post(f"/v1/apps/{app}/notifiers", {"notifier": wish | {"type_data": settings}})
        self.site.post(f"/v1/apps/{APP}/notifiers/{self.names['paused']}/pause", {"pause": {}})

    def _add_past(self) -> None:
        """Two weeks of deliveries to two notifiers, most of which arrived."""
        path = self.site.installation.folder / "tocsin.db"
        now = datetime.now(UTC)
        with closing(sqlite3.connect(path)) as database:
            app_id = database.execute("SELECT id FROM apps WHERE name = ?", (APP,)).fetchone()[0]
            for number in range(PAST):
                age = timedelta(days=DAYS) * (1 - number / PAST) ** 1.2 + timedelta(minutes=30)
                self._add_delivery(database, app_id, number, now - age)
            database.commit()

    def _add_delivery(self, database: sqlite3.Connection, app_id: str, number: int, at: datetime) -> None:
        event = self._event(self._chance.choice(TOLD), first_hex_id(at)[:15] + f"{number:09x}", at)
        delivery_id = first_uuid7("de", at)[:16] + f"7{number % 4096:03x}-8000-{number:012x}"
        notifier_id = self.names[self._chance.choice(("notifier", "notifier", "slack"))]
        endings = ((1, "delivered", None), (3, "delivered", None), (16, "failed", "exhausted"))
        tries, state, reason = self._chance.choices(endings, (90, 7, 3))[0]
        took_ms = int(self._chance.lognormvariate(4.5, 0.8))
        attempts = list(self._attempts(at, tries, took_ms, is_delivered=state == "delivered"))
        finished_at = attempts[-1][1] + took_ms * 1000
        body = json.dumps(event).encode()
        row = (event["id"], app_id, self.names["alice_id"], event["type"], to_micros(at), body)
        database.execute("INSERT INTO events (id, app_id, user_id, type, received_at, body) VALUES (?,?,?,?,?,?)", row)
        times = (to_micros(at), to_micros(at + timedelta(days=4)), finished_at)
        database.execute(
            "INSERT INTO finished_deliveries (id, app_id, event_id, event_type, notifier_id, state, reason, "
            "attempt_count, created_at, expires_at, finished_at) VALUES (?,?,?,?,?,?,?,?,?,?,?)",
            (delivery_id, app_id, event["id"], event["type"], notifier_id, state, reason, tries, *times),
        )
        database.executemany(
            "INSERT INTO attempts (delivery_id, number, started_at, duration_ms, outcome, reason, response_status, "
            "response_body) VALUES (?,?,?,?,?,?,?,?)",
            [(delivery_id, *attempt) for attempt in attempts],
        )

    def _attempts(self, at: datetime, tries: int, took_ms: int, *, is_delivered: bool) -> Iterator[tuple[Any, ...]]:
        for number in range(1, tries + 1):
            started_at = to_micros(at + timedelta(minutes=2) * (2 ** (number - 1) - 1))
            if is_delivered and number == tries:
                yield number, started_at, took_ms, "delivered", None, 200, "ok"
            else:
                outcome = "failed" if number == tries else "retry"
                yield number, started_at, took_ms, outcome, "server_error", 503, "Service Unavailable"

    def _event(self, event_type: str, event_id: str, at: datetime) -> dict[str, Any]:
        user = {"username": "alice", "email": "alice@example.com", "id": self.names["alice_id"]}
        created_at = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        sample = self._types[event_type].sample
        about = {"created_at": created_at, "user": user, "app_name": APP}
        return {"id": event_id, "type": event_type, "type_data": sample, **about}

    def _let_happen(self) -> None:
        """What is posted now comes to every end and state that there is."""
        for event_type in (*TOLD, *TOLD):
            self._post(APP, event_type)
        for app in APPS[1:]:
            for event_type in TOLD[:4]:
                self._post(app, event_type)
        off = f"/v1/apps/{APP}/notifiers/{self.names['off']}"
        self.site.post(f"{off}/pause", {"pause": {}})
        self._post(APP, "restart")
        answer = self.site.api.patch(off, json={"notifier": {"active": False}})
        assert answer.status_code == 200, answer.text
        self._wait_until(self._has_every_state)

    def _post(self, app: str, event_type: str) -> None:
        self.site.post_event(app, event_type, **self._types[event_type].sample)

    def _has_every_state(self) -> bool:
        listed = self.site.api.get(f"/v1/apps/{APP}/notifiers").json()["notifiers"]
        states = {each["id"]: each["state"] for each in listed}
        expected = {name: name for name in ("failing", "disabled", "holding", "paused", "off")}
        return all(states[self.names[name]] == state for name, state in expected.items())

    def _wait_until(self, condition: Any) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, "the sample did not come to what it should be"

    def _find_names(self) -> None:
        """A delivery of each kind, and an event."""
        for name, only in (
            ("delivery", {"state": "delivered"}),
            ("failed", {"state": "failed"}),
            ("cancelled", {"state": "cancelled"}),
            ("pending", {"state": "pending", "notifier_id": self.names["failing"]}),
            ("waiting", {"state": "pending", "notifier_id": self.names["mail"]}),
        ):
            found = self.site.api.get(f"/v1/apps/{APP}/deliveries", params=only | {"per_page": 1}).json()
            self.names[f"{name}_delivery"] = found["deliveries"][0]["id"]
        for name, wish in (("token", {}), ("narrow_token", {"scopes": ["events:write"], "apps": [APP]})):
            token = {"name": name.replace("_", " ")} | wish
            self.names[name] = self.site.post("/v1/tokens", {"token": token})["token"]["id"]
        self.names["event"] = self.site.api.get(f"/v1/apps/{APP}/events").json()["events"][-1]["id"]

    def end(self) -> None:
        self.site.end()
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()
