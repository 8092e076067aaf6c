"""Getting a command to the database: through the process that has it open, or by opening it here and now."""

import asyncio
import os
import time

import msgspec

from tocsin.cli.deferred import sqlite, wiring
from tocsin.control import PATIENCE_SECONDS, ask, socket_path
from tocsin.logs import configure_logs
from tocsin.operator import Command, Migrate, Operator, read_reply
from tocsin.settings import DEFAULT_PORT, Settings, origin, read_settings

PAUSE_SECONDS = 0.1
DEFAULT_HOST = "127.0.0.1"


def operate(command: Command) -> str:
    """Carry a command out and give what it prints. Raises TocsinError with a sentence."""
    settings = read_settings(os.environ)
    configure_logs(log_format=settings.log_format, log_level="warning")
    return asyncio.run(_operate(settings, command))


async def _operate(settings: Settings, command: Command) -> str:
    if not settings.is_on_sqlite:
        return await _open_and_operate(settings, command)
    question = msgspec.json.encode(command)
    path = socket_path(settings.database_url.removeprefix("sqlite:///"))
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while True:
        reply = await ask(path, question)
        if reply is not None:
            return read_reply(reply)
        try:
            return await _open_and_operate(settings, command)
        except sqlite.DatabaseInUse:
            # A server that is just starting or stopping, or another command: it is over in a moment.
            if time.monotonic() > give_up_at:
                raise
        await asyncio.sleep(PAUSE_SECONDS)


async def _open_and_operate(settings: Settings, command: Command) -> str:
    public_url = settings.public_url or origin(DEFAULT_HOST, DEFAULT_PORT)
    running = await wiring.build(settings, public_url=public_url, is_migrating=isinstance(command, Migrate))
    try:
        return await Operator(running.verbs, public_url=public_url).carry_out(command)
    finally:
        await running.close()
