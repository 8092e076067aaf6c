"""scalingo.js signs in, keeps tokens, and manages apps and who works on them."""

import httpx
import pytest

from tests.clients.conftest import Server
from tests.clients.javascript import ClientError, ScalingoJs

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("clients")]


def test_signing_in_gives_the_client_a_jwt_that_the_server_takes(js: ScalingoJs, server: Server) -> None:
    bearer = js.connect("alice", server.tokens["alice"])
    assert bearer.count(".") == 2
    answered = httpx.get(f"{server.url}/v1/users/self", headers={"authorization": f"Bearer {bearer}"})
    assert answered.json()["user"] == js("Users.self")
    assert js("Users.self")["username"] == "alice"


def test_signing_in_with_a_wrong_token_is_refused(js: ScalingoJs) -> None:
    with pytest.raises(ClientError) as refused:
        js.connect("nobody", "tk-us-wrong")
    assert refused.value.status == 401
    assert refused.value.message == refused.value.data["error"]


def test_the_region_that_the_client_sees_is_this_server(js: ScalingoJs, server: Server) -> None:
    (region,) = js("Regions.all")
    assert (region["name"], region["api"], region["default"]) == ("osc-fr1", server.url, True)


def test_a_token_that_the_client_makes_signs_in(js: ScalingoJs, server: Server) -> None:
    created = js("Tokens.create", "made by a client")
    assert (created["name"], created["last_used_at"]) == ("made by a client", None)
    js.connect("alice-anew", created["token"])
    assert js("Users.self", by="alice-anew") == js("Users.self")
    for _ in range(100):  # it is noted behind the request's back
        listed = {token["id"]: token for token in js("Tokens.all")}
        if listed[created["id"]]["last_used_at"] is not None:
            break
    assert listed[created["id"]]["last_used_at"] is not None
    assert all("token" not in token for token in listed.values())


def test_a_renewed_token_ends_the_one_before(js: ScalingoJs) -> None:
    created = js("Tokens.create", "to renew")
    renewed = js("Tokens.renew", created["id"])
    assert renewed["id"] == created["id"]
    assert renewed["token"] != created["token"]
    js.connect("renewed", renewed["token"])
    with pytest.raises(ClientError) as refused:
        js.connect("before", created["token"])
    assert refused.value.status == 401


def test_a_destroyed_token_ends_at_once(js: ScalingoJs, server: Server) -> None:
    created = js("Tokens.create", "to destroy")
    js.connect("doomed", created["token"])
    js("Tokens.destroy", created["id"])
    assert created["id"] not in [token["id"] for token in js("Tokens.all")]
    refused = httpx.get(f"{server.url}/v1/apps", headers={"authorization": f"Bearer {created['token']}"})
    assert refused.status_code == 401
    with pytest.raises(ClientError) as gone:
        js("Apps.all", by="doomed")
    assert gone.value.status == 401


@pytest.mark.parametrize("call", ["renew", "destroy"])
def test_a_token_of_another_user_is_not_found(js: ScalingoJs, call: str) -> None:
    created = js("Tokens.create", "alice's own")
    with pytest.raises(ClientError) as refused:
        js(f"Tokens.{call}", created["id"], by="bob")
    assert refused.value.status == 404
    assert refused.value.data == {"resource": "token", "error": "not found"}
    js.connect("still-alice", created["token"])


def test_an_app_is_found_by_name_and_by_id(js: ScalingoJs, server: Server, app: str) -> None:
    by_name = js("Apps.find", app)
    assert by_name["owner"]["username"] == "alice"
    assert js("Apps.find", by_name["id"]) == by_name
    assert by_name in js("Apps.all")
    assert server.read(f"/v1/apps/{app}") == {"app": by_name}


def test_a_created_app_can_be_destroyed(js: ScalingoJs, server: Server) -> None:
    created = js("Apps.create", {"name": "made-by-js"})
    assert server.read("/v1/apps/made-by-js") == {"app": created}
    assert len(js("Notifiers.for", "made-by-js")) == 1
    js("Apps.destroy", created["id"], "made-by-js")
    assert server.status("/v1/apps/made-by-js") == 404


def test_a_dry_run_checks_and_makes_no_app(js: ScalingoJs, server: Server, app: str) -> None:
    assert js("Apps.create", {"name": "only-tried", "dry_run": True})["name"] == "only-tried"
    assert server.status("/v1/apps/only-tried") == 404
    with pytest.raises(ClientError) as refused:
        js("Apps.create", {"name": app, "dry_run": True})
    assert list(refused.value.data["errors"]) == ["name"]


def test_an_app_is_not_destroyed_under_another_name(js: ScalingoJs, server: Server, app: str) -> None:
    with pytest.raises(ClientError) as refused:
        js("Apps.destroy", app, "not-its-name")
    assert refused.value.status == 422
    assert list(refused.value.data["errors"]) == ["current_name"]
    assert server.status(f"/v1/apps/{app}") == 200


def test_an_app_is_renamed_by_the_client(js: ScalingoJs, server: Server, app: str) -> None:
    renamed = js("Apps.rename", app, app, f"{app}-renamed")
    assert renamed["name"] == f"{app}-renamed"
    assert server.read(f"/v1/apps/{app}-renamed") == {"app": renamed}


def test_settings_of_an_app_that_mean_nothing_here_are_taken_and_left(js: ScalingoJs, app: str) -> None:
    before = js("Apps.find", app)
    assert js("Apps.update", app, {"force_https": True}) == before


@pytest.mark.parametrize("name", ["", "Nope!", "x" * 60])
def test_a_wrong_name_of_an_app_is_refused(js: ScalingoJs, name: str) -> None:
    with pytest.raises(ClientError) as refused:
        js("Apps.create", {"name": name})
    assert refused.value.status == 422
    assert list(refused.value.data["errors"]) == ["name"]


def test_a_taken_name_of_an_app_is_refused(js: ScalingoJs, app: str) -> None:
    with pytest.raises(ClientError) as refused:
        js("Apps.create", {"name": app}, by="bob")
    assert refused.value.status == 422
    assert list(refused.value.data["errors"]) == ["name"]


@pytest.mark.parametrize("call", ["Apps.find", "Notifiers.for", "Alerts.for", "Events.for", "Collaborators.for"])
@pytest.mark.parametrize("by", ["alice", "bob"])
def test_an_app_that_is_not_there_or_not_yours_is_not_found(js: ScalingoJs, app: str, call: str, by: str) -> None:
    with pytest.raises(ClientError) as refused:
        js(call, app if by == "bob" else "no-such-app", by=by)
    assert refused.value.status == 404
    assert refused.value.data == {"resource": "app", "error": "not found"}


def test_an_invited_user_sees_the_app_until_removed(js: ScalingoJs, server: Server, app: str) -> None:
    invited = js("Collaborators.invite", app, "bob@example.com")
    assert (invited["username"], invited["email"], invited["status"]) == ("bob", "bob@example.com", "accepted")
    assert invited["user_id"] == js("Users.self", by="bob")["id"]
    assert js("Collaborators.for", app) == [invited]
    assert server.read(f"/v1/apps/{app}/collaborators") == {"collaborators": [invited]}
    assert app in [one["name"] for one in js("Apps.all", by="bob")]
    js("Collaborators.destroy", app, invited["id"])
    assert js("Collaborators.for", app) == []
    with pytest.raises(ClientError):
        js("Apps.find", app, by="bob")


def test_somebody_unknown_is_invited_and_pending(js: ScalingoJs, app: str) -> None:
    invited = js("Collaborators.invite", app, {"email": "new@example.com", "is_limited": True})
    assert (invited["status"], invited["is_limited"]) == ("pending", True)
    assert js("Collaborators.update", app, invited["id"], {"is_limited": False})["is_limited"] is False


def test_an_invitation_without_an_address_is_refused(js: ScalingoJs, app: str) -> None:
    with pytest.raises(ClientError) as refused:
        js("Collaborators.invite", app, "nobody")
    assert refused.value.status == 422
    assert list(refused.value.data["errors"]) == ["email"]


def test_variables_are_kept_for_the_client(js: ScalingoJs, app: str) -> None:
    js("Environment.bulkUpdate", app, [{"name": "COLOUR", "value": "red"}, {"name": "EMPTY", "value": ""}])
    kept = js("Environment.for", app)
    assert {one["name"]: one["value"] for one in kept} == {"COLOUR": "red", "EMPTY": ""}


def test_one_variable_is_made_changed_and_destroyed(js: ScalingoJs, server: Server, app: str) -> None:
    made = js("Environment.create", app, {"name": "COLOUR", "value": "red"})
    changed = js("Environment.update", app, made["id"], "blue")
    assert changed == made | {"value": "blue"}
    assert server.read(f"/v1/apps/{app}/variables") == {"variables": [changed]}
    js("Environment.destroy", app, made["id"])
    assert js("Environment.for", app) == []


def test_there_is_a_stack_for_clients_that_ask(js: ScalingoJs, app: str) -> None:
    assert js("Apps.find", app)["stack_id"] in [stack["id"] for stack in js("Stacks.list")]


@pytest.mark.parametrize("call", ["Addons.for", "Deployments.for", "Domains.for"])
def test_what_tocsin_does_not_have_is_a_sentence_for_the_client(js: ScalingoJs, app: str, call: str) -> None:
    with pytest.raises(ClientError) as refused:
        js(call, app)
    assert refused.value.status == 404
    assert refused.value.message == refused.value.data["error"]
    assert f"/v1/apps/{app}/" in refused.value.message


def test_an_app_is_not_transferred(js: ScalingoJs, app: str) -> None:
    with pytest.raises(ClientError) as refused:
        js("Apps.transfer", app, app, js("Users.self", by="bob")["id"])
    assert refused.value.status == 422
    assert list(refused.value.data["errors"]) == ["owner"]
