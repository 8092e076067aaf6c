"""TLS is verified, always: the chain, the name, the dates, and the version."""

import datetime as dt
import ssl

import pytest
import trustme

from tests.egress.receiver import OK, FakeResolver, Receiver, answering, answering_once, make_egress
from tocsin.egress import Egress
from tocsin.egress.tls import client_context
from tocsin.errors import TemporaryFailure
from tocsin.model import Reason, Request


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def _server_context(authority: trustme.CA, *names: str, **options) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2", "http/1.1"])
    authority.issue_cert(*names, **options).configure_cert(context)
    return context


def _egress(authority: trustme.CA | None, **options) -> Egress:
    context = client_context()
    if authority is not None:
        authority.configure_trust(context)
    return make_egress(ssl_context=context, resolver=FakeResolver(("127.0.0.1",)), **options)


async def _fail(egress: Egress, url: str) -> str:
    with pytest.raises(TemporaryFailure) as caught:
        await egress.request(Request(url=url, body=b"secret"))
    await egress.aclose()
    assert caught.value.reason is Reason.UNREACHABLE
    assert "secret" not in str(caught.value)
    return str(caught.value)


async def test_a_good_certificate_is_accepted_and_the_connection_kept(authority: trustme.CA) -> None:
    context = _server_context(authority, "hooks.example.com")
    asked_for = []
    context.sni_callback = lambda _, name, __: asked_for.append(name)
    egress = _egress(authority)
    async with Receiver(answering(OK), context=context) as receiver:
        for _ in range(3):
            response = await egress.request(
                Request(url=f"https://hooks.example.com:{receiver.port}/", body=b"x" * 300_000)
            )
            assert (response.status, response.body) == (200, b"ok")
        assert (receiver.accepted, asked_for) == (1, ["hooks.example.com"])
    await egress.aclose()


async def test_an_address_is_checked_against_the_addresses_of_the_certificate(authority: trustme.CA) -> None:
    egress = _egress(authority)
    async with Receiver(answering(OK), context=_server_context(authority, "127.0.0.1")) as receiver:
        assert (await egress.request(Request(url=receiver.url))).status == 200
    await egress.aclose()


async def test_a_body_until_close_is_read(authority: trustme.CA) -> None:
    egress = _egress(authority)
    script = answering_once(b"HTTP/1.1 200 OK\r\n\r\nall of it")
    async with Receiver(script, context=_server_context(authority, "127.0.0.1")) as receiver:
        assert (await egress.request(Request(url=receiver.url))).body == b"all of it"
    await egress.aclose()


async def test_a_certificate_of_an_unknown_authority_is_refused(authority: trustme.CA) -> None:
    async with Receiver(answering(OK), context=_server_context(authority, "hooks.example.com")) as receiver:
        message = await _fail(_egress(None), f"https://hooks.example.com:{receiver.port}/secret")
    assert "certificate is not valid" in message


async def test_a_certificate_for_another_name_is_refused(authority: trustme.CA) -> None:
    async with Receiver(answering(OK), context=_server_context(authority, "other.example.com")) as receiver:
        message = await _fail(_egress(authority), f"https://hooks.example.com:{receiver.port}/secret")
    assert "Hostname mismatch" in message


async def test_a_certificate_out_of_date_is_refused(authority: trustme.CA) -> None:
    long_ago = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    context = _server_context(authority, "hooks.example.com", not_after=long_ago)
    async with Receiver(answering(OK), context=context) as receiver:
        message = await _fail(_egress(authority), f"https://hooks.example.com:{receiver.port}/secret")
    assert "expired" in message


async def test_tls_1_1_is_refused(authority: trustme.CA) -> None:
    context = _server_context(authority, "hooks.example.com")
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSVersion"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSVersion"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with Receiver(answering(OK), context=context) as receiver:
        assert "TLS failed" in await _fail(_egress(authority), f"https://hooks.example.com:{receiver.port}/secret")


async def test_plain_http_behind_https_is_refused(authority: trustme.CA) -> None:
    async with Receiver(answering_once(OK)) as receiver:

        async def script(peer) -> None:
            await peer.write(OK)

        receiver._script = script
        assert "TLS failed" in await _fail(_egress(authority), f"https://hooks.example.com:{receiver.port}/secret")
