"""What Tocsin counts, in Prometheus's terms. Labels are closed lists: no ids, no names of users' making."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from tocsin.model import Attempt


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.events = Counter("tocsin_events_accepted", "Events stored.", registry=self.registry)
        self.attempts = Counter(
            "tocsin_delivery_attempts",
            "Attempts made, by platform, outcome and reason.",
            ["platform", "outcome", "reason"],
            registry=self.registry,
        )
        self.attempt_seconds = Histogram(
            "tocsin_delivery_attempt_seconds",
            "Duration of attempts.",
            ["platform"],
            registry=self.registry,
            buckets=(0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 15, 30, 60),
        )
        self.lost_leases = Counter(
            "tocsin_lost_leases", "Attempts whose lease was lost before they were settled.", registry=self.registry
        )
        self.under_way = Gauge("tocsin_attempts_under_way", "Attempts being made now.", registry=self.registry)
        self._attempt_counters: dict[tuple[str, str, str], Counter] = {}
        self._attempt_times: dict[str, Histogram] = {}

    def attempted(self, platform: str, attempt: Attempt) -> None:
        # Looking a labelled child up costs more than counting: keep it.
        key = (platform, attempt.outcome.value, attempt.reason.value if attempt.reason else "")
        counter = self._attempt_counters.get(key)
        if counter is None:
            counter = self._attempt_counters[key] = self.attempts.labels(*key)
        counter.inc()
        times = self._attempt_times.get(platform)
        if times is None:
            times = self._attempt_times[platform] = self.attempt_seconds.labels(platform)
        times.observe((attempt.duration_ms or 0) / 1000)
