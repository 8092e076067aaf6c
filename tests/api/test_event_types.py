"""The catalogue over HTTP, read with and without a token."""

import re


async def test_event_types_are_listed_without_a_token(anonymous):
    response = await anonymous.get("/v1/event_types")
    assert response.status_code == 200
    assert list(response.json()) == ["event_types"]
    listed = response.json()["event_types"]
    assert len(listed) >= 50
    categories = {each["id"] for each in (await anonymous.get("/v1/event_categories")).json()["event_categories"]}
    for event_type in listed:
        assert set(event_type) == {"id", "category_id", "name", "display_name", "description"}
        assert re.fullmatch("[0-9a-f]{24}", event_type["id"])
        assert event_type["category_id"] in categories


async def test_event_categories_are_listed_with_a_token_too(client, anonymous):
    response = await client.get("/v1/event_categories")
    assert response.status_code == 200
    assert response.json() == (await anonymous.get("/v1/event_categories")).json()
    assert list(response.json()) == ["event_categories"]
    first = min(response.json()["event_categories"], key=lambda category: category["position"])
    assert set(first) == {"id", "name", "display_name", "position"}
    assert (first["name"], first["position"]) == ("app_operations", 1)
