"""Webhook: the event object itself, signed as Standard Webhooks describes."""

from datetime import timedelta
from typing import ClassVar

from tocsin.errors import PermanentFailure
from tocsin.model import Reason, Request
from tocsin.platforms.base import USER_AGENT, HttpPlatform, Outgoing, Setting, SettingKind, url_setting
from tocsin.platforms.signing import KeyPairSigner, Signer, signer_of

_MAX_SIGNERS = 4096


class WebhookPlatform(HttpPlatform):
    id: ClassVar[str] = "5982f145d48c3600273ef08a"
    name: ClassVar[str] = "webhook"
    display_name: ClassVar[str] = "Webhook"
    description: ClassVar[str] = "Send events as signed JSON to a URL of yours."
    logo: ClassVar[str] = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 48 48" fill="none" stroke="#4f46e5" stroke-width="4"'
        ' stroke-linecap="round" stroke-linejoin="round">'
        '<path d="M16 12 6 24l10 12M32 12l10 12-10 12"/><path d="M20 24h8m-4-4 4 4-4 4"/></svg>'
    )
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting(
            name="webhook_url",
            kind=SettingKind.URL,
            label="URL",
            help="Where each event is posted. Check the signature there with this notifier's secret.",
            secret=True,
            required=True,
        ),
    )
    signs: ClassVar[bool] = True
    # The last of the retries is made after some 76 hours; the rest is for receivers that ask to wait.
    expires_after: ClassVar[timedelta] = timedelta(days=7)

    def __init__(self) -> None:
        self._signers: dict[str, Signer | KeyPairSigner] = {}

    def request(self, outgoing: Outgoing) -> Request:
        timestamp = str(int(outgoing.sent_at.timestamp()))
        event_id = outgoing.event_id
        signer = self._signers.get(outgoing.secret) or self._add_signer(outgoing.secret)
        signature = signer.sign(event_id, timestamp, outgoing.body)
        previous = outgoing.previous_secret
        if previous is not None:
            signer = self._signers.get(previous) or self._add_signer(previous)
            signature = f"{signature} {signer.sign(event_id, timestamp, outgoing.body)}"
        return Request(
            url=url_setting(outgoing),
            headers=(
                ("content-type", "application/json"),
                ("user-agent", USER_AGENT),
                ("webhook-id", event_id),
                ("webhook-timestamp", timestamp),
                ("webhook-signature", signature),
                ("tocsin-delivery-id", outgoing.delivery_id),
                ("tocsin-attempt", str(outgoing.attempt)),
            ),
            body=outgoing.body,
        )

    def _add_signer(self, secret: str) -> Signer | KeyPairSigner:
        try:
            signer = signer_of(secret)
        except ValueError as error:
            raise PermanentFailure(Reason.MISCONFIGURED, str(error)) from error
        if len(self._signers) >= _MAX_SIGNERS:
            del self._signers[next(iter(self._signers))]
        self._signers[secret] = signer
        return signer
