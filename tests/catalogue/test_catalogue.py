"""The catalogue: complete, consistent, in shapes that existing clients read, and with ids that never change."""

import json
from pathlib import Path

import msgspec
import pytest

from tocsin.catalogue import Catalogue, EventKind
from tocsin.dates import parse_instant
from tocsin.ids import derived_hex_id

CATALOGUE = Catalogue.load()
FROZEN = json.loads(Path(__file__).with_name("frozen_ids.json").read_text(encoding="utf-8"))
DOCUMENTED = {
    "app_deployed": "5982f139d48c360021b1eb4b",
    "app_restarted": "5982f139d48c360021b1eb4c",
    "app_operations": "5982f139d48c360021b1eb44",
    "addons": "5982f139d48c360021b1eb45",
}
DATES = {
    "finished_at",
    "started_at",
    "ended_at",
    "checked_at",
    "end_at",
    "expires_at",
    "next_maintenance_window",
    "since",
}


def walk(value: object, key: str = ""):
    """Every scalar of a sample with the key that it stands under."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from walk(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from walk(item, key)
    else:
        yield key, value


def test_it_has_every_event_type_category_and_event() -> None:
    assert len(CATALOGUE.event_types) == 50
    assert len(CATALOGUE.categories) == 10
    assert sum(not kind.own for kind in CATALOGUE.events.values()) == 96
    assert {kind.type for kind in CATALOGUE.events.values() if kind.own} == {
        "notifier_failing",
        "notifier_disabled",
        "notifier_recovered",
    }


def test_ids_of_event_types_never_change() -> None:
    assert {event_type.name: event_type.id for event_type in CATALOGUE.event_types} == FROZEN["event_types"]


def test_ids_of_categories_never_change() -> None:
    assert {category.name: category.id for category in CATALOGUE.categories} == FROZEN["event_categories"]


def test_ids_are_the_documented_ones_or_derived_from_the_name() -> None:
    for event_type in CATALOGUE.event_types:
        derived = derived_hex_id("event_type", event_type.name)
        assert event_type.id == DOCUMENTED.get(event_type.name, derived)
    for category in CATALOGUE.categories:
        assert category.id == DOCUMENTED.get(category.name, derived_hex_id("event_category", category.name))


def test_ids_and_names_are_unique() -> None:
    ids = [event_type.id for event_type in CATALOGUE.event_types]
    ids += [category.id for category in CATALOGUE.categories]
    assert len(set(ids)) == len(ids)
    assert len({event_type.name for event_type in CATALOGUE.event_types}) == 50
    assert [category.position for category in CATALOGUE.categories] == list(range(1, 11))


def test_an_event_type_is_found_by_id_by_name_and_by_the_type_of_an_event() -> None:
    deployed = CATALOGUE.event_type_by_name("app_deployed")
    assert deployed is not None
    assert CATALOGUE.event_type_by_id("5982f139d48c360021b1eb4b") is deployed
    assert CATALOGUE.event_type_of("deployment") is deployed
    category = CATALOGUE.category_by_id(deployed.category_id)
    assert category is not None
    assert category.name == "app_operations"


def test_what_is_not_known_is_none() -> None:
    assert CATALOGUE.event_type_of("app_deployed") is None
    assert CATALOGUE.event_type_of("new_app") is None
    assert CATALOGUE.event_type_of("notifier_failing") is None
    assert CATALOGUE.event_type_by_id("deployment") is None
    assert CATALOGUE.event_type_by_name("deployment") is None
    assert CATALOGUE.category_by_id("") is None


def test_every_event_type_has_an_event_a_category_and_a_description() -> None:
    named = {kind.event_type_name for kind in CATALOGUE.events.values()}
    for event_type in CATALOGUE.event_types:
        assert event_type.name in named
        assert CATALOGUE.category_by_id(event_type.category_id)
        assert event_type.description.endswith(".")


def test_the_default_notifier_selects_what_is_critical() -> None:
    assert {event_type.name for event_type in CATALOGUE.critical_event_types} == {
        "app_crashed",
        "app_stopped",
        "app_alert_triggered",
        "addon_suspended",
        "database_backup_failed",
        "database_continuousbackup_stale",
        "database_maintenance_planned",
    }


def test_the_catalogue_is_frozen() -> None:
    with pytest.raises(AttributeError):
        CATALOGUE.event_types[0].name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        CATALOGUE.events["deployment"] = CATALOGUE.events["run"]  # type: ignore[index]


@pytest.mark.parametrize("kind", CATALOGUE.events.values(), ids=lambda kind: kind.type)
def test_a_sample_has_real_values_and_real_dates(kind: EventKind) -> None:
    for key, value in walk(kind.sample):
        assert value is not None
        assert not str(value).startswith("v-")
        if key in DATES:
            parse_instant(value)
    assert msgspec.json.decode(msgspec.json.encode(kind.sample)) == kind.sample


def sample(event: str) -> dict:
    return CATALOGUE.events[event].sample


def test_samples_have_the_types_that_clients_need() -> None:
    assert len(sample("addon_updated")["status"]) == 2
    for containers in sample("scale").values():
        assert all(isinstance(value, str) for value in containers.values())
    for event in ("new_autoscaler", "edit_autoscaler"):
        assert sample(event)["min_containers"].isdecimal()
        assert sample(event)["max_containers"].isdecimal()
    for change in sample("edit_project")["updated_values"]:
        assert all(isinstance(value, str) for value in change.values())
    assert type(sample("deployment")["duration"]) is int


@pytest.mark.parametrize(
    "event",
    [
        "accept_project_transfer_invitation",
        "accept_project_transfer_invitation_error",
        "cancel_project_transfer_invitation",
        "decline_project_transfer_invitation",
    ],
)
def test_a_project_transfer_has_both_spellings_of_its_fields(event: str) -> None:
    data = sample(event)
    assert data["invitation_id"] == data["transfer_invitation_id"]
    assert data["recipient_username"] == data["invited_user"]["username"]


def test_alert_metrics_are_the_documented_ones() -> None:
    metrics = {metric.id: metric.unit for metric in CATALOGUE.alert_metrics}
    assert list(metrics) == ["cpu", "memory", "swap", "p95_response_time", "5XX", "all", "rpm_per_container"]
    assert [name for name, unit in metrics.items() if unit == "ratio"] == ["cpu", "memory", "swap"]
