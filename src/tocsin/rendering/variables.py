"""Sentences about environment variables: their names, never their values."""

from collections.abc import Mapping
from types import MappingProxyType

from tocsin.rendering.draft import Draft, Renderer
from tocsin.rendering.read import Facts
from tocsin.rendering.words import capital, joined, known, part, the

_MAX_NAMES = 30


def new_variable(facts: Facts) -> Draft:
    what = _variable(facts)
    return Draft(_by(facts, f"added {what} to {facts.app}", f"{capital(what)} was added to {facts.app}"))


def edit_variable(facts: Facts) -> Draft:
    what = _variable(facts)
    return Draft(_by(facts, f"changed {what} of {facts.app}", f"{capital(what)} of {facts.app} was changed"))


def delete_variable(facts: Facts) -> Draft:
    what = _variable(facts)
    return Draft(_by(facts, f"removed {what} from {facts.app}", f"{capital(what)} was removed from {facts.app}"))


def edit_variables(facts: Facts) -> Draft:
    added, changed, removed = (_names(facts, key) for key in ("new_vars", "updated_vars", "deleted_vars"))
    acts = [
        f"{verb} {joined(names)}"
        for verb, names in (("added", added), ("changed", changed), ("removed", removed))
        if names
    ]
    which = f": {'; '.join(acts)}" if acts else ""
    title = _by(
        facts,
        f"changed the environment of {facts.app}{which}",
        f"The environment of {facts.app} was changed{which}",
    )
    fields = known([("Added", _listed(added)), ("Changed", _listed(changed)), ("Removed", _listed(removed))])
    return Draft(title, fields=fields)


def _by(facts: Facts, active: str, passive: str) -> str:
    return facts.by(active, passive, who=part("The addon ", facts.text("addon_name")))


def _variable(facts: Facts) -> str:
    return the("variable", facts.text("name"), quoted=False)


def _names(facts: Facts, key: str) -> list[str]:
    return [name for variable in facts.each(key) if (name := variable.text("name"))]


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_MAX_NAMES])


SENTENCES: Mapping[str, Renderer] = MappingProxyType(
    {
        "new_variable": new_variable,
        "edit_variable": edit_variable,
        "edit_variables": edit_variables,
        "delete_variable": delete_variable,
    }
)
