"""Every sentence, pinned, and the page of all events held true.

`titles.txt` has each event's sample in words, then the same without a user, then with nothing at all in it. After a
wanted change: `python tests/rendering/test_titles.py > tests/rendering/titles.txt`.
"""

import sys
from pathlib import Path

import msgspec
import pytest

from tocsin.catalogue import Catalogue, EventKind
from tocsin.model import EventUser
from tocsin.rendering import SENTENCES, render
from tocsin.rendering.page import page, sample_event

CATALOGUE = Catalogue.load()
TITLES = Path(__file__).with_name("titles.txt")
PAGE = Path(__file__).parents[2] / "docs" / "events.md"


def titles(kind: EventKind) -> str:
    event = sample_event(kind)
    anonymous = msgspec.structs.replace(event, user=EventUser())
    bare = msgspec.structs.replace(anonymous, app_name=None, project_name=None, type_data={})
    return "\n".join([f"{kind.type}:", *(f"  {render(each).title}" for each in (event, anonymous, bare))])


def test_every_event_of_the_catalogue_has_a_sentence_of_its_own() -> None:
    assert set(SENTENCES) == set(CATALOGUE.events)


def test_titles_are_the_pinned_ones() -> None:
    pinned = TITLES.read_text(encoding="utf-8")
    assert "\n".join(titles(kind) for kind in CATALOGUE.events.values()) + "\n" == pinned


def test_the_page_of_events_is_true() -> None:
    assert page(Catalogue.load()) == PAGE.read_text(encoding="utf-8"), "run python -m tocsin.rendering.page"


@pytest.mark.parametrize("kind", CATALOGUE.events.values(), ids=lambda kind: kind.type)
def test_a_sentence_names_the_app_or_the_project_and_reads_well(kind: EventKind) -> None:
    title = render(sample_event(kind)).title
    if kind.scope == "app":
        assert "my-app" in title
    if kind.scope == "project":
        assert "the project shop" in title
    for wrong in ("None", "{", "[", "  ", " ,", " :", "()", "“”"):
        assert wrong not in titles(kind).replace("\n  ", "\n")


if __name__ == "__main__":
    sys.stdout.write("\n".join(titles(kind) for kind in CATALOGUE.events.values()) + "\n")
