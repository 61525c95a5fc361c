"""What a scorer is, and how many tokens it may keep."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from rushes.errors import RushesError
from rushes.models.base import Grid
from rushes.signals import Signal, Signals, When


class Scorer(ABC):
    """Turns signals into one number for each video token, and numbers into the kept indices: pure functions of tensors.

    Attributes:
        needs: The signals that it reads; nothing else is recorded.
        per_layer: Scores and selects for each layer of the target, which only self-speculation can use.
    """

    needs: ClassVar[frozenset[Signal]] = frozenset()
    per_layer: ClassVar[bool] = False

    @property
    def ready(self) -> When:
        """The stage of the target's prefill behind which all of its signals exist."""
        return max((signal.when for signal in self.needs), default=When.VISION)

    def early_layer(self, depth: int) -> int:
        """Behind how many of the target's `depth` layers it wants EARLY_STATES."""
        return 0

    def check(self, grids: Sequence[Grid]) -> None:
        """Refuse a video that the parameters do not fit.

        Raises:
            RushesError: With what would fit.
        """
        return

    def budget(self, keep: float, video_tokens: int) -> int:
        """K, the number of tokens to keep out of m."""
        return budget_of(keep, video_tokens)

    @abstractmethod
    def score(self, signals: Signals) -> Tensor:
        """(m,) scores, or (layers, m); more is better."""

    def select(self, scores: Tensor, budget: int, grids: Sequence[Grid] = ()) -> Tensor:
        """(K,) ascending indices of the kept tokens, or (layers, K).

        Args:
            scores: From `score`.
            budget: K.
            grids: The cells of each video; without them all tokens are one frame.
        """
        return top(scores, budget)


def budget_of(keep: float, video_tokens: int) -> int:
    """K = floor(keep * m).

    Raises:
        RushesError: keep is not in 0..1, or leaves less than one token without being 0.
    """
    if not 0 <= keep <= 1:
        raise RushesError(f"keep must be between 0 (no video token) and 1 (all of them), got {keep}")
    budget = math.floor(keep * video_tokens + 1e-9)  # 0.1 * 30 is 3, whatever binary fractions say
    if keep > 0 and video_tokens > 0 and budget == 0:
        least = math.ceil(1e4 / video_tokens) / 1e4
        raise RushesError(
            f"keep {keep:g} of {video_tokens} video tokens is less than one; "
            f"give {least:g} or more, or 0 for a draft that sees no video"
        )
    return budget


def top(scores: Tensor, budget: int) -> Tensor:
    """(..., budget) ascending indices of the highest scores; among equal scores the earlier token stays."""
    order = scores.argsort(dim=-1, descending=True, stable=True)
    return order[..., :budget].sort(dim=-1).values
