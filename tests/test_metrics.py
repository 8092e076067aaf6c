"""What a scrape reads of attempts."""

from datetime import UTC, datetime

import pytest
from prometheus_client import generate_latest

from tocsin.metrics import Metrics
from tocsin.model import Attempt, AttemptOutcome, Reason

AT = datetime(2026, 1, 2, tzinfo=UTC)


def count(metrics: Metrics, outcome: AttemptOutcome, duration_ms: int, reason: Reason | None = None) -> None:
    attempt = Attempt(number=1, started_at=AT, duration_ms=duration_ms, outcome=outcome, reason=reason)
    metrics.attempts.count("webhook", attempt)


def test_attempts_are_counted_by_platform_outcome_and_reason() -> None:
    metrics = Metrics()
    for duration_ms in (0, 5, 6, 15_000, 90_000):
        count(metrics, AttemptOutcome.DELIVERED, duration_ms)
    count(metrics, AttemptOutcome.RETRY, 20, Reason.TIMEOUT)
    read = metrics.registry.get_sample_value
    names = {"platform": "webhook", "outcome": "delivered", "reason": ""}
    assert read("tocsin_delivery_attempts_total", names) == 5
    assert read("tocsin_delivery_attempts_total", names | {"outcome": "retry", "reason": "timeout"}) == 1
    buckets = {
        bound: read("tocsin_delivery_attempt_seconds_bucket", {"platform": "webhook", "le": bound})
        for bound in ("0.005", "0.02", "15.0", "60.0", "+Inf")
    }
    assert buckets == {"0.005": 2, "0.02": 4, "15.0": 5, "60.0": 5, "+Inf": 6}
    assert read("tocsin_delivery_attempt_seconds_count", {"platform": "webhook"}) == 6
    assert read("tocsin_delivery_attempt_seconds_sum", {"platform": "webhook"}) == pytest.approx(105.031)


def test_what_has_not_happened_yet_is_described_all_the_same() -> None:
    assert b"# TYPE tocsin_delivery_attempts_total counter" in generate_latest(Metrics().registry)
