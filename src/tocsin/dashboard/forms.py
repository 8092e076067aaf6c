"""What forms send: read with bounds, and refused when another site sends it."""

from urllib.parse import parse_qsl

from fastapi import Request

from tocsin.api.bodies import read_bytes
from tocsin.dashboard.fields import Fields
from tocsin.dashboard.visit import Visit
from tocsin.errors import Malformed, NotAllowed

MAX_FORM_BYTES = 64 * 1024
MAX_FIELDS = 500
TOKEN = "form_token"  # noqa: S105 - the name of a field
FORM = "application/x-www-form-urlencoded"


async def read_form(request: Request) -> Fields:
    """The fields of a form. Raises Malformed, TooLarge."""
    body = await read_bytes(request, MAX_FORM_BYTES)
    if body and request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise Malformed("a form is sent as application/x-www-form-urlencoded")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError:
        raise Malformed("the form cannot be read") from None
    if any("\0" in text for pair in pairs for text in pair):
        raise Malformed("a form must not hold NUL characters")
    return Fields(pairs)


def refuse_foreign(request: Request, visit: Visit) -> None:
    """Raise NotAllowed for a form that another site sent, or that was drawn for somebody else.

    `Sec-Fetch-Site` and `Origin` are set by browsers alone, and no page can forge them; the token holds in those that
    send neither.
    """
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    is_foreign = site not in {"same-origin", "none"} if site else origin and not visit.is_own_origin(origin)
    if is_foreign:
        raise NotAllowed("this form was sent by another site")
    if not visit.is_own_form(visit.form.get(TOKEN, "")):
        raise NotAllowed("this form is out of date: go back, load the page again, and send it once more")


def local_path(text: str | None) -> str:
    r"""A path on this server that somebody asked to be led to, or the front page if it could lead elsewhere.

    Browsers read `\` as `/`, and drop tabs and ends of lines: only plain visible characters pass.
    """
    text = text or "/"
    is_plain = text.isascii() and text.isprintable() and " " not in text and "\\" not in text
    return text if is_plain and text.startswith("/") and not text.startswith("//") else "/"
