"""Vision features of the draft, kept for the next request about the same video."""

from collections import OrderedDict
from collections.abc import Callable

from torch import Tensor

from rushes.models.base import Features


class FeatureStore:
    """The draft's features by vLLM's own hash of each picture or video; the least recently used ones go first.

    Args:
        budget: Bytes that may be kept.

    Attributes:
        runs, reused: How often the vision tower ran, and how often it did not have to.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.bytes = 0
        self.runs = 0
        self.reused = 0
        self._kept: OrderedDict[str, Features] = OrderedDict()

    def get(self, key: str, encode: Callable[[], Features]) -> Features:
        """The features of `key`; `encode` makes them where they are not kept. Too large ones are made and not kept."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
            self.reused += 1
            return found
        self.runs += 1
        made = encode()
        size = _bytes(made)
        if size <= self.budget:
            while self.bytes + size > self.budget:
                self.bytes -= _bytes(self._kept.popitem(last=False)[1])
            self._kept[key] = made
            self.bytes += size
        return made

    def clear(self) -> None:
        """Keep nothing."""
        self._kept.clear()
        self.bytes = 0


def _bytes(features: Features) -> int:
    parts = (features.video, features.image, features.video_deep, features.image_deep)
    return sum(part.untyped_storage().nbytes() for part in parts if isinstance(part, Tensor))
