"""Sentences about source repositories: accounts, links to apps, and review apps."""

from collections.abc import Mapping
from types import MappingProxyType

from tocsin.rendering.draft import Draft, Renderer
from tocsin.rendering.read import Data, Facts
from tocsin.rendering.words import capital, count, known, part, site, the

_HOSTS: Mapping[str, str] = MappingProxyType(
    {
        "github": "GitHub",
        "github-enterprise": "GitHub Enterprise",
        "gitlab": "GitLab",
        "gitlab-self-hosted": "self-hosted GitLab",
    }
)
_SELF_HOSTED = frozenset({"github-enterprise", "gitlab-self-hosted"})


def link_scm(facts: Facts) -> Draft:
    repository = _repository(facts)
    title = facts.by(
        f"linked {facts.app} to {repository}",
        f"{facts.app} was linked to {repository}",
        who=facts.text("linker_username"),
    )
    return Draft(title, fields=_link_fields(facts))


def update_scm(facts: Facts) -> Draft:
    what = f"the link of {facts.app} to {_repository(facts)}"
    title = facts.by(f"changed {what}", f"{capital(what)} was changed", who=facts.who or facts.text("linker_username"))
    return Draft(title, fields=_link_fields(facts))


def unlink_scm(facts: Facts) -> Draft:
    repository = _repository(facts)
    title = facts.by(
        f"unlinked {facts.app} from {repository}",
        f"{facts.app} was unlinked from {repository}",
        who=facts.text("unlinker_username"),
    )
    return Draft(title)


def new_integration(facts: Facts) -> Draft:
    host = _account_host(facts)
    account = part(" as ", facts.within("data").text("login"))
    return Draft(facts.by(f"connected {host}{account}", f"{capital(host)} was connected{account}"))


def delete_integration(facts: Facts) -> Draft:
    host = _account_host(facts)
    account = part(" (", facts.within("data").text("login"), ")")
    return Draft(facts.by(f"disconnected {host}{account}", f"{capital(host)}{account} was disconnected"))


def authorize_github(facts: Facts) -> Draft:
    account = part(" as ", facts.within("github_user").text("login"))
    return Draft(facts.by(f"connected GitHub{account}", f"GitHub was connected{account}"))


def revoke_github(facts: Facts) -> Draft:
    return Draft(facts.by("disconnected GitHub", "GitHub was disconnected"))


def create_review_app(facts: Facts) -> Draft:
    app = _review_app(facts)
    fields = known([("Address", facts.link("review_app_url") or ""), *_request_fields(facts)])
    link = facts.link("review_app_url", "pr_url")
    return Draft(facts.by(f"created {app}", f"{capital(app)} was created"), fields=fields, link=link)


def destroy_review_app(facts: Facts) -> Draft:
    app = _review_app(facts)
    fields = known(_request_fields(facts))
    return Draft(facts.by(f"removed {app}", f"{capital(app)} was removed"), fields=fields, link=facts.link("pr_url"))


def _review_app(facts: Facts) -> str:
    number = facts.number("pr_number")
    request = f"{'' if number is None else f' #{int(number)}'}{part(' “', facts.text('pr_name'), '”')}"
    app = the("review app", facts.text("review_app_name"), quoted=False)
    return f"{app} of {facts.app}{part(' for', request)}"


def _request_fields(facts: Facts) -> list[tuple[str, str]]:
    return [
        ("Repository", facts.text("source_repo_name")),
        ("Request", facts.link("pr_url") or ""),
        ("From a fork", "yes" if facts.flag("pr_comes_from_a_fork") else ""),
    ]


def _link_fields(facts: Facts) -> tuple[tuple[str, str], ...]:
    return known(
        [
            ("Branch", facts.text("branch")),
            ("Deploys by itself", _yes_or_no(facts, "auto_deploy")),
            ("Review apps", _yes_or_no(facts, "auto_deploy_review_apps")),
            ("Review apps of forks", _yes_or_no(facts, "creation_from_forks_allowed")),
            ("Removed when closed", _removal(facts, "delete_on_close")),
            ("Removed when stale", _removal(facts, "delete_stale")),
        ]
    )


def _yes_or_no(data: Data, key: str) -> str:
    flag = data.flag(key)
    return "" if flag is None else "yes" if flag else "no"


def _removal(facts: Facts, key: str) -> str:
    hours = facts.number(f"hours_before_{key}")
    if not facts.flag(key):
        return _yes_or_no(facts, key)
    return f"after {count(int(hours), 'hour', 'hours')}" if hours and hours >= 1 else "yes"


def _repository(facts: Facts) -> str:
    host = facts.text("source", "github_source")
    name = facts.text("repo_name") or "a repository"
    return f"{name}{part(' on ', _HOSTS.get(host, host) if not host.startswith('http') else site(host))}"


def _account_host(facts: Facts) -> str:
    kind = facts.text("integration_type")
    at = site(facts.within("data").raw("url")) if kind in _SELF_HOSTED else ""
    return f"{_HOSTS.get(kind, kind) or 'a source host'}{part(' at ', at)}"


SENTENCES: Mapping[str, Renderer] = MappingProxyType(
    {
        "link_scm": link_scm,
        "link_github": link_scm,
        "update_scm": update_scm,
        "unlink_scm": unlink_scm,
        "unlink_github": unlink_scm,
        "new_integration": new_integration,
        "delete_integration": delete_integration,
        "authorize_github": authorize_github,
        "revoke_github": revoke_github,
        "create_review_app": create_review_app,
        "destroy_review_app": destroy_review_app,
    }
)
