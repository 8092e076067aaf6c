"""Sentences about projects and their transfer from one owner to another."""

from collections.abc import Mapping
from types import MappingProxyType

from tocsin.model import Severity
from tocsin.rendering.draft import Draft, Renderer
from tocsin.rendering.read import Facts
from tocsin.rendering.words import discreet, joined, known, part, sentences, spaced


def new_project(facts: Facts) -> Draft:
    default = ", the new default" if facts.flag("default") else ""
    return Draft(facts.by(f"created {facts.project}{default}", f"{facts.project} was created{default}"))


def edit_project(facts: Facts) -> Draft:
    changes = [
        change
        for value in facts.each("updated_values")
        if (change := _change(value.text("name"), value.text("old_value"), value.text("value")))
    ]
    what = part(": ", joined(changes, ", "))
    return Draft(facts.by(f"changed {facts.project}{what}", f"{facts.project} was changed{what}"))


def _change(name: str, old: str, new: str) -> str:
    if not name:
        return ""
    return f"{spaced(name)} {old} → {new}" if old and new else part(f"{spaced(name)} → ", new) or spaced(name)


def delete_project(facts: Facts) -> Draft:
    title = facts.by(f"deleted {facts.project}", f"{facts.project} was deleted")
    return Draft(title, severity=Severity.WARNING)


def new_invitation(facts: Facts) -> Draft:
    recipient = _recipient(facts)
    title = facts.by(
        f"offered {facts.project} to {recipient or 'another owner'}",
        f"{facts.project} was offered to {recipient or 'another owner'}",
        who=facts.who or facts.person("inviter"),
    )
    return Draft(title, severity=Severity.WARNING)


def accept_invitation(facts: Facts) -> Draft:
    recipient = _recipient(facts) or facts.who or "The invited owner"
    title = f"{recipient} agreed to take over {facts.project}{_offered_by(facts)}"
    return Draft(title, severity=Severity.SUCCESS)


def accept_invitation_error(facts: Facts) -> Draft:
    to = part(" to ", _recipient(facts))
    error = facts.text("error", "status_reason", limit=1_000)
    title = f"The transfer of {facts.project}{to} failed"
    return Draft(title, text=sentences(discreet(error)), severity=Severity.ERROR)


def cancel_invitation(facts: Facts) -> Draft:
    to = part(" to ", _recipient(facts))
    title = facts.by(f"withdrew the offer of {facts.project}{to}", f"The offer of {facts.project}{to} was withdrawn")
    return Draft(title, fields=_reason(facts))


def decline_invitation(facts: Facts) -> Draft:
    recipient = _recipient(facts) or facts.who or "The invited owner"
    title = f"{recipient} declined to take over {facts.project}{_offered_by(facts)}"
    return Draft(title, severity=Severity.WARNING, fields=_reason(facts))


def _recipient(facts: Facts) -> str:
    return facts.person("invited_user") or facts.text("recipient_username", "recipient_email")


def _offered_by(facts: Facts) -> str:
    return part(" from ", facts.person("inviter"))


def _reason(facts: Facts) -> tuple[tuple[str, str], ...]:
    return known([("Reason", discreet(facts.text("status_reason", limit=300)))])


SENTENCES: Mapping[str, Renderer] = MappingProxyType(
    {
        "new_project": new_project,
        "edit_project": edit_project,
        "delete_project": delete_project,
        "new_project_transfer_invitation": new_invitation,
        "accept_project_transfer_invitation": accept_invitation,
        "accept_project_transfer_invitation_error": accept_invitation_error,
        "cancel_project_transfer_invitation": cancel_invitation,
        "decline_project_transfer_invitation": decline_invitation,
    }
)
