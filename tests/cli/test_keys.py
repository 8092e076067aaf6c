"""Changing the key of secrets with the commands that an operator types, beside a running server and without."""

import base64
import os
import re
import stat
from pathlib import Path

import httpx
import pytest

from tests.processes import Installation

NEW = base64.b64encode(os.urandom(32)).decode()


@pytest.fixture
def installation(tmp_path: Path):
    made = Installation(tmp_path)
    yield made
    made.end()


def add_secrets(installation: Installation, token: str) -> tuple[str, dict[str, str]]:
    """An app with a notifier and a variable; answers with the notifier's path and the headers that sign in."""
    headers = {"authorization": f"Bearer {token}"}
    with httpx.Client(base_url=installation.url, headers=headers) as client:
        client.post("/v1/apps", json={"app": {"name": "shop"}}).raise_for_status()
        platforms = client.get("/v1/notification_platforms").json()["notification_platforms"]
        platform_id = next(each["id"] for each in platforms if each["name"] == "webhook")
        given = {
            "platform_id": platform_id,
            "name": "ops",
            "type_data": {"webhook_url": "http://127.0.0.1:9999/canary"},
        }
        added = client.post("/v1/apps/shop/notifiers", json={"notifier": given})
        added.raise_for_status()
        return f"/v1/apps/shop/notifiers/{added.json()['notifier']['id']}", headers


def look(installation: Installation, path: str, headers: dict[str, str]) -> tuple[str, str]:
    """The notifier's address and signing secret."""
    with httpx.Client(base_url=installation.url, headers=headers) as client:
        notifier = client.get(path).json()["notifier"]
        return notifier["type_data"]["webhook_url"], client.get(f"{path}/secret").json()["secret"]


@pytest.mark.xdist_group("a running server")
def test_keys_are_changed_without_losing_a_secret_a_link_or_a_bearer_token(installation: Installation) -> None:
    old = installation.environment["TOCSIN_SECRET_KEY"]
    token = installation.add_user()
    installation.serve()
    path, headers = add_secrets(installation, token)
    before = look(installation, path, headers)
    exchanged = httpx.post(f"{installation.url}/v1/tokens/exchange", auth=("", token)).json()["token"]
    installation.stop()
    for process in installation.processes:
        process.environment["TOCSIN_SECRET_KEY"] = f"2026:{NEW},{old}"
    installation.environment["TOCSIN_SECRET_KEY"] = f"2026:{NEW},{old}"
    installation.serve()
    assert look(installation, path, headers) == before
    assert look(installation, path, {"authorization": f"Bearer {exchanged}"}) == before
    told = installation.run("keys", "rotate")
    # The notifier and the default one of its app: settings and signing secret of each.
    assert told == "4 secrets were sealed anew; all are sealed with the key 2026"
    assert installation.run("keys", "rotate").startswith("0 secrets")
    installation.stop()
    for process in installation.processes:
        process.environment["TOCSIN_SECRET_KEY"] = f"2026:{NEW}"
    installation.serve()
    assert look(installation, path, headers) == before


def test_a_new_key_comes_first_in_the_key_file(installation: Installation) -> None:
    del installation.environment["TOCSIN_SECRET_KEY"]
    installation.add_user()
    file = installation.folder / "tocsin.db.key"
    before = file.read_text().strip()
    key_id = installation.run("keys", "add")
    assert re.fullmatch("[0-9a-f]{8}", key_id)
    new, _, old = file.read_text().strip().partition(",")
    assert (new != old, old) == (True, before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert key_id in installation.run("keys", "rotate")


def test_without_its_key_file_a_database_is_not_opened(installation: Installation) -> None:
    del installation.environment["TOCSIN_SECRET_KEY"]
    installation.add_user()
    installation.run("app", "add", "shop", "--owner", "alice")
    (installation.folder / "tocsin.db.key").rename(installation.folder / "kept")
    with pytest.raises(AssertionError, match="put it back into TOCSIN_SECRET_KEY, or into the key file"):
        installation.run("user", "add", "bob", "--email", "bob@example.com")
    (installation.folder / "kept").replace(installation.folder / "tocsin.db.key")
    installation.run("user", "add", "bob", "--email", "bob@example.com")


def test_a_key_of_the_environment_is_not_added_to_a_file(installation: Installation) -> None:
    with pytest.raises(AssertionError, match="put the new one first there, as in NEW,OLD"):
        installation.run("keys", "add")
