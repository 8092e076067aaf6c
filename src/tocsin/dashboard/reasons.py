"""Why a notifier is stopped, as the text of its state tells it. Pure."""

import re

from tocsin.model import NotifierState, Reason

_STOPPED = frozenset({NotifierState.FAILING, NotifierState.DISABLED})


def reason_of(state: str, state_reason: str | None) -> Reason | None:
    """Why attempts failed at last, of a notifier that fails or was disabled."""
    if state not in _STOPPED:
        return None
    told = set(re.findall(r"\w+", state_reason or ""))
    return next((reason for reason in Reason if reason.value in told), None)
