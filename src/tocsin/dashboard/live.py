"""Pages that keep up: a browser that listens is told, by server-sent events, when what its page shows has changed.

What changed is not told: the browser fetches the page again. So a stream says nothing that its reader may not see.
"""

import asyncio
import contextlib
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Annotated, Any

import msgspec
from fastapi import Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from tocsin.access import Principal, Right
from tocsin.dashboard.visit import Visit
from tocsin.errors import NotAuthenticated, NotFound, Overloaded, TocsinError, TooMany
from tocsin.model import App, User
from tocsin.verbs import Verbs

MAX_OF_USER = 12
MAX_STREAMS = 200
"""How many listen at once: of one user, and to one process."""

PACE_SECONDS = 1.0
LIFETIME_SECONDS = 15 * 60.0
HEARTBEAT_SECONDS = 15.0
RETRY_MILLISECONDS = 3000

SHARE = 0.1
LONGEST_PACE_SECONDS = 10.0
"""How much of its time a stream may spend looking: one that takes long to look does so less often."""

Look = Callable[[], Awaitable[str]]
"""Gives a digest of what a page shows."""

May = Callable[[User], Awaitable[bool]]
"""Whether somebody may still see that page."""


def digest_of(shown: Any) -> str:
    """The same for the same, and short enough for an address."""
    return hashlib.sha256(msgspec.json.encode(shown)).hexdigest()[:16]


def may_read(verbs: Verbs, app: App, right: Right) -> May:
    """Whether somebody has that right on an app."""

    async def may(user: User) -> bool:
        try:
            access = await verbs.apps.get_access(Principal(user, None), app.id)
        except NotFound:
            return False
        return access.may(right)

    return may


class Streams:
    """Everybody who listens to this process."""

    def __init__(
        self,
        *,
        pace_seconds: float = PACE_SECONDS,
        lifetime_seconds: float = LIFETIME_SECONDS,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._pace_seconds = pace_seconds
        self._lifetime_seconds = lifetime_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._of_users: Counter[str] = Counter()
        self._is_closed = asyncio.Event()

    @property
    def count(self) -> int:
        return self._of_users.total()

    def close(self) -> None:
        """End every stream, and each that comes: the process stops."""
        self._is_closed.set()

    def follow(self, visit: Visit, look: Look, may: May, *, seen: str) -> Response:
        """A stream for whoever is signed in, for as long as they are and may see the page.

        `seen` is the digest of what their browser shows. Raises TooMany, Overloaded.
        """
        if visit.signed_in is None:
            raise NotAuthenticated
        user_id = visit.signed_in.user.id
        if self._of_users[user_id] >= MAX_OF_USER:
            raise TooMany("too many of your pages are kept up to date", self._pace_seconds)
        if self.count >= MAX_STREAMS:
            raise Overloaded("too many pages are kept up to date; try again in a moment")
        self._of_users[user_id] += 1
        return _Stream(self._tell(visit, look, may, seen), partial(self._leave, user_id))

    def _leave(self, user_id: str) -> None:
        self._of_users[user_id] -= 1
        if not self._of_users[user_id]:
            del self._of_users[user_id]

    async def _tell(self, visit: Visit, look: Look, may: May, seen: str) -> AsyncIterator[str]:
        loop = asyncio.get_running_loop()
        began_at = told_at = loop.time()
        yield f"retry: {RETRY_MILLISECONDS}\n\n"
        while not self._is_closed.is_set() and loop.time() - began_at < self._lifetime_seconds:
            looked_at = loop.time()
            digest = await _look(visit, look, may)
            if digest is None:
                return
            if digest != seen:
                yield f"event: changed\nid: {digest}\ndata: {digest}\n\n"
            elif looked_at - told_at >= self._heartbeat_seconds:
                yield ": nothing new\n\n"
            if digest != seen or looked_at - told_at >= self._heartbeat_seconds:
                seen, told_at = digest, looked_at
            spent = loop.time() - looked_at
            await self._rest(max(self._pace_seconds, min(spent / SHARE, LONGEST_PACE_SECONDS)))

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._is_closed.wait(), seconds)


async def _look(visit: Visit, look: Look, may: May) -> str | None:
    """None when there is nothing to look at any more; the browser asks again, and is told why."""
    try:
        user = await visit.still_signed_in()
        return await look() if user is not None and await may(user) else None
    except TocsinError:
        return None


class _Stream(StreamingResponse):
    """Counted until it is over, however it ends."""

    def __init__(self, told: AsyncIterator[str], leave: Callable[[], None]) -> None:
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        super().__init__(told, media_type="text/event-stream", headers=headers)
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._leave()


async def get_streams(request: Request) -> Streams:
    streams: Streams = request.app.state.streams
    return streams


async def get_seen(request: Request, seen: Annotated[str, Query(max_length=100)] = "") -> str:
    """The digest of what a browser shows: of its page, or what a stream before this one told last."""
    return request.headers.get("last-event-id") or seen


StreamsOf = Annotated[Streams, Depends(get_streams)]
SeenOf = Annotated[str, Depends(get_seen)]
