"""Vision features of the draft, kept for the next request about the same video."""

from collections.abc import Callable

from torch import Tensor

from rushes.models.base import Features
from rushes.store import Store


class FeatureStore:
    """The draft's features by vLLM's own hash of each picture or video; the least recently used ones go first.

    Args:
        budget: Bytes that may be kept.

    Attributes:
        runs, reused: How often the vision tower ran, and how often it did not have to.
    """

    def __init__(self, budget: int) -> None:
        self.runs = 0
        self.reused = 0
        self.budget = budget
        self._store = Store(budget)

    @property
    def bytes(self) -> int:
        """What is kept now."""
        return self._store.bytes

    def get(self, key: str, encode: Callable[[], Features]) -> Features:
        """The features of `key`; `encode` makes them where they are not kept. Too large ones are made and not kept."""
        found: Features | None = self._store.get(key)
        if found is not None:
            self.reused += 1
            return found
        self.runs += 1
        made = encode()
        self._store.put(key, made, _bytes(made))
        return made

    def clear(self) -> None:
        """Keep nothing."""
        self._store.clear()


def _bytes(features: Features) -> int:
    parts = (features.video, features.image, features.video_deep, features.image_deep)
    return sum(part.untyped_storage().nbytes() for part in parts if isinstance(part, Tensor))
