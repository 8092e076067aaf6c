"""The hot endpoint: `POST /v1/apps/:app/events`, bare ASGI in front of the rest of the API.

The first stop of an event: authenticated, decoded, handed to `ingest`, answered with 201 once it is durable.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import msgspec
import structlog
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tocsin.access import Access, Principal, Right
from tocsin.api import cloudevents
from tocsin.api.answers import SAFE_HEADERS, read_request_id, tidy_path
from tocsin.api.callers import caller_in, told_of
from tocsin.api.instants import read_instant
from tocsin.api.listener import Answer
from tocsin.api.nesting import check_depth
from tocsin.api.problems import answer, crashed
from tocsin.errors import InvalidInput, Malformed, Overloaded, TocsinError, TooLarge
from tocsin.ingest import Draft, hash_request
from tocsin.limits import Allowance
from tocsin.metrics import Metrics
from tocsin.model import EventUser
from tocsin.proxies import Proxies
from tocsin.store.port import Accepted, IdempotencyKey
from tocsin.verbs import Verbs

MAX_REQUEST_BYTES = 2 * 1024 * 1024
MAX_KEY_LENGTH = 255

# Go clients send every field of a user that they do not name.
_NOBODY = EventUser()
_PREFIX, _SUFFIX = "/v1/apps/", "/events"
_PLACE = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<path>.*)`)?$", re.DOTALL)
_KINDS = {"str": "string", "int": "number", "float": "number", "bool": "boolean", "array": "list"}
_KIND = re.compile(rf"\b(?:{'|'.join(_KINDS)})\b")
_BYTE = re.compile(r"\(byte (\d+)\)")


def _lines(headers: Mapping[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()


_SAFE_LINES = _lines(SAFE_HEADERS)


class EventIn(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An event as it stands in a body."""

    type: str | msgspec.UnsetType = msgspec.UNSET
    type_data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    user: EventUser | None = None
    created_at: str | None = None


class _RequestIn(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    event: EventIn | msgspec.UnsetType = msgspec.UNSET
    events: list[EventIn] | msgspec.UnsetType = msgspec.UNSET


_DECODER = msgspec.json.Decoder(_RequestIn)


class EventsEndpoint:
    """Answers posted events itself and leaves everything else to the application behind it."""

    def __init__(self, behind: ASGIApp, *, verbs: Verbs, metrics: Metrics, proxies: Proxies | None = None) -> None:
        self._behind = behind
        self._verbs = verbs
        self._metrics = metrics
        self._proxies = proxies or Proxies()
        self._log = structlog.get_logger("tocsin.ingest").bind()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._behind(scope, receive, send)
            return
        path = tidy_path(scope["path"])
        ref = path[len(_PREFIX) : -len(_SUFFIX)]
        if not (path.startswith(_PREFIX) and path.endswith(_SUFFIX)) or "/" in ref or not ref:
            await self._behind(scope, receive, send)
            return
        headers = dict(scope["headers"])
        caller = caller_in(scope, self._proxies)
        status, lines, body = await self._handle(ref, headers, partial(_read, headers, receive), caller)
        pairs = [line.split(b": ", 1) for line in lines.splitlines()]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": body})

    def begin(self, ref: str, headers: Mapping[bytes, bytes], body: bytes, answer: Callable[[Answer], None]) -> bool:
        """Begin to accept events of a sender and an app that are remembered, and in which nothing is to be refused."""
        verbs = self._verbs
        spent: Allowance | None = None
        try:
            principal = verbs.tokens.known(_authorization(headers))
            access = None if principal is None else verbs.apps.known(principal, ref)
            if principal is None or access is None:
                return False
            _check_sender(principal, access)
            limit = b""
            if principal.allowance is not None:
                limit = principal.allowance.spend()
                spent = principal.allowance
            drafts, is_list = read_drafts(headers, body)
            told = _Told(read_request_id(headers.get(b"x-request-id")), limit)
            stored = partial(self._stored, answer, ref, told, is_list)
            verbs.ingest.begin(access.app, principal.user, drafts, _idempotency_key(headers, body), stored)
        except Exception:  # noqa: BLE001 - nothing came of it: `handle` meets the same and answers it
            if spent is not None:
                spent.give_back()
            return False
        return True

    def _stored(
        self, answer: Callable[[Answer], None], ref: str, told: "_Told", is_list: bool, result: Accepted | Exception
    ) -> None:
        try:
            if isinstance(result, Exception):
                answered = self._refused(result, ref, told)
            else:
                answered = self._accepted(result, told, is_list=is_list)
        except Exception as error:  # noqa: BLE001 - no bug is shown to a client
            answered = self._refused(error, ref, told)
        answer(answered)

    async def handle(self, ref: str, headers: Mapping[bytes, bytes], body: bytes, peer: str) -> Answer:
        """Answer a request whose body is there."""
        forwarded = headers.get(b"x-forwarded-for", b"").decode("latin-1")
        return await self._handle(ref, headers, body, self._proxies.caller(peer, forwarded))

    async def _handle(
        self, ref: str, headers: Mapping[bytes, bytes], body: bytes | Callable[[], Awaitable[bytes]], caller: str
    ) -> Answer:
        """A body that is still to be read is read once it is known that its sender may."""
        told = _Told(read_request_id(headers.get(b"x-request-id")), b"")
        try:
            principal = await self._verbs.tokens.authenticate(_authorization(headers), address=caller)
            if principal.allowance is not None:
                told = _Told(told.request, _lines(told_of(principal.allowance)))
                told = _Told(told.request, principal.allowance.spend())
            access = await self._verbs.apps.get_access(principal, ref)
            _check_sender(principal, access)
            if not isinstance(body, bytes):
                body = await body()
            drafts, is_list = read_drafts(headers, body)
            key = _idempotency_key(headers, body)
            accepted = await self._verbs.ingest.accept(access.app, principal.user, drafts, key)
            return self._accepted(accepted, told, is_list=is_list)
        except Exception as error:  # noqa: BLE001 - no bug is shown to a client
            return self._refused(error, ref, told)

    def _accepted(self, accepted: Accepted, told: "_Told", *, is_list: bool) -> Answer:
        count = len(accepted.bodies)
        if not accepted.is_replay:
            self._metrics.events.count += count
        self._log.debug("event.accepted", count=count, handed_over=len(accepted.claims), request_id=told.request)
        return _acceptance(accepted, told, is_list=is_list)

    def _refused(self, error: Exception, ref: str, told: "_Told") -> Answer:
        if isinstance(error, MemoryError):
            error = Overloaded()
        if isinstance(error, TocsinError):
            self._log.info("event.refused", app=ref, error=type(error).__name__, request_id=told.request)
            return _refusal(answer(error), told)
        self._log.error("event.crashed", app=ref, request_id=told.request, exc_info=error)
        return _refusal(crashed(), told)


def _check_sender(principal: Principal, access: Access) -> None:
    principal.require(Right.EVENTS_WRITE)
    access.require(Right.EVENTS_WRITE)


def _authorization(headers: Mapping[bytes, bytes]) -> str | None:
    authorization = headers.get(b"authorization")
    return None if authorization is None else authorization.decode("latin-1")


def read_drafts(headers: Mapping[bytes, bytes], body: bytes) -> tuple[list[Draft], bool]:
    """The events of a request, and whether it was a list. Raises Malformed or InvalidInput naming the field."""
    media = headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")
    try:
        body.decode()
        check_depth(body)
        if media == cloudevents.STRUCTURED:
            return [cloudevents.read_structured(body)], False
        if media == cloudevents.BATCH:
            return cloudevents.read_batch(body), True
        if cloudevents.is_binary(headers):
            return [cloudevents.read_binary(headers, body)], False
        return _read_native(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise refusal_of(error, body, root="event") from error


def _read_native(body: bytes) -> tuple[list[Draft], bool]:
    request = _DECODER.decode(body)
    if request.event is not msgspec.UNSET and request.events is not msgspec.UNSET:
        raise InvalidInput({"events": ["cannot stand beside event"]})
    if request.event is not msgspec.UNSET:
        return [draft_of(request.event, "")], False
    if request.events is msgspec.UNSET:
        raise InvalidInput({"event": ['is required: send {"event": {"type": "...", "type_data": {}}}']})
    return [draft_of(event, f"events[{position}].") for position, event in enumerate(request.events)], True


def draft_of(event: EventIn, where: str) -> Draft:
    """The event as `ingest` takes it; `where` stands before the fields that are named as wrong."""
    if event.type is msgspec.UNSET or event.type_data is msgspec.UNSET:
        missing = [name for name in ("type", "type_data") if getattr(event, name) is msgspec.UNSET]
        raise InvalidInput({where + name: ["is required"] for name in missing})
    return Draft(
        type=event.type,
        type_data=event.type_data,
        user=None if event.user == _NOBODY else event.user,
        created_at=read_instant(event.created_at, f"{where}created_at"),
        where=where,
    )


def _idempotency_key(headers: Mapping[bytes, bytes], body: bytes) -> IdempotencyKey | None:
    key = headers.get(b"idempotency-key")
    if key is None:
        return None
    if not 0 < len(key) <= MAX_KEY_LENGTH or any(not 0x21 <= byte <= 0x7E for byte in key):
        raise InvalidInput({"Idempotency-Key": [f"must be 1 to {MAX_KEY_LENGTH} visible ASCII characters"]})
    # A binary CloudEvent says half of what it says in headers.
    attributes = sorted(name + b":" + value for name, value in headers.items() if name.startswith(b"ce-"))
    return IdempotencyKey(f"key:{key.decode('ascii')}", hash_request(b"\n".join([body, *attributes])))


async def _read(headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > MAX_REQUEST_BYTES:
        raise TooLarge(f"the request is larger than {MAX_REQUEST_BYTES >> 20} MiB")
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Malformed("the request ended before its body did")
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > MAX_REQUEST_BYTES:
            raise TooLarge(f"the request is larger than {MAX_REQUEST_BYTES >> 20} MiB")
        if not message.get("more_body"):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def refusal_of(error: msgspec.DecodeError | UnicodeDecodeError, body: bytes, *, root: str) -> Malformed | InvalidInput:
    """What a client is told of a body that could not be read; fields are named by their place below the root key."""
    if isinstance(error, UnicodeDecodeError):
        return Malformed(f"the body is not UTF-8: byte {error.start} is wrong")
    return _invalid(error, root) if isinstance(error, msgspec.ValidationError) else _malformed(error, body)


def _malformed(error: msgspec.DecodeError, body: bytes) -> Malformed:
    found = _BYTE.search(str(error))
    if not body.strip():
        return Malformed("the body is empty: send a JSON object")
    position = min(int(found[1]) if found else len(body), len(body))
    line = body.count(b"\n", 0, position) + 1
    column = position - (body.rfind(b"\n", 0, position) + 1) + 1
    return Malformed(f"the body is not valid JSON: line {line}, column {column}")


def _invalid(error: msgspec.ValidationError, root: str) -> InvalidInput:
    match = _PLACE.match(str(error))
    path = (match["path"] if match else None) or "body"
    what = (match["what"] if match else str(error)).replace("`", "").replace(" | ", " or ")
    what = _KIND.sub(lambda found: _KINDS[found[0]], what)
    field = path.removeprefix(f"{root}.").replace("[...]", "[]")
    return InvalidInput({field: [what[:1].lower() + what[1:]]})


class _Told(msgspec.Struct, frozen=True, gc=False):
    """What an answer tells beside what came of the request: its id, and the lines about its token's limit."""

    request: str
    limit: bytes

    def lines(self) -> bytes:
        return b"x-request-id: %b\r\n%b%b" % (self.request.encode(), self.limit, _SAFE_LINES)


def _refusal(response: Response, told: _Told) -> Answer:
    lines = [b"%b: %b\r\n" % header for header in response.raw_headers]
    return response.status_code, b"".join((*lines, told.lines())), bytes(response.body)


def _acceptance(accepted: Accepted, told: _Told, *, is_list: bool) -> Answer:
    opening, closing = (b'{"events":[', b"]}") if is_list else (b'{"event":', b"}")
    body = b"".join((opening, b",".join(accepted.bodies), closing))
    lines = b"content-type: application/json\r\ncontent-length: %d\r\n%b" % (len(body), told.lines())
    return 201, lines + b"idempotent-replayed: true\r\n" if accepted.is_replay else lines, body
