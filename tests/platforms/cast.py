"""Messages and attempts that the tests of platforms share."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from tocsin.model import Field, Message, Severity, User
from tocsin.platforms.base import Outgoing

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PATH_TOKEN = "T0KENinTHEpath"
BODY = b'{"id":"6593a1b2c3d4e5f6a7b8c9d0","type":"app_crashed","type_data":{"n":1.50}}'
NASTY = (
    "<!channel> <@U1> @here @all &amp; <https://evil.test|https://bank.test> [bank](https://evil.test) "
    "![x](http://evil.test/x.png) *bold* _it_ ~no~ `code` ```\nfence\n``` <img src=x onerror=alert(1)> "
    "\u202eoverride\u2066 \x00\x07\x1b[31m \ud800 :rotating_light: $x$ \\(y\\) ||z||"
)
RTL = "تم تعليق الإضافة"
EMOJI = "👩‍👩‍👧🇫🇷👍🏽❤️"


def make_message(**changes: Any) -> Message:
    given: dict[str, Any] = {
        "title": "my-shop crashed",
        "text": "web-1 exited with status 137.",
        "severity": Severity.ERROR,
        "fields": (Field("Container", "web-1"), Field("Exit status", "137")),
        "link": "https://tocsin.test/apps/my-shop/events/6593a1b2c3d4e5f6a7b8c9d0",
        "app_name": "my-shop",
        "event_id": "6593a1b2c3d4e5f6a7b8c9d0",
        "event_type": "app_crashed",
        "created_at": AT,
    }
    return Message(**(given | changes))


def make_outgoing(type_data: dict[str, Any], message: Message | None = None, **changes: Any) -> Outgoing:
    message = message or make_message()
    given: dict[str, Any] = {
        "delivery_id": "de-01890000-0000-7000-8000-000000000001",
        "attempt": 1,
        "event_id": message.event_id,
        "app_id": "5343eccd646aa20012345678",
        "body": BODY,
        "render": lambda _: message,
        "notifier_id": "no-01890000-0000-7000-8000-000000000002",
        "notifier_name": "Team",
        "type_data": type_data,
        "secret": SECRET,
        "sent_at": AT,
        "unsubscribe_url": unsubscribe_url,
    }
    return Outgoing(**(given | changes))


def unsubscribe_url(recipient: str) -> str:
    return f"https://tocsin.test/unsubscribe/{recipient.encode().hex()}?signature={'s' * 100}"


def make_user(email: str) -> User:
    return User(id=f"us-{email}", username=email.partition("@")[0], email=email, created_at=AT)


EXTREMES = {
    "empty": make_message(title="", text="", fields=(), link=None, app_name=None),
    "blank": make_message(title=" \n", text="\t", fields=(Field("", ""), Field(" ", "\n")), link="", app_name=" "),
    "nasty": make_message(title=NASTY, text=NASTY, fields=(Field(NASTY, NASTY),), link="javascript:1", app_name="@all"),
    "right to left": make_message(title=RTL, text=RTL, fields=(Field(RTL, RTL),)),
    "long": make_message(title="t" * 5000, text="x" * 100_000, fields=(Field("l" * 999, "v" * 9999),) * 60),
    "long emoji": make_message(title=EMOJI * 99, text=EMOJI * 9999, fields=(Field(EMOJI * 99, EMOJI * 999),) * 60),
    "long escapes": make_message(title="&" * 999, text="<" * 9999, fields=(Field("&" * 999, "@a*" * 999),) * 60),
    "long link": make_message(link="https://tocsin.test/" + "x|>y" * 900),
    "markup in link": make_message(link="https://tocsin.test/a b|c>d<e\"f'g(h)"),
    "log": make_message(text="\n".join(f"[web-1] line {n} <b> & *x*" for n in range(500))),
}


def messages_of_any_kind() -> st.SearchStrategy[Message]:
    text = st.one_of(st.text(), st.text(alphabet="@<>&*_`~[](){}|\\:#\u202e\x00👍\n ax", max_size=80), st.just(NASTY))
    long_text = st.one_of(text, text.map(lambda value: value * 300))
    fields = st.lists(st.builds(Field, text, long_text), max_size=30).map(tuple)
    return st.builds(
        make_message,
        title=text,
        text=long_text,
        fields=fields,
        severity=st.sampled_from(Severity),
        link=st.one_of(st.none(), text, text.map(lambda value: f"https://tocsin.test/{value}")),
        app_name=st.one_of(st.none(), text),
    )
