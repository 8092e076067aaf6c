"""Sentences about a user's own account: keys, tokens, signing in, and paying."""

from collections.abc import Mapping
from types import MappingProxyType

from tocsin.model import Severity
from tocsin.rendering.draft import Draft, Renderer
from tocsin.rendering.read import Facts
from tocsin.rendering.words import capital, euros, known, part, spaced, the

_METHODS: Mapping[str, str] = MappingProxyType(
    {"credit": "credit", "card": "card", "stripe": "card", "paypal": "PayPal"}
)


def new_user(facts: Facts) -> Draft:
    return Draft(facts.by("signed up", "A user signed up"))


def new_key(facts: Facts) -> Draft:
    return _key(facts, "added")


def edit_key(facts: Facts) -> Draft:
    return _key(facts, "changed")


def delete_key(facts: Facts) -> Draft:
    return _key(facts, "removed")


def _key(facts: Facts, done: str) -> Draft:
    key = the("SSH key", facts.text("name"))
    fields = known([("Fingerprint", facts.text("fingerprint"))])
    return Draft(facts.by(f"{done} {key}", f"{capital(key)} was {done}"), fields=fields)


def new_token(facts: Facts) -> Draft:
    return _token(facts, "created")


def regenerate_token(facts: Facts) -> Draft:
    return _token(facts, "renewed")


def delete_token(facts: Facts) -> Draft:
    return _token(facts, "revoked")


def _token(facts: Facts, done: str) -> Draft:
    token = the("API token", facts.text("token_name"))
    return Draft(facts.by(f"{done} {token}", f"{capital(token)} was {done}"))


def tfa_enabled(facts: Facts) -> Draft:
    how = part(" (", spaced(facts.text("provider")), ")")
    title = facts.by(f"turned on two-factor sign-in{how}", f"Two-factor sign-in was turned on{how}")
    return Draft(title, severity=Severity.SUCCESS)


def tfa_disabled(facts: Facts) -> Draft:
    title = facts.by("turned off two-factor sign-in", "Two-factor sign-in was turned off")
    return Draft(title, severity=Severity.WARNING)


def login_success(facts: Facts) -> Draft:
    return Draft(facts.by(f"signed in{_from(facts)}", f"A user signed in{_from(facts)}"))


def login_failure(facts: Facts) -> Draft:
    title = f"A sign-in{part(' as ', facts.who)}{_from(facts)} failed"
    return Draft(title, severity=Severity.WARNING)


def login_lock(facts: Facts) -> Draft:
    title = f"{facts.whose} account was locked after failed sign-ins{_from(facts)}"
    return Draft(title, severity=Severity.ERROR)


def login_unlock_success(facts: Facts) -> Draft:
    return Draft(f"{facts.whose} account was unlocked{_from(facts)}", severity=Severity.SUCCESS)


def password_reset_query(facts: Facts) -> Draft:
    at = part(" at ", facts.text("remote_ip"))
    title = f"Someone{at} asked for a new password for {facts.whose} account"
    text = "Nothing changes unless the link in the e-mail is used."
    return Draft(title, text=text, severity=Severity.WARNING)


def password_reset_success(facts: Facts) -> Draft:
    return Draft(f"The password of {facts.whose} account was changed{_from(facts)}", severity=Severity.WARNING)


def add_credit(facts: Facts) -> Draft:
    amount = euros(facts.number("amount", "value"))
    credit = part("", amount, " of credit") or "credit"
    how = part(" by ", _method(facts))
    return Draft(facts.by(f"added {credit}{how}", f"{capital(credit)} was added{how}"))


def add_payment_method(facts: Facts) -> Draft:
    card = facts.within("stripe")
    kind = facts.text("payment_method_type")
    # A card is told by brand and last four digits, as receipts do.
    what = part("the card ", part("", card.text("brand"), " ") + part("…", card.text("last4", limit=4)))
    if kind == "paypal" or not card.text("last4"):
        what = part("", _METHODS.get(kind, spaced(kind)), " as a payment method") or "a payment method"
    title = facts.by(f"added {what}", f"{capital(what)} was added")
    return Draft(title, fields=known([("Company", facts.text("company"))]))


def add_voucher(facts: Facts) -> Draft:
    voucher = the("voucher", facts.text("code"), quoted=False)
    return Draft(facts.by(f"redeemed {voucher}", f"{capital(voucher)} was redeemed"))


def payment_attempt(facts: Facts) -> Draft:
    status = facts.text("status")
    amount = part(" of ", euros(facts.number("amount")))
    who, how = part(" from ", facts.who), part(" by ", _method(facts))
    payment = f"payment{amount}{who}{how}"
    if status in {"paid", "success"}:
        return Draft(f"A {payment} was received", severity=Severity.SUCCESS)
    if status in {"", "new", "pending"}:
        return Draft(f"A {payment} is pending")
    return Draft(f"A {payment} failed", severity=Severity.ERROR, fields=known([("Status", spaced(status))]))


def _method(facts: Facts) -> str:
    method = facts.text("payment_method")
    return _METHODS.get(method, spaced(method))


def _from(facts: Facts) -> str:
    return part(" from ", facts.text("remote_ip"))


SENTENCES: Mapping[str, Renderer] = MappingProxyType(
    {
        "new_user": new_user,
        "new_key": new_key,
        "edit_key": edit_key,
        "delete_key": delete_key,
        "new_token": new_token,
        "regenerate_token": regenerate_token,
        "delete_token": delete_token,
        "tfa_enabled": tfa_enabled,
        "tfa_disabled": tfa_disabled,
        "login_success": login_success,
        "login_failure": login_failure,
        "login_lock": login_lock,
        "login_unlock_success": login_unlock_success,
        "password_reset_query": password_reset_query,
        "password_reset_success": password_reset_success,
        "add_credit": add_credit,
        "add_payment_method": add_payment_method,
        "add_voucher": add_voucher,
        "payment_attempt": payment_attempt,
    }
)
