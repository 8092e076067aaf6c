"""A message on its way: who is told of its end, when, and what becomes of whatever goes wrong."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any

import pytest

from tocsin.clock import ManualClock
from tocsin.errors import PermanentFailure, TemporaryFailure
from tocsin.model import Asked, Attempt, AttemptOutcome, Notifier, Reason, Request, Response
from tocsin.platforms import load_platforms
from tocsin.platforms.base import MailNetwork, MailPlatform, Outgoing
from tocsin.platforms.signing import new_secret
from tocsin.platforms.webhook import WebhookPlatform
from tocsin.sending import Sender

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Wire:
    """A network that answers when the test says so."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.on_end: Callable[[Response | BaseException], None] = lambda _: None
        self.refusal: Exception | None = None
        self.broken_off = 0

    def begin(self, request: Request, on_end: Callable[[Response | BaseException], None]) -> Callable[[], object]:
        if self.refusal is not None:
            raise self.refusal
        self.requests.append(request)
        self.on_end = on_end
        return self.break_off

    def break_off(self) -> None:
        self.broken_off += 1

    async def send_mail(self, message: EmailMessage, *, recipient: str) -> Response:
        raise AssertionError("no mail is sent here")


class Broken(WebhookPlatform):
    """A platform with a mistake in it."""

    def request(self, outgoing: Outgoing) -> Request:
        raise ZeroDivisionError

    def check(self, response: Response) -> None:
        raise ZeroDivisionError


class HalfBroken(Broken):
    """Goes wrong when the answer is there."""

    def request(self, outgoing: Outgoing) -> Request:
        return WebhookPlatform.request(self, outgoing)


class SlowMail(MailPlatform):
    """Never comes to an end."""

    settings = ()

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    async def send(self, outgoing: Outgoing, network: MailNetwork) -> Response:
        self.begun.set()
        await asyncio.Future()
        raise AssertionError("never reached")


class Line:
    """A sender over a wire, and the ends it told of."""

    def __init__(self, **platforms: Any) -> None:
        self.wire = Wire()
        self.clock = ManualClock()
        self.ends: list[tuple[Attempt, Asked | None]] = []
        self.told = asyncio.Event()
        self.sender = Sender(
            clock=self.clock,
            platforms=load_platforms() | platforms,
            network=self.wire,
            members_of=self._no_members,
            unsubscribe_url=lambda _, address: f"https://tocsin.example/{address}",
        )

    @staticmethod
    async def _no_members(app_id: str, user_ids: object) -> list[Any]:
        return []

    def begin(self, platform: str = "webhook", url: str = "https://example.com/hook") -> Any:
        notifier = Notifier(
            id="no-1",
            app_id="a" * 24,
            name="n",
            platform=platform,
            type_data={"webhook_url": url},
            secret=new_secret(),
            created_at=AT,
            updated_at=AT,
        )
        return self.sender.begin(notifier, "e" * 24, b"{}", "de-1", 3, self._end)

    def _end(self, attempt: Attempt, wait_seconds: float | None) -> None:
        self.ends.append((attempt, wait_seconds))
        self.told.set()

    async def end(self) -> Attempt:
        await self.told.wait()
        ((attempt, _),) = self.ends
        return attempt


async def test_an_answer_that_was_taken_is_written_down_at_once() -> None:
    line = Line()
    line.begin()
    line.clock.advance(0.25)
    line.wire.on_end(Response(status=204))
    ((attempt, wait_seconds),) = line.ends
    assert (attempt.outcome, attempt.number, attempt.duration_ms) == (AttemptOutcome.DELIVERED, 3, 250)
    assert (attempt.response_status, wait_seconds) == (204, None)
    assert not line.sender.under_way


async def test_an_answer_that_asks_to_wait_is_heard() -> None:
    line = Line()
    line.begin()
    line.wire.on_end(Response(status=429, headers=(("retry-after", "30"),), body=b"slow down"))
    ((attempt, asked),) = line.ends
    assert (attempt.outcome, attempt.reason) == (AttemptOutcome.RETRY, Reason.RATE_LIMITED)
    assert (attempt.response_body, asked) == ("slow down", Asked(wait_seconds=30))


@pytest.mark.parametrize(
    ("refusal", "outcome"),
    [
        (TemporaryFailure(Reason.UNREACHABLE, "closed"), AttemptOutcome.RETRY),
        (PermanentFailure(Reason.EGRESS_BLOCKED, "no"), AttemptOutcome.FAILED),
    ],
)
async def test_what_fails_at_once_is_told_after_begin_has_returned(
    refusal: TemporaryFailure | PermanentFailure, outcome: AttemptOutcome
) -> None:
    line = Line()
    line.wire.refusal = refusal
    line.begin()
    assert line.ends == []
    attempt = await line.end()
    assert (attempt.outcome, attempt.reason, attempt.error) == (outcome, refusal.reason, refusal.message)


@pytest.mark.parametrize("platform", ["broken", "half", "unknown"])
async def test_a_mistake_of_ours_costs_a_retry(platform: str) -> None:
    line = Line(broken=Broken(), half=HalfBroken())
    line.begin(platform)
    line.wire.on_end(Response(status=204))
    attempt = await line.end()
    assert (attempt.outcome, attempt.reason) == (AttemptOutcome.RETRY, Reason.CRASHED)
    assert not line.sender.under_way


async def test_what_is_cut_short_ends_once_and_is_broken_off() -> None:
    line = Line()
    sending = line.begin()
    line.sender.cut_short()
    sending.cut_short()
    line.wire.on_end(Response(status=204))
    ((attempt, _),) = line.ends
    assert (attempt.outcome, attempt.reason) == (AttemptOutcome.UNKNOWN, Reason.LEASE_LOST)
    assert line.wire.broken_off == 1


async def test_what_has_ended_is_not_broken_off() -> None:
    line = Line()
    sending = line.begin()
    line.wire.on_end(Response(status=204))
    sending.cut_short()
    assert (len(line.ends), line.wire.broken_off) == (1, 0)


async def test_mail_that_takes_long_is_cut_short_too() -> None:
    mail = SlowMail()
    line = Line(slow=mail)
    line.begin("slow")
    await mail.begun.wait()
    line.sender.cut_short()
    assert (await line.end()).outcome is AttemptOutcome.UNKNOWN
    await asyncio.sleep(0)
    assert len(line.ends) == 1
