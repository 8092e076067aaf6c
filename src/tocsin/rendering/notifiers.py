"""Sentences about notifiers: set up by people, and failing, disabled or well again by Tocsin's own account."""

from collections.abc import Mapping
from types import MappingProxyType

from tocsin.model import Severity
from tocsin.rendering.draft import Draft, Renderer
from tocsin.rendering.read import Facts
from tocsin.rendering.words import capital, count, known, part, sentences, site, spaced, the

_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "timeout": "the receiver does not answer in time",
        "unreachable": "the receiver cannot be reached",
        "rate_limited": "the receiver asks for fewer messages",
        "rejected": "the receiver rejects the messages",
        "gone": "the receiver says that it is gone",
        "too_large": "the receiver finds the messages too large",
        "server_error": "the receiver has errors of its own",
        "redirected": "the receiver has moved to another address",
        "bad_response": "the receiver's answers cannot be read",
        "auth": "the receiver does not accept the credentials",
        "misconfigured": "its settings are not valid",
        "egress_blocked": "its address is not allowed",
        "crashed": "Tocsin itself failed to send",
    }
)


def new_notifier(facts: Facts) -> Draft:
    notifier = _notifier(facts)
    title = facts.by(f"added {notifier} to {facts.app}", f"{capital(notifier)} was added to {facts.app}")
    return Draft(title, fields=_settings(facts))


def edit_notifier(facts: Facts) -> Draft:
    notifier = f"{_notifier(facts)} of {facts.app}"
    off = " (now off)" if facts.flag("active") is False else ""
    title = facts.by(f"changed {notifier}{off}", f"{capital(notifier)} was changed{off}")
    return Draft(title, fields=_settings(facts))


def delete_notifier(facts: Facts) -> Draft:
    notifier = _notifier(facts)
    title = facts.by(f"removed {notifier} from {facts.app}", f"{capital(notifier)} was removed from {facts.app}")
    return Draft(title, fields=known([("Platform", _platform(facts))]))


def notifier_failing(facts: Facts) -> Draft:
    title = f"{capital(_notifier(facts))} of {facts.app} keeps failing{_why(facts)}"
    since = part("It has failed since ", facts.at("since"))
    text = sentences(since, "Its messages wait and are tried again")
    return Draft(title, text=text, severity=Severity.WARNING, fields=_own_fields(facts))


def notifier_disabled(facts: Facts) -> Draft:
    title = f"{capital(_notifier(facts))} of {facts.app} was disabled{_why(facts)}"
    since = part("It has failed since ", facts.at("since"))
    text = sentences(since, "Its messages wait until they expire; make it active again once its receiver is mended")
    return Draft(title, text=text, severity=Severity.ERROR, fields=_own_fields(facts))


def notifier_recovered(facts: Facts) -> Draft:
    title = f"{capital(_notifier(facts))} of {facts.app} delivers again"
    since = part("It had failed since ", facts.at("since"))
    text = sentences(since, "The messages that waited are on their way")
    return Draft(title, text=text, severity=Severity.SUCCESS, fields=_own_fields(facts))


def _notifier(facts: Facts) -> str:
    return the("notifier", facts.text("notifier_name"))


def _platform(facts: Facts) -> str:
    return spaced(facts.text("platform_name", "notifier_type"))


def _why(facts: Facts) -> str:
    reason = facts.text("reason")
    return part(": ", _REASONS.get(reason, spaced(reason)))


def _own_fields(facts: Facts) -> tuple[tuple[str, str], ...]:
    return known([("Platform", _platform(facts)), ("Reason", facts.text("reason"))])


def _settings(facts: Facts) -> tuple[tuple[str, str], ...]:
    """The settings without what would let a reader use the notifier's receiver: an address is a site alone."""
    settings = facts.within("notifier_type_data")
    emails, members = len(settings.texts("emails")), len(settings.texts("user_ids"))
    recipients = [
        count(number, one, f"{one}{many}")
        for number, one, many in ((emails, "address", "es"), (members, "member", "s"))
        if number
    ]
    return known(
        [
            ("Platform", _platform(facts)),
            ("Receiver", site(settings.raw("webhook_url")) or " and ".join(recipients)),
            ("Events", _selection(facts)),
            ("Active", "no" if facts.flag("active") is False else ""),
        ]
    )


def _selection(facts: Facts) -> str:
    if facts.flag("send_all_events"):
        return "all"
    return ", ".join(spaced(name) for name in facts.texts("selected_events")[:20])


SENTENCES: Mapping[str, Renderer] = MappingProxyType(
    {
        "new_notifier": new_notifier,
        "edit_notifier": edit_notifier,
        "delete_notifier": delete_notifier,
        "notifier_failing": notifier_failing,
        "notifier_disabled": notifier_disabled,
        "notifier_recovered": notifier_recovered,
    }
)
