"""The e-mail platform: one mail a recipient, as text and HTML."""

import re
from collections.abc import AsyncIterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as effort

from tests.platforms.cast import (
    EXTREMES,
    NASTY,
    make_message,
    make_outgoing,
    make_user,
    messages_of_any_kind,
    unsubscribe_url,
)
from tests.platforms.mail_server import Script, mail_server
from tests.platforms.receiver import FailingNetwork
from tocsin.egress.mail import Mailer
from tocsin.errors import InvalidInput, PermanentFailure, TemporaryFailure
from tocsin.model import Message, Reason, Response, Severity
from tocsin.platforms.base import Outgoing
from tocsin.platforms.email import EmailPlatform, recipients_of, subject_of
from tocsin.platforms.settings import mail_address, read_settings

EMAIL = EmailPlatform()
HEADERS = [
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Auto-Submitted",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "MIME-Version",
    "Content-Type",
]


class Mail(FailingNetwork):
    """A network that has mail alone."""

    def __init__(self, mailer: Mailer) -> None:
        super().__init__(AssertionError("nothing is requested here"))
        self.mailer = mailer

    async def send_mail(self, message: EmailMessage, *, recipient: str) -> Response:
        return await self.mailer.send(message, recipient=recipient)


@pytest.fixture
async def server() -> AsyncIterator[tuple[Script, Mail]]:
    async with mail_server() as (script, port):
        mailer = Mailer(f"smtp://127.0.0.1:{port}", "tocsin@example.com")
        yield script, Mail(mailer)
        await mailer.aclose()


def to(*emails: str, message: Message | None = None, **changes: object) -> Outgoing:
    return make_outgoing({"emails": list(emails)}, message, **changes)


def compose(message: Message | None = None, recipient: str = "ada@example.com") -> EmailMessage:
    mail = EMAIL.compose(to(recipient, message=message), recipient)
    read = message_from_bytes(mail.as_bytes(), policy=default)
    assert isinstance(read, EmailMessage)
    return read


def part(mail: EmailMessage, kind: str) -> str:
    body = mail.get_body((kind,))
    assert body is not None
    content = body.get_content()
    assert isinstance(content, str)
    return content


class Elements(HTMLParser):
    """The elements and attributes of a document, and the links in it."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.links: list[str] = []
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen |= {tag, *(f"{tag}.{name}" for name, _ in attrs)}
        self.links += [value or "" for name, value in attrs if name in {"href", "src", "action", "background"}]


PLAIN_ELEMENTS = Elements(part(compose(), "html")).seen
LOG_ELEMENTS = Elements(part(compose(make_message(text="1\n2\n3\n4\n5\n6")), "html")).seen


def test_a_mail_has_exactly_its_headers() -> None:
    mail = compose()
    assert mail.keys() == HEADERS
    assert mail["To"] == "ada@example.com"
    assert mail["Subject"] == "my-shop crashed"
    assert mail["Date"] == "Fri, 02 Jan 2026 03:04:05 +0000"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content_type() == "multipart/alternative"


def test_the_text_says_everything() -> None:
    text = part(compose(), "plain")
    for words in ("🔴 my-shop crashed", "web-1 exited with status 137.", "Container: web-1", "Exit status: 137"):
        assert words in text
    assert "Details: https://tocsin.test/apps/my-shop/events/6593a1b2c3d4e5f6a7b8c9d0" in text
    assert "App: my-shop" in text
    assert "Time: 02 January 2026, 03:04:05 UTC" in text
    assert f"Unsubscribe: {unsubscribe_url('ada@example.com')}" in text


def test_the_page_says_everything_too() -> None:
    page = part(compose(), "html")
    for words in ("my-shop crashed", "web-1 exited with status 137.", "Exit status", "Error", "app_crashed"):
        assert words in page
    assert Elements(page).links == [make_message().link, unsubscribe_url("ada@example.com")]


def test_nothing_is_loaded_from_elsewhere() -> None:
    page = part(compose(), "html")
    assert not PLAIN_ELEMENTS & {"img", "script", "link", "iframe", "object", "form"}
    assert "url(" not in page
    assert "@import" not in page


def test_a_mail_can_be_left_in_one_click() -> None:
    mail = compose()
    assert mail["List-Unsubscribe"] == f"<{unsubscribe_url('ada@example.com')}>"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    raw = EMAIL.compose(to("ada@example.com"), "ada@example.com").as_bytes()
    assert f"List-Unsubscribe: <{unsubscribe_url('ada@example.com')}>\r\n".encode() in raw


def test_one_click_is_not_promised_without_https() -> None:
    outgoing = to("ada@example.com", unsubscribe_url=lambda _: "http://127.0.0.1:8600/u/x")
    mail = EMAIL.compose(outgoing, "ada@example.com")
    assert mail["List-Unsubscribe"] == "<http://127.0.0.1:8600/u/x>"
    assert "List-Unsubscribe-Post" not in mail
    assert mail["Message-ID"].endswith("@tocsin.localhost>")


def test_the_id_of_a_mail_is_the_same_at_each_attempt_and_another_for_each_recipient_and_replay() -> None:
    first = EMAIL.compose(to("ada@example.com"), "ada@example.com")
    again = EMAIL.compose(to("ada@example.com", attempt=2), "ada@example.com")
    other = EMAIL.compose(to("ada@example.com"), "bob@example.com")
    replay = EMAIL.compose(to("ada@example.com", delivery_id="de-2"), "ada@example.com")
    assert first["Message-ID"] == again["Message-ID"]
    assert first.as_bytes() == again.as_bytes()
    assert len({first["Message-ID"], other["Message-ID"], replay["Message-ID"]}) == 3
    assert re.fullmatch(r"<[a-z0-9.]+@tocsin\.test>", first["Message-ID"])


def test_mails_about_one_app_form_a_thread() -> None:
    crash, deployment = compose(), compose(make_message(event_type="new_deployment", title="Deployed"))
    assert crash["In-Reply-To"] == crash["References"] == deployment["References"]
    assert crash["References"] != crash["Message-ID"]


@pytest.mark.parametrize(
    ("title", "app_name", "subject"),
    [
        ("my-shop crashed", "my-shop", "my-shop crashed"),
        ("Deployed", "my-shop", "[my-shop] Deployed"),
        ("Deployed", None, "Deployed"),
        ("", "my-shop", "[my-shop] app_crashed"),
        ("a\r\nBcc: eve@evil.test", None, "a Bcc: eve@evil.test"),
        ("a\u2028b\u202ec\x00d", None, "a bcd"),
    ],
)
def test_the_subject_is_one_line_with_the_app_in_it(title: str, app_name: str | None, subject: str) -> None:
    assert subject_of(make_message(title=title, app_name=app_name)) == subject


@pytest.mark.parametrize("message", EXTREMES.values(), ids=EXTREMES)
def test_any_message_fits(message: Message) -> None:
    check_mail(message)


@given(message=messages_of_any_kind())
@effort(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_message_breaks_out(message: Message) -> None:
    check_mail(message)


def check_mail(message: Message) -> None:
    raw = EMAIL.compose(to("ada@example.com", message=message), "ada@example.com").as_bytes()
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", raw)
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert len(raw) < 2_000_000
    mail = message_from_bytes(raw, policy=default)
    assert isinstance(mail, EmailMessage)
    assert mail.keys() == HEADERS
    assert mail["To"] == "ada@example.com"
    assert mail["Subject"]
    assert len(mail["Subject"]) <= 150
    elements = Elements(part(mail, "html"))
    assert elements.seen <= PLAIN_ELEMENTS | LOG_ELEMENTS
    assert all(link.startswith(("http://", "https://")) for link in elements.links)
    assert part(mail, "plain").strip()


def test_markup_is_shown_and_not_obeyed() -> None:
    page = part(compose(make_message(text="<img src=x onerror=alert(1)> & <b>", title=NASTY)), "html")
    assert "&lt;img src=x onerror=alert(1)&gt; &amp; &lt;b&gt;" in page


@pytest.mark.parametrize("link", ["javascript:alert(1)", "data:text/html,x", "//evil.test", "https://", "x"])
def test_only_web_links_are_links(link: str) -> None:
    mail = compose(make_message(link=link))
    assert len(Elements(part(mail, "html")).links) == 1
    assert "Details" not in part(mail, "plain")


def test_a_log_is_set_in_monospace() -> None:
    page = part(compose(make_message(text="\n".join(f"line {n}" for n in range(9)))), "html")
    assert 'class="log"' in page
    assert 'class="log"' not in part(compose(), "html")


@pytest.mark.parametrize("severity", list(Severity))
def test_each_severity_is_named(severity: Severity) -> None:
    assert f">{severity.value.title()}</span>" in part(compose(make_message(severity=severity)), "html")


def test_each_recipient_is_written_to_once() -> None:
    members = (make_user("ADA@example.com"), make_user("cleo@bücher.example"), make_user("broken"))
    outgoing = to("ada@Example.com", "bob@example.com", members=members)
    assert recipients_of(outgoing) == ["ada@Example.com", "bob@example.com", "cleo@xn--bcher-kva.example"]


async def test_nobody_sees_the_others(server: tuple[Script, Mail]) -> None:
    script, network = server
    response = await EMAIL.send(to("ada@example.com", "bob@example.com"), network)
    assert response.status == 250
    assert sorted(recipient for _, recipient, _ in script.mails) == ["ada@example.com", "bob@example.com"]
    for _, recipient, octets in script.mails:
        other = "bob" if recipient.startswith("ada") else "ada"
        assert f"{other}@example.com".encode() not in octets
        assert unsubscribe_url(recipient).encode() in octets


async def test_a_mistake_of_ours_with_one_recipient_is_no_failure_of_the_platform() -> None:
    with pytest.raises(ExceptionGroup) as crashed:
        await EMAIL.send(to("ada@example.com", "bob@example.com"), FailingNetwork(ZeroDivisionError()))
    assert crashed.group_contains(ZeroDivisionError)


async def test_one_recipient_who_is_refused_does_not_spoil_it_for_others(server: tuple[Script, Mail]) -> None:
    script, network = server
    script.refused["bob@example.com"] = "550 5.1.1 no such user"
    response = await EMAIL.send(to("ada@example.com", "bob@example.com"), network)
    [ada, bob] = response.body.decode().split("\n")
    assert ada == "ada@example.com: 250 2.0.0 taken as 1"
    assert bob == "bob@example.com: not reached, the mail server answered 550 5.1.1 no such user"


async def test_it_is_tried_again_when_anyone_could_be_reached_later(server: tuple[Script, Mail]) -> None:
    script, network = server
    script.refused |= {"bob@example.com": "450 4.2.0 greylisted", "cleo@example.com": "550 no such user"}
    with pytest.raises(TemporaryFailure) as failed:
        await EMAIL.send(to("ada@example.com", "cleo@example.com", "bob@example.com"), network)
    assert "2 of 3 recipients were not reached" in str(failed.value)
    assert failed.value.response is not None
    assert b"ada@example.com: 250" in failed.value.response.body


async def test_it_fails_when_everyone_is_refused(server: tuple[Script, Mail]) -> None:
    script, network = server
    script.refused |= {f"{name}@example.com": "550 no such user" for name in ("ada", "bob")}
    with pytest.raises(PermanentFailure) as failed:
        await EMAIL.send(to("ada@example.com", "bob@example.com"), network)
    assert failed.value.reason is Reason.REJECTED


async def test_a_single_refusal_is_passed_on_as_it_is(server: tuple[Script, Mail]) -> None:
    script, network = server
    script.refused["ada@example.com"] = "550 5.1.1 no such user"
    with pytest.raises(PermanentFailure, match=r"the mail server answered 550 5\.1\.1 no such user"):
        await EMAIL.send(to("ada@example.com"), network)


async def test_without_anyone_left_nothing_is_sent(server: tuple[Script, Mail]) -> None:
    script, network = server
    with pytest.raises(PermanentFailure) as failed:
        await EMAIL.send(to("not an address"), network)
    assert failed.value.reason is Reason.MISCONFIGURED
    assert script.mails == []


@pytest.mark.parametrize(
    "address",
    ["ada@example.com", "a.b+c@sub.example.co", "o'neil@example.com", "x" * 64 + "@example.com", "ada@bücher.example"],
)
def test_addresses_of_people_are_accepted(address: str) -> None:
    settings = read_settings(EMAIL, {"emails": [f" {address} "], "user_ids": None}, print)
    assert settings == {"emails": [address]}


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ada",
        "@example.com",
        "ada@",
        "ada@localhost",
        "ada@@example.com",
        "a b@example.com",
        ".ada@example.com",
        "ada.@example.com",
        "a..b@example.com",
        "ada@-example.com",
        "ada@example..com",
        "ada@example.com.",
        "ada@192.0.2.1",
        "ada@[192.0.2.1]",
        '"ada"@example.com',
        "Ada <ada@example.com>",
        "ada@example.com,bob@example.com",
        "ada@example.com\r\nBcc: eve@evil.test",
        "ada@example.com\n",
        "adä@example.com",
        "=?utf-8?q?a=00b?=@example.com",
        "ada@exam\u0000ple.com",
        "x" * 65 + "@example.com",
        f"ada@{'x' * 64}.com",
        f"ada@{'x.' * 130}com",
        f"ada@{'ü' * 80}.example",
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="e-mail addresses"):
        mail_address(address)


@pytest.mark.parametrize(
    "type_data", [{"emails": [], "user_ids": []}, {}, {"emails": None}, {"emails": "", "user_ids": []}]
)
def test_a_recipient_is_needed(type_data: dict[str, object]) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_settings(EMAIL, type_data, print)
    assert refused.value.fields == {"type_data.emails": ["must not be empty when user_ids is"]}


def test_fifty_addresses_are_the_most() -> None:
    with pytest.raises(InvalidInput):
        read_settings(EMAIL, {"emails": ["ada@example.com"] * 51}, print)
