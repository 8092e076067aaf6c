"""URLs that deliveries must never follow, and why: refused as they are spelt, or by what their name resolves to."""

from collections.abc import Iterator
from ipaddress import IPv4Address
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

PUBLIC = "8.8.4.4"
"""Stands for a receiver that may be reached."""
PUBLIC_V6 = "2606:4700::2222"
OWN = "93.184.216.34"
OWN_V6 = "2606:4700::1111"
"""Public addresses of the machine that Tocsin runs on."""


class Hostile(NamedTuple):
    url: str
    why: str


class HostileName(NamedTuple):
    """A name that anybody can have in the public DNS, and what it resolves to; nothing for an address."""

    name: str
    addresses: tuple[str, ...]
    why: str


_HOSTS = {
    "loopback": "127.0.0.1 127.255.255.254 127.0.0.53 [::1] [0:0:0:0:0:0:0:1] [0000::1]",
    "this network (0.0.0.0/8), which Linux connects to itself": "0.0.0.0 0.0.0.1 0.255.255.255 [::]",
    "private use (RFC 1918)": """10.0.0.1 10.9.9.9 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1
        192.168.255.255""",
    "carrier-grade NAT (RFC 6598)": "100.64.0.1 100.127.255.255",
    "link-local": "169.254.0.1 169.254.255.255 [fe80::1] [febf::1] [fe80::a9fe:a9fe]",
    "metadata of nearly every cloud": "169.254.169.254",
    "metadata of Amazon": "169.254.170.2 169.254.170.23 [fd00:ec2::254] [fd00:ec2::23] [FD00:EC2:0::254]",
    "metadata of Google": "metadata metadata.google.internal [fd20:ce::254]",
    "metadata of Azure, in the midst of public space": "168.63.129.16",
    "metadata of Alibaba": "100.100.100.200 [fd00:100::100:200]",
    "metadata of Oracle": "192.0.0.192 [fd00:c1::a9fe:a9fe]",
    "metadata of Scaleway": "169.254.42.42 [fd00:42::42]",
    "metadata of Tencent": "169.254.0.23",
    "metadata of Linode": "[fd00:a9fe:a9fe::1]",
    "IETF protocols, documentation, benchmarks": """192.0.0.1 192.0.0.8 192.0.2.1 198.18.0.1 198.19.255.255
        198.51.100.1 203.0.113.1 192.88.99.1""",
    "multicast, reserved, broadcast": "224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255",
    "decimal": "2130706433 2852039166 167772161 4294967295",
    "hexadecimal": "0x7f000001 0x7f.1 0x7f.0.0.1 0x7f.0x0.0x0.0x1 0X7F.1 0xa9fea9fe 0xa9.0xfe.0xa9.0xfe 0xa.1 0x0",
    "octal": "017700000001 0177.1 0177.0.0.1 00000177.0.0.1 0251.0376.0251.0376 0300.0250.0.1 127.0.0.01 00",
    "short": "127.1 127.0.1 169.254.43518 192.168.1 0",
    "octal, hexadecimal and decimal mixed": "0177.0x0.0.1 127.0x1 0xa9.254.0251.254 169.0xfe.43518",
    "full-width, circled and other digits, and other full stops": """
        \uff11\uff12\uff17.0.0.1 \u2460\u2461\u2466.0.0.1 127\u30020\u30020\u30021 127\uff0e0\uff0e0\uff0e1
        127\uff610\uff610\uff611 \uff11\uff12\uff17\uff0e\uff11 \uff10\uff58\uff17\uff46\uff0e\uff11 \xb2130706433
        \U0001d7cf\U0001d7d0\U0001d7d5.0.0.1 \u2081\u2082\u2087.0.0.1 1\u00ad27.0.0.1 127.0.0.1\u3002""",
    "a final dot": "127.0.0.1. 169.254.169.254. 2130706433. localhost. 0x7f.1.",
    "IPv4-mapped": """[::ffff:127.0.0.1] [::ffff:7f00:1] [0:0:0:0:0:ffff:127.0.0.1] [::FFFF:169.254.169.254]
        [::ffff:a9fe:a9fe] [::ffff:10.9.9.9] [::ffff:0.0.0.0]""",
    "IPv4-compatible": "[::127.0.0.1] [::7f00:1] [::a9fe:a9fe] [::0.0.0.1] [::10.9.9.9] [::2]",
    "IPv4-translated (RFC 2765)": "[::ffff:0:127.0.0.1] [::ffff:0:a9fe:a9fe]",
    "NAT64": """[64:ff9b::127.0.0.1] [64:ff9b::a9fe:a9fe] [64:ff9b::10.9.9.9] [64:ff9b:1::127.0.0.1]
        [64:ff9b:1::a9fe:a9fe] [64:ff9b::8.8.4.4]""",
    "6to4": "[2002:7f00:1::] [2002:7f00:0001::1] [2002:a9fe:a9fe::1] [2002:a09:909::1] [2002:808:404::1]",
    "Teredo": "[2001:0:7f00:1::] [2001::1] [2001:0:4136:e378:8000:63bf:5601:5601]",
    "ISATAP": "[fe80::5efe:127.0.0.1] [2600::5efe:127.0.0.1] [2600::200:5efe:10.0.0.1] [2606:4700::5efe:a9fe:a9fe]",
    "zone ids": "[fe80::1%25lo] [fe80::1%lo] [::1%lo] [fe80::a9fe:a9fe%25eth0] [2606:4700::2222%25lo]",
    "IPv6 of a private network": "[fc00::1] [fd00::1] [fdff:ffff::1] [fec0::1]",
    "IPv6 that is no public unicast": """[100::1] [5f00::1] [3fff::1] [2001:db8::1] [2001:10::1] [2001:20::1]
        [2001:2::1] [4000::1] [e000::1] [ff02::1] [ff0e::1] [1::1]""",
    "localhost (RFC 6761)": """localhost LOCALHOST app.localhost a.b.localhost localhost.localdomain.local
        \u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3 \uff4cocalhost local\u00adhost local\u200bhost""",
    "one label alone": "db intranet kubernetes ip6-localhost gotify. _redis",
    "names of a private network": """printer.local db.internal instance-data.ec2.internal router.home.arpa home.arpa
        HOST.DOCKER.INTERNAL kubernetes.default.svc.cluster.local printer\u3002local nas.local.""",
    "names that the public DNS never has": "a.invalid a.b.onion a.alt",
    "names of the infrastructure": "1.0.0.127.in-addr.arpa ipv4only.arpa _dns.resolver.arpa",
    "nearly an address": """1.2.3.4.5 256.1.1.1 1.2.3.256 4294967296 0x100000000 127.0.0.1.1 08.0.0.1 0x7g.1
        127.0.0.0x 1.2.3.4294967296""",
    "empty labels": "1..1 .127.0.0.1 127.0.0.1.. example..com .example.com .. .",
    "percent-encoded": "%31%32%37.0.0.1 127.0.0.1%00.example.com %6cocalhost 127%2e0%2e0%2e1 [::1%00]",
    "no name": "- -a.example.com a-.example.com exa$mple.com *.example.com xn-- xn--a\u00df.example.com",
    "a label, or all of it, too long": "a" * 64 + ".example.com " + "a." * 121 + "example1.com",
}
_PORTS = """1 7 9 19 20 21 22 23 25 43 69 110 111 119 123 135 139 143 161 179 389 465 512 513 514 515 548 554 563 587
601 636 989 990 993 995 1719 1720 1723 2049 3306 3659 4045 4190 5060 5061 5432 6000 6379 6566 6665 6667 6679 6697
9200 10080 11211 27017"""
_SPELLINGS = {
    "a user": """http://user@127.0.0.1:8080/ http://user:password@example.com:8080/ http://example.com@127.0.0.1:8080/
        http://example.com:80@127.0.0.1:8080/ http://:@127.0.0.1/ http://@8.8.4.4/ http://a%40b@127.0.0.1/
        http://8.8.4.4\uff20127.0.0.1:8080/""",
    "what parsers read differently": """http://127.0.0.1:8080#@example.com/ http://127.0.0.1:8080?@example.com/
        http://127.0.0.1:8080\\@example.com/ http://example.com\\@127.0.0.1:8080/ http:\\\\127.0.0.1:8080/
        http:127.0.0.1:8080/ http:/127.0.0.1:8080/ http:///127.0.0.1:8080/ //127.0.0.1:8080/ 127.0.0.1:8080
        http://[::1]x:8080/ http://[::1:8080/ http://::1:8080/ http://[127.0.0.1]:8080/ http://[::1].8080/
        http://127.0.0.1:8080:80/ http://[::1]@example.com/ http://127.0.0.1;8080/ http://127.0.0.1,8.8.4.4/
        http://\uff3b::1\uff3d/ http://127.0.0.1\uff0f.example.com/ http://127.0.0.1\uff1a8080/""",
    "a port that is none": """http://127.0.0.1:+8080/ http://8.8.4.4:0/ http://8.8.4.4:65536/ http://8.8.4.4:-80/
        http://8.8.4.4:\uff18\uff10/ http://8.8.4.4:0x50/ http://8.8.4.4:080800/ http://8.8.4.4:8e1/""",
    "another scheme": """file:///etc/passwd gopher://127.0.0.1:6379/_x ftp://127.0.0.1/ dict://127.0.0.1:11211/stats
        ws://127.0.0.1:8080/ wss://127.0.0.1:8080/ ldap://127.0.0.1/ jar:http://127.0.0.1!/ unix:///run/docker.sock
        http+unix://%2Frun%2Fdocker.sock/ javascript:alert(1) data:text/plain,hello httpx://127.0.0.1/
        view-source:http://127.0.0.1/ url:http://127.0.0.1/ \uff48ttp://127.0.0.1/""",
    "no host": "http:// http://:8080/ https:///latest http://?127.0.0.1 http://#127.0.0.1",
}
_WITH_BLANKS = (
    "\thttp://127.0.0.1:8080/",
    " http://127.0.0.1:8080/",
    "ht\ntp://127.0.0.1:8080/",
    "http://127.0.\n0.1:8080/",
    "http://127.0.0.1\t:8080/",
    "http://127.0.0.1 .example.com:8080/",
    "http://127.0.0.1\0.example.com:8080/",
    "http://127.0.0.1\x85.example.com:8080/",
    "http://127.0.0.1:8080/\r\nHost: example.com",
    "http://8.8.4.4/ HTTP/1.1\r\nx: y",
    "http://exa mple.com/",
)


def _refused() -> Iterator[Hostile]:
    ends = (("http", ""), ("https", ":8443"), ("http", ":8080"))
    for why, hosts in _HOSTS.items():
        for place, host in enumerate(hosts.split()):
            scheme, port = ends[place % len(ends)]
            yield Hostile(f"{scheme}://{host}{port}/latest/meta-data/", why)
    for place, port in enumerate(_PORTS.split()):
        start = (f"http://{PUBLIC}", "https://example.com")[place % 2]
        yield Hostile(f"{start}:{port}/", "a port of another protocol")
    for why, urls in _SPELLINGS.items():
        for url in urls.split():
            yield Hostile(url, why)
    for url in _WITH_BLANKS:
        yield Hostile(url, "blanks and control characters")


REFUSED = tuple(_refused())
"""Refused wherever they are given, and never looked up."""

SOME_REFUSED = tuple(one for _, alike in groupby(REFUSED, key=attrgetter("why")) for one in list(alike)[::2])
"""Half of them, with each reason among them."""

NAMES = (
    HostileName("127.0.0.1.nip.io", ("127.0.0.1",), "the address stands in the name"),
    HostileName("169-254-169-254.sslip.io", ("169.254.169.254",), "the address stands in the name"),
    HostileName("7f000001.nip.io", ("127.0.0.1",), "the address stands in the name"),
    HostileName("10.9.9.9.nip.io", ("10.9.9.9",), "the address stands in the name"),
    HostileName("localtest.me", ("127.0.0.1",), "a public name of loopback"),
    HostileName("metadata.tencentyun.com", ("169.254.0.23",), "the name of a metadata service"),
    HostileName("nas.lan", ("192.168.1.5",), "nobody has reserved .lan, the address decides"),
    HostileName("git.corp", ("10.0.0.7",), "nobody has reserved .corp, the address decides"),
    HostileName("wire.example.com", ("168.63.129.16",), "Azure's address is public, and is not"),
    HostileName("alibaba.example.com", ("100.100.100.200",), "metadata"),
    HostileName("oracle.example.com", ("192.0.0.192",), "metadata"),
    HostileName("zero.example.com", ("0.0.0.0",), "Linux connects it to loopback"),
    HostileName("own.example.com", (OWN,), "this machine, though public"),
    HostileName("own6.example.com", (OWN_V6,), "this machine, though public"),
    HostileName("own-mapped.example.com", (f"::ffff:{OWN}",), "this machine, though public"),
    HostileName(OWN, (), "this machine, which is known when it is dialled"),
    HostileName(str(int(IPv4Address(OWN))), (), "this machine, in another spelling"),
    HostileName(f"[{OWN_V6}]", (), "this machine, which is known when it is dialled"),
    HostileName(f"[::ffff:{OWN}]", (), "this machine, in another spelling"),
    HostileName("loopback6.example.com", ("::1",), "loopback"),
    HostileName("mapped.example.com", ("::ffff:127.0.0.1",), "IPv4-mapped"),
    HostileName("mapped-metadata.example.com", ("::ffff:a9fe:a9fe",), "IPv4-mapped"),
    HostileName("compatible.example.com", ("::7f00:1",), "IPv4-compatible"),
    HostileName("nat64.example.com", ("64:ff9b::a9fe:a9fe",), "NAT64"),
    HostileName("6to4.example.com", ("2002:a9fe:a9fe::1",), "6to4"),
    HostileName("teredo.example.com", ("2001:0:7f00:1::",), "Teredo"),
    HostileName("isatap.example.com", ("2600::5efe:10.9.9.9",), "ISATAP"),
    HostileName("amazon6.example.com", ("fd00:ec2::254",), "metadata"),
    HostileName("google6.example.com", ("fd20:ce::254",), "metadata"),
    HostileName("site6.example.com", ("fec0::1",), "a range of long ago"),
    HostileName("several.example.com", ("127.0.0.1", "10.9.9.9", "169.254.169.254", "::1"), "several, none public"),
    HostileName("own-and-private.example.com", (OWN, "10.9.9.9", OWN_V6), "several, none of another machine"),
    HostileName("dotted.example.com.", ("127.0.0.1",), "a final dot"),
    HostileName("xn--bcher-kva.example.com", ("127.0.0.1",), "an internationalised name"),
    HostileName("b\u00fccher.example.com", ("127.0.0.1",), "an internationalised name"),
    HostileName("LOUD.example.COM", ("127.0.0.1",), "capitals"),
)
"""Public names that resolve to no public address of another machine: looked up, and none of their addresses dialled."""

MIXED = (
    HostileName("mixed.example.com", ("127.0.0.1", PUBLIC), "public and loopback"),
    HostileName("mixed-metadata.example.com", (PUBLIC, "169.254.169.254"), "public and metadata"),
    HostileName("mixed6.example.com", (PUBLIC, "fd00:ec2::254", "::1"), "public and private of the other kind"),
    HostileName("mixed-own.example.com", (OWN, PUBLIC, OWN_V6), "public, and this machine"),
)
"""Public names that resolve to a receiver among others: it alone is dialled."""
