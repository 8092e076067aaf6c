"""What Tocsin counts, in Prometheus's terms. Labels are closed lists: no ids, no names of users' making."""

from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from tocsin.model import Attempt

_BOUNDS_SECONDS = (0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 15, 30, 60)


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.events = Tallied("tocsin_events_accepted", "Events stored.")
        self.registry.register(self.events)
        self.attempts = AttemptMetrics()
        self.registry.register(self.attempts)
        self.lost_leases = Counter(
            "tocsin_lost_leases", "Attempts whose lease was lost before they were settled.", registry=self.registry
        )
        self.under_way = Gauge("tocsin_attempts_under_way", "Attempts being made now.", registry=self.registry)
        self.slow = Gauge(
            "tocsin_attempts_slow", "Attempts being made now that are in the slow lane.", registry=self.registry
        )
        self.skew = Gauge(
            "tocsin_clock_skew_seconds",
            "How far this clock is behind those of receivers (negative: ahead), by the dates of their answers.",
            registry=self.registry,
        )
        self.in_line = Gauge(
            "tocsin_deliveries_in_line", "Deliveries that are leased and wait for their turn.", registry=self.registry
        )


class Tallied(Collector):
    """A counter for the event loop alone: without the library's lock, which costs ten times as much as counting."""

    def __init__(self, name: str, documentation: str) -> None:
        self._name = name
        self._documentation = documentation
        self.count = 0

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily(self._name, self._documentation, value=self.count)


class AttemptMetrics(Collector):
    """Attempts and how long they took, counted by hand: with the library's counters that costs four times as much.

    Counts on the event loop alone; a scrape may read from another thread.
    """

    def __init__(self) -> None:
        self._counts: Tally[tuple[str, str, str]] = Tally()
        self._durations: dict[str, _Durations] = {}

    def count(self, platform: str, attempt: Attempt) -> None:
        self._counts[platform, attempt.outcome, attempt.reason or ""] += 1
        durations = self._durations.get(platform)
        if durations is None:
            durations = self._durations[platform] = _Durations()
        seconds = (attempt.duration_ms or 0) / 1000
        durations.sum_seconds += seconds
        durations.counts[bisect_left(_BOUNDS_SECONDS, seconds)] += 1

    def collect(self) -> Iterator[Metric]:
        attempts = CounterMetricFamily(
            "tocsin_delivery_attempts",
            "Attempts made, by platform, outcome and reason.",
            labels=("platform", "outcome", "reason"),
        )
        for labels, count in list(self._counts.items()):
            attempts.add_metric([str(label) for label in labels], count)
        yield attempts
        seconds = HistogramMetricFamily(
            "tocsin_delivery_attempt_seconds", "Duration of attempts.", labels=("platform",)
        )
        for platform, durations in list(self._durations.items()):
            seconds.add_metric([platform], durations.buckets(), durations.sum_seconds)
        yield seconds


class _Durations:
    def __init__(self) -> None:
        self.sum_seconds = 0.0
        self.counts = [0] * (len(_BOUNDS_SECONDS) + 1)

    def buckets(self) -> list[tuple[str, float]]:
        """The upper bounds, each with how many were not longer."""
        bounds = [*map(str, map(float, _BOUNDS_SECONDS)), "+Inf"]
        return list(zip(bounds, accumulate(self.counts), strict=True))
