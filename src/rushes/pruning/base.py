"""What a scorer is, and how many tokens it may keep."""

import math
from typing import Protocol

from torch import Tensor

from rushes.errors import RushesError
from rushes.signals import Signal, Signals


class Scorer(Protocol):
    """Turns signals into one number for each video token, and numbers into the kept indices.

    `needs` names the signals it reads; nothing else is recorded.
    """

    @property
    def needs(self) -> frozenset[Signal]: ...

    def score(self, signals: Signals) -> Tensor:
        """(m,) scores; more is better."""
        ...

    def select(self, scores: Tensor, budget: int) -> Tensor:
        """(budget,) ascending indices of the kept tokens."""
        ...


def budget_of(keep: float, video_tokens: int) -> int:
    """K = floor(keep * m).

    Raises:
        RushesError: keep is not in 0..1.
    """
    if not 0 <= keep <= 1:
        raise RushesError(f"keep must be between 0 (no video token) and 1 (all of them), got {keep}")
    return math.floor(keep * video_tokens + 1e-9)  # 0.1 * 30 is 3, whatever binary fractions say


def top(scores: Tensor, budget: int) -> Tensor:
    """(budget,) ascending indices of the highest scores; among equal scores the earlier token stays."""
    order = scores.argsort(descending=True, stable=True)
    return order[:budget].sort().values
