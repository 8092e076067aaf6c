"""What the doctor looks at when the database is a file: the file itself, its disk, and what lies beside it."""

import os
import stat
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path

import msgspec

from tocsin.clock import SystemClock
from tocsin.doctor.finding import MADE_AT, Check, Finding, look
from tocsin.ids import first_hex_id
from tocsin.keyring import parse_keys
from tocsin.settings import Settings
from tocsin.store.sqlite.database import database_path, filesystem_of, prepare_folder
from tocsin.store.sqlite.examination import (
    FIRST_SOUND_VERSION,
    examine_database,
    examine_durability,
    sqlite_version,
)
from tocsin.store.sqlite.space import measure_room

CLOCK_TOLERANCE = timedelta(minutes=1)


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """What the checks look at. `server` is what a running server says of itself, None when there is none."""

    settings: Settings
    path: Path
    server: str | None

    @property
    def has_database(self) -> bool:
        return self.path.exists()


def list_checks(settings: Settings, ask_server: Check) -> Mapping[str, Check]:
    """The checks by name, in the order in which they are shown. Raises ConfigError for a URL that names no file."""
    path = database_path(settings.database_url)
    server = look(ask_server)
    said = server.text if server.level == "ok" else None
    scene = Scene(settings=settings, path=path, server=said)
    if said == "":
        server = Finding("ok", "not running")
    return {"server": lambda: server, **{name: partial(check, scene) for name, check in _CHECKS.items()}}


def _database(scene: Scene) -> Finding:
    if scene.path.parent.is_dir():
        prepare_folder(scene.path)  # which is there, so that this only checks it
    elif not os.access(above := _nearest_folder(scene.path.parent), os.W_OK | os.X_OK):
        return Finding("FAIL", f"{scene.path.parent} cannot be made: no right to write in {above}")
    if not scene.has_database:
        return Finding("ok", f"{scene.path} is not there yet: the first start makes it")
    facts = examine_database(scene.path)
    if facts.damage is not None:
        return Finding("FAIL", f"{scene.path} is damaged: {facts.damage}; restore a backup")
    kind = filesystem_of(scene.path.parent.resolve())
    return Finding("ok", f"{scene.path} is whole" + (f", on {kind}" if kind else ""))


def _schema(scene: Scene) -> Finding:
    if not scene.has_database:
        return Finding("ok", "there is none yet")
    facts = examine_database(scene.path)
    if facts.is_current:
        return Finding("ok", "current")
    if facts.is_newer:
        return Finding("FAIL", "made by a newer Tocsin: upgrade this one")
    if scene.server:
        return Finding("FAIL", "not current although a server runs: is it of another version? Restart it")
    return Finding("warn", "not current: tocsin migrate, or the next start, sees to it")


def _durability(scene: Scene) -> Finding:
    if not scene.has_database:
        return Finding("ok", "there is no database yet")
    # A running server was asked about its own connection, which is the one that counts.
    problem = None if scene.server else examine_durability(scene.path)
    return Finding("FAIL", problem) if problem else Finding("ok", "commits are synced (wal, synchronous = FULL)")


def _sqlite(_scene: Scene) -> Finding:
    version = ".".join(map(str, sqlite_version()))
    if sqlite_version() >= FIRST_SOUND_VERSION:
        return Finding("ok", version)
    sound = ".".join(map(str, FIRST_SOUND_VERSION))
    return Finding(
        "warn",
        f"{version} can damage a database that two connections write at once (mended in {sound}); "
        "Tocsin writes through one, so let no other program write to its file",
    )


def _disk(scene: Scene) -> Finding:
    room = measure_room(_nearest_folder(scene.path))
    text = f"{room.free / (1 << 30):.1f} GiB free ({room.free / room.total:.0%})"
    least = f"{room.reserve / (1 << 20):.0f} MiB"
    if room.is_short:
        return Finding("FAIL", f"{text}: Tocsin accepts nothing until {least} are free, and keeps the rest to deliver")
    if room.free < 2 * room.reserve:
        return Finding("warn", f"{text}: with less than {least} Tocsin accepts nothing")
    return Finding("ok", text)


def _nearest_folder(path: Path) -> Path:
    return next(folder for folder in path.absolute().parents if folder.is_dir())


def _key(scene: Scene) -> Finding:
    if scene.settings.secret_key is not None:
        parse_keys(scene.settings.secret_key)
        return Finding("ok", "from TOCSIN_SECRET_KEY")
    path = scene.path.with_name(f"{scene.path.name}.key")
    if not path.exists():
        if scene.has_database:
            return Finding("FAIL", f"{path} is missing: without it no secret can be read, so put it back")
        return Finding("ok", f"{path} is not there yet: the first start makes it")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return Finding("FAIL", f"{path} can be read by others (mode {mode:04o}): chmod 600 {path}")
    parse_keys(path.read_text(encoding="utf-8", errors="replace").strip())
    return Finding("ok", f"{path} is for its owner alone")


def _clock(scene: Scene) -> Finding:
    now = SystemClock().now()
    if now < MADE_AT:
        return Finding("FAIL", f"it says {now:%Y-%m-%d %H:%M} UTC, which is long past: set the clock")
    newest = examine_database(scene.path).newest_event_id if scene.has_database else None
    if newest is not None and newest > first_hex_id(now + CLOCK_TOLERANCE):
        return Finding("warn", f"it says {now:%Y-%m-%d %H:%M} UTC, but the newest event is later: was it set back?")
    return Finding("ok", f"{now:%Y-%m-%d %H:%M} UTC")


_CHECKS: Mapping[str, Callable[[Scene], Finding]] = {
    "database": _database,
    "schema": _schema,
    "durability": _durability,
    "sqlite": _sqlite,
    "disk": _disk,
    "key": _key,
    "clock": _clock,
}
