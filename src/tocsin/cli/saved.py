"""A received request as somebody saved it: its head and body, or its headers alone. Pure."""

import re
from typing import NamedTuple

_HEADER = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]+)[ \t]*:[ \t]*(.*?)[ \t]*", re.ASCII)
_FIRST_LINE = re.compile(r"[A-Z]+ \S+ HTTP/\d(\.\d)?", re.ASCII)
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")


class Saved(NamedTuple):
    """Headers by their lower-case names, and the body's bytes."""

    headers: dict[str, str]
    body: bytes


def read_request(raw: bytes) -> Saved:
    """A whole request: its first line, which may be missing, headers, an empty line and the body.

    The body ends where content-length says, if that is there: editors add a line end. Raises ValueError.
    """
    end = _END_OF_HEAD.search(raw)
    if end is None:
        raise ValueError("there is no empty line between headers and body")
    headers = read_headers(raw[: end.start()])
    body = raw[end.end() :]
    if "chunked" in headers.get("transfer-encoding", ""):
        raise ValueError("its body is saved in chunks: save what the receiver read, and give the headers beside it")
    length = headers.get("content-length", "")
    if length.isascii() and length.isdigit() and len(length) < 12:
        body = body[: int(length)]
    return Saved(headers, body)


def read_headers(raw: bytes) -> dict[str, str]:
    """Lines of `Name: value`, after the first line of a request if that is there. Raises ValueError."""
    lines = raw.decode("latin-1").strip("\r\n").splitlines()
    if lines and _FIRST_LINE.fullmatch(lines[0].strip()):
        del lines[0]
    headers = {}
    for line in lines:
        header = _HEADER.fullmatch(line)
        if header is None:
            raise ValueError("there are lines before the body that are no headers, as in webhook-id: ...")
        headers[header[1].lower()] = header[2]
    return headers
