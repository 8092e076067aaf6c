"""Futures for whoever waits for what is told by a call."""

import asyncio
from typing import TypeVar

T = TypeVar("T")


def fill(waiter: "asyncio.Future[T]", outcome: T | BaseException) -> None:
    """Give a future what was told, an error as what it raises; nothing when nobody waits any more."""
    if waiter.done():
        return
    if isinstance(outcome, BaseException):
        waiter.set_exception(outcome)
    else:
        waiter.set_result(outcome)
