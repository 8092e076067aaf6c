"""The request examples of the notifications API's document, sent byte for byte as it prints them for curl.

The document is restated here as data. Its host, token and the placeholders in its paths are the only things replaced.
"""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPConnection
from typing import Any

import pytest

from tests.line import receiving
from tests.processes import Installation

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("seed-document")]

JSON_BOTH_WAYS = ("Accept: application/json", "Content-Type: application/json")
AUTHORIZATION = "Authorization: Bearer $BEARER_TOKEN"

LIST_PLATFORMS = ("GET", "/v1/notification_platforms", JSON_BOTH_WAYS, None)
LIST_NOTIFIERS = ("GET", "/v1/apps/example-app/notifiers", (*JSON_BOTH_WAYS, AUTHORIZATION), None)
ADD_NOTIFIER = (
    "POST",
    "/v1/apps/[:app]/notifiers",
    (*JSON_BOTH_WAYS, AUTHORIZATION),
    (
        '{"notifiers":{"platform_id": "5982f145d48c3600273ef08a", "active": true, "name": "My Custom Webhook", '
        '"type_data": {"webhook_url": "https://myapp.fr/webhook/scalingo"}}}'
    ),
)
UPDATE_NOTIFIER = (
    "PATCH",
    "/v1/apps/[:app]/notifiers/[:notifier_id]",
    (*JSON_BOTH_WAYS, AUTHORIZATION),
    '{"notifier": {"type_data": { "webhook_url": "https://myendpoint.com" }, active: "false"}}}',
)
TEST_NOTIFIER = ("POST", "/v1/apps/[:app]/notifiers/[:notifier_id]/test", (AUTHORIZATION,), None)
REMOVE_NOTIFIER = (
    "DELETE",
    "/v1/apps/[:app]/notifiers/[:notifier_id]",
    (*JSON_BOTH_WAYS, AUTHORIZATION),
    None,
)

# The update as it was meant: the key in quotes, one brace less. The text "false" is as printed.
MENDED_UPDATE = '{"notifier": {"type_data": { "webhook_url": "https://myendpoint.com" }, "active": "false"}}'

# The document's table names the last one `available_events_ids`; its example, and every client, as here.
PLATFORM_FIELDS = {
    "id": str,
    "name": str,
    "display_name": str,
    "logo_url": str,
    "description": str,
    "available_event_ids": list,
}
NOTIFIER_FIELDS = {
    "id": str,
    "created_at": datetime,
    "updated_at": datetime,
    "name": str,
    "active": bool,
    "type": str,
    "app_id": str,
    "app": str,
    "platform_id": str,
    "send_all_alerts": bool,
    "send_all_events": bool,
    "selected_event_ids": list,
    "type_data": dict,
}
EVENT_FIELDS = {
    "id": str,
    "created_at": datetime,
    "user": dict,
    "app_id": str,
    "app_name": str,
    "type": str,
    "type_data": dict,
}
DEPLOYMENT = {
    "deployment_id": "5343eccd646aa3012a140230",
    "pusher": "johndoe",
    "git_ref": "0123456789abcdef",
    "status": "success",
    "duration": 40,
}

Printed = tuple[str, str, tuple[str, ...], str | None]


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.body)


@dataclass
class Curl:
    """Sends what curl would: the printed headers, curl's own, the body as it stands."""

    port: int
    token: str

    def __call__(
        self, printed: Printed, *, app: str = "my-app", notifier_id: str = "", data: str | None = None
    ) -> Answer:
        method, path, lines, body = printed
        body = body if data is None else data
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            path = path.replace("[:app]", app).replace("[:notifier_id]", notifier_id)
            connection.putrequest(method, path, skip_accept_encoding=True)
            connection.putheader("User-Agent", "curl/8.0.0")
            if not any(line.startswith("Accept:") for line in lines):
                connection.putheader("Accept", "*/*")
            for line in lines:
                name, value = line.split(": ", 1)
                connection.putheader(name, value.replace("$BEARER_TOKEN", self.token))
            if body is not None:
                connection.putheader("Content-Length", str(len(body.encode())))
            connection.endheaders(None if body is None else body.encode())
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, headers, response.read())
        finally:
            connection.close()

    def post(self, path: str, sent: object) -> Any:
        """A request that the document does not print, to set the scene."""
        answered = self(("POST", path, (*JSON_BOTH_WAYS, AUTHORIZATION), json.dumps(sent)))
        assert answered.status == 201, answered.body
        return answered.json


@pytest.fixture(scope="session")
def curl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Curl]:
    installation = Installation(tmp_path_factory.mktemp("seed"))
    try:
        installation.serve()
        curl = Curl(installation.port, installation.add_user())
        for name in ("my-app", "example-app"):
            curl.post("/v1/apps", {"app": {"name": name}})
        yield curl
        assert installation.stop() == 0
    finally:
        installation.end()


@pytest.fixture
def notifier_id(curl: Curl) -> str:
    """A notifier made as the document prints it."""
    made: str = curl(ADD_NOTIFIER).json["notifier"]["id"]
    return made


def check_fields(found: dict[str, Any], documented: dict[str, type]) -> None:
    for name, kind in documented.items():
        if kind is datetime:
            assert datetime.fromisoformat(found[name]).utcoffset() is not None, name
        else:
            assert type(found[name]) is kind, name


def test_platforms_are_listed_to_who_has_no_token(curl: Curl) -> None:
    answered = curl(LIST_PLATFORMS)
    assert answered.status == 200
    assert list(answered.json) == ["notification_platforms"]
    platforms = {platform["name"]: platform for platform in answered.json["notification_platforms"]}
    for platform in platforms.values():
        check_fields(platform, PLATFORM_FIELDS)
        assert platform["available_event_ids"]
        assert all(isinstance(event_id, str) for event_id in platform["available_event_ids"])
    assert platforms["slack"]["id"] == "5982f145d48c3600273ef089"
    assert platforms["slack"]["display_name"] == "Slack"
    assert platforms["webhook"]["id"] == "5982f145d48c3600273ef08a"
    assert platforms["webhook"]["display_name"] == "Webhook"


def test_the_notifiers_of_an_app_are_listed(curl: Curl) -> None:
    made = curl(ADD_NOTIFIER, app="example-app").json["notifier"]
    answered = curl(LIST_NOTIFIERS)
    assert answered.status == 200
    assert list(answered.json) == ["notifiers"]
    assert made in answered.json["notifiers"]
    for notifier in answered.json["notifiers"]:
        check_fields(notifier, NOTIFIER_FIELDS)


def test_the_default_notifier_is_the_documented_one(curl: Curl) -> None:
    curl.post("/v1/apps", {"app": {"name": "new-app"}})
    (default,) = curl(("GET", "/v1/apps/new-app/notifiers", *LIST_NOTIFIERS[2:])).json["notifiers"]
    assert default["name"] == "Default 'new-app' notifier"
    assert (default["active"], default["type"]) == (True, "email")
    assert default["platform_id"] == "59c52ac27651ce002c1d4620"
    assert (default["send_all_alerts"], default["send_all_events"]) == (False, False)
    assert default["selected_event_ids"]
    assert default["type_data"]["emails"] == []
    assert [user_id[:3] for user_id in default["type_data"]["user_ids"]] == ["us-"]


def test_a_notifier_is_made_from_the_plural_wrapper(curl: Curl) -> None:
    answered = curl(ADD_NOTIFIER)
    assert answered.status == 201
    assert list(answered.json) == ["notifier"]
    notifier = answered.json["notifier"]
    check_fields(notifier, NOTIFIER_FIELDS)
    assert notifier["id"].startswith("no-")
    assert (notifier["name"], notifier["active"], notifier["type"]) == ("My Custom Webhook", True, "webhook")
    assert notifier["platform_id"] == "5982f145d48c3600273ef08a"
    assert (notifier["send_all_alerts"], notifier["send_all_events"]) == (False, False)
    assert notifier["selected_event_ids"] == []
    assert notifier["app"] == "my-app"
    assert notifier["type_data"] == {"webhook_url": "https://myapp.fr/webhook/scalingo"}


def test_the_documented_parameters_of_a_notifier_are_all_taken(curl: Curl) -> None:
    given = {
        "platform_id": "5982f145d48c3600273ef089",
        "name": "My notifier",
        "send_all_alerts": True,
        "send_all_events": False,
        "type_data": {"webhook_url": "https://hooks.slack.com/services/AAAAAAAAAAA/BBBBBBBBBBB/cccccddddeeeefffff"},
        "selected_events": ["app_deployed"],
        "active": False,
    }
    notifier = curl.post("/v1/apps/my-app/notifiers", {"notifier": given})["notifier"]
    selected_events = given.pop("selected_events")
    assert {name: notifier[name] for name in given} == given
    listed = curl(("GET", "/v1/event_types", (), None)).json["event_types"]
    assert notifier["selected_event_ids"] == [one["id"] for one in listed if one["name"] in selected_events]


def test_the_update_as_printed_is_refused_where_its_json_breaks(curl: Curl, notifier_id: str) -> None:
    answered = curl(UPDATE_NOTIFIER, notifier_id=notifier_id)
    assert answered.status == 400
    assert list(answered.json) == ["error"]
    # Where `active` stands without its quotes.
    column = str(UPDATE_NOTIFIER[3]).index("active") + 1
    assert f"line 1 column {column}" in answered.json["error"]
    (unchanged,) = [one for one in notifiers_of(curl, "my-app") if one["id"] == notifier_id]
    assert unchanged["active"] is True


def test_the_update_with_its_two_slips_mended_is_taken(curl: Curl, notifier_id: str) -> None:
    answered = curl(UPDATE_NOTIFIER, notifier_id=notifier_id, data=MENDED_UPDATE)
    assert answered.status == 200
    notifier = answered.json["notifier"]
    check_fields(notifier, NOTIFIER_FIELDS)
    assert notifier["active"] is False
    assert notifier["type_data"] == {"webhook_url": "https://myendpoint.com"}
    assert notifier["name"] == "My Custom Webhook"
    assert notifier in notifiers_of(curl, "my-app")


async def test_a_notifier_is_tested(curl: Curl) -> None:
    async with receiving() as receiver:
        notifier_id = await add_webhook(curl, receiver.url)
        answered = await asyncio.to_thread(curl, TEST_NOTIFIER, notifier_id=notifier_id)
        (got,) = await receiver.wait_for(1)
    assert answered.status == 200
    check_fields(got.json, EVENT_FIELDS)


def test_a_removed_notifier_leaves_an_answer_without_a_body(curl: Curl, notifier_id: str) -> None:
    answered = curl(REMOVE_NOTIFIER, notifier_id=notifier_id)
    assert (answered.status, answered.body) == (204, b"")
    assert notifier_id not in [one["id"] for one in notifiers_of(curl, "my-app")]
    again = curl(REMOVE_NOTIFIER, notifier_id=notifier_id)
    assert (again.status, again.json) == (404, {"resource": "notifier", "error": "not found"})


async def test_a_webhook_gets_the_documented_deployment_event(curl: Curl) -> None:
    async with receiving() as receiver:
        await add_webhook(curl, receiver.url, selected_events=["app_deployed"])
        user = {"username": "johndoe", "email": "john@doe.com", "id": "51e6bc626edfe40bbb000001"}
        event = {"type": "deployment", "type_data": DEPLOYMENT, "user": user}
        event["created_at"] = "2015-02-12T18:05:14.226+01:00"
        await asyncio.to_thread(curl.post, "/v1/apps/my-app/events", {"event": event})
        (received,) = await receiver.wait_for(1)
    got = received.json
    check_fields(got, EVENT_FIELDS)
    assert (got["type"], got["type_data"], got["user"], got["app_name"]) == ("deployment", DEPLOYMENT, user, "my-app")
    assert datetime.fromisoformat(got["created_at"]) == datetime.fromisoformat(event["created_at"])


@pytest.mark.parametrize("printed", [LIST_NOTIFIERS, ADD_NOTIFIER, UPDATE_NOTIFIER, TEST_NOTIFIER, REMOVE_NOTIFIER])
def test_what_needs_a_token_is_refused_without_one(curl: Curl, printed: Printed) -> None:
    method, path, lines, body = printed
    anonymous = (method, path, tuple(line for line in lines if line != AUTHORIZATION), body)
    answered = curl(anonymous, notifier_id="no-824fd8bb-0efe-4b7b-9605-1b98110abeef")
    assert answered.status == 401
    assert list(answered.json) == ["error"]


def notifiers_of(curl: Curl, app: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = curl(("GET", f"/v1/apps/{app}/notifiers", *LIST_NOTIFIERS[2:])).json["notifiers"]
    return listed


async def add_webhook(curl: Curl, url: str, **fields: Any) -> str:
    given = {"platform_id": "5982f145d48c3600273ef08a", "name": "local", "type_data": {"webhook_url": url}} | fields
    made = await asyncio.to_thread(curl.post, "/v1/apps/my-app/notifiers", {"notifier": given})
    notifier_id: str = made["notifier"]["id"]
    return notifier_id
