"""The heavy parts of Tocsin, imported at their first use: `tocsin --help` needs none of them.

This is the one place for it; commands use these names as they would the modules.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = ["demo", "doctor", "operate", "server", "sqlite", "verification", "wiring"]


class _Deferred:
    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module(self._name), attribute)


if TYPE_CHECKING:
    from tocsin import server, wiring
    from tocsin.cli import demo, doctor, operate
    from tocsin.platforms import verification
    from tocsin.store import sqlite
else:
    demo = _Deferred("tocsin.cli.demo")
    doctor = _Deferred("tocsin.cli.doctor")
    operate = _Deferred("tocsin.cli.operate")
    server = _Deferred("tocsin.server")
    sqlite = _Deferred("tocsin.store.sqlite")
    verification = _Deferred("tocsin.platforms.verification")
    wiring = _Deferred("tocsin.wiring")
