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
        "user": {"$ref": "#/components/schemas/EventUserIn"},
        "created_at": {"type": "string", "format": "date-time", "description": "When it happened; now when absent."},
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


def _problem(description: str, schema: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": _ref(schema)}}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


EVENTS_SCHEMAS: dict[str, Any] = {
    "EventUserIn": _USER,
    "EventIn": _EVENT_IN,
    "CloudEvent": _CLOUD_EVENT,
    "OneEventIn": {
        "type": "object",
        "required": ["event"],
        "properties": {"event": _ref("EventIn") | {"description": "One event."}},
    },
    "ManyEventsIn": {
        "type": "object",
        "required": ["events"],
        "properties": {
            "events": {
                "type": "array",
                "description": "Several instead: all of them are stored, or none.",
                "minItems": 1,
                "maxItems": MAX_EVENTS,
                "items": _ref("EventIn"),
            },
        },
    },
    "ManyEventsAnswer": {
        "type": "object",
        "required": ["events"],
        "properties": {"events": {"type": "array", "items": _ref("EventOut")}},
    },
}
"""What the paths below refer to, beside the schemas of the other routes."""

EVENTS_PATHS: dict[str, Any] = {
    "/v1/apps/{app}/events": {
        "post": {
            "tags": ["Events"],
            "operationId": "add_events",
            "summary": "Report what happened to an app",
            "description": (
                "Answers 201 once the events are durable together with their deliveries, all or none. At most "
                f"{MAX_EVENTS} events and 2 MiB a request, 256 KiB an event. CloudEvents 1.0 are taken on the same "
                "path, structured, batched (`application/cloudevents-batch+json`) and binary (`ce-` headers), "
                "deduplicated by `source` and `id`."
            ),
            "security": [{"bearer": ["events:write"]}],
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
                    "application/json": {
                        "schema": {"anyOf": [_ref("OneEventIn"), _ref("ManyEventsIn")]},
                        "example": _EXAMPLE,
                    },
                    # The batch is described in words: generated clients fail at a body that is a bare list.
                    "application/cloudevents+json": {"schema": _ref("CloudEvent")},
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
                    "content": {
                        "application/json": {"schema": {"anyOf": [_ref("EventAnswer"), _ref("ManyEventsAnswer")]}}
                    },
                },
                "400": _problem("Not readable", "Problem"),
                "401": _problem("No valid token", "Problem"),
                "403": _problem("The token or the role does not carry this right", "Problem"),
                "404": _problem("No such app", "Missing"),
                "409": _problem("The idempotency key was used with another request", "Problem"),
                "413": _problem("Too large", "Problem"),
                "422": _problem("Fields are wrong", "Invalid"),
                "429": _problem("Too many requests with this token", "Problem"),
                "503": _problem("The database cannot answer now", "Problem"),
            },
        }
    }
}
