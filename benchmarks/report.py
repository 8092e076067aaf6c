"""The figures as one table, for the terminal and for docs/performance.md alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from benchmarks.load import Measured

BUSY_LOAD = 0.9
KEEPING_UP = 0.95

_TEMPLATE = """# Performance

What Tocsin does on one core, beside a floor that does the same work with nothing else in it: the same
requests, the same durable commit before the answer, the same signed delivery to the same receivers, and no
authentication, routing, limits, retries, fairness or metrics. The last column divides Tocsin's figure by the
floor's. `make bench ARGS=--write` writes this page.

{table}

Measured {date} at commit {commit}. Medians of interleaved repetitions, with the lowest and highest.
Machine: {machine}.

## What is measured

- An event is a deployment of some 880 bytes, reported by `POST /v1/apps/:app/events` over 256 kept
  connections to 20 apps, each with one webhook notifier on an address of its own. Storage is SQLite with
  `synchronous=FULL`.
- *Accepted* counts answers of 201, given once the event is on disk, for apps without a notifier.
- *Delivered* counts arrivals at the receivers while at most 1,000 events are on their way.
- *At half load* events are sent by a clock that ticks every millisecond, at half of the server's own median
  rate. Latency runs from the moment an event was due to be sent until it arrived, so a stall counts for
  every event that had to wait behind it.
- Processor time is user and system time of the whole process group; memory is the most it ever held.
- The server runs on the first core; load generator and receivers share a process on the second.
- Each repetition starts from an empty database. Every acknowledged event must arrive and carry a signature
  (which is not verified here); the run fails otherwise.

What this leaves out: TLS and the network between machines, receivers that are slow or fail, large
histories, and disks that sync slowly (a commit is shared by all events of some 2 ms, so throughput hardly
depends on them, but each event waits for at least one sync).

## Where the rest goes

By sampling the running server at full load (native frames, both threads), of the processor time of a delivered
event about

- a quarter is SQLite's commit: the log frames of the pages that a batch touches, and their checkpoint. Listings by
  app and by notifier have an index each, and a batch of many apps touches a page of every one of them;
- an eighth puts the rows in and settles them;
- a fifth is the request: parsing, the token and the app (both remembered), decoding, ids, the answer's write;
- a fifth is the delivery: the attempt, signing, the request's write, parsing the answer, deciding what follows;
- the rest is the event loop, its tasks and futures, and two threads that share one interpreter.

Next would be fewer and narrower indexes on the rows that change with every delivery, and fewer coroutines between a
claim and its request.

## Repeat it

```
make bench                       # all of it, some minutes
make bench ARGS=--quick          # 20 seconds: does it run at all
make bench ARGS=--write          # and refresh this page
make bench ARGS="--only floor"   # what this machine can do at most
```

It needs Linux (addresses 127.0.0.2 to 127.0.0.21) and two cores that are otherwise idle. The databases go
to `/var/tmp`; name another place with `--data`, since a folder that is held in memory makes syncs free.
"""


@dataclass
class Figures:
    """All measurements of one subject."""

    accept: list[Measured] = field(default_factory=list)
    deliver: list[Measured] = field(default_factory=list)
    paced: list[Measured] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)
    half_rate: float = 0.0

    def all(self) -> list[Measured]:
        return [*self.accept, *self.deliver, *self.paced]


_ROWS: tuple[tuple[str, str, Callable[[Figures], list[float]]], ...] = (
    ("accepted, events/s", ",.0f", lambda figures: [one.accepted_rate for one in figures.accept]),
    (
        "accepted and delivered, events/s",
        ",.0f",
        lambda figures: [one.arrived_rate for one in figures.deliver],
    ),
    (
        "processor time to accept, µs/event",
        ".0f",
        lambda figures: [one.cpu_us_an_event for one in figures.accept],
    ),
    (
        "processor time to deliver too, µs/event",
        ".0f",
        lambda figures: [one.cpu_us_an_event for one in figures.deliver],
    ),
    ("half that load, events/s", ",.0f", lambda figures: [one.arrived_rate for one in figures.paced]),
    ("due to arrived at half load, p50 ms", ".1f", lambda figures: [one.p50_ms for one in figures.paced]),
    ("due to arrived at half load, p99 ms", ".1f", lambda figures: [one.p99_ms for one in figures.paced]),
    ("peak memory, MB", ".0f", lambda figures: figures.rss_mb),
    (
        "acknowledged events that were lost",
        ".0f",
        lambda figures: [sum(one.missing for one in figures.all())],
    ),
    ("events delivered twice", ".0f", lambda figures: [sum(one.duplicates for one in figures.all())]),
)


def table(figures: Mapping[str, Figures]) -> str:
    """A Markdown table that is aligned for the terminal too; with two subjects, their ratio comes last."""
    lines = [["", *figures, *([" / ".join(reversed(list(figures)))] if len(figures) == 2 else [])]]
    for title, shape, read in _ROWS:
        values = [read(one) for one in figures.values()]
        lines.append([title, *(_cell(one, shape) for one in values)])
        if len(values) == 2:
            floor, subject = (median(one or [0]) for one in values)
            lines[-1].append(f"{subject / floor:.2f}" if floor else "")
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    return "\n".join("| " + " | ".join(_aligned(line, widths)) + " |" for line in lines)


def _cell(values: list[float], shape: str) -> str:
    if not values:
        return "-"
    middle = format(median(values), shape)
    if len(values) < 2:
        return middle
    return f"{middle} [{format(min(values), shape)}-{format(max(values), shape)}]"


def _aligned(line: list[str], widths: list[int]) -> list[str]:
    return [
        line[0].ljust(widths[0]),
        *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)),
    ]


def complaints(figures: Mapping[str, Figures]) -> list[str]:
    """Why these figures should not be believed; none when all is well."""
    found = []
    for name, one in figures.items():
        for what in ("missing", "refused", "unsigned"):
            count = sum(getattr(measured, what) for measured in one.all())
            if count:
                found.append(f"{name}: {count} events {what}.")
        found += sorted({f"{name} refused: {measured.refusal!r}" for measured in one.all() if measured.refusal})
        slowest = min((measured.arrived_rate for measured in one.paced), default=one.half_rate)
        if slowest < KEEPING_UP * one.half_rate:
            found.append(f"{name}: it did not keep up with half its load, so its latencies mean nothing.")
        busy = max(measured.load_busy for measured in one.all())
        if busy > BUSY_LOAD:
            found.append(f"{name}: the load generator was {busy:.0%} busy, so it may have been the limit.")
    return found


def write(page: Path, shown: str, machine: str, commit: str) -> None:
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    page.parent.mkdir(exist_ok=True)
    page.write_text(_TEMPLATE.format(table=shown, date=date, commit=commit, machine=machine))
