"""Sentences about collaborators: invited, joined, given another role, removed."""

from collections.abc import Mapping
from types import MappingProxyType

from tocsin.rendering.draft import Draft, Renderer
from tocsin.rendering.read import Facts
from tocsin.rendering.words import part


def new_collaborator(facts: Facts) -> Draft:
    someone, role = facts.person("collaborator"), " with limited access" if _is_limited(facts) else ""
    inviter = facts.within("collaborator").person("inviter")
    title = facts.by(
        f"invited {someone or 'someone'} to {facts.app}{role}",
        f"{someone or 'Someone'} was invited to {facts.app}{role}",
        who=facts.who or inviter,
    )
    return Draft(title)


def accept_collaborator(facts: Facts) -> Draft:
    someone = facts.person("collaborator") or facts.who or "A collaborator"
    inviter = part(", invited by ", facts.within("collaborator").person("inviter"))
    return Draft(f"{someone} now collaborates on {facts.app}{inviter}")


def delete_collaborator(facts: Facts) -> Draft:
    someone = facts.person("collaborator")
    if someone and someone == facts.who:
        return Draft(f"{someone} left {facts.app}")
    title = facts.by(
        f"removed {someone or 'a collaborator'} from {facts.app}",
        f"{someone or 'A collaborator'} was removed from {facts.app}",
    )
    return Draft(title)


def change_collaborator_role(facts: Facts) -> Draft:
    someone = facts.person("collaborator")
    limited = _is_limited(facts)
    if limited is None:
        active = f"changed the role of {someone or 'a collaborator'} on {facts.app}"
        return Draft(facts.by(active, f"The role of {someone or 'a collaborator'} on {facts.app} was changed"))
    access = f"{'limited' if limited else 'full'} access to {facts.app}"
    title = facts.by(f"gave {someone or 'a collaborator'} {access}", f"{someone or 'A collaborator'} now has {access}")
    return Draft(title)


def _is_limited(facts: Facts) -> bool | None:
    return facts.within("collaborator").flag("is_limited")


SENTENCES: Mapping[str, Renderer] = MappingProxyType(
    {
        "new_collaborator": new_collaborator,
        "accept_collaborator": accept_collaborator,
        "delete_collaborator": delete_collaborator,
        "change_collaborator_role": change_collaborator_role,
    }
)
