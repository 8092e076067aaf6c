"""What a mutant is."""

import msgspec


class Mutant(msgspec.Struct, frozen=True):
    """`path` is below the package, `old` stands there once, and `tests` are pytest's node ids."""

    name: str
    path: str
    old: str
    new: str
    tests: tuple[str, ...]
