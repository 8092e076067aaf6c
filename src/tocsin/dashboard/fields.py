"""What a form sent, by the names of its fields."""

from collections.abc import Iterable


class Fields(dict[str, str]):
    """The value of each field; of one that is named several times the last, and `all` has every one."""

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self.pairs = tuple(pairs)
        super().__init__(self.pairs)

    def all(self, name: str) -> list[str]:
        """The values of a field that may be named several times, such as checkboxes."""
        return [value for key, value in self.pairs if key == name]
