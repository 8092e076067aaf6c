"""How deep JSON may be nested, checked before any parser sees it."""

import re

from tocsin.errors import Malformed

MAX_DEPTH = 64
"""Levels of nesting in a request: what is deeper cannot be read by every receiver's JSON parser."""

_STRUCTURE = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)


def check_depth(body: bytes) -> None:
    """Raises Malformed."""
    if body.count(b"{") + body.count(b"[") <= MAX_DEPTH:
        return
    depth = 0
    for match in _STRUCTURE.finditer(body):
        byte = match[0][:1]
        if byte in b"[{":
            depth += 1
        elif byte in b"]}":
            depth -= 1
        if depth > MAX_DEPTH:
            raise Malformed(f"the body is nested deeper than {MAX_DEPTH} levels")
