"""How long pages take and how much they send, with a million deliveries behind them, most of which are one app's."""

import http.client
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import get_args
from urllib.parse import urlsplit

import msgspec

from benchmarks import procfs
from benchmarks.bench import say, stage
from benchmarks.growth_fill import Owner, filling
from benchmarks.report import aligned
from benchmarks.subjects import ROOT, Database
from benchmarks.tocsin_subject import Tocsin
from tests.dashboard.all_pages import ALL_PAGES

ROWS = 1_000_000
PENDING = 10_000
DAYS = 14
REQUESTS = 100
WARM_UP = 3
MOST_MS = 100

APP, OTHER_APP = "bench-0", "bench-1"
USER, ADMIN = "bench", "admin"
NO_VIEWS = frozenset({"operations-doctor"})
"""The doctor reads the whole database, when it is asked to."""

READINESS = "(`/readyz`)"


class PageTime(msgspec.Struct, frozen=True, kw_only=True):
    """A page on one database."""

    name: str
    database: str
    p50_ms: float
    p95_ms: float
    bytes: int


class Pages(msgspec.Struct, frozen=True, kw_only=True):
    """All of them, and where and when."""

    deliveries: int
    found: list[PageTime]
    machine: str
    commit: str
    measured_at: str


def measure_pages(data: Path, *, rows: int = ROWS, requests: int = REQUESTS) -> Pages:
    found: list[PageTime] = []
    for database in get_args(Database):
        with stage(data) as (_, site):
            subject = Tocsin(site, database, app_count=2)
            try:
                subject.start()
                names = _fill(subject, rows)
                found += _measure(subject, names, database, requests)
            finally:
                subject.stop()
    machine, commit = procfs.machine(data), procfs.commit(ROOT)
    return Pages(deliveries=rows, found=found, machine=machine, commit=commit, measured_at=procfs.today())


def _fill(subject: Tocsin, rows: int) -> dict[str, str]:
    """Nine of ten deliveries are one app's, to two notifiers; one in fifty failed, and one notifier's wait."""
    path = f"/v1/apps/{APP}/notifiers"
    first = subject.expect(200, "GET", path)["notifiers"][0]
    second, paused = (subject.add_notifier(APP, place) for place in (1, 2))
    other = subject.expect(200, "GET", f"/v1/apps/{OTHER_APP}/notifiers")["notifiers"][0]
    subject.expect(200, "POST", f"{path}/{paused['id']}/pause")
    begun_at = perf_counter()
    owners = [Owner(each["app_id"], each["id"]) for each in [first] * 6 + [second] * 3 + [other]]
    with filling(subject) as fill:
        fill.add_finished(rows, owners, span_ms=DAYS * 86_400_000, failing_every=50)
        fill.add_pending(min(PENDING, rows), [Owner(paused["app_id"], paused["id"])])
    say(f"{rows:,} deliveries are in {subject.database} after {perf_counter() - begun_at:.0f} s")
    return _names(subject, first["id"], paused["id"])


def _names(subject: Tocsin, notifier_id: str, paused_id: str) -> dict[str, str]:
    """What addresses of pages name, as far as it is there."""
    names = dict.fromkeys(("notifier", "refusing", "slack", "chosen", "failing"), notifier_id)
    names |= {"app": APP, "paused": paused_id}
    for name, only in (("delivery_delivery", "delivered"), ("failed_delivery", "failed"), ("waiting", "pending")):
        listed = subject.expect(200, "GET", f"/v1/apps/{APP}/deliveries?per_page=1&state={only}")["deliveries"]
        names[name], names["event"] = listed[0]["id"], listed[0]["event_id"]
    names["pending_delivery"] = names["waiting_delivery"] = names["cancelled_delivery"] = names["waiting"]
    alert = {"container_type": "web", "metric": "cpu", "limit": 0.8}
    names["alert"] = subject.expect(201, "POST", f"/v1/apps/{APP}/alerts", {"alert": alert})["alert"]["id"]
    names["token"] = subject.expect(200, "GET", "/v1/tokens")["tokens"][0]["id"]
    return names


class _Browser:
    """One connection, kept, and the cookie of a session."""

    def __init__(self, port: int, link: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._cookies: dict[str, str] = {}
        path = urlsplit(link).path
        form = self.ask("GET", path)[1].decode()
        token = form.partition('name="form_token" value="')[2].partition('"')[0]
        status, body = self.ask("POST", path, f"form_token={token}")
        if status != 303:
            raise RuntimeError(f"signing in was answered with {status}: {body[:200]!r}")

    def ask(self, method: str, path: str, form: str | None = None) -> tuple[int, bytes]:
        headers = {"accept": "text/html", "accept-encoding": "gzip"}
        if self._cookies:
            headers["cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        if form is not None:
            headers["content-type"] = "application/x-www-form-urlencoded"
        self._connection.request(method, path, form, headers)
        answer = self._connection.getresponse()
        for given in answer.headers.get_all("set-cookie", []):
            name, _, value = given.partition(";")[0].partition("=")
            self._cookies[name] = value
        return answer.status, answer.read()

    def close(self) -> None:
        self._connection.close()


def _measure(subject: Tocsin, names: Mapping[str, str], database: str, requests: int) -> Iterator[PageTime]:
    subject.run_command("user", "add", ADMIN, "--email", f"{ADMIN}@example.com", "--admin")
    with ExitStack() as open_ones:
        browsers = {}
        for user in (USER, ADMIN):
            browsers[user] = _Browser(subject.port, subject.run_command("user", "link", user))
            open_ones.callback(browsers[user].close)
        yield _time(partial(browsers[USER].ask, "GET", "/readyz"), READINESS, database, requests)
        for page in ALL_PAGES:
            if (page.of == "visitor" and page.name != "reference") or page.name in NO_VIEWS:
                continue
            try:
                address = page.address.format(**names)
            except KeyError as missing:
                say(f"LEFT OUT {page.name}: there is no {missing} here")
                continue
            browser = browsers[ADMIN if page.of == "admin" else USER]
            browser.close()  # and open anew: the server ends connections on which nothing was asked for seconds
            yield _time(partial(browser.ask, "GET", address), page.name, database, requests)


def _time(ask: Callable[[], tuple[int, bytes]], name: str, database: str, requests: int) -> PageTime:
    times = []
    for _ in range(WARM_UP + requests):
        begun_at = perf_counter()
        status, body = ask()
        times.append((perf_counter() - begun_at) * 1000)
        if status != 200:
            raise RuntimeError(f"{name} was answered with {status}: {body[:300]!r}")
    ordered = sorted(times[WARM_UP:])
    p50, p95 = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.95)]
    return PageTime(name=name, database=database, p50_ms=p50, p95_ms=p95, bytes=len(body))


def slow(pages: Pages) -> list[str]:
    """What takes longer than it may."""
    return [
        f"the page {each.name} takes {each.p95_ms:.0f} ms at p95 on {each.database}, more than {MOST_MS}"
        for each in pages.found
        if each.p95_ms > MOST_MS
    ]


def pages_table(pages: Pages) -> str:
    databases = list(dict.fromkeys(each.database for each in pages.found))
    lines = [
        ["", *(f"{name}: {figure}" for name in databases for figure in ("p50 ms", "p95 ms", "times readyz")), "KiB"]
    ]
    by_page = {(each.name, each.database): each for each in pages.found}
    for name in dict.fromkeys(each.name for each in pages.found):
        line = [name]
        for database in databases:
            one = by_page[name, database]
            times = one.p50_ms / by_page[READINESS, database].p50_ms
            line += [f"{one.p50_ms:.1f}", f"{one.p95_ms:.1f}", f"{times:.1f}"]
        lines.append([*line, f"{by_page[name, databases[0]].bytes / 1024:.0f}"])
    measured = f"{pages.deliveries:,} deliveries. Measured {pages.measured_at} at commit {pages.commit}."
    return f"{aligned(lines)}\n\n{measured}"
