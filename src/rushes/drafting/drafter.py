"""What a drafter is."""

from typing import Protocol

from rushes.drafting.state import DraftState
from rushes.window import Window


class Drafter(Protocol):
    """Writes candidates behind the last emitted token."""

    @property
    def gamma(self) -> int: ...

    @property
    def own(self) -> bool:
        """The target drafts for itself; there is no second model."""
        ...

    @property
    def max_nodes(self) -> int:
        """Most candidates in one window: the slots that both caches must have spare."""
        ...

    def draft(self, state: DraftState, limit: int) -> Window:
        """A window that can accept at most `limit` tokens."""
        ...
