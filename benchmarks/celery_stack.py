"""What a user would write to scale: FastAPI, Celery, Redis and requests, with events and deliveries in PostgreSQL.

`uvicorn benchmarks.celery_stack:app` and `celery -A benchmarks.celery_stack:celery worker`, with DATABASE, REDIS and
RECEIVERS in the environment.
"""

import hashlib
import hmac
import json
import os
import uuid
from datetime import UTC, datetime
from functools import cache
from typing import Any

import requests
from celery import Celery
from fastapi import FastAPI
from psycopg_pool import ConnectionPool
from pydantic import BaseModel

SECRET = bytes(range(32))


class Reported(BaseModel):
    type: str
    type_data: dict[str, Any]


class Report(BaseModel):
    event: Reported


celery = Celery("bench", broker=os.environ.get("REDIS"))
celery.conf.update(task_ignore_result=True, task_acks_late=True)


@cache
def pool() -> ConnectionPool:
    """The process's own pool, opened at first use: that is after Celery has forked."""
    return ConnectionPool(os.environ["DATABASE"], min_size=1, max_size=10, open=True)


app = FastAPI()


@app.get("/readyz")
def ready() -> dict[str, str]:
    return {}


@app.post("/v1/apps/{name}/events", status_code=201)
def report(name: str, report: Report) -> dict[str, Any]:
    event = {
        "id": uuid.uuid4().hex,
        "app_name": name,
        "type": report.event.type,
        "created_at": datetime.now(UTC).isoformat(),
        "type_data": report.event.type_data,
    }
    body = json.dumps(event)
    kind, _, number = name.partition("-")
    delivery_id = uuid.uuid4().hex
    url = os.environ["RECEIVERS"].format(number=number, last=int(number) + 2)
    with pool().connection() as connection:
        connection.execute(
            "INSERT INTO events VALUES (%s, %s, %s, %s, %s)",
            (event["id"], name, event["type"], body, event["created_at"]),
        )
        if kind == "bench":
            connection.execute(
                "INSERT INTO deliveries VALUES (%s, %s, %s, 'pending', 0, NULL)", (delivery_id, event["id"], url)
            )
    if kind == "bench":
        deliver.delay(delivery_id, url, body)
    return {"event": event}


def send(task: Any, delivery_id: str, url: str, body: str) -> None:
    signature = hmac.new(SECRET, body.encode(), hashlib.sha256).hexdigest()
    headers = {"Content-Type": "application/json", "Webhook-Signature": signature}
    requests.post(url, data=body.encode(), headers=headers, timeout=15).raise_for_status()
    with pool().connection() as connection:
        connection.execute(
            "UPDATE deliveries SET state = 'delivered', attempt_count = %s, finished_at = now() WHERE id = %s",
            (task.request.retries + 1, delivery_id),
        )


deliver = celery.task(bind=True, autoretry_for=(requests.RequestException,), retry_backoff=True, max_retries=5)(send)
