import pytest

PATH = "/v1/apps/my-app/variables"


async def test_variables_are_added_and_changed_together_and_others_stay(client):
    answer = await client.put(PATH, json={"variables": [{"name": "B", "value": "2"}, {"name": "A", "value": ""}]})
    assert answer.status_code == 200
    assert [(one["name"], one["value"]) for one in answer.json()["variables"]] == [("A", ""), ("B", "2")]
    answer = await client.put(PATH, json={"variables": [{"id": "", "name": "B", "value": "3"}]})
    assert [(one["name"], one["value"]) for one in answer.json()["variables"]] == [("B", "3")]
    listed = (await client.get(f"{PATH}?aliases=true")).json()
    assert list(listed) == ["variables"]
    assert [(one["name"], one["value"]) for one in listed["variables"]] == [("A", ""), ("B", "3")]


@pytest.mark.parametrize("body", [{"variables": None}, {"variables": []}, {}])
async def test_setting_no_variables_changes_nothing(client, body):
    answer = await client.put(PATH, json=body)
    assert (answer.status_code, answer.json()) == (200, {"variables": []})


async def test_one_variable_is_added_changed_and_removed(client):
    answer = await client.post(PATH, json={"variable": {"name": "LEVEL", "value": "debug"}})
    assert answer.status_code == 201
    variable = answer.json()["variable"]
    changed = await client.patch(f"{PATH}/{variable['id']}", json={"variable": {"value": "info"}})
    assert changed.status_code == 200
    assert changed.json() == {"variable": variable | {"value": "info"}}
    removed = await client.delete(f"{PATH}/{variable['id']}")
    assert (removed.status_code, removed.content) == (204, b"")
    assert (await client.get(PATH)).json() == {"variables": []}


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({"variables": "A=1"}, {"variables": ["must be a list"]}),
        ({"variables": [{"name": "A"}]}, {"variables[0].value": ["is required"]}),
        (
            {"variables": [{"name": "A-B", "value": ""}]},
            {"name": ["must be letters, digits and underscores, and not begin with a digit"]},
        ),
        ({"variables": [{"name": "A", "value": "x" * 65_537}]}, {"value": ["must be at most 65536 characters"]}),
        ({"variables": [{"name": "A", "value": ""}] * 1001}, {"variables": ["must be at most 1000"]}),
    ],
)
async def test_variables_that_cannot_be_are_refused(client, body, errors):
    answer = await client.put(PATH, json=body)
    assert (answer.status_code, answer.json()) == (422, {"errors": errors})


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_an_unknown_variable_is_not_found(client, method):
    answer = await client.request(method, f"{PATH}/va-unknown", json={"variable": {"value": "1"}})
    assert (answer.status_code, answer.json()) == (404, {"resource": "variable", "error": "not found"})
