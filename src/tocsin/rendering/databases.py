"""Sentences about databases: backups, continuous backups, features and maintenance."""

from collections.abc import Mapping
from types import MappingProxyType

from tocsin.model import Severity
from tocsin.rendering.draft import Draft, Renderer
from tocsin.rendering.read import Facts
from tocsin.rendering.words import count, discreet, known, part, sentences, spaced, span

_METHODS: Mapping[str, str] = MappingProxyType({"periodic": "scheduled", "manual": "manual"})


def database_backup_failed(facts: Facts) -> Draft:
    return _backup(facts, "failed", Severity.ERROR)


def database_backup_succeeded(facts: Facts) -> Draft:
    return _backup(facts, "succeeded", Severity.SUCCESS)


def _backup(facts: Facts, ended: str, severity: Severity) -> Draft:
    method = _METHODS.get(facts.text("backup_method"), "")
    took = span(facts.seconds_between("started_at", "ended_at"))
    after = part(" after ", took) if severity is Severity.ERROR else part(" in ", took)
    fields = known(
        [
            ("Started", facts.at("started_at")),
            ("Status", spaced(facts.text("backup_status"))),
            ("Resource", facts.text("resource_id")),
            ("Backup", facts.text("backup_id")),
        ]
    )
    title = f"A {part('', method, ' ')}backup of {_database(facts)} {ended}{after}"
    return Draft(title, severity=severity, fields=fields)


def database_continuousbackup_healthy(facts: Facts) -> Draft:
    title = f"The continuous backup of {_database(facts)} is healthy again"
    return Draft(title, severity=Severity.SUCCESS, fields=_continuous_fields(facts))


def database_continuousbackup_delayed(facts: Facts) -> Draft:
    title = f"The continuous backup of {_database(facts)} is late{_lag(facts)}"
    return Draft(title, text=_trouble(facts), severity=Severity.WARNING, fields=_continuous_fields(facts))


def database_continuousbackup_stale(facts: Facts) -> Draft:
    title = f"The continuous backup of {_database(facts)} is out of date{_lag(facts)}"
    return Draft(title, text=_trouble(facts), severity=Severity.ERROR, fields=_continuous_fields(facts))


def _lag(facts: Facts) -> str:
    seconds = facts.number("unrecoverable_duration_seconds")
    return part(": the last ", span(seconds), " cannot be restored") if seconds else ""


def _trouble(facts: Facts) -> str:
    lost = "It cannot recover by itself" if facts.flag("recoverable") is False else ""
    return sentences(discreet(facts.text("error", limit=1_000)), lost)


def _continuous_fields(facts: Facts) -> tuple[tuple[str, str], ...]:
    return known([("Checked", facts.at("checked_at")), ("Resource", facts.text("resource_id"))])


def add_feature(facts: Facts) -> Draft:
    return _feature(facts, "turned on")


def remove_feature(facts: Facts) -> Draft:
    return _feature(facts, "turned off")


def _feature(facts: Facts, done: str) -> Draft:
    name, database = facts.text("feature"), _database(facts)
    passive = part("The feature ", name) or "A feature"
    return Draft(facts.by(f"{done} {name or 'a feature'} for {database}", f"{passive} was {done} for {database}"))


def plan_database_maintenance(facts: Facts) -> Draft:
    when = part(" for ", facts.at("next_maintenance_window"))
    text = part("The maintenance window is ", _window(facts), " long.")
    return _maintenance(facts, f"is planned{when}", severity=Severity.WARNING, text=text)


def start_database_maintenance(facts: Facts) -> Draft:
    text = part("The maintenance window is ", _window(facts), " long.")
    return _maintenance(facts, "has started", severity=Severity.WARNING, text=text)


def complete_database_maintenance(facts: Facts) -> Draft:
    return _maintenance(facts, "is over", severity=Severity.SUCCESS)


def _maintenance(facts: Facts, what: str, *, severity: Severity, text: str = "") -> Draft:
    fields = known([("Kind", facts.text("maintenance_type")), ("Maintenance", facts.text("maintenance_id"))])
    return Draft(f"Maintenance of {_database(facts)} {what}", text=text, severity=severity, fields=fields)


def _window(facts: Facts) -> str:
    hours = facts.number("maintenance_window_in_hours")
    return count(int(hours), "hour", "hours") if hours and hours >= 1 else ""


def _database(facts: Facts) -> str:
    return f"{facts.text('addon_name', 'addon_provider_name') or 'the database'} of {facts.app}"


SENTENCES: Mapping[str, Renderer] = MappingProxyType(
    {
        "database_backup_failed": database_backup_failed,
        "database_backup_succeeded": database_backup_succeeded,
        "database_continuousbackup_healthy": database_continuousbackup_healthy,
        "database_continuousbackup_delayed": database_continuousbackup_delayed,
        "database_continuousbackup_stale": database_continuousbackup_stale,
        "database/add_feature": add_feature,
        "database/remove_feature": remove_feature,
        "plan_database_maintenance": plan_database_maintenance,
        "start_database_maintenance": start_database_maintenance,
        "complete_database_maintenance": complete_database_maintenance,
    }
)
