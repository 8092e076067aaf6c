"""What must never be reached is not: refused when a URL is checked, refused when it is sent, no connection made."""

import asyncio
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Any

import pytest

from tests.egress.hostile_urls import REFUSED, Hostile
from tests.egress.receiver import OK, FakeResolver, Receiver, answering, make_egress
from tocsin.egress import AddressPolicy, UrlRefused, check_url
from tocsin.egress.dial import Dialler
from tocsin.egress.ranges import is_own
from tocsin.errors import PermanentFailure
from tocsin.model import Reason, Request


async def test_refused_urls_reach_nobody_and_tell_no_address() -> None:
    egress = make_egress(allow="", resolver=FakeResolver(("127.0.0.1",)))
    async with Receiver(answering(OK), host="0.0.0.0") as canary:
        for url, _ in (*REFUSED, *_at_the_canary(canary.port), Hostile("", "nothing at all")):
            with pytest.raises(UrlRefused):
                check_url(url, AddressPolicy())
            with pytest.raises(PermanentFailure) as failed:
                await egress.request(Request(url=url))
            assert failed.value.reason is Reason.EGRESS_BLOCKED
            assert "127.0.0.1" not in str(failed.value)
            assert failed.value.response is None
        assert canary.accepted == 0
    await egress.aclose()


def _at_the_canary(port: int) -> Iterator[Hostile]:
    for url, why in REFUSED:
        for given in (":8080", ":8443"):
            yield Hostile(url.replace(given, f":{port}"), why)


@pytest.mark.parametrize(("url", "why"), REFUSED)
def test_a_url_that_must_not_be_reached_is_refused_when_it_is_saved(url: str, why: str) -> None:
    with pytest.raises(UrlRefused):
        check_url(url, AddressPolicy())


@pytest.mark.parametrize("url", [each.url for each in REFUSED if "metadata of" in each.why and "[" in each.url])
def test_a_metadata_address_is_opened_by_nothing_but_itself(url: str) -> None:
    address = url[url.index("[") + 1 : url.index("]")]
    for allow in ("::/0", "fd00::/8", "fc00::/7,fe80::/10"):
        with pytest.raises(UrlRefused):
            check_url(url, AddressPolicy.parse(allow))
    assert check_url(url, AddressPolicy.parse(address)).address


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
