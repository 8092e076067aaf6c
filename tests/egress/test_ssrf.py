"""What must never be reached is not: refused when a URL is checked, refused when it is sent, no connection made."""

import asyncio
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from tests.egress.receiver import OK, FakeResolver, Receiver, answering, make_egress
from tocsin.egress import AddressPolicy, UrlRefused, check_url
from tocsin.egress.dial import Dialler
from tocsin.egress.ranges import is_own
from tocsin.errors import PermanentFailure
from tocsin.model import Reason, Request

# The canary listens on every address of this machine, at {port}.
_LOOPBACK_SPELLINGS = """
127.0.0.1 127.1 127.0.1 127.255.255.254 127.0.0.1. 2130706433 0x7f000001 0x7f.1 0x7f.0.0.1
0x7f.0x0.0x0.0x1 0X7F.1 017700000001 0177.1 0177.0.0.1 0177.0x0.0.1 00000177.0.0.1 127.0.0.01 127.00.0.1
127.0x1 0 0.0.0.0 0.0.0.1 0x0 00 localhost LOCALHOST localhost. localhost.localdomain.local app.localhost
a.b.localhost ip6-localhost [::1] [::] [0:0:0:0:0:0:0:1] [::0.0.0.1] [::127.0.0.1] [::7f00:1]
[::ffff:127.0.0.1] [::ffff:7f00:1] [0:0:0:0:0:ffff:127.0.0.1] [::FFFF:127.0.0.1] [::ffff:0:127.0.0.1]
[64:ff9b::127.0.0.1] [64:ff9b:1::127.0.0.1] [2002:7f00:1::] [2002:7f00:0001::1] [2001:0:7f00:1::]
[2001::1] [fe80::1] [fe80::1%25lo] [fe80::1%lo] [::1%lo] [fe80::5efe:127.0.0.1] [2600::5efe:127.0.0.1]
[2600::200:5efe:10.0.0.1] [fec0::1] [ff02::1] [fc00::1] [fd00::1] [100::1] [5f00::1] [3fff::1]
[2001:db8::1] [2001:10::1] [2001:20::1] [4000::1] [::2]
"""
_ELSEWHERE = """
169.254.169.254 0xa9fea9fe 2852039166 0251.0376.0251.0376 169.254.43518 0xa9.0xfe.0xa9.0xfe 169.254.0.1
169.254.170.2 [::ffff:169.254.169.254] [::ffff:a9fe:a9fe] [64:ff9b::a9fe:a9fe] [2002:a9fe:a9fe::1]
[::a9fe:a9fe] [fd00:ec2::254] 100.100.100.200 100.64.0.1 100.127.255.255 192.0.0.192 192.0.0.1
168.63.129.16 10.0.0.1 10.255.255.255 167772161 0xa.1 172.16.0.1 172.31.255.255 192.168.0.1 192.168.1
0300.0250.0.1 192.0.2.1 192.88.99.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1
239.255.255.255 240.0.0.1 255.255.255.255 4294967295 metadata metadata.google.internal
instance-data.ec2.internal router.home.arpa printer.local intranet db kubernetes.default.svc.local
1.2.3.4.5 256.1.1.1 1.2.3.256 4294967296 0x100000000 127.0.0.1.1 0x 08.0.0.1 1..1 .127.0.0.1 127.0.0.1..
%31%32%37.0.0.1 127.0.0.1%00.example.com
"""
# Circled, full-width and superscript characters that name resolution maps to plain ones.
_WIDE_SPELLINGS = [
    "\u2460\u2461\u2466.0.0.1",
    "\uff11\uff12\uff17.0.0.1",
    "127\u30020\u30020\u30021",
    "127\uff0e0\uff0e0\uff0e1",
    "\uff11\uff12\uff17\uff0e\uff11",
    "\uff10\uff58\uff17\uff46\uff0e\uff11",
    "\xb2130706433",
    "\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3",
]
HOSTS_HERE = _LOOPBACK_SPELLINGS.split() + _WIDE_SPELLINGS
HOSTS_ELSEWHERE = _ELSEWHERE.split()
_PORTS = "22 25 23 53 110 143 465 587 993 3306 5432 6379 6667 9200 11211 27017 6000 2049 10080"
TRICKS = [
    "http://user@127.0.0.1:{port}/",
    "http://user:password@example.com:{port}/",
    "http://example.com@127.0.0.1:{port}/",
    "http://example.com:80@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}#@example.com/",
    "http://127.0.0.1:{port}?@example.com/",
    "http://127.0.0.1:{port}\\@example.com/",
    "http://example.com\\@127.0.0.1:{port}/",
    "http:\\\\127.0.0.1:{port}/",
    "http:127.0.0.1:{port}/",
    "http:/127.0.0.1:{port}/",
    "http:///127.0.0.1:{port}/",
    "//127.0.0.1:{port}/",
    "127.0.0.1:{port}",
    "\thttp://127.0.0.1:{port}/",
    " http://127.0.0.1:{port}/",
    "ht\ntp://127.0.0.1:{port}/",
    "http://127.0.\n0.1:{port}/",
    "http://127.0.0.1\0.example.com:{port}/",
    "http://[::1]x:{port}/",
    "http://[::1:{port}/",
    "http://::1:{port}/",
    "http://[127.0.0.1]:{port}/",
    "http://127.0.0.1:{port}:80/",
    "http://127.0.0.1:+{port}/",
    "http://127.0.0.1:0{port}0/",
    "http://example.com:0/",
    "http://example.com:65536/",
    "http://example.com:\uff18\uff10/",
    "http://127.0.0.1:{port}/\r\nHost: example.com",
    "file:///etc/passwd",
    "gopher://127.0.0.1:{port}/_x",
    "ftp://127.0.0.1:{port}/",
    "dict://127.0.0.1:{port}/info",
    "ws://127.0.0.1:{port}/",
    "unix:///run/docker.sock",
    "http+unix://%2Frun%2Fdocker.sock/",
    "javascript:alert(1)",
    "data:text/plain,hello",
    "http://",
    "http://:{port}/",
    "http://./",
    "http://../",
    "http://-/",
    "http://exa mple.com/",
    "http://example..com/",
    "http://" + "a" * 64 + ".example.com/",
    "http://" + "a." * 127 + "example.com/",
    "https://xn--/",
    "",
]


def _urls() -> Iterator[str]:
    for host in HOSTS_HERE:
        yield f"http://{host}:{{port}}/"
    for host in HOSTS_ELSEWHERE:
        yield f"http://{host}/"
        yield f"https://{host}:{{port}}/latest/meta-data/"
    for port in _PORTS.split():
        yield f"http://example.com:{port}/"
        yield f"https://8.8.8.8:{port}/"
    yield from TRICKS


@pytest.fixture
def all_refused() -> list[str]:
    urls = list(_urls())
    assert len(urls) >= 120
    return urls


async def test_refused_urls_reach_nobody_and_tell_no_address(all_refused: list[str]) -> None:
    egress = make_egress(allow="", resolver=FakeResolver(("127.0.0.1",)))
    async with Receiver(answering(OK), host="0.0.0.0") as canary:
        for template in all_refused:
            url = template.replace("{port}", str(canary.port))
            with pytest.raises(UrlRefused) as refused:
                check_url(url, AddressPolicy())
            with pytest.raises(PermanentFailure) as failed:
                await egress.request(Request(url=url))
            assert failed.value.reason is refused.value.reason
            assert failed.value.reason in {Reason.EGRESS_BLOCKED, Reason.MISCONFIGURED}
            assert "127.0.0.1" not in str(failed.value)
            assert failed.value.response is None
        assert canary.accepted == 0
    await egress.aclose()


@pytest.mark.parametrize("host", HOSTS_HERE + HOSTS_ELSEWHERE)
def test_a_host_that_must_not_be_reached_is_blocked_and_not_merely_misspelt(host: str) -> None:
    with pytest.raises(UrlRefused) as refused:
        check_url(f"http://{host}/", AddressPolicy())
    assert refused.value.reason is Reason.EGRESS_BLOCKED


@pytest.mark.parametrize(
    "answer",
    [
        ("127.0.0.1",),
        ("::1",),
        ("::ffff:127.0.0.1",),
        ("fe80::1%lo",),
        ("0.0.0.0",),
        ("169.254.169.254",),
        ("10.9.9.9", "192.168.1.1"),
        ("64:ff9b::7f00:1",),
        ("nonsense",),
        (),
    ],
)
async def test_a_public_name_of_a_private_address_is_blocked(answer: tuple[str, ...]) -> None:
    egress = make_egress(allow="", resolver=FakeResolver(answer))
    async with Receiver(answering(OK), host="0.0.0.0") as canary:
        with pytest.raises(PermanentFailure) as caught:
            await egress.request(Request(url=f"http://127.0.0.1.nip.example:{canary.port}/"))
        assert caught.value.reason is Reason.EGRESS_BLOCKED
        assert not any(address in str(caught.value) for address in answer)
        assert canary.accepted == 0
    await egress.aclose()


async def test_a_name_that_changes_its_address_never_reaches_the_forbidden_one() -> None:
    """127.0.0.2 stands for a public address, since it is allowed; 127.0.0.1 is not, and the canary listens there."""
    resolver = FakeResolver(("127.0.0.2",), ("127.0.0.1",), ("127.0.0.1", "127.0.0.2"), ("127.0.0.1", "::1"))
    egress = make_egress(allow="127.0.0.2", resolver=resolver)
    outcomes = []
    async with Receiver(answering(OK), host="127.0.0.1") as canary:
        allowed = Receiver(answering(OK), host="127.0.0.2")
        allowed.port = canary.port
        async with allowed:
            for _ in range(1000):
                try:
                    response = await egress.request(Request(url=f"http://rebind.example.com:{canary.port}/"))
                    outcomes.append(response.status)
                except PermanentFailure as failure:
                    outcomes.append(failure.reason)
        assert canary.accepted == 0
    await egress.aclose()
    assert outcomes == [200, Reason.EGRESS_BLOCKED, 200, Reason.EGRESS_BLOCKED] * 250
    assert allowed.accepted == 1


async def test_a_kept_connection_is_not_used_once_the_name_has_moved_away() -> None:
    resolver = FakeResolver(("127.0.0.2",), ("127.0.0.3",))
    egress = make_egress(allow="127.0.0.0/8", resolver=resolver)
    async with Receiver(answering(OK), host="127.0.0.2") as old:
        new = Receiver(answering(OK), host="127.0.0.3")
        new.port = old.port
        async with new:
            for _ in range(4):
                await egress.request(Request(url=f"http://moved.example.com:{old.port}/"))
        assert (old.accepted, new.accepted) == (1, 1)
    await egress.aclose()


class Moving(FakeResolver):
    """Remembers where the name is at this moment."""

    def cached(self, host: str) -> tuple[str, ...] | None:
        return self.answers[0]


async def test_a_kept_connection_is_not_used_once_it_is_remembered_that_the_name_has_moved() -> None:
    resolver = Moving(("127.0.0.2",))
    egress = make_egress(allow="127.0.0.2,127.0.0.3", resolver=resolver)
    async with Receiver(answering(OK), host="127.0.0.2") as old:
        request = Request(url=f"http://moved.example.com:{old.port}/")
        new = Receiver(answering(OK), host="127.0.0.3")
        new.port = old.port
        async with new:
            for address in ("127.0.0.2", "127.0.0.3"):
                resolver.answers = [(address,)]
                for _ in range(2):
                    await egress.request(request)
        assert (old.accepted, new.accepted) == (1, 1)
        resolver.answers = [("127.0.0.1",)]
        with pytest.raises(PermanentFailure) as caught:
            await egress.request(request)
        assert caught.value.reason is Reason.EGRESS_BLOCKED
    await egress.aclose()


async def test_of_several_addresses_only_the_allowed_ones_are_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = Dialler._connect

    async def connect_to_allowed(self: Dialler, address: str, *rest: Any) -> socket.socket:
        assert address == "127.0.0.2"
        return await connect(self, address, *rest)

    monkeypatch.setattr(Dialler, "_connect", connect_to_allowed)
    addresses = ("10.9.9.9", "127.0.0.1", "127.0.0.2", "fd00::1")
    egress = make_egress(allow="127.0.0.2", resolver=FakeResolver(addresses))
    async with Receiver(answering(OK), host="127.0.0.2") as allowed:
        response = await egress.request(Request(url=f"http://many.example.com:{allowed.port}/"))
    assert (response.status, allowed.accepted) == (200, 1)
    await egress.aclose()


async def test_the_allow_list_opens_exactly_one_port() -> None:
    async with Receiver(answering(OK)) as allowed, Receiver(answering(OK)) as canary:
        egress = make_egress(allow=f"127.0.0.1:{allowed.port}")
        assert (await egress.request(Request(url=allowed.url))).status == 200
        with pytest.raises(PermanentFailure):
            await egress.request(Request(url=canary.url))
        assert canary.accepted == 0
        await egress.aclose()


def test_addresses_of_this_machine_are_known() -> None:
    assert is_own(IPv4Address("127.0.0.1"))
    assert not is_own(IPv4Address("8.8.8.8"))


_IN_A_NETWORK_OF_ITS_OWN = """
import asyncio
from tests.egress.receiver import OK, FakeResolver, Receiver, answering, make_egress
from tocsin.errors import PermanentFailure
from tocsin.model import Request

ADDRESSES = ["169.254.169.254", "10.9.9.9", "93.184.216.34", "fd00:ec2::254", "2606:4700::1111"]

async def main():
    for address in ADDRESSES:
        async with Receiver(answering(OK), host=address) as canary:
            by_name = make_egress(allow="", resolver=FakeResolver((address,)))
            for url in (canary.url, f"http://public.example.com:{canary.port}/"):
                try:
                    await by_name.request(Request(url=url))
                except PermanentFailure:
                    pass
            print("blocked", canary.accepted)
            await by_name.aclose()
            listed = make_egress(allow=f"{address}/128" if ":" in address else address)
            print("listed", (await listed.request(Request(url=canary.url))).status)
            await listed.aclose()

asyncio.run(main())
"""


@pytest.mark.slow
def test_in_a_network_of_its_own_nothing_forbidden_and_no_own_address_is_reached() -> None:
    if not shutil.which("unshare") or not shutil.which("ip"):
        pytest.skip("needs unshare and ip")
    set_up = "ip link set lo up"
    for address in (
        "169.254.169.254/32",
        "10.9.9.9/32",
        "93.184.216.34/32",
        "fd00:ec2::254/128",
        "2606:4700::1111/128",
    ):
        set_up += f" && ip address add {address} dev lo"
    if subprocess.run(["unshare", "-rn", "sh", "-c", set_up], capture_output=True, check=False).returncode:
        pytest.skip("no network namespaces here")
    command = f'{set_up} && exec "$0" -c "$1"'
    done = subprocess.run(
        ["unshare", "-rn", "sh", "-c", command, sys.executable, _IN_A_NETWORK_OF_ITS_OWN],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.stdout.splitlines() == ["blocked 0", "listed 200"] * 5, done.stderr


async def test_a_blocked_host_is_blocked_without_a_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was made")

    egress = make_egress(allow="", resolver=FakeResolver(("10.0.0.1",)))
    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(PermanentFailure):
        await egress.request(Request(url="http://example.com/"))
    monkeypatch.undo()
    await asyncio.sleep(0)
    await egress.aclose()
