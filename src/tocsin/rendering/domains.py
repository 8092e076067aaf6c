"""Sentences about custom domains."""

from collections.abc import Mapping
from types import MappingProxyType

from tocsin.rendering.draft import Draft, Renderer
from tocsin.rendering.read import Facts


def new_domain(facts: Facts) -> Draft:
    name = _domain(facts)
    secured = ", secured by TLS" if facts.flag("ssl") else ""
    active = f"added {name or 'a domain'} to {facts.app}{secured}"
    return Draft(facts.by(active, f"{name or 'A domain'} was added to {facts.app}{secured}"))


def edit_domain(facts: Facts) -> Draft:
    name = _domain(facts)
    before, after = facts.flag("old_ssl"), facts.flag("ssl")
    if after is None or after == before:
        active = f"changed {name or 'a domain'} of {facts.app}"
        return Draft(facts.by(active, f"{name or 'A domain'} of {facts.app} was changed"))
    done = "turned on" if after else "turned off"
    where = f"{name or 'a domain'} of {facts.app}"
    return Draft(facts.by(f"{done} TLS for {where}", f"TLS was {done} for {where}"))


def delete_domain(facts: Facts) -> Draft:
    name = _domain(facts)
    active = f"removed {name or 'a domain'} from {facts.app}"
    return Draft(facts.by(active, f"{name or 'A domain'} was removed from {facts.app}"))


def _domain(facts: Facts) -> str:
    return facts.text("hostname", "name")


SENTENCES: Mapping[str, Renderer] = MappingProxyType(
    {"new_domain": new_domain, "edit_domain": edit_domain, "delete_domain": delete_domain}
)
