"""Sentences about an app's life: made, changed, moved, handed over, run, restarted, stopped, deleted."""

from collections.abc import Mapping
from types import MappingProxyType

from tocsin.model import Severity
from tocsin.rendering.draft import Draft, Renderer
from tocsin.rendering.read import Facts
from tocsin.rendering.words import capital, discreet, joined, known, part, site, size, spaced, tail

_RESTART_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "unexpected_failure": "after an unexpected failure",
        "rebalancing_operation": "to balance the load between servers",
        "security_maintenance": "for security maintenance",
    }
)


def new_app(facts: Facts) -> Draft:
    source = facts.link("git_source")
    fields = known([("Source", discreet(facts.text("git_source", limit=300)))])
    return Draft(facts.by(f"created {facts.app}", f"{facts.app} was created"), fields=fields, link=source)


def edit_app(facts: Facts) -> Draft:
    forced = facts.flag("force_https")
    if forced is None:
        title = facts.by(f"changed the settings of {facts.app}", f"The settings of {facts.app} were changed")
        return Draft(title)
    done = "turned on" if forced else "turned off"
    title = facts.by(f"{done} forced HTTPS for {facts.app}", f"Forced HTTPS was {done} for {facts.app}")
    return Draft(title)


def delete_app(facts: Facts) -> Draft:
    title = facts.by(f"deleted {facts.app}", f"{facts.app} was deleted")
    return Draft(title, severity=Severity.WARNING)


def rename_app(facts: Facts) -> Draft:
    old = facts.text("old_name") or facts.app
    new = part(" to ", facts.text("new_name"))
    return Draft(facts.by(f"renamed {old}{new}", f"{old} was renamed{new}"))


def update_app_project(facts: Facts) -> Draft:
    old = part(" from the project ", facts.text("old_project_name"))
    new = part(" to the project ", facts.text("new_project_name")) or " to another project"
    return Draft(facts.by(f"moved {facts.app}{old}{new}", f"{facts.app} was moved{old}{new}"))


def transfer_app(facts: Facts) -> Draft:
    owner = facts.person("old_owner")
    old = part(" from ", owner if owner != facts.who else "")
    new = part(" to ", facts.person("new_owner")) or " to another owner"
    title = facts.by(f"transferred {facts.app}{old}{new}", f"{facts.app} was transferred{old}{new}")
    return Draft(title, severity=Severity.WARNING)


def restart(facts: Facts) -> Draft:
    containers = facts.texts("scope")
    what = part("", joined(containers), f" of {facts.app}") or facts.app
    were = "were" if len(containers) > 1 else "was"
    reason = facts.text("reason")
    if reason in _RESTART_REASONS:
        severity = Severity.WARNING if reason == "unexpected_failure" else Severity.INFO
        return Draft(f"{what} {were} restarted {_RESTART_REASONS[reason]}", severity=severity)
    why = part(" (", spaced(reason) if reason != "user_restart" else "", ")")
    addon = facts.text("addon_name", "addon_provider")
    who = part("The addon ", addon)
    return Draft(facts.by(f"restarted {what}{why}", f"{what} {were} restarted{why}", who=who))


def scale(facts: Facts) -> Draft:
    before = {name: facts.within("previous_containers").text(name) for name, _ in facts.pairs("previous_containers")}
    after = {name: facts.within("containers").text(name) for name, _ in facts.pairs("containers")}
    names = [name for name in dict.fromkeys([*before, *after]) if name]
    changes = [
        f"{name} {before.get(name) or '0'} → {after.get(name) or '0'}"
        for name in names
        if before.get(name) != after.get(name)
    ]
    formation = [f"{name} {after[name]}" for name in names if after.get(name)]
    what = part(": ", joined(changes or formation, ", "))
    title = facts.by(f"scaled {facts.app}{what}", f"{facts.app} was scaled{what}")
    return Draft(title, fields=known([("Containers", ", ".join(formation))]))


def stop_app(facts: Facts) -> Draft:
    reason = facts.text("reason", limit=200)
    why = part(": ", discreet(reason))
    title = facts.by(f"stopped {facts.app}{why}", f"{facts.app} was stopped{why}")
    return Draft(title, severity=Severity.WARNING)


def crash(facts: Facts) -> Draft:
    return _crashed(facts, "crashed")


def repeated_crash(facts: Facts) -> Draft:
    return _crashed(facts, "crashed again")


def _crashed(facts: Facts, did: str) -> Draft:
    what = part("", facts.text("container_type"), f" of {facts.app}") or facts.app
    logs = discreet(tail(facts.raw("crash_logs"), 2_000))
    return Draft(f"{what} {did}", text=logs, severity=Severity.ERROR, link=facts.link("logs_url"))


def run(facts: Facts) -> Draft:
    command = discreet(facts.text("command", limit=200))
    where = f"in {facts.app}{' in the background' if facts.flag('detached') else ''}"
    what = part("“", command, "”") or "a one-off command"
    fields = known([("Output", size(facts.number("audit_log_size")))])
    return Draft(facts.by(f"ran {what} {where}", f"{capital(what)} was run {where}"), fields=fields)


def stack_changed(facts: Facts) -> Draft:
    old = part(" from ", facts.text("previous_stack_name", "previous_stack_id"))
    new = part(" to ", facts.text("current_stack_name", "current_stack_id")) or " to another stack"
    title = facts.by(f"moved {facts.app}{old}{new}", f"{facts.app} was moved{old}{new}")
    return Draft(title, text="The new stack is used from the next deployment on.")


def start_region_migration(facts: Facts) -> Draft:
    old = part(" from ", facts.text("source"))
    new = part(" to ", facts.text("destination"))
    name = facts.text("dst_app_name")
    under = part(" as ", name if name != facts.app else "")
    title = facts.by(
        f"started to migrate {facts.app}{old}{new}{under}",
        f"The migration of {facts.app}{old}{new}{under} started",
    )
    return Draft(title)


def new_log_drain(facts: Facts) -> Draft:
    to = part(": ", site(facts.raw("url")))
    title = facts.by(f"added a log drain to {facts.app}{to}", f"A log drain was added to {facts.app}{to}")
    return Draft(title)


def delete_log_drain(facts: Facts) -> Draft:
    to = part(": ", site(facts.raw("url")))
    title = facts.by(f"removed a log drain from {facts.app}{to}", f"A log drain was removed from {facts.app}{to}")
    return Draft(title)


def edit_hds_contact(facts: Facts) -> Draft:
    title = facts.by(
        f"changed the health-data contact of {facts.app}", f"The health-data contact of {facts.app} was changed"
    )
    return Draft(title, fields=known([("Name", facts.text("name")), ("Company", facts.text("company"))]))


def create_data_access_consent(facts: Facts) -> Draft:
    kinds = [kind for kind in ("databases", "containers") if facts.flag(kind)]
    what = part("the ", joined(kinds), f" of {facts.app}") or facts.app
    until = part(" until ", facts.at("end_at"))
    title = facts.by(f"let the operators into {what}{until}", f"The operators may enter {what}{until}")
    return Draft(title, severity=Severity.WARNING, fields=known([("Given from", facts.text("remote_ip"))]))


SENTENCES: Mapping[str, Renderer] = MappingProxyType(
    {
        "new_app": new_app,
        "edit_app": edit_app,
        "delete_app": delete_app,
        "rename_app": rename_app,
        "update_app_project": update_app_project,
        "transfer_app": transfer_app,
        "restart": restart,
        "scale": scale,
        "stop_app": stop_app,
        "crash": crash,
        "repeated_crash": repeated_crash,
        "run": run,
        "stack_changed": stack_changed,
        "start_region_migration": start_region_migration,
        "new_log_drain": new_log_drain,
        "delete_log_drain": delete_log_drain,
        "edit_hds_contact": edit_hds_contact,
        "create_data_access_consent": create_data_access_consent,
    }
)
