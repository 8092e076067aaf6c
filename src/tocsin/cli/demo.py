"""`tocsin demo`: a first look. Tocsin with samples and a receiver of its own, and one event on its way through it."""

import asyncio
import http.client
import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from rich.console import Console
from rich.text import Text

from tocsin.catalogue import Catalogue
from tocsin.cli.receiver import HOST, Arrival, Receiver
from tocsin.cli.samples import APP_NAME, TOKEN_NAME, USERNAME, Samples, prepare_samples
from tocsin.clock import SystemClock
from tocsin.control import ask, socket_path
from tocsin.errors import ConfigError
from tocsin.ingest import Draft
from tocsin.logs import configure_logs
from tocsin.operator import Examine, read_reply
from tocsin.platforms.verification import check
from tocsin.server import CannotListen, serve
from tocsin.settings import Settings, read_settings
from tocsin.wiring import Running

PATIENCE_SECONDS = 15.0
EVENT_TYPE = "deployment"
EVENTS_PATH = f"/v1/apps/{APP_NAME}/events"


def run(environment: Mapping[str, str], *, port: int) -> None:
    """Serve in the foreground until a signal. Raises ConfigError."""
    settings = read_settings(environment)
    # A newcomer reads what the demo prints; the log speaks up when something is wrong.
    level = settings.log_level if "TOCSIN_LOG_LEVEL" in environment else "warning"
    configure_logs(log_format=settings.log_format, log_level=level)
    uvloop.run(_run(settings, port))


async def _run(settings: Settings, port: int) -> None:
    # Next to the ports of the API and the metrics, so that it is the same again at the next start.
    receiver = Receiver(port + 2 if 0 < port < 65534 else 0)
    allowed = ",".join(filter(None, (settings.egress_allow, f"{HOST}:{receiver.port}")))
    settings = msgspec.structs.replace(settings, egress_allow=allowed)
    console = _Console(highlight=False, markup=False, soft_wrap=True)
    await receiver.start()
    try:
        await serve(settings, host=HOST, port=port, beside=_Show(console, receiver).run)
    except CannotListen as error:
        await _refuse_double(settings)
        raise ConfigError(
            f"port {port} of {HOST} is taken: stop what listens there, or choose another port, "
            f"as with {_program()} demo --port {port + 100 if port < 65400 else 0}"
        ) from error
    finally:
        receiver.close()
    console.print("Tocsin has stopped. Its data stays for the next start.")


async def _refuse_double(settings: Settings) -> None:
    """Raises ConfigError when a Tocsin has this database already: another port would not help."""
    path = socket_path(settings.database_url.removeprefix("sqlite:///"))
    if (reply := await ask(path, msgspec.json.encode(Examine()))) is not None:
        raise ConfigError(f"Tocsin runs here already ({read_reply(reply)}): use that one, or stop it first")


class _Console(Console):
    def on_broken_pipe(self) -> None:
        self.quiet = True  # nobody reads any more; the server goes on


class _Show:
    """What the newcomer sees."""

    def __init__(self, console: Console, receiver: Receiver) -> None:
        self._console = console
        self._receiver = receiver

    async def run(self, running: Running, url: str) -> None:
        """Show an event going out and arriving, then whatever arrives."""
        samples = await prepare_samples(running.verbs, self._receiver.url)
        self._introduce(samples, url)
        await self._tell_of_waiting(running, samples)
        early = await self._show_event(running, samples, url)
        self._invite(samples, url)
        for arrival in early:
            self._show(arrival, samples)
        while True:
            self._show(await self._receiver.arrivals.get(), samples)

    def _introduce(self, samples: Samples, url: str) -> None:
        self._title("Tocsin is running")
        self._fact("dashboard", "this link signs you in, once and within ten minutes:")
        self._console.print(Text(f"  {url}/login/{samples.link_secret}", "bold"))
        self._fact("API", f"{url}/v1")
        self._fact("API docs", f"{url}/docs")
        self._fact("sample app", f"{APP_NAME}, which belongs to the sample user {USERNAME}")
        if samples.token is not None:
            self._fact("API token", samples.token, "bold")
            self._fact("", "Keep it: it is shown this once.")
        else:
            self._fact("API token", "was shown at the first start; this makes another one:")
            self._fact("", f"{_program()} token add {USERNAME} --name {TOKEN_NAME}-2")

    async def _tell_of_waiting(self, running: Running, samples: Samples) -> None:
        waiting = [
            notifier
            for notifier in await running.verbs.notifiers.list(samples.app)
            if (notifier.state_reason or "").startswith("waiting for set-up")
        ]
        for notifier in waiting:
            platform = running.verbs.notifiers.platforms[notifier.platform]
            label = "e-mail" if notifier.platform == "email" else notifier.platform
            self._fact(label, f"waits for set-up: {platform.requires} is not set", "yellow")

    async def _show_event(self, running: Running, samples: Samples, url: str) -> list[Arrival]:
        """Report a deployment and follow it; gives what else arrived meanwhile."""
        self._title("A deployment, from the report to the receiver")
        sample = Catalogue.load().events[EVENT_TYPE].sample
        begun = time.monotonic()
        if samples.token is None:
            raw = msgspec.Raw(msgspec.json.encode(sample))
            accepted = await running.verbs.ingest.accept(
                samples.app, samples.user, [Draft(type=EVENT_TYPE, type_data=raw)]
            )
            event_id = str(msgspec.json.decode(accepted.bodies[0])["id"])
            self._fact("accepted", f"event {event_id}, in {_millis(begun)}")
        else:
            body = msgspec.json.encode({"event": {"type": EVENT_TYPE, "type_data": sample}})
            event_id = await asyncio.to_thread(_post, url, samples.token, body)
            self._fact("accepted", f"POST {EVENTS_PATH}, 201 in {_millis(begun)}")
            self._fact("", f"event {event_id}")
        return await self._follow(event_id, samples, begun)

    async def _follow(self, event_id: str, samples: Samples, begun: float) -> list[Arrival]:
        others: list[Arrival] = []
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while (arrival := await self._receiver.arrivals.get()).headers.get("webhook-id") != event_id:
                    others.append(arrival)
        except TimeoutError:
            self._fact("on its way", f"not arrived yet; its notifier is {samples.notifier.state}", "yellow")
            return others
        self._fact("delivered", f"POST {self._receiver.url}, {_millis(begun)} after the report")
        word, style = _verdict(arrival, samples)
        self._fact("received", f"{_type_of(arrival)} of {APP_NAME}, signature {word}", style)
        return others

    def _invite(self, samples: Samples, url: str) -> None:
        self._title("The next one is yours")
        body = msgspec.json.encode({"event": {"type": EVENT_TYPE, "type_data": {"status": "success"}}}).decode()
        lines = (
            f"curl {url}{EVENTS_PATH} \\",
            f" -H 'Authorization: Bearer {samples.token or 'TOKEN'}' \\",
            " -H 'Content-Type: application/json' \\",
            f" -d '{body}'",
        )
        for line in lines:
            self._console.print(Text(line, "cyan"))
        self._title("What arrives at the receiver (Ctrl-C stops Tocsin)")

    def _show(self, arrival: Arrival, samples: Samples) -> None:
        word, style = _verdict(arrival, samples)
        event_id = ascii(arrival.headers.get("webhook-id", ""))[1:41].rstrip("'")
        self._fact(time.strftime("%H:%M:%S"), f"{_type_of(arrival)} {event_id}, signature {word}", style)

    def _title(self, text: str) -> None:
        self._console.print()
        self._console.print(Text(text, "bold"))

    def _fact(self, label: str, text: str, style: str = "") -> None:
        self._console.print(Text.assemble((f"  {label:<12}", "dim"), (text, style)))


def _verdict(arrival: Arrival, samples: Samples) -> tuple[str, str]:
    verdict = check(arrival.headers, arrival.body, key=samples.signing_secret, now=SystemClock().now())
    return ("VERIFIED", "green") if verdict.is_genuine else (f"NOT VERIFIED: {verdict.sentence}", "red")


def _type_of(arrival: Arrival) -> str:
    try:
        event: Any = msgspec.json.decode(arrival.body)
        return ascii(str(event["type"]))[1:-1][:60]
    except (msgspec.DecodeError, KeyError, TypeError):
        return "something that is no event"


def _post(url: str, token: str, body: bytes) -> str:
    """Report an event as any client would; gives its id."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE_SECONDS)
    try:
        connection.request("POST", EVENTS_PATH, body, {"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    if answer.status != 201:
        raise ConfigError(f"Tocsin answered the sample event with {answer.status}")
    return str(msgspec.json.decode(text)["event"]["id"])


def _millis(begun: float) -> str:
    return f"{(time.monotonic() - begun) * 1000:.0f} ms"


def _program() -> str:
    """What to type to run this program from here."""
    if Path(sys.argv[0]).name == "__main__.py":
        return "python -m tocsin"
    known = shutil.which("tocsin")
    is_on_path = known is not None and os.path.realpath(known) == os.path.realpath(sys.argv[0])
    return "tocsin" if is_on_path else os.path.relpath(sys.argv[0])
