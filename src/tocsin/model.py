"""The nouns, frozen: what is stored, routed, rendered and sent. No behaviour beyond their own consistency."""

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec


class DeliveryState(StrEnum):
    PENDING = "pending"
    SENDING = "sending"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"


class DeliveryReason(StrEnum):
    """Why a delivery waits or ended; null where there is nothing to say."""

    HELD = "held"
    WAITING_FOR_SETUP = "waiting_for_setup"
    EXHAUSTED = "exhausted"
    EXPIRED = "expired"
    REJECTED = "rejected"
    GONE = "gone"
    MISCONFIGURED = "misconfigured"
    EGRESS_BLOCKED = "egress_blocked"
    POISON = "poison"
    NOTIFIER_OFF = "notifier_off"
    NOTIFIER_REMOVED = "notifier_removed"
    APP_REMOVED = "app_removed"
    BY_USER = "by_user"


class AttemptOutcome(StrEnum):
    DELIVERED = "delivered"
    RETRY = "retry"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Reason(StrEnum):
    """Why an attempt did not deliver. A closed list: stored, shown, and a metric label."""

    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    RATE_LIMITED = "rate_limited"
    REJECTED = "rejected"
    GONE = "gone"
    TOO_LARGE = "too_large"
    SERVER_ERROR = "server_error"
    REDIRECTED = "redirected"
    BAD_RESPONSE = "bad_response"
    AUTH = "auth"
    MISCONFIGURED = "misconfigured"
    EGRESS_BLOCKED = "egress_blocked"
    CRASHED = "crashed"
    LEASE_LOST = "lease_lost"


class NotifierState(StrEnum):
    ACTIVE = "active"
    PAUSED = "paused"
    HOLDING = "holding"
    FAILING = "failing"
    DISABLED = "disabled"
    OFF = "off"


class Severity(StrEnum):
    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    ERROR = "error"


class User(msgspec.Struct, frozen=True, kw_only=True):
    """`language` and `time_zone` are for the pages that the user reads; None leaves them to the browser, and to UTC."""

    id: str
    username: str
    email: str
    fullname: str = ""
    is_admin: bool = False
    created_at: datetime
    language: str | None = None
    time_zone: str | None = None


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """An API token without its secret, of which only a hash is stored.

    It may be limited to `scopes`, to apps and to a time; None stands for no limit.
    """

    id: str
    user_id: str
    name: str
    created_at: datetime
    last_used_at: datetime | None = None
    scopes: tuple[str, ...] | None = None
    app_ids: tuple[str, ...] | None = None
    expires_at: datetime | None = None


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A browser in which a user is signed in, without its secret, of which only a hash is stored.

    `address` is where it was begun from, and `device` what the browser said of itself.
    """

    id: str
    user_id: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    address: str | None = None
    device: str = ""


class App(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    owner: User
    created_at: datetime
    updated_at: datetime


class Collaborator(msgspec.Struct, frozen=True, kw_only=True):
    """Someone with access to an app; `pending` until a user with this e-mail address exists."""

    id: str
    app_id: str
    email: str
    username: str
    user_id: str | None
    is_limited: bool = False
    created_at: datetime

    @property
    def status(self) -> str:
        return "accepted" if self.user_id else "pending"


class Notifier(msgspec.Struct, frozen=True, kw_only=True):
    """One configured destination of one app. `type_data` holds the platform's settings as declared by it.

    `rate_per_second` bounds the attempts, `retry_schedule` has the seconds before each, and `expires_after` the seconds
    until a delivery is given up; None of each means the platform's own. The rest tells of a notifier that fails: since
    when, with how many attempts, how often in a row it was stopped (`trip_count`), how many probes went well since,
    how many notices of it went out, and when it was last found to be well again.
    """

    id: str
    app_id: str
    name: str
    platform: str
    active: bool = True
    state: NotifierState = NotifierState.ACTIVE
    state_reason: str | None = None
    held_until: datetime | None = None
    send_all_alerts: bool = False
    send_all_events: bool = False
    selected_event_ids: tuple[str, ...] = ()
    type_data: dict[str, Any] = {}
    secret: str
    previous_secret: str | None = None
    previous_secret_until: datetime | None = None
    rate_per_second: float | None = None
    retry_schedule: tuple[float, ...] | None = None
    expires_after: int | None = None
    failing_since: datetime | None = None
    failed_count: int = 0
    trip_count: int = 0
    probe_count: int = 0
    told_count: int = 0
    recovered_at: datetime | None = None

    @property
    def takes_events(self) -> bool:
        """Whether deliveries are made: those of one that the system disabled wait, those of one that is off do not."""
        return self.active or self.state is NotifierState.DISABLED

    def previous_secret_at(self, at: datetime) -> str | None:
        """The secret before this one, as long as messages are signed with both."""
        until = self.previous_secret_until
        return None if until is None or at >= until else self.previous_secret

    created_at: datetime
    updated_at: datetime


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """A rule over a metric; durations in nanoseconds, `remind_every` 0 for never."""

    id: str
    app_id: str
    container_type: str
    metric: str
    limit: float
    disabled: bool = False
    send_when_below: bool = False
    duration_before_trigger: int = 0
    remind_every: int = 0
    notifiers: tuple[str, ...] = ()
    metadata: dict[str, Any] | None = None
    created_at: datetime
    updated_at: datetime


class EventUser(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    username: str = ""
    email: str = ""
    id: str = ""


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """What an app reported, once. `type_data` is always an object, passed on as it came."""

    id: str
    created_at: datetime
    user: EventUser
    app_id: str | None = None
    app_name: str | None = None
    type: str
    type_data: dict[str, Any]
    project_id: str | None = None
    project_name: str | None = None


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One event for one notifier: the unit of work and the row one looks at."""

    id: str
    app_id: str
    event_id: str
    event_type: str
    notifier_id: str
    notifier_name: str
    platform: str
    state: DeliveryState
    reason: DeliveryReason | None = None
    attempt_count: int = 0
    next_attempt_at: datetime | None = None
    created_at: datetime
    expires_at: datetime
    finished_at: datetime | None = None
    replay_of: str | None = None


class Attempt(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One try of a delivery; `response_body` holds the first 4 KiB as text."""

    number: int
    started_at: datetime
    duration_ms: int | None = None
    outcome: AttemptOutcome
    reason: Reason | None = None
    response_status: int | None = None
    response_body: str | None = None
    error: str | None = None


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a receiver asked for beside its verdict: to be left alone for a while, or for good."""

    wait_seconds: float | None = None
    disable: bool = False


class Field(msgspec.Struct, frozen=True):
    label: str
    value: str


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """An event in words, the same for every platform. Plain text throughout: each platform escapes for itself."""

    title: str
    text: str = ""
    severity: Severity
    fields: tuple[Field, ...] = ()
    link: str | None = None
    app_name: str | None = None
    event_id: str
    event_type: str
    created_at: datetime


class Request(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An HTTP request to send; header names in lower case, host and lengths are added by egress."""

    method: str = "POST"
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def __repr__(self) -> str:
        return f"Request({self.method}, {len(self.body)} bytes)"


class Response(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What came back: header names in lower case, the body cut at egress's cap."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """The first header of this lower-case name."""
        return next((value for key, value in self.headers if key == name), None)
