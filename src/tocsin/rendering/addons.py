"""Sentences about addons: added, moved to another plan, suspended, resumed, changed, removed."""

from collections.abc import Mapping
from types import MappingProxyType

from tocsin.model import Severity
from tocsin.rendering.draft import Draft, Renderer
from tocsin.rendering.read import Facts
from tocsin.rendering.words import capital, discreet, joined, known, part, sentences, site, spaced

_STATUS_SEVERITIES: Mapping[str, Severity] = MappingProxyType(
    {"running": Severity.SUCCESS, "suspended": Severity.WARNING}
)


def new_addon(facts: Facts) -> Draft:
    addon, plan = _addon(facts, "an addon"), part(" (", facts.text("plan_name"), ")")
    title = facts.by(f"added {addon}{plan} to {facts.app}", f"{_start(addon)}{plan} was added to {facts.app}")
    return Draft(title, fields=_fields(facts))


def upgrade_addon(facts: Facts) -> Draft:
    addon = _addon(facts, "an addon")
    old = part(" from ", facts.text("old_plan_name"))
    new = part(" to ", facts.text("new_plan_name", "plan_name")) or " to another plan"
    title = facts.by(f"moved {addon} of {facts.app}{old}{new}", f"{_start(addon)} of {facts.app} was moved{old}{new}")
    return Draft(title, fields=_fields(facts))


def delete_addon(facts: Facts) -> Draft:
    addon, plan = _addon(facts, "an addon"), part(" (", facts.text("plan_name"), ")")
    title = facts.by(f"removed {addon}{plan} from {facts.app}", f"{_start(addon)}{plan} was removed from {facts.app}")
    return Draft(title, severity=Severity.WARNING, fields=_fields(facts))


def resume_addon(facts: Facts) -> Draft:
    title = f"{_start(_addon(facts, 'an addon'))} of {facts.app} is in service again"
    return Draft(title, severity=Severity.SUCCESS, fields=_fields(facts, plan=True))


def suspend_addon(facts: Facts) -> Draft:
    reason = part(": ", discreet(facts.text("reason", limit=200)))
    title = f"{_start(_addon(facts, 'an addon'))} of {facts.app} was suspended{reason}"
    return Draft(title, severity=Severity.ERROR, fields=_fields(facts, plan=True))


def addon_updated(facts: Facts) -> Draft:
    addon = f"{_start(_addon(facts, 'an addon'))} of {facts.app}"
    statuses = facts.texts("status")
    changed = [spaced(name) for name in facts.texts("attributes_changed") if name != "status"]
    text = sentences(part("Changed: ", joined(changed)))
    fields = known([("Plan", facts.text("addon_plan_name")), ("Resource", facts.text("addon_resource_id"))])
    if len(statuses) == 2 and statuses[0] != statuses[1]:
        title = f"{addon} is now {spaced(statuses[1])} (was {spaced(statuses[0])})"
        severity = _STATUS_SEVERITIES.get(statuses[1], Severity.INFO)
        return Draft(title, text=text, severity=severity, fields=fields)
    what = part(": ", joined(changed))
    return Draft(f"{addon} was changed{what}", fields=fields)


def upgrade_database(facts: Facts) -> Draft:
    addon = f"{_start(_addon(facts, 'the database'))} of {facts.app}"
    old = part(" from ", facts.text("old_version"))
    new = part(" to ", facts.text("new_version")) or " to a newer version"
    return Draft(f"{addon} was upgraded{old}{new}", severity=Severity.SUCCESS)


def new_addon_log_drain(facts: Facts) -> Draft:
    addon, to = f"{_addon(facts, 'an addon')} of {facts.app}", part(": ", site(facts.raw("url")))
    return Draft(facts.by(f"added a log drain to {addon}{to}", f"A log drain was added to {addon}{to}"))


def delete_addon_log_drain(facts: Facts) -> Draft:
    addon, to = f"{_addon(facts, 'an addon')} of {facts.app}", part(": ", site(facts.raw("url")))
    return Draft(facts.by(f"removed a log drain from {addon}{to}", f"A log drain was removed from {addon}{to}"))


def _addon(facts: Facts, unnamed: str) -> str:
    return facts.text("addon_provider_name", "addon_name", "addon_provider_id") or unnamed


def _start(addon: str) -> str:
    """An addon's name keeps its spelling where it begins a sentence."""
    return capital(addon) if addon in {"an addon", "the database"} else addon


def _fields(facts: Facts, *, plan: bool = False) -> tuple[tuple[str, str], ...]:
    return known([("Plan", facts.text("plan_name") if plan else ""), ("Resource", facts.text("resource_id"))])


SENTENCES: Mapping[str, Renderer] = MappingProxyType(
    {
        "new_addon": new_addon,
        "upgrade_addon": upgrade_addon,
        "delete_addon": delete_addon,
        "resume_addon": resume_addon,
        "suspend_addon": suspend_addon,
        "addon_updated": addon_updated,
        "upgrade_database": upgrade_database,
        "new_addon_log_drain": new_addon_log_drain,
        "delete_addon_log_drain": delete_addon_log_drain,
    }
)
