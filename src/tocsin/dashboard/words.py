"""What pages say, in the reader's language: `words/` has a folder a language, with the same files and keys."""

import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

DEFAULT = "en"
MAX_HEADER_CHARACTERS = 1000

_FRENCH_NUMBERS = str.maketrans({",": "\u202f", ".": ","})


class Words:
    """The words of one language."""

    def __init__(self, language: str, words: Mapping[str, str], sentences: Mapping[str, str]) -> None:
        """`sentences` translates those that come from elsewhere in Tocsin, word for word, such as errors."""
        self.language = language
        self.by_key = words
        self.sentences = sentences

    def __call__(self, key: str, **values: object) -> str:
        """The text of a key, with values in the places of their names; `count` chooses between `.one` and `.other`."""
        if "count" in values:
            key = f"{key}.one" if values["count"] in (0, 1) and self._is_one(values["count"]) else f"{key}.other"
        return self.by_key[key].format(**values)

    def _is_one(self, count: object) -> bool:
        return count == 1 or self.language == "fr"  # French counts 0 as one thing

    def number(self, value: float, digits: int = 0) -> str:
        """A number as this language writes it."""
        text = f"{value:,.{digits}f}"
        return text if self.language == "en" else text.translate(_FRENCH_NUMBERS)

    def sentence(self, text: str) -> str:
        """A sentence of Tocsin's in this language; as it is, where it is not translated."""
        return self.sentences.get(text, text)


class Languages:
    """Every language that pages can be in."""

    def __init__(self) -> None:
        folders = files(__package__).joinpath("words").iterdir()
        self.all = {folder.name: _read(folder) for folder in folders if folder.is_dir()}

    def choose(self, accept_language: str | None) -> Words:
        """The language that a browser likes best of those that there are (RFC 9110, 12.5.4)."""
        liked = sorted(_preferences((accept_language or "")[:MAX_HEADER_CHARACTERS]), key=lambda pair: -pair[1])
        for tag, weight in liked:
            language = tag.partition("-")[0].lower()
            if weight > 0 and language in self.all:
                return self.all[language]
        return self.all[DEFAULT]


def _preferences(header: str) -> Iterator[tuple[str, float]]:
    for part in header.split(","):
        tag, _, parameter = part.partition(";")
        name, _, weight = parameter.strip().partition("=")
        try:
            yield tag.strip(), float(weight) if name.strip() == "q" else 1.0
        except ValueError:
            continue


def _read(folder: Traversable) -> Words:
    words: dict[str, str] = {}
    sentences: dict[str, str] = {}
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        tables = tomllib.loads(file.read_text("utf-8"))
        sentences |= tables.pop("sentences", {})
        words |= _flatten(tables, "")
    return Words(folder.name, words, sentences)


def _flatten(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for name, value in table.items():
        if isinstance(value, str):
            yield prefix + name, value
        else:
            yield from _flatten(value, f"{prefix}{name}.")
