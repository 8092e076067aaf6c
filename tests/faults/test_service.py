"""How service is counted: from made-up records whose figures can be told by hand."""

import pytest

from faults.checker import Route
from faults.records import Accepted, Arrival
from faults.service import Span, jain_index, quantile, served

SECOND = 1_000_000_000
SPAN = Span(10 * SECOND, 20 * SECOND)
ROUTES = [Route(app="shop", notifier_id=f"no-{path}", path=path) for path in ("/a", "/b", "/hung")]


def posted(number: int, at: float) -> Accepted:
    at_ns = int(at * SECOND)
    return Accepted(
        number=number, event_id=f"ev-{number}", key="", app="shop", body_sha="", sent_ns=at_ns, accepted_ns=at_ns
    )


def arrived(number: int, path: str, at: float, status: int = 204) -> Arrival:
    return Arrival(
        at_ns=int(at * SECOND),
        port=1,
        path=path,
        message_id=f"ev-{number}",
        delivery_id="",
        attempt=1,
        number=number,
        body_sha="",
        is_signed=True,
        status=status,
    )


def test_each_receiver_is_served_by_when_it_first_took_a_message() -> None:
    service = served(
        SPAN,
        accepted=[posted(0, 9), posted(1, 11), posted(2, 19), posted(3, 21)],
        arrivals=[
            arrived(0, "/a", 9.5),
            arrived(1, "/a", 11.5, status=503),
            arrived(1, "/a", 12),
            arrived(1, "/a", 15),
            arrived(1, "/b", 11.25),
            arrived(2, "/a", 21),
            arrived(1, "/hung", 11.1),
        ],
        routes=ROUTES,
        paths={"/a", "/b"},
        looked_ns=29 * SECOND,
    )
    assert (service.due, service.missing) == (4, 1)
    assert (service.p50_seconds, service.p99_seconds) == (2.0, 10.0)  # of 0.25, 1, 2, and 10 that it has waited yet
    assert service.share == 0.5
    assert service.jain == 1.0


def test_nothing_due_is_nothing_served() -> None:
    service = served(SPAN, accepted=[], arrivals=[], routes=ROUTES, paths={"/a"}, looked_ns=0)
    assert (service.due, service.share, service.jain, service.p99_seconds) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("shares", "index"), [([1, 1, 1, 1], 1), ([0.5, 0.5], 1), ([1, 0, 0, 0], 0.25), ([1, 0.5], 0.9), ([0, 0], 0)]
)
def test_jains_index(shares: list[float], index: float) -> None:
    assert jain_index(shares) == pytest.approx(index)


@pytest.mark.parametrize(("part", "value"), [(0, 1), (0.5, 3), (0.99, 4), (1, 4)])
def test_a_quantile_is_a_value_that_was_seen(part: float, value: float) -> None:
    assert quantile([1, 2, 3, 4], part) == value
    assert quantile([], part) == 0
