"""Sentences about deployments: how one ended, how long it took, and what was in it."""

from collections.abc import Mapping
from types import MappingProxyType

from tocsin.model import Severity
from tocsin.rendering.draft import Draft, Renderer
from tocsin.rendering.read import Facts
from tocsin.rendering.words import known, part, spaced, span

_UNDER_WAY = frozenset({"queued", "building", "pushing", "starting"})
_FAILURES: Mapping[str, str] = MappingProxyType(
    {
        "build-error": "The build failed.",
        "crashed-error": "The app was built, but crashed as it started.",
        "timeout-error": "The app was built, but did not start in time.",
        "hook-error": "The post-deployment hook failed.",
    }
)
_MAX_COMMITS = 5


def deployment(facts: Facts) -> Draft:
    status = facts.text("status")
    took = span(facts.number("duration"))
    by = part(" by ", facts.text("pusher") or facts.who)
    version = part(" (", _version(facts), ")")
    subject = f"A deployment of {facts.app}{by}"
    if status == "aborted":
        title, severity = f"{subject} was aborted{part(' after ', took)}", Severity.WARNING
    elif status in _FAILURES or status.endswith(("error", "failed", "failure")):
        title, severity = f"{subject} failed ({status}){part(' after ', took)}", Severity.ERROR
    elif status in _UNDER_WAY:
        title, severity = f"{subject} is under way ({status})", Severity.INFO
    elif status not in {"", "success"}:
        title, severity = f"{subject} ended as {spaced(status)}{part(' after ', took)}", Severity.INFO
    else:
        title = _deployed(facts, f"{part(' in ', took)}{version}")
        severity = Severity.SUCCESS if status else Severity.INFO
    return Draft(
        title,
        text="\n".join(line for line in (_FAILURES.get(status, ""), _commits(facts)) if line),
        severity=severity,
        fields=_fields(facts, version=_version(facts), took=took),
        link=facts.link("git_ref_url"),
    )


def _deployed(facts: Facts, how: str) -> str:
    return facts.by(f"deployed {facts.app}{how}", f"{facts.app} was deployed{how}", who=facts.text("pusher"))


def _version(facts: Facts) -> str:
    """A commit's first seven digits, as git itself shortens it; a branch or tag whole."""
    ref = facts.text("git_ref")
    return ref[:7] if len(ref) >= 16 and all(digit in "0123456789abcdef" for digit in ref.lower()) else ref


def _fields(facts: Facts, *, version: str, took: str) -> tuple[tuple[str, str], ...]:
    kind = facts.text("deployment_type")
    return known(
        [
            ("Status", facts.text("status")),
            ("Version", version),
            ("Duration", took),
            ("Stack", facts.text("stack")),
            ("Kind", spaced(kind) if kind != "deployment" else ""),
        ]
    )


def _commits(facts: Facts) -> str:
    last = facts.within("last_commits")
    messages = [text for commit in last.each("commits") if (text := commit.text("message", "title", limit=200))]
    remaining = last.number("remaining") or 0
    more = int(max(remaining, 0)) + max(len(messages) - _MAX_COMMITS, 0)
    listed = [f"• {message}" for message in messages[:_MAX_COMMITS]]
    if listed and more:
        listed.append(f"• and {more:,} more")
    return "\n".join(listed)


SENTENCES: Mapping[str, Renderer] = MappingProxyType({"deployment": deployment})
