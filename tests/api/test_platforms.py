"""Platforms over HTTP, read without a token."""

PATH = "/v1/notification_platforms"
FIELDS = {"id", "name", "display_name", "logo_url", "description", "available_event_ids"}


async def test_platforms_are_listed_without_a_token(anonymous, world):
    response = await anonymous.get(PATH)
    assert response.status_code == 200
    assert list(response.json()) == ["notification_platforms"]
    listed = response.json()["notification_platforms"]
    assert {"email", "slack", "webhook", "rocket_chat"} <= {platform["name"] for platform in listed}
    every_type = [event_type.id for event_type in world.verbs.notifiers.catalogue.event_types]
    for platform in listed:
        assert set(platform) == FIELDS
        assert platform["available_event_ids"] == every_type
        assert platform["logo_url"] == f"http://tocsin.example.com:8600/logos/{platform['name']}.svg"


async def test_the_go_client_s_bare_question_mark_is_harmless(anonymous):
    assert (await anonymous.get(f"{PATH}?")).status_code == 200


async def test_a_platform_is_found_by_its_exact_name(anonymous):
    for name, ids in (("slack", ["5982f145d48c3600273ef089"]), ("Slack", []), ("sla", []), ("", [])):
        response = await anonymous.get(f"{PATH}/search", params={"name": name})
        assert response.status_code == 200
        assert [platform["id"] for platform in response.json()["notification_platforms"]] == ids
    assert (await anonymous.get(f"{PATH}/search")).json() == {"notification_platforms": []}


async def test_a_platform_is_shown_by_id(anonymous):
    response = await anonymous.get(f"{PATH}/5982f145d48c3600273ef08a")
    assert response.status_code == 200
    assert list(response.json()) == ["notification_platform"]
    assert response.json()["notification_platform"]["name"] == "webhook"
    missing = await anonymous.get(f"{PATH}/webhook")
    assert (missing.status_code, missing.json()["error"]) == (404, "not found")


async def test_each_platform_has_a_logo(anonymous):
    for platform in (await anonymous.get(PATH)).json()["notification_platforms"]:
        logo = await anonymous.get(platform["logo_url"])
        assert logo.status_code == 200
        assert logo.headers["content-type"].startswith("image/svg+xml")
        assert logo.text.startswith("<svg")
    assert (await anonymous.get("/logos/nothing.svg")).status_code == 404
