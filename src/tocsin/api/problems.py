"""The one map from errors to HTTP answers: what existing clients can read, as protocol and status."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.routing import Match

from tocsin.api.bodies import invalid_input
from tocsin.errors import (
    Conflict,
    InvalidInput,
    Malformed,
    NoRoom,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    Overloaded,
    RequestError,
    StoreError,
    TocsinError,
    TooLarge,
    TooMany,
)

RETRY_AFTER_SECONDS = 1
ROOM_RETRY_AFTER_SECONDS = 5

STATUS_OF: Mapping[type[TocsinError], int] = {
    Malformed: 400,
    NotAuthenticated: 401,
    NotAllowed: 403,
    NotFound: 404,
    Conflict: 409,
    TooLarge: 413,
    InvalidInput: 422,
    TooMany: 429,
    RequestError: 400,
    Overloaded: 503,
    StoreError: 503,
}


class Problem(BaseModel):
    """What went wrong, in a sentence."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"error": "What went wrong, in a sentence."}]})

    error: str


class Missing(BaseModel):
    """The kind of resource that does not exist, or that you may not see."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"resource": "app", "error": "not found"}]})

    error: str
    resource: str | None = None


class Invalid(BaseModel):
    """For each field that is wrong, the reasons."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"errors": {"name": ["is required"]}}]})

    errors: dict[str, list[str]]


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that can give these problems; 401 and 503 stand for themselves where they apply."""
    models: dict[int, type[BaseModel]] = {404: Missing, 422: Invalid}
    return {
        status: {"model": models.get(status, Problem), "description": HTTPStatus(status).phrase} for status in statuses
    }


AS_USER = (401, 403, 429, 503)
"""What every route that needs a user can answer."""

IN_APP = (401, 403, 404, 429, 503)
"""What every route below an app can answer."""

WITH_BODY = (400, 413, 422)
"""What every route that reads a body can answer."""


def answer(error: TocsinError) -> JSONResponse:
    """The answer to a request that ended with this error."""
    status = next((STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF), 500)
    headers: dict[str, str] = {}
    body: dict[str, Any]
    match error:
        case InvalidInput():
            body = {"errors": error.fields}
        case NotFound():
            body = {"resource": error.resource, "error": "not found"}
        case NotAuthenticated():
            body = {"error": error.message}
            headers["www-authenticate"] = 'Bearer realm="Tocsin"'
        case TooMany():
            body = {"error": error.message}
            headers["retry-after"] = str(error.wait_seconds)
        case Overloaded():
            body = {"error": error.message}
            headers["retry-after"] = str(RETRY_AFTER_SECONDS)
        case NoRoom():
            body = {"error": error.message}
            headers["retry-after"] = str(ROOM_RETRY_AFTER_SECONDS)
        case StoreError():
            # What the database said is for the log; it may name files.
            body = {"error": "the database cannot answer now; try again in a moment"}
            headers["retry-after"] = str(RETRY_AFTER_SECONDS)
        case _:
            body = {"error": error.message if status < 500 else "something went wrong on the server"}
    return JSONResponse(body, status, headers)


def crashed() -> JSONResponse:
    """The answer to a request that met a bug: nothing of it is shown."""
    return JSONResponse({"error": "something went wrong on the server; its log tells more"}, 500)


def add_problems(app: FastAPI) -> None:
    """Answer every error of the routes in the clients' shape."""
    app.add_exception_handler(TocsinError, _answer_own)
    app.add_exception_handler(RequestValidationError, _answer_validation)
    app.add_exception_handler(HTTPException, answer_http)


async def _answer_own(_: Request, error: Exception) -> Response:
    return answer(cast("TocsinError", error))


async def _answer_validation(_: Request, error: Exception) -> Response:
    """Parameters of path and query; bodies are read by `bodies`."""
    found = cast("RequestValidationError", error).errors()
    return answer(invalid_input([item | {"loc": tuple(item["loc"])[1:]} for item in found]))


async def answer_http(request: Request, error: Exception) -> Response:
    """What the router itself says: an unknown path, or a method that the path does not have."""
    error = cast("HTTPException", error)
    if error.status_code == 404:
        text = f"there is nothing at {request.url.path}; /docs lists what there is"
    elif error.status_code == 405:
        allowed = ", ".join(allowed_methods(request))
        text = f"{request.url.path} does not take {request.method}, but {allowed}"
        return JSONResponse({"error": text}, 405, {"allow": allowed})
    else:
        text = str(error.detail)
    return JSONResponse({"error": text}, error.status_code, error.headers)


def allowed_methods(request: Request) -> list[str]:
    """The methods of every route of this path; the router itself names those of the first route only."""
    methods: set[str] = set()
    for route in request.app.state.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods
    return sorted(methods | {"HEAD"} if "GET" in methods else methods)
