"""Whether the process lives, and whether it can do its work."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

router = APIRouter(tags=["Health"])


class Health(BaseModel):
    """`ok`, or `unavailable` with what stands in the way. `notes` tell what should be put right all the same."""

    status: str
    problems: dict[str, str] = {}
    notes: dict[str, str] = {}


@router.get("/livez", operation_id="check_alive", summary="Whether the process runs")
async def check_alive() -> Health:
    return Health(status="ok")


@router.get(
    "/readyz",
    operation_id="check_ready",
    summary="Whether it can store events: the database takes writes and its schema is current",
    response_model=Health,
    responses={503: {"model": Health, "description": "Not ready"}},
)
async def check_ready(request: Request) -> JSONResponse:
    problems = dict(await request.app.state.readiness())
    notes = dict(request.app.state.notes())
    found = Health(status="unavailable" if problems else "ok", problems=problems, notes=notes)
    return JSONResponse(found.model_dump(), 503 if problems else 200)
