"""What a sentence's author hands in: words and figures, before they are clipped and made a message."""

from collections.abc import Callable

import msgspec

from tocsin.model import Severity
from tocsin.rendering.read import Facts


class Draft(msgspec.Struct, frozen=True):
    title: str
    text: str = ""
    severity: Severity = Severity.INFO
    fields: tuple[tuple[str, str], ...] = ()
    link: str | None = None


Renderer = Callable[[Facts], Draft]
