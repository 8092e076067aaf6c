"""Platforms: every file in this folder that defines a concrete `Platform` is one; nothing else lists them."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from tocsin.platforms.base import HttpPlatform, MailPlatform, Platform


def load_platforms() -> Mapping[str, Platform]:
    """One instance of each platform found in this folder, by name and in the order of names."""
    return index_platforms(
        platform_class()
        for found in pkgutil.iter_modules(__path__, f"{__name__}.")
        for platform_class in _platforms_of(found.name)
    )


def index_platforms(platforms: Iterator[Platform]) -> Mapping[str, Platform]:
    """Platforms by name, in order. Raises ValueError when two share a name or an id."""
    by_name: dict[str, Platform] = {}
    ids: set[str] = set()
    for platform in platforms:
        if platform.name in by_name or platform.id in ids:
            raise ValueError(f"two platforms are called {platform.name} or have the id {platform.id}")
        by_name[platform.name] = platform
        ids.add(platform.id)
    return MappingProxyType(dict(sorted(by_name.items())))


def _platforms_of(module_name: str) -> Iterator[type[Platform]]:
    module = importlib.import_module(module_name)
    for _, member in inspect.getmembers(module, inspect.isclass):
        is_own = member.__module__ == module_name
        if is_own and issubclass(member, HttpPlatform | MailPlatform) and not inspect.isabstract(member):
            yield member
