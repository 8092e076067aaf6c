"""What holds for every platform, whichever is added."""

import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as effort

import tocsin.platforms
from tests.platforms.cast import BODY, EXTREMES, PATH_TOKEN, SECRET, make_message, make_outgoing, messages_of_any_kind
from tests.platforms.limits import check_request
from tests.platforms.receiver import CannedNetwork, FailingNetwork, send
from tocsin.errors import InvalidInput, PermanentFailure, PlatformError, TemporaryFailure
from tocsin.ids import derived_hex_id
from tocsin.model import Message, Reason, Response
from tocsin.platforms import index_platforms, load_platforms
from tocsin.platforms.base import HttpPlatform, Platform, Setting, SettingKind
from tocsin.platforms.settings import mask_settings, read_settings

ROOT = Path(__file__).parents[2]
PLATFORMS = load_platforms()
HTTP_PLATFORMS = {name: platform for name, platform in PLATFORMS.items() if isinstance(platform, HttpPlatform)}
GOOD: dict[SettingKind, Any] = {
    SettingKind.URL: f"https://hooks.test/{PATH_TOKEN}",
    SettingKind.EMAILS: ["ada@example.com"],
    SettingKind.MEMBERS: ["us-1"],
}
FROZEN_IDS = {
    "email": "59c52ac27651ce002c1d4620",
    "rocket_chat": "d76aa9f9e9e20773bb02363a",
    "slack": "5982f145d48c3600273ef089",
    "webhook": "5982f145d48c3600273ef08a",
}
DOCUMENTED = {"email", "slack", "webhook"}

every_platform = pytest.mark.parametrize("platform", PLATFORMS.values(), ids=PLATFORMS)
every_http_platform = pytest.mark.parametrize("platform", HTTP_PLATFORMS.values(), ids=HTTP_PLATFORMS)


def allow(url: str) -> None:
    """Egress's check, for URLs that are fine."""


def good_settings(platform: Platform) -> dict[str, Any]:
    return {setting.name: GOOD[setting.kind] for setting in platform.settings}


def test_platforms_are_found_by_name_and_in_order() -> None:
    assert list(PLATFORMS) == sorted(PLATFORMS)
    assert set(PLATFORMS) >= {"email", "rocket_chat", "slack", "webhook"}
    assert all(name == platform.name for name, platform in PLATFORMS.items())


def test_adding_a_platform_is_adding_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pigeon.py").write_text(
        "from tocsin.platforms.webhook import WebhookPlatform\n"
        "class PigeonPlatform(WebhookPlatform):\n"
        "    id = 'f' * 24\n"
        "    name = 'pigeon'\n"
    )
    monkeypatch.setattr("tocsin.platforms.__path__", [*tocsin.platforms.__path__, str(tmp_path)])
    monkeypatch.setitem(sys.modules, "tocsin.platforms.pigeon", None)
    monkeypatch.delitem(sys.modules, "tocsin.platforms.pigeon")
    assert list(load_platforms()) == sorted([*PLATFORMS, "pigeon"])


def test_two_platforms_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="webhook"):
        index_platforms(iter([PLATFORMS["webhook"], PLATFORMS["webhook"]]))


def test_ids_never_change() -> None:
    assert {name: platform.id for name, platform in PLATFORMS.items() if name in FROZEN_IDS} == FROZEN_IDS


@every_platform
def test_an_id_is_documented_or_derived_from_the_name(platform: Platform) -> None:
    assert platform.name in DOCUMENTED or platform.id == derived_hex_id("platform", platform.name)


@every_platform
def test_it_describes_itself(platform: Platform) -> None:
    assert re.fullmatch("[a-z][a-z0-9_]*", platform.name)
    assert platform.display_name.strip()
    assert platform.description.endswith(".")
    assert platform.expires_after.total_seconds() > 0
    names = [setting.name for setting in platform.settings]
    assert names
    assert len(set(names)) == len(names)
    assert set(platform.any_of) <= set(names)
    assert all(setting.label and setting.help.endswith(".") for setting in platform.settings)
    assert all(setting.secret for setting in platform.settings if setting.kind is SettingKind.URL)


@every_http_platform
def test_what_has_to_be_looked_up_first_is_for_mail_alone(platform: HttpPlatform) -> None:
    assert all(setting.kind is not SettingKind.MEMBERS for setting in platform.settings)


@every_platform
def test_its_logo_is_a_drawing_without_scripts_or_links(platform: Platform) -> None:
    root = ET.fromstring(platform.logo)  # noqa: S314 - our own logos
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "viewBox" in root.attrib
    assert not re.search(r"script|href|url\(|\bon\w+=", platform.logo)


@every_platform
def test_it_has_a_page_and_a_test_file(platform: Platform) -> None:
    assert (ROOT / f"docs/platforms/{platform.name}.md").is_file()
    assert (ROOT / f"tests/platforms/test_{platform.name}.py").is_file()
    assert f"platforms/{platform.name}.md" in (ROOT / "docs/platforms.md").read_text()


@every_platform
def test_its_page_names_every_setting(platform: Platform) -> None:
    page = (ROOT / f"docs/platforms/{platform.name}.md").read_text()
    assert all(f"`{setting.name}`" in page for setting in platform.settings)


@every_platform
def test_good_settings_are_kept_and_unknown_ones_dropped(platform: Platform) -> None:
    good = good_settings(platform)
    assert read_settings(platform, good | {"phone_number": "1", "extra": None}, allow) == good


@every_platform
def test_settings_that_are_missing_name_a_field(platform: Platform) -> None:
    first_needed = next((s.name for s in platform.settings if s.required), (*platform.any_of, "")[0])
    for nothing in ({}, {setting.name: None for setting in platform.settings}):
        with pytest.raises(InvalidInput) as refused:
            read_settings(platform, nothing, allow)
        assert f"type_data.{first_needed}" in refused.value.fields


@every_platform
@pytest.mark.parametrize("wrong", [42, True, {"a": 1}, [1], ["x" * 3000], "x\r\ny: z", "x" * 2049])
def test_settings_that_are_wrong_name_their_field(platform: Platform, wrong: Any) -> None:
    def refuse(url: str) -> None:
        raise ValueError("is not a web address")

    for setting in platform.settings:
        with pytest.raises(InvalidInput) as refused:
            read_settings(platform, good_settings(platform) | {setting.name: wrong}, refuse)
        assert refused.value.fields[f"type_data.{setting.name}"][0]


@every_platform
def test_secrets_are_masked(platform: Platform) -> None:
    masked = mask_settings(platform, good_settings(platform) | {"extra": PATH_TOKEN})
    assert PATH_TOKEN not in repr(masked)
    assert masked.keys() == good_settings(platform).keys()


@every_http_platform
@pytest.mark.parametrize("message", EXTREMES.values(), ids=EXTREMES)
def test_any_message_fits(platform: HttpPlatform, message: Message) -> None:
    check_request(platform.name, platform.request(make_outgoing(good_settings(platform), message)))


@every_http_platform
@given(message=messages_of_any_kind())
@effort(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_message_breaks_out(platform: HttpPlatform, message: Message) -> None:
    check_request(platform.name, platform.request(make_outgoing(good_settings(platform), message)))


@every_http_platform
@pytest.mark.parametrize("message", EXTREMES.values(), ids=EXTREMES)
def test_a_look_holds_nothing_but_what_is_sent(platform: HttpPlatform, message: Message) -> None:
    request = platform.request(make_outgoing(good_settings(platform), message))
    card = platform.look(request)
    if card is None:
        return
    sent = re.sub(r"\W|_", "", repr(msgspec.json.decode(request.body)).replace("&lt;", "").replace("&gt;", ""))
    shown = [card.title, card.text, *(part for row in card.rows for part in (row.label, row.value)), card.link or ""]
    assert card.title.strip()
    assert all(word in sent for text in shown for word in re.findall(r"[^\W_]+", text))


@every_http_platform
def test_a_request_is_the_same_each_time(platform: HttpPlatform) -> None:
    outgoing = make_outgoing(good_settings(platform))
    assert platform.request(outgoing) == platform.request(outgoing)


@every_http_platform
def test_a_request_says_who_sends_what(platform: HttpPlatform) -> None:
    request = platform.request(make_outgoing(good_settings(platform)))
    headers = dict(request.headers)
    assert request.method == "POST"
    assert request.url == GOOD[SettingKind.URL]
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"].startswith("Tocsin/")
    assert all(name == name.lower() for name in headers)
    assert len(headers) == len(request.headers)


@every_http_platform
def test_every_status_has_a_meaning(platform: HttpPlatform) -> None:
    for status in range(200, 600):
        response = Response(status=status, body=b"words")
        if status < 300:
            platform.check(response)
            continue
        kind = PermanentFailure if status in permanent_statuses(platform) else TemporaryFailure
        with pytest.raises(kind) as failed:
            platform.check(response)
        told = msgspec.structs.replace(response, body=b"") if 300 <= status < 400 else response
        assert failed.value.response == told
        assert str(status) in str(failed.value)
        assert failed.value.reason is expected_reason(status)


def permanent_statuses(platform: Platform) -> set[int]:
    # Chat services say 400 about the message itself; a generic receiver that does is often mended by its owner.
    return {410} if platform.name == "webhook" else {400, 410}


def expected_reason(status: int) -> Reason:
    words = {
        401: Reason.AUTH,
        403: Reason.AUTH,
        407: Reason.AUTH,
        408: Reason.TIMEOUT,
        410: Reason.GONE,
        413: Reason.TOO_LARGE,
        429: Reason.RATE_LIMITED,
    }
    if 300 <= status < 400:
        return Reason.REDIRECTED
    return words.get(status, Reason.SERVER_ERROR if status >= 500 else Reason.REJECTED)


@every_http_platform
@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("https://login.example.com/?next=secret", " to login.example.com"),
        ("//Other.example.com:8443/secret", " to other.example.com"),
        ("http://someone:secret@[fd00::1]/", " to fd00::1"),
        ("/secret", ""),
        ("secret", ""),
        ("http://[secret/", ""),
        ("http://a b\x07.example/secret", ""),
        (f"http://{'secret.' * 50}example/", ""),
        (None, ""),
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_of_where_a_redirect_leads_to_the_host_alone_is_told(
    platform: HttpPlatform, status: int, location: str | None, told: str
) -> None:
    headers = () if location is None else (("location", location),)
    with pytest.raises(TemporaryFailure) as failed:
        platform.check(Response(status=status, headers=headers, body=b"<a href=https://login.example.com/?secret>"))
    assert failed.value.message == f"answered {status}{told}; redirects are not followed"
    assert failed.value.response is not None
    assert failed.value.response.body == b""


@every_platform
@pytest.mark.parametrize("reason", [Reason.TIMEOUT, Reason.UNREACHABLE, Reason.BAD_RESPONSE])
async def test_a_network_failure_is_tried_again(platform: Platform, reason: Reason) -> None:
    network = FailingNetwork(TemporaryFailure(reason, "no luck"))
    with pytest.raises(TemporaryFailure) as failed:
        await send(platform, make_outgoing(good_settings(platform)), network)
    assert failed.value.reason is reason


@every_platform
async def test_a_notifier_without_settings_is_misconfigured(platform: Platform) -> None:
    network = FailingNetwork(AssertionError("nothing is sent"))
    with pytest.raises(PermanentFailure) as failed:
        await send(platform, make_outgoing({}), network)
    assert failed.value.reason is Reason.MISCONFIGURED


@every_platform
async def test_an_accepted_message_returns_the_answer(platform: Platform) -> None:
    response = Response(status=250 if platform.requires else 200, body=b"ok")
    assert await send(platform, make_outgoing(good_settings(platform)), CannedNetwork(response)) == response


@every_http_platform
@pytest.mark.parametrize("status", [302, 400, 401, 404, 410, 429, 500])
async def test_no_secret_shows_in_reprs_and_errors(platform: HttpPlatform, status: int) -> None:
    outgoing = make_outgoing(good_settings(platform), make_message())
    network = CannedNetwork(Response(status=status, body=PATH_TOKEN.encode()))
    with pytest.raises(PlatformError) as failed:
        await send(platform, outgoing, network)
    shown = f"{platform.request(outgoing)!r} {failed.value!r} {failed.value}"
    assert PATH_TOKEN not in shown
    assert SECRET not in shown
    assert BODY.decode() not in shown


def test_a_setting_that_is_wrong_and_one_that_is_missing_are_both_named() -> None:
    class Both(type(PLATFORMS["webhook"])):
        settings = (
            Setting(name="a", kind=SettingKind.URL, label="A", help="A.", required=True),
            Setting(name="b", kind=SettingKind.EMAILS, label="B", help="B."),
        )

    with pytest.raises(InvalidInput) as refused:
        read_settings(Both(), {"b": ["nobody"]}, allow)
    assert set(refused.value.fields) == {"type_data.a", "type_data.b"}
