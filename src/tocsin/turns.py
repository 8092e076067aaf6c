"""Round robin in two levels: over apps, then over what each app has waiting. Every member costs the same."""

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """A line in which an app stands once, however much it has waiting."""

    __slots__ = ("lines",)

    def __init__(self) -> None:
        self.lines: dict[str, deque[T]] = {}
        """By app, in turn. Empty when nobody waits."""

    def add(self, app_id: str, member: T) -> None:
        """Let a member wait behind the others of its app; an app that has none waiting comes last."""
        line = self.lines.get(app_id)
        if line is None:
            self.lines[app_id] = deque((member,))
        else:
            line.append(member)

    def pop(self, may: Callable[[str], bool] | None = None) -> T | None:
        """The member whose turn it is, of the first app that `may`; that app's next turn comes after the others'."""
        app_id = next((each for each in self.lines if may is None or may(each)), None)
        if app_id is None:
            return None
        line = self.lines.pop(app_id)
        member = line.popleft()
        if line:
            self.lines[app_id] = line
        return member
