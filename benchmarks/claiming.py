"""`tocsin` without the hand-over: what is stored waits to be claimed, as it does where another process sends it."""

from tocsin import wiring
from tocsin.cli import app
from tocsin.dispatch import Dispatcher
from tocsin.model import Notifier


class ClaimingDispatcher(Dispatcher):
    """Takes no slot, so that nothing is stored already leased."""

    def take_slot(self, notifier: Notifier) -> bool:  # noqa: ARG002 - it overrides
        return False


if __name__ == "__main__":
    # Not a setting, which would be there to be misused.
    wiring.Dispatcher = ClaimingDispatcher  # type: ignore[attr-defined]  # it is imported there
    app()
