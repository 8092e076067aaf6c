"""The ingest endpoint as the OpenAPI document describes it: it stands in front of the framework, which can't."""

from typing import Any

from tocsin.ingest import MAX_EVENTS

_USER = {
    "type": "object",
    "description": "Who did it; the token's user when absent.",
    "properties": {"username": {"type": "string"}, "email": {"type": "string"}, "id": {"type": "string"}},
}

_EVENT_IN: dict[str, Any] = {
    "type": "object",
    "required": ["type", "type_data"],
    "properties": {
        "type": {"type": "string", "minLength": 1, "maxLength": 255, "example": "deployment"},
        "type_data": {"type": "object", "description": "Passed on as it came.", "additionalProperties": True},
        "user": _USER,
        "created_at": {"type": "string", "format": "date-time", "description": "When it happened; now when absent."},
    },
}

_EVENT_OUT: dict[str, Any] = {
    "type": "object",
    "required": ["id", "created_at", "user", "app_id", "app_name", "type", "type_data"],
    "properties": {
        "id": {"type": "string"},
        "created_at": {"type": "string", "format": "date-time"},
        "user": _USER,
        "app_id": {"type": "string"},
        "app_name": {"type": "string"},
        "type": {"type": "string"},
        "type_data": {"type": "object", "additionalProperties": True},
    },
}

_EXAMPLE = {
    "event": {
        "type": "deployment",
        "type_data": {
            "deployment_id": "5343eccd646aa3012a140230",
            "pusher": "johndoe",
            "git_ref": "0123456789abcdef",
            "status": "success",
            "duration": 40,
        },
    }
}

_CLOUD_EVENT: dict[str, Any] = {
    "type": "object",
    "required": ["specversion", "id", "source", "type"],
    "properties": {
        "specversion": {"type": "string", "enum": ["1.0"]},
        "id": {"type": "string", "minLength": 1},
        "source": {"type": "string", "minLength": 1},
        "type": {"type": "string", "minLength": 1, "maxLength": 255},
        "time": {"type": "string", "format": "date-time"},
        "datacontenttype": {"type": "string", "enum": ["application/json"]},
        "data": {"type": "object", "additionalProperties": True},
    },
}


def _problem(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


_ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
_MISSING = {
    "type": "object",
    "required": ["error"],
    "properties": {"resource": {"type": "string"}, "error": {"type": "string"}},
}
_INVALID = {
    "type": "object",
    "required": ["errors"],
    "properties": {
        "errors": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}}
    },
}

_ONE_OR_MANY = {
    "anyOf": [
        {"type": "object", "required": ["event"], "properties": {"event": _EVENT_IN}},
        {
            "type": "object",
            "required": ["events"],
            "properties": {"events": {"type": "array", "minItems": 1, "maxItems": MAX_EVENTS, "items": _EVENT_IN}},
        },
    ]
}

_ACCEPTED = {
    "anyOf": [
        {"type": "object", "required": ["event"], "properties": {"event": _EVENT_OUT}},
        {"type": "object", "required": ["events"], "properties": {"events": {"type": "array", "items": _EVENT_OUT}}},
    ]
}

EVENTS_PATHS: dict[str, Any] = {
    "/v1/apps/{app}/events": {
        "post": {
            "tags": ["events"],
            "operationId": "add_events",
            "summary": "Report what happened to an app",
            "description": (
                "Answers 201 once the events are durable together with their deliveries, all or none. At most "
                f"{MAX_EVENTS} events and 2 MiB a request, 256 KiB an event. CloudEvents 1.0 are taken on the same "
                "path, structured, batched and binary (`ce-` headers), deduplicated by `source` and `id`."
            ),
            "security": [{"bearer": []}],
            "parameters": [
                {
                    "name": "app",
                    "in": "path",
                    "required": True,
                    "description": "The app's id or its name.",
                    "schema": {"type": "string"},
                },
                {
                    "name": "Idempotency-Key",
                    "in": "header",
                    "required": False,
                    "description": "For 24 hours a repeated request with this key gets the first one's answer.",
                    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
                },
            ],
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {"schema": _ONE_OR_MANY, "example": _EXAMPLE},
                    "application/cloudevents+json": {"schema": _CLOUD_EVENT},
                    "application/cloudevents-batch+json": {
                        "schema": {"type": "array", "minItems": 1, "items": _CLOUD_EVENT}
                    },
                },
            },
            "responses": {
                "201": {
                    "description": "Stored",
                    "headers": {
                        "Idempotent-Replayed": {
                            "description": "`true` when this is the answer to an earlier request with the same key.",
                            "schema": {"type": "string"},
                        }
                    },
                    "content": {"application/json": {"schema": _ACCEPTED}},
                },
                "400": _problem("Not readable", _ERROR),
                "401": _problem("No valid token", _ERROR),
                "404": _problem("No such app", _MISSING),
                "409": _problem("The idempotency key was used with another request", _ERROR),
                "413": _problem("Too large", _ERROR),
                "422": _problem("Fields are wrong", _INVALID),
                "503": _problem("The database cannot answer now", _ERROR),
            },
        }
    }
}
