"""What a user would write first: FastAPI's background tasks, httpx, and SQLite with a commit a row.

`uvicorn benchmarks.background_tasks:app`, with DATABASE and RECEIVERS in the environment.
"""

import asyncio
import hashlib
import hmac
import json
import os
import sqlite3
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
from fastapi import BackgroundTasks, FastAPI, Request
from pydantic import BaseModel

SECRET = bytes(range(32))
TRIES = 5
SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE events (id TEXT PRIMARY KEY, app TEXT, type TEXT, body TEXT, created_at TEXT);
CREATE TABLE deliveries (
  id TEXT PRIMARY KEY, event_id TEXT, url TEXT, state TEXT, attempt_count INTEGER, finished_at TEXT
);
"""


class Reported(BaseModel):
    type: str
    type_data: dict[str, Any]


class Report(BaseModel):
    event: Reported


@asynccontextmanager
async def opened(app: FastAPI) -> AsyncIterator[None]:
    app.state.database = sqlite3.connect(os.environ["DATABASE"])
    app.state.database.executescript(SCHEMA)
    async with httpx.AsyncClient(timeout=15) as app.state.client:
        yield
    app.state.database.close()


app = FastAPI(lifespan=opened)


@app.get("/readyz")
async def ready() -> dict[str, str]:
    return {}


@app.post("/v1/apps/{name}/events", status_code=201)
async def report(name: str, report: Report, request: Request, tasks: BackgroundTasks) -> dict[str, Any]:
    database: sqlite3.Connection = request.app.state.database
    event = {
        "id": uuid.uuid4().hex,
        "app_name": name,
        "type": report.event.type,
        "created_at": datetime.now(UTC).isoformat(),
        "type_data": report.event.type_data,
    }
    body = json.dumps(event)
    database.execute(
        "INSERT INTO events VALUES (?, ?, ?, ?, ?)", (event["id"], name, event["type"], body, event["created_at"])
    )
    database.commit()
    kind, _, number = name.partition("-")
    if kind == "bench":
        delivery_id = uuid.uuid4().hex
        url = os.environ["RECEIVERS"].format(number=number, last=int(number) + 2)
        database.execute("INSERT INTO deliveries VALUES (?, ?, ?, 'pending', 0, NULL)", (delivery_id, event["id"], url))
        database.commit()
        tasks.add_task(deliver, request.app, delivery_id, url, body.encode())
    return {"event": event}


async def deliver(app: FastAPI, delivery_id: str, url: str, body: bytes) -> None:
    signature = hmac.new(SECRET, body, hashlib.sha256).hexdigest()
    headers = {"Content-Type": "application/json", "Webhook-Signature": signature}
    for attempt in range(1, TRIES + 1):
        try:
            answer = await app.state.client.post(url, content=body, headers=headers)
            answer.raise_for_status()
        except httpx.HTTPError:
            await asyncio.sleep(2**attempt)
        else:
            return settle(app.state.database, delivery_id, "delivered", attempt)
    return settle(app.state.database, delivery_id, "dead", TRIES)


def settle(database: sqlite3.Connection, delivery_id: str, state: str, attempts: int) -> None:
    database.execute(
        "UPDATE deliveries SET state = ?, attempt_count = ?, finished_at = ? WHERE id = ?",
        (state, attempts, datetime.now(UTC).isoformat(), delivery_id),
    )
    database.commit()
