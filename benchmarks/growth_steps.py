"""The states that a database can grow into, each against the same Tocsin with next to nothing in it."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from benchmarks.growth_fill import Owner, filling
from benchmarks.load import Phase
from benchmarks.tocsin_subject import Tocsin

MILLION = 1_000_000
PAUSED_NOTIFIERS = 100
GROWN_APP = "grown-0"
OTHER_EVENT = "variable_edited"  # not what the load reports


@dataclass(frozen=True)
class Step:
    """A state: how to get there, and what is reported to it (`second`) while the other gets `first`.

    `prepare` is done to both, before; `accepts` says whether accepting alone can differ.
    """

    name: str
    grow: Callable[[Tocsin], None]
    prepare: Callable[[Tocsin], None] | None = None
    first: Phase = field(default_factory=lambda: Phase(kind="deliver"))
    second: Phase = field(default_factory=lambda: Phase(kind="deliver"))
    accepts: bool = True


def steps(scale: float) -> Iterator[Step]:
    """All of them; `scale` makes the numbers of rows and notifiers smaller."""

    def some(count: int) -> int:
        return max(int(count * scale), 2)

    for count in (some(MILLION), some(5 * MILLION)):
        yield Step(f"{count:,} finished deliveries", partial(_finish, count=count))
    yield Step(f"{some(MILLION):,} pending deliveries of paused notifiers", partial(_pause, count=some(MILLION)))
    yield from (_bystanders(some(count)) for count in (100, 10_000))
    yield from (_body(kib) for kib in (10, 100))
    yield from (_messages(count) for count in (10, 100, some(1000)))


def _bystanders(count: int) -> Step:
    phase = Phase(kind="deliver", apps=(GROWN_APP,))
    return Step(
        f"{count:,} notifiers on the app, one of which wants the event",
        partial(_add_bystanders, count=count - 1),
        prepare=_add_app,
        first=phase,
        second=phase,
        accepts=False,
    )


def _body(kib: int) -> Step:
    first, second = (Phase(kind="deliver", body_bytes=size * 1024) for size in (1, kib))
    return Step(f"events of {kib} KiB, not 1 KiB", lambda _: None, first=first, second=second)


def _messages(count: int) -> Step:
    phase = Phase(kind="deliver", apps=(GROWN_APP,), fan_out=count, window=max(1000, 4 * count))
    return Step(f"{count:,} messages an event", partial(_fan_out, count=count), second=phase, accepts=False)


def _finish(subject: Tocsin, count: int) -> None:
    owners = [_owner(subject, app) for app in subject.apps]
    with filling(subject) as fill:
        fill.add_finished(count, owners)


def _pause(subject: Tocsin, count: int) -> None:
    subject.add_app("paused-0")
    made = [subject.add_notifier("paused-0", place) for place in range(PAUSED_NOTIFIERS)]
    for notifier in made:
        subject.expect(200, "POST", f"/v1/apps/paused-0/notifiers/{notifier['id']}/pause")
    with filling(subject) as fill:
        fill.add_pending(count, [Owner(notifier["app_id"], notifier["id"]) for notifier in made])


def _add_app(subject: Tocsin) -> None:
    subject.add_app(GROWN_APP)
    subject.add_notifier(GROWN_APP, 0)


def _add_bystanders(subject: Tocsin, count: int) -> None:
    made = subject.add_notifier(GROWN_APP, 0, send_all_events=False, selected_events=[OTHER_EVENT])
    _copy(subject, made, count - 1)


def _fan_out(subject: Tocsin, count: int) -> None:
    _add_app(subject)
    _copy(subject, _first_notifier(subject, GROWN_APP), count - 1)


def _copy(subject: Tocsin, notifier: Mapping[str, Any], count: int) -> None:
    """So many more notifiers like this one, which is the first of its app."""
    secret = subject.expect(200, "GET", f"/v1/apps/{notifier['app_id']}/notifiers/{notifier['id']}/secret")["secret"]
    settings = json.dumps(notifier["type_data"], separators=(",", ":"))
    with filling(subject) as fill:
        fill.copy_notifier(notifier["id"], settings, secret, count)
        subject.run_command("keys", "rotate")


def _owner(subject: Tocsin, app: str) -> Owner:
    notifier = _first_notifier(subject, app)
    return Owner(notifier["app_id"], notifier["id"])


def _first_notifier(subject: Tocsin, app: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = subject.expect(200, "GET", f"/v1/apps/{app}/notifiers")["notifiers"][0]
    return found
