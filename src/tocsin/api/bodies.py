"""Reading JSON bodies as existing clients send them: wrapped or bare, with zero values for what is not given."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import pydantic_core
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from starlette.requests import Request

from tocsin.api.nesting import check_depth
from tocsin.errors import InvalidInput, Malformed, TooLarge

MAX_BODY_BYTES = 2 * 1024 * 1024
GO_ZERO_DATE = "0001-01-01T00:00:00Z"

_SENTENCES = {
    "missing": "is required",
    "string_type": "must be a string",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "is too large a number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
}


class Sent(BaseModel):
    """Base of what clients send: unknown fields are ignored; null, an empty text, Go's zero date mean 'not given'."""

    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_zero_values(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {name: value for name, value in data.items() if value not in (None, "", GO_ZERO_DATE)}


M = TypeVar("M", bound=BaseModel)


async def read_body(request: Request, model: type[M], root: str | None) -> M:
    """The body as `model`: below `root` (`{"notifier": {...}}`), its plural, or bare; no body is an empty object.

    With `root` None the model describes the whole body. Raises Malformed, TooLarge, InvalidInput.
    """
    data = unwrap(parse_object(await read_bytes(request)), root)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise invalid_input(error.errors(include_url=False)) from None


async def read_bytes(request: Request, max_bytes: int = MAX_BODY_BYTES) -> bytes:
    """The whole body; refused while it comes in, as soon as it is too long."""
    size = 0
    parts: list[bytes] = []
    async for part in request.stream():
        size += len(part)
        if size > max_bytes:
            raise TooLarge(f"the body is larger than {max_bytes // 1024} KiB")
        parts.append(part)
    return b"".join(parts)


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a body, whatever its content type says; none is an empty one."""
    if not body.strip():
        return {}
    check_depth(body)
    try:
        # Refuses lone surrogates too, which neither database nor clients could take.
        data = pydantic_core.from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise Malformed(f"the body is not valid JSON: {error}") from None
    if not isinstance(data, dict):
        raise Malformed('the body must be a JSON object, such as {"name": "..."}')
    _refuse_nul(data, "")
    return data


def unwrap(data: dict[str, Any], root: str | None) -> dict[str, Any]:
    """What stands below the root key or its plural, else the object itself."""
    if root is None:
        return data
    for key in (root, f"{root}s"):
        if isinstance(data.get(key), dict):
            inner: dict[str, Any] = data[key]
            return inner
    if root in data:
        raise InvalidInput({root: ["must be an object"]})
    return data


def _refuse_nul(value: Any, where: str) -> None:
    """PostgreSQL stores no NUL in text, and no client means it."""
    match value:
        case str():
            if "\0" in value:
                raise InvalidInput({where: ["must not hold NUL characters"]})
        case dict():
            for key, inner in value.items():
                _refuse_nul(key, where)
                _refuse_nul(inner, f"{where}.{key}" if where else key)
        case list():
            for position, inner in enumerate(value):
                _refuse_nul(inner, f"{where}[{position}]")


def invalid_input(errors: Iterable[Mapping[str, Any]]) -> InvalidInput:
    """What pydantic found, as fields (`emails[1]`, `type_data.webhook_url`) and reasons."""
    fields: dict[str, list[str]] = {}
    for error in errors:
        reasons = fields.setdefault(_field(error["loc"]), [])
        reason = _reason(error)
        if reason not in reasons:
            reasons.append(reason)
    return InvalidInput(fields)


def _field(location: Iterable[str | int]) -> str:
    text = ""
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text or "body"


def _reason(error: Mapping[str, Any]) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind in _SENTENCES:
        return _SENTENCES[kind]
    if kind == "value_error":
        return str(context["error"])
    text = str(error["msg"]).removeprefix("Input ").removeprefix("String ").removeprefix("Value ")
    return f"{text[:1].lower()}{text[1:]}".replace("should", "must", 1)


def described_body(
    model: type[BaseModel], root: str | None, *, required: bool = True, example: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The `openapi_extra` of a route that reads this body; `example` is what stands below the root key."""
    schema = _inlined(model.model_json_schema())
    schema["title"] = model.__name__
    content: dict[str, Any] = {"schema": schema if root is None else _wrapped(model, schema, root)}
    if example is not None:
        content["example"] = example if root is None else {root: example}
    return {"requestBody": {"required": required, "content": {"application/json": content}}}


def _wrapped(model: type[BaseModel], schema: dict[str, Any], root: str) -> dict[str, Any]:
    return {"title": f"{model.__name__}Body", "type": "object", "required": [root], "properties": {root: schema}}


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """A JSON schema with its `$defs` put where they are referred to."""
    definitions = schema.pop("$defs", {})

    def resolve(node: Any) -> Any:
        if isinstance(node, list):
            return [resolve(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return resolve(definitions[node["$ref"].rpartition("/")[2]])
        return {key: resolve(value) for key, value in node.items()}

    resolved: dict[str, Any] = resolve(schema)
    return resolved
