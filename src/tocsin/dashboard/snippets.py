"""Receivers that check signatures, in five languages: the files of the folder `snippets`, as pages show them."""

from functools import cache
from importlib.resources import files

import msgspec

from tocsin.platforms.signing import Algorithm

LANGUAGES = {"Python": "py", "JavaScript": "mjs", "Go": "go", "Ruby": "rb", "PHP": "php"}
"""With the ends of their files' names."""


class Snippet(msgspec.Struct, frozen=True, kw_only=True):
    language: str
    code: str


@cache
def snippets_of(algorithm: Algorithm) -> tuple[Snippet, ...]:
    """One in each language, for what is signed so."""
    name = "verify" if algorithm is Algorithm.HMAC else "verify_key"
    folder = files(__package__).joinpath("snippets")
    return tuple(
        Snippet(language=language, code=folder.joinpath(f"{name}.{end}").read_text("utf-8"))
        for language, end in LANGUAGES.items()
    )
