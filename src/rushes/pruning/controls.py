"""The controls without which a scorer proves nothing: all, none, evenly spaced, random."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rushes.errors import RushesError
from rushes.models.base import Grid
from rushes.pruning.base import Scorer
from rushes.signals import Signals


@dataclass(frozen=True, slots=True)
class Full(Scorer):
    """No pruning: every video token stays, whatever the budget."""

    def budget(self, keep: float, video_tokens: int) -> int:
        return video_tokens

    def score(self, signals: Signals) -> Tensor:
        return torch.ones(signals.video_tokens)

    def select(self, scores: Tensor, budget: int, grids: Sequence[Grid] = ()) -> Tensor:
        return torch.arange(len(scores))


@dataclass(frozen=True, slots=True)
class Nothing(Scorer):
    """A blind draft: every video token is dropped, whatever the budget."""

    def budget(self, keep: float, video_tokens: int) -> int:
        return 0

    def score(self, signals: Signals) -> Tensor:
        return torch.zeros(signals.video_tokens)

    def select(self, scores: Tensor, budget: int, grids: Sequence[Grid] = ()) -> Tensor:
        return torch.arange(0)


@dataclass(frozen=True, slots=True)
class Uniform(Scorer):
    """Evenly spaced by flattened index: linspace(0, m - 1, K)."""

    def score(self, signals: Signals) -> Tensor:
        return torch.zeros(signals.video_tokens)

    def select(self, scores: Tensor, budget: int, grids: Sequence[Grid] = ()) -> Tensor:
        return evenly(torch.arange(len(scores)), budget)


@dataclass(frozen=True, slots=True)
class Random(Scorer):
    """A seeded random subset."""

    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise RushesError(f"seed must be between 0 and {2**63 - 1}, got {self.seed}")

    def score(self, signals: Signals) -> Tensor:
        return torch.rand(signals.video_tokens, generator=torch.Generator().manual_seed(self.seed))


def evenly(candidates: Tensor, count: int) -> Tensor:
    """`count` distinct entries of `candidates`, evenly spaced, the first and the last among them."""
    if count <= 0:
        return candidates[:0]
    # In integers: a float linspace can round two neighbours to one index.
    steps = torch.arange(count, device=candidates.device) * (len(candidates) - 1) // max(1, count - 1)
    return candidates[steps]
