"""The API's description, as an OpenAPI document and in parts for a page that is drawn from it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse

router = APIRouter(include_in_schema=False)

METHODS = ("get", "post", "put", "patch", "delete")
DESCRIPTION = (
    "Tocsin speaks the notifications API that clients of the Scalingo platform know, and some more. "
    "Send an API token as `Authorization: Bearer TOKEN`. Errors are JSON: `error` says in a sentence what is wrong, "
    "and a 422 lists under `errors` the reasons for each field."
)
BASIC = {
    "type": "http",
    "scheme": "basic",
    "description": "An empty username with an API token as password; to make a token, username and password.",
}
WITHOUT_TOKEN = {"401", "503"}
"""Statuses that may be answered before it is known who asks."""

LIMIT_HEADERS = {
    "RateLimit-Policy": {
        "description": "The limit of the token: `q` requests in `w` seconds. Absent when there is none.",
        "schema": {"type": "string"},
        "example": '"token";q=600;w=60',
    },
    "RateLimit": {
        "description": "What is left of it: `r` requests, all of them again in `t` seconds.",
        "schema": {"type": "string"},
        "example": '"token";r=599;t=1',
    },
}
RETRY_AFTER = {
    "Retry-After": {"description": "Seconds to wait before trying again.", "schema": {"type": "string"}, "example": "1"}
}


@router.get("/openapi.json")
async def get_description(request: Request) -> JSONResponse:
    return JSONResponse(request.app.state.describe())


def describe(app: FastAPI, extra_paths: Mapping[str, Any], extra_schemas: Mapping[str, Any]) -> dict[str, Any]:
    """The OpenAPI document of everything below /v1, health included; `extra_paths` add operations."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=DESCRIPTION,
        routes=app.routes,
        servers=[{"url": app.state.site.public_url}],
        separate_input_output_schemas=False,
    )
    for path, item in extra_paths.items():
        document["paths"].setdefault(path, {}).update(item)
    components = document["components"]
    components["securitySchemes"]["basic"] = BASIC
    components["schemas"].update(extra_schemas)
    for name in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(name, None)
    for operation in _operations(document):
        _state_rights(operation)
        _state_limits(operation)
        # FastAPI's own description of a wrong parameter; ours has another shape.
        refused = operation["responses"].get("422")
        if refused is not None and "HTTPValidationError" in str(refused):
            refused["content"]["application/json"]["schema"] = {"$ref": "#/components/schemas/Invalid"}
        for status, answer in operation["responses"].items():
            if answer["description"] == "Successful Response":
                answer["description"] = HTTPStatus(int(status)).phrase
    return document


def _state_rights(operation: dict[str, Any]) -> None:
    """Each dependency that wants to know who asks is listed apart: one entry with all rights says the same."""
    if operation.get("security") and all(list(each) == ["bearer"] for each in operation["security"]):
        rights = {right for each in operation["security"] for right in each["bearer"]}
        operation["security"] = [{"bearer": sorted(rights)}]


def _state_limits(operation: dict[str, Any]) -> None:
    """The headers by which a client knows how much it may still ask, and when to come again."""
    for status, answer in operation["responses"].items():
        headers = dict(answer.get("headers", {}))
        if operation.get("security") and status not in WITHOUT_TOKEN:
            headers |= LIMIT_HEADERS
        if status in {"429", "503"}:
            headers |= RETRY_AFTER
        if headers:
            answer["headers"] = headers


def _operations(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for item in document["paths"].values():
        yield from (item[method] for method in METHODS if method in item)


@dataclass(frozen=True)
class Field:
    name: str
    type: str
    is_required: bool
    description: str


@dataclass(frozen=True)
class Schema:
    name: str
    description: str
    fields: list[Field]


@dataclass(frozen=True)
class Answer:
    """One status that an operation can answer; `is_named` where its body's schema stands under Schemas."""

    status: str
    phrase: str
    schema: str
    is_named: bool


@dataclass(frozen=True, kw_only=True)
class Operation:
    """`rights` are those that it takes: scopes of a token, or `account` for a token that is not limited."""

    id: str
    method: str
    path: str
    summary: str
    description: str
    rights: list[str]
    parameters: list[Field]
    body: list[Field]
    answers: list[Answer]
    curl: str


@dataclass(frozen=True)
class Group:
    name: str
    operations: list[Operation] = field(default_factory=list)


def list_schemas(document: Mapping[str, Any]) -> list[Schema]:
    """What bodies are made of, by name."""
    return [
        Schema(name, str(schema.get("description", "")), list(_fields(schema)))
        for name, schema in sorted(document["components"]["schemas"].items())
    ]


def group_operations(document: Mapping[str, Any], public_url: str) -> list[Group]:
    """The operations by tag, in the order in which they stand in the document."""
    groups: dict[str, Group] = {}
    schemas = document["components"]["schemas"]
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                name = (item[method].get("tags") or ["More"])[0]
                group = groups.setdefault(name, Group(name))
                group.operations.append(_operation(path, method, item[method], schemas, public_url))
    return list(groups.values())


def _operation(
    path: str, method: str, described: Mapping[str, Any], schemas: Mapping[str, Any], public_url: str
) -> Operation:
    body = _json_of(described.get("requestBody", {}))
    return Operation(
        id=described["operationId"],
        method=method.upper(),
        path=path,
        summary=described.get("summary", ""),
        description=described.get("description", ""),
        rights=[right for each in described.get("security", ()) for right in each.get("bearer", ())],
        parameters=[_parameter(parameter) for parameter in described.get("parameters", ())],
        body=list(_body_fields(body.get("schema", {}), schemas)),
        answers=[_answer(status, answer) for status, answer in sorted(described["responses"].items())],
        curl=_curl(path, method, described, public_url),
    )


def _json_of(content_owner: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = content_owner.get("content", {}).get("application/json", {})
    return found


def _parameter(parameter: Mapping[str, Any]) -> Field:
    return Field(
        name=parameter["name"],
        type=f"{type_of(parameter.get('schema', {}))}, in {parameter['in']}",
        is_required=bool(parameter.get("required")),
        description=parameter.get("description", ""),
    )


def _answer(status: str, answer: Mapping[str, Any]) -> Answer:
    schema = _json_of(answer).get("schema", {})
    return Answer(status, answer["description"], type_of(schema), "$ref" in schema)


def _body_fields(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[Field]:
    """The fields of a body, or of each of those that may be sent, none of which is required then."""
    for option in schema.get("anyOf", ()):
        named = schemas[type_of(option)] if "$ref" in option else option
        yield from (replace(each, is_required=False) for each in _fields(named))
    yield from _fields(schema)


def _fields(schema: Mapping[str, Any], prefix: str = "") -> Iterator[Field]:
    """The fields of an object, those of objects inside it as `outer.inner`."""
    required = schema.get("required", ())
    for name, described in schema.get("properties", {}).items():
        yield Field(prefix + name, type_of(described), name in required, described.get("description", ""))
        yield from _fields(described, f"{prefix}{name}.")


def type_of(schema: Mapping[str, Any]) -> str:
    """A JSON schema's type in words: `string`, `list of Notifier`, `integer or null`."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(type_of(option) for option in schema[key]))
    if "enum" in schema:
        return " or ".join(msgspec.json.encode(value).decode() for value in schema["enum"])
    if schema.get("type") == "array":
        inner = type_of(schema.get("items", {}))
        return f"list of {inner}" if inner else "list"
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {type_of(schema['additionalProperties']) or 'anything'}"
    kinds = schema.get("type", "")
    return " or ".join(kinds) if isinstance(kinds, list) else str(kinds)


def _curl(path: str, method: str, described: Mapping[str, Any], public_url: str) -> str:
    """A command that makes the request, with a token from the environment."""
    lines = ["curl" if method == "get" else f"curl -X {method.upper()}"]
    schemes = [name for requirement in described.get("security", ()) for name in requirement]
    if "bearer" in schemes:
        lines.append('-H "Authorization: Bearer $TOKEN"')
    elif "basic" in schemes:
        lines.append('-u ":$TOKEN"')
    body = _json_of(described.get("requestBody", {}))
    example = body.get("example")
    if example is None:
        example = next(iter(body.get("schema", {}).get("examples", ())), None)
    if example is not None:
        lines.append("-H 'Content-Type: application/json'")
        quoted = msgspec.json.encode(example).decode().replace("'", "'\\''")
        lines.append(f"-d '{quoted}'")
    lines.append(public_url + path.replace("{app}", "my-app").replace("{", "").replace("}", "").replace(" ", ""))
    return " \\\n  ".join(lines)
