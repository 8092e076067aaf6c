"""Tocsin in a closed network, given the hostile URLs in every way that there is; run by `closed_network.run`."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import idna

from faults.names import Name, NameServer
from tests.egress.closed_network import Canary
from tests.egress.hostile_urls import MIXED, NAMES, OWN, PUBLIC, PUBLIC_V6, REFUSED, SOME_REFUSED, Hostile
from tests.line import Line, straight_line
from tocsin.clock import ManualClock

NAME_SERVER = "127.53.0.1"
NOTIFIERS = "/v1/apps/my-app/notifiers"
GOOD = f"http://{PUBLIC}:8080/hook"

EVERYTHING = "0.0.0.0/0,::/0"
METADATA = "169.254.169.254,100.100.100.200,fd00:ec2::254,64:ff9b::a9fe:a9fe"
OPENED = {
    "http://127.0.0.1:8080/": "127.0.0.1",
    "http://2130706433/": "127.0.0.1",
    "http://localhost:8080/": "127.0.0.1",
    "http://10.9.9.9/": "10.9.9.9",
    "http://169.254.169.254/latest/meta-data/": "169.254.169.254",
    "http://100.100.100.200/": "100.100.100.200",
    f"http://{OWN}/": OWN,
    "http://[fd00:ec2::254]/": "fd00:ec2::254",
    "http://[::ffff:10.9.9.9]:8080/": "10.9.9.9",
    "http://[64:ff9b::a9fe:a9fe]/": "64:ff9b::a9fe:a9fe",
    "http://10.9.9.9.nip.io/": "10.9.9.9",
    "http://amazon6.example.com/": "fd00:ec2::254",
    "http://site6.example.com/": "fec0::1",
    GOOD: PUBLIC,
    f"http://[{PUBLIC_V6}]/": PUBLIC_V6,
    "http://10.9.9.9:6379/": "10.9.9.9",
}
"""What is reached where the operator opens everything: the control, without which a canary would prove nothing."""

ROUNDS = 50
_PUBLIC_THEN = ((PUBLIC,), ("127.0.0.1",), (PUBLIC, "127.0.0.1"), ("169.254.169.254",), ("169.254.169.254", PUBLIC))
_OWN_THEN = ((OWN,), (PUBLIC,), ("10.9.9.9", "127.0.0.1"), (PUBLIC,), (OWN, "127.0.0.1", PUBLIC))


@asynccontextmanager
async def _besieged(folder: Path, *, allow: str = "", clock: ManualClock | None = None) -> AsyncIterator[Line]:
    async with straight_line(folder, egress_allow=allow, retry_schedule=(0,), clock=clock) as line:
        yield line


def _name_server(names: Mapping[str, Sequence[tuple[str, ...]]]) -> NameServer:
    given = {_ascii(name): Name(addresses=tuple(addresses), ttl_seconds=0) for name, addresses in names.items()}
    return NameServer(given, host=NAME_SERVER)


def _ascii(name: str) -> str:
    return idna.encode(name, uts46=True).decode().removesuffix(".")


async def _good(line: Line) -> dict[str, Any]:
    """A notifier whose receiver may be reached."""
    only = {"send_all_events": False, "selected_events": ["app_restarted"]}
    return await line.add_notifier(type_data={"webhook_url": GOOD}, **only)


async def _answers(line: Line, url: str, notifier_id: str) -> dict[str, Any]:
    """How creating, changing and testing a notifier with this URL is answered."""
    type_data = {"webhook_url": url}
    fields = {"platform_id": "5982f145d48c3600273ef08a", "name": "hostile", "active": False, "type_data": type_data}
    created = await line.client.post(NOTIFIERS, json={"notifier": fields})
    if created.status_code == 201:
        await line.client.delete(f"{NOTIFIERS}/{created.json()['notifier']['id']}")
    path = f"{NOTIFIERS}/{notifier_id}"
    changed = await line.client.patch(path, json={"notifier": {"type_data": type_data}})
    tested = await line.client.post(f"{path}/test")
    delivery = tested.json()["delivery"]
    return {
        "statuses": [created.status_code, changed.status_code],
        "fields": [list(answer.json().get("errors", {})) for answer in (created, changed)],
        "test": _outcome(delivery),
        "words": [*(answer.text for answer in (created, changed) if answer.status_code == 422), tested.text],
    }


def _outcome(delivery: Mapping[str, Any]) -> list[Any]:
    attempts = delivery["attempts"]
    return [delivery["state"], delivery["reason"], *(attempt["reason"] for attempt in attempts)]


async def _delivered(line: Line, event_id: str) -> dict[str, tuple[list[Any], str]]:
    """By notifier id: how the delivery of this event ended, and all that the API says of it."""
    found = {}
    page = 1
    while page:
        params = {"event_id": event_id, "page": page, "per_page": 100}
        listed = (await line.client.get("/v1/apps/my-app/deliveries", params=params)).json()
        for entry in listed["deliveries"]:
            response = await line.client.get(f"/v1/apps/my-app/deliveries/{entry['id']}")
            found[entry["notifier_id"]] = (_outcome(response.json()["delivery"]), response.text)
        page = listed["meta"]["pagination"]["next_page"]
    return found


async def all_hostile_urls(folder: Path) -> Any:
    return await _besiege(folder, REFUSED)


async def some_hostile_urls(folder: Path) -> Any:
    return await _besiege(folder, SOME_REFUSED)


async def _besiege(folder: Path, refused: Sequence[Hostile]) -> Any:
    """Each URL at creation, change and test of a notifier, and one delivery to each; and whom that reached."""
    names = {each.name: [each.addresses] for each in (*NAMES, *MIXED) if each.addresses}
    urls = [each.url for each in refused] + [f"http://{each.name}:8080/" for each in (*NAMES, *MIXED)]
    answers: dict[str, Any] = {}
    async with _name_server(names) as server, Canary() as canary, _besieged(folder) as line:
        stored = await line.store_notifiers(urls, like=await _good(line))
        event = await line.post()
        await line.until_over(event["id"], len(stored) + 1)
        for notifier_id, (outcome, words) in (await _delivered(line, event["id"])).items():
            if notifier_id in stored:
                answers[stored[notifier_id]] = {"delivery": outcome, "delivery_words": words}
        for notifier_id, url in stored.items():
            answers[url] |= await _answers(line, url, notifier_id)
    return {
        "answers": answers,
        "reached": sorted({host for host, _ in canary.reached}),
        "asked": dict(server.asked),
    }


async def opened_urls(folder: Path) -> Any:
    """Whom a test of a notifier reaches where the operator has opened everything, by URL."""
    names = {each.name: [each.addresses] for each in NAMES if each.addresses}
    reached = {}
    allow = f"{EVERYTHING},{METADATA},localhost,10.9.9.9:6379"
    async with _name_server(names), Canary() as canary, _besieged(folder, allow=allow) as line:
        for url in OPENED:
            canary.reached.clear()
            notifier = await line.add_notifier(type_data={"webhook_url": url}, active=False)
            tested = await line.client.post(f"{NOTIFIERS}/{notifier['id']}/test")
            reached[url] = [tested.json()["delivery"]["state"], *(host for host, _ in canary.reached)]
    return reached


async def rebinding(folder: Path) -> Any:
    """Many deliveries to names that mean another address each time, past what the resolver remembers."""
    turns = {f"rebind-{number}.example.com": (_PUBLIC_THEN, _OWN_THEN)[number % 2] for number in range(20)}
    clock = ManualClock()
    outcomes: Counter[str] = Counter()
    wrong = []
    async with _name_server(turns) as server, Canary() as canary, _besieged(folder, clock=clock) as line:
        stored = await line.store_notifiers([f"http://{name}:8080/" for name in turns], like=await _good(line))
        for number in range(ROUNDS):
            event = await line.post()
            await line.until_over(event["id"], len(stored) + 1)
            params = {"event_id": event["id"], "per_page": 100}
            listed = (await line.client.get("/v1/apps/my-app/deliveries", params=params)).json()
            delivered = {each["notifier_id"]: [each["state"], each["reason"]] for each in listed["deliveries"]}
            for notifier_id, url in stored.items():
                outcome = delivered[notifier_id]
                answers = turns[url.removeprefix("http://").removesuffix(":8080/")]
                is_public = PUBLIC in answers[number % len(answers)]
                if outcome != (["delivered", None] if is_public else ["failed", "egress_blocked"]):
                    wrong.append([url, number, outcome])
                outcomes[outcome[0]] += 1
            clock.advance(31)  # longer than answers are remembered
    return {
        "outcomes": outcomes,
        "wrong": wrong,
        "reached": sorted({host for host, _ in canary.reached}),
        "asked": sorted({server.asked[name] for name in turns}),
    }


async def proxies(folder: Path) -> Any:
    """One delivery in the clear and one with TLS, where the environment names a proxy and a .netrc has passwords."""
    names = {"good.example.com": [(PUBLIC,)]}
    async with _name_server(names), Canary() as canary, _besieged(folder) as line:
        states = []
        for url in (GOOD, "http://good.example.com/", "https://good.example.com/"):
            notifier = await line.add_notifier(type_data={"webhook_url": url}, active=False)
            tested = await line.client.post(f"{NOTIFIERS}/{notifier['id']}/test")
            states.append(_outcome(tested.json()["delivery"]))
    return {
        "states": states,
        "reached": sorted(set(canary.reached)),
        "headers": [request.partition(b"\r\n\r\n")[0].decode().lower() for request in canary.requests],
    }
