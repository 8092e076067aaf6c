"""Whatever URL it is given, and however, Tocsin reaches no address that it must not; tried on a network of its own."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.egress import closed_network
from tests.egress.hostile_urls import MIXED, NAMES, PUBLIC, REFUSED, SOME_REFUSED, Hostile, HostileName
from tests.egress.siege import OPENED

pytestmark = pytest.mark.slow

BLOCKED = ["failed", "egress_blocked", "egress_blocked"]
DELIVERED = ["delivered", None, None]
FIELD = re.compile(r"(notifier\.)?type_data\.webhook_url")
Answers = Mapping[str, Any]
ADDRESS = re.compile(r"\b\d+\.\d+\.\d+\.\d+\b")


@pytest.mark.parametrize(
    ("scenario", "refused"),
    [("some_hostile_urls", SOME_REFUSED), pytest.param("all_hostile_urls", REFUSED, marks=pytest.mark.long)],
    ids=["some", "all"],
)
def test_no_hostile_url_reaches_anybody_when_it_is_saved_tested_or_delivered_to(
    tmp_path: Path, scenario: str, refused: Sequence[Hostile]
) -> None:
    seen = closed_network.run(f"tests.egress.siege:{scenario}", tmp_path)
    answers = seen["answers"]
    assert len(refused) + len(NAMES) >= 120
    assert len(answers) == len(refused) + len(NAMES) + len(MIXED)
    assert seen["reached"] == [PUBLIC]  # by what may: the notifier beside them, and names that have it too
    check_spelling_is_refused_everywhere(answers, refused)
    check_names_of_no_public_address_are_blocked_at_each_attempt(answers, seen["asked"])
    for name, answer in answers_to(answers, MIXED).items():
        assert (answer["test"], answer["delivery"]) == (DELIVERED, DELIVERED), name
    check_no_address_is_revealed(answers)


def check_spelling_is_refused_everywhere(answers: Answers, refused: Sequence[Hostile]) -> None:
    for hostile in refused:
        answer = answers[hostile.url]
        assert answer["statuses"] == [422, 422], hostile
        assert all(FIELD.fullmatch(name) for (name,) in answer["fields"]), hostile
        assert (answer["test"], answer["delivery"]) == (BLOCKED, BLOCKED), hostile


def check_names_of_no_public_address_are_blocked_at_each_attempt(answers: Answers, asked: Mapping[str, int]) -> None:
    for name, answer in answers_to(answers, NAMES).items():
        assert answer["statuses"] == [201, 200], name
        assert (answer["test"], answer["delivery"]) == (BLOCKED, BLOCKED), name
    spelt = {each.name.lower().removesuffix(".") for each in NAMES if each.addresses and each.name.isascii()}
    assert spelt <= set(asked)
    assert set(asked) <= spelt | {each.name for each in MIXED}  # nothing that is refused is looked up


def check_no_address_is_revealed(answers: Answers) -> None:
    private = {address for each in NAMES for address in each.addresses if ":" in address and len(address) > 3}
    for url, answer in answers.items():
        for words in (*answer["words"], answer["delivery_words"]):
            assert not ADDRESS.search(words), url
            assert not any(address in words for address in private), url


def answers_to(answers: Answers, names: Sequence[HostileName]) -> Answers:
    return {each.name: answers[f"http://{each.name}:8080/"] for each in names}


def test_what_the_operator_opens_is_reached_so_that_a_canary_would_have_seen_it(tmp_path: Path) -> None:
    reached = closed_network.run("tests.egress.siege:opened_urls", tmp_path)
    assert reached == {url: ["delivered", address] for url, address in OPENED.items()}


def test_a_thousand_deliveries_to_names_that_change_reach_public_addresses_alone(tmp_path: Path) -> None:
    seen = closed_network.run("tests.egress.siege:rebinding", tmp_path)
    assert seen == {"outcomes": {"delivered": 600, "failed": 400}, "wrong": [], "reached": [PUBLIC], "asked": [50]}


def test_proxies_and_passwords_of_the_environment_are_not_used(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("default login someone password something\n")
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
    environment = dict.fromkeys(names, "http://10.9.9.9:3128") | {
        "HOME": str(tmp_path),
        "NETRC": str(tmp_path / ".netrc"),
        "NO_PROXY": "",
        "no_proxy": "",
    }
    seen = closed_network.run("tests.egress.siege:proxies", tmp_path, environment=environment)
    assert seen["reached"] == [[PUBLIC, 80], [PUBLIC, 443], [PUBLIC, 8080]]
    assert [state for state, *_ in seen["states"]] == ["delivered", "delivered", "failed"]  # no TLS is spoken there
    assert len(seen["headers"]) == 2
    assert not any("authorization" in headers for headers in seen["headers"])
