"""One message on its way: the platform's request, the network, and how it ended.

Stop before: `deliver`, which knows whose attempt it is. Stops on the way: `rendering`, `platforms`, `egress`. Whatever
a platform may raise is caught here.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Protocol

import msgspec
import structlog

from tocsin.clock import Clock
from tocsin.errors import PermanentFailure, TemporaryFailure
from tocsin.manners import ABORT_MESSAGE, CONTROL, DISABLE, control_of, read_asked
from tocsin.model import Asked, Attempt, AttemptOutcome, Event, Message, Notifier, Reason, Request, Response, User
from tocsin.platforms.base import HttpPlatform, MailNetwork, MailPlatform, Outgoing, Platform, SettingKind
from tocsin.rendering import render
from tocsin.skew import Skew

RECORDED_BODY_BYTES = 4096

MembersOf = Callable[[str, Sequence[str]], Awaitable[list[User]]]
"""The users of these ids who still belong to an app."""

UnsubscribeUrl = Callable[[str, str], str]
"""The signed link by which a recipient leaves a notifier: of notifier id and address."""

OnEnd = Callable[[Attempt, Asked | None], None]
"""Gets the attempt as it ended, and what the receiver asked for beside that."""

_EVENT = msgspec.json.Decoder(Event)


class Network(MailNetwork, Protocol):
    """The part of egress that messages go through."""

    def begin(self, request: Request, on_end: Callable[[Response | BaseException], None]) -> Callable[[], object]:
        """Send one HTTP request; `on_end` gets the answer or a PlatformError, never before this returns.

        Answers with what breaks the request off; what `on_end` gets after that means nothing. Raises PlatformError
        for what is known at once.
        """
        ...


class Sending:
    """A message under way."""

    __slots__ = ("_begun_seconds", "_notifier", "_on_end", "_outgoing", "_sender", "break_off")

    def __init__(self, sender: "Sender", notifier: Notifier, outgoing: Outgoing, on_end: OnEnd) -> None:
        self._sender = sender
        self._notifier = notifier
        self._outgoing = outgoing
        self._on_end: OnEnd | None = on_end
        self._begun_seconds = sender.clock.monotonic()
        self.break_off: Callable[[], object] | None = None

    def end(self, outcome: Response | BaseException) -> None:
        """The network answered or failed; the first end counts."""
        on_end, self._on_end = self._on_end, None
        self.break_off = None  # it leads back here, and the collector is spared
        if on_end is None:
            return
        sender = self._sender
        sender.under_way.discard(self)
        ended = sender.judge(self._notifier, self._outgoing.delivery_id, outcome)
        response = ended.response
        ended_seconds = sender.clock.monotonic()
        if ended_seconds >= sender.skew.next_look_seconds and response is not None:
            sender.skew.look(self._notifier, response)
        attempt = Attempt(
            number=self._outgoing.attempt,
            started_at=self._outgoing.sent_at,
            duration_ms=round((ended_seconds - self._begun_seconds) * 1000),
            outcome=ended.outcome,
            reason=ended.reason,
            response_status=response.status if response else None,
            response_body=_as_text(response.body) if response and response.body else None,
            error=ended.error,
        )
        on_end(attempt, ended.asked)

    def cut_short(self) -> None:
        """End it now: nobody knows then whether the message went out."""
        if self.break_off is not None:
            self.break_off()
        self.end(asyncio.CancelledError())


class _Ended(msgspec.Struct, frozen=True, gc=False):
    """How an attempt ended, before it is written down."""

    outcome: AttemptOutcome
    response: Response | None = None
    reason: Reason | None = None
    error: str | None = None
    asked: Asked | None = None


class Sender:
    """Sends messages by their notifiers' platforms, and reads how it went."""

    def __init__(
        self,
        *,
        clock: Clock,
        platforms: Mapping[str, Platform],
        network: Network,
        members_of: MembersOf,
        unsubscribe_url: UnsubscribeUrl,
        skew: Skew | None = None,
    ) -> None:
        self.clock = clock
        self.skew = skew or Skew(clock)
        self.under_way: set[Sending] = set()
        self._http = {name: platform for name, platform in platforms.items() if isinstance(platform, HttpPlatform)}
        self._mail = {name: platform for name, platform in platforms.items() if isinstance(platform, MailPlatform)}
        self._network = network
        self._members_of = members_of
        self._unsubscribe_url = unsubscribe_url
        self._loop = asyncio.get_running_loop()
        self._log = structlog.get_logger("tocsin.sending").bind()

    def begin(
        self, notifier: Notifier, event_id: str, body: bytes, delivery_id: str, number: int, on_end: OnEnd
    ) -> Sending:
        """Send one message; `on_end` is told once, and not before this returns."""
        outgoing = outgoing_of(
            notifier,
            event_id=event_id,
            body=body,
            delivery_id=delivery_id,
            attempt=number,
            sent_at=self.clock.now(),
            unsubscribe_url=partial(self._unsubscribe_url, notifier.id),
        )
        sending = Sending(self, notifier, outgoing, on_end)
        self.under_way.add(sending)
        try:
            platform = self._http.get(notifier.platform)
            if platform is not None:
                sending.break_off = self._network.begin(platform.request(outgoing), sending.end)
            else:
                task = self._loop.create_task(self._send_mails(self._mail[notifier.platform], outgoing))
                task.add_done_callback(partial(_tell, sending))
                sending.break_off = task.cancel
        except Exception as error:  # noqa: BLE001 - judged like every other end
            self._loop.call_soon(sending.end, error)
        return sending

    def cut_short(self) -> None:
        """End whatever is under way."""
        for sending in list(self.under_way):
            sending.cut_short()

    async def _send_mails(self, platform: MailPlatform, outgoing: Outgoing) -> Response:
        named = named_members(platform, outgoing.type_data)
        if named:
            members = tuple(await self._members_of(outgoing.app_id, named))
            outgoing = msgspec.structs.replace(outgoing, members=members)
        return await platform.send(outgoing, self._network)

    def judge(self, notifier: Notifier, delivery_id: str, outcome: Response | BaseException) -> _Ended:
        """Read what the network gave: the one place that takes whatever was raised."""
        if isinstance(outcome, Response):
            try:
                platform = self._http.get(notifier.platform)
                if platform is not None:
                    platform.check(outcome)
            except Exception as error:  # noqa: BLE001 - told apart below
                outcome = error
            else:
                is_last = platform is not None and control_of(outcome) == DISABLE
                return _Ended(AttemptOutcome.DELIVERED, outcome, asked=Asked(disable=True) if is_last else None)
        match outcome:
            case TemporaryFailure():
                return self._not_now(outcome)
            case PermanentFailure(response=response):
                return _Ended(AttemptOutcome.FAILED, response, outcome.reason, outcome.message)
            case asyncio.CancelledError():
                # The process stops: whether the message went out is not known, so that it is sent again.
                return _Ended(AttemptOutcome.UNKNOWN, None, Reason.LEASE_LOST, "cut short by a stop")
        # A defect of ours must cost one message a retry, never the worker.
        self._log.error("delivery.crashed", delivery_id=delivery_id, platform=notifier.platform, exc_info=outcome)
        message = f"Tocsin failed to send this: {type(outcome).__name__}"
        return _Ended(AttemptOutcome.RETRY, None, Reason.CRASHED, message)

    def _not_now(self, failure: TemporaryFailure) -> _Ended:
        """Tried again, unless the receiver says with its refusal that it wants this message, or any, no more."""
        response = failure.response
        if response is None:
            return _Ended(AttemptOutcome.RETRY, None, failure.reason, failure.message)
        asked = read_asked(response, now=self.clock.now())
        word = control_of(response)
        if word not in {ABORT_MESSAGE, DISABLE}:
            return _Ended(AttemptOutcome.RETRY, response, failure.reason, failure.message, asked)
        reason = Reason.GONE if word == DISABLE else Reason.REJECTED
        return _Ended(AttemptOutcome.FAILED, response, reason, f"{failure.message}, {CONTROL}: {word}", asked)


def outgoing_of(
    notifier: Notifier,
    *,
    event_id: str,
    body: bytes,
    delivery_id: str,
    attempt: int,
    sent_at: datetime,
    unsubscribe_url: Callable[[str], str],
) -> Outgoing:
    """What a platform is given of one attempt; members are still to be looked up."""
    return Outgoing(
        delivery_id=delivery_id,
        attempt=attempt,
        event_id=event_id,
        app_id=notifier.app_id,
        body=body,
        render=_render,
        notifier_id=notifier.id,
        notifier_name=notifier.name,
        type_data=notifier.type_data,
        secret=notifier.secret,
        previous_secret=notifier.previous_secret_at(sent_at),
        sent_at=sent_at,
        unsubscribe_url=unsubscribe_url,
    )


def named_members(platform: MailPlatform, type_data: Mapping[str, Any]) -> list[str]:
    """The ids of the users that a notifier's settings name."""
    kinds = (setting.name for setting in platform.settings if setting.kind is SettingKind.MEMBERS)
    return [user_id for name in kinds for user_id in type_data.get(name) or ()]


def _render(body: bytes) -> Message:
    return render(_EVENT.decode(body))


def event_id_of(body: bytes) -> str:
    return _EVENT.decode(body).id


def _tell(sending: Sending, task: asyncio.Task[Response]) -> None:
    sending.end(asyncio.CancelledError() if task.cancelled() else task.exception() or task.result())


def _as_text(body: bytes) -> str:
    """The first 4 KiB of an answer as text that is safe to show: no control characters but tabs and line ends."""
    text = body[:RECORDED_BODY_BYTES].decode("utf-8", "replace")
    return "".join(
        letter if letter in "\t\r\n" or not (ord(letter) < 32 or 127 <= ord(letter) < 160) else "\ufffd"
        for letter in text
    )
