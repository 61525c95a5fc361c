"""The controls without which a scorer proves nothing: all, none, evenly spaced, random."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rushes.pruning.base import top
from rushes.signals import Signal, Signals


@dataclass(frozen=True, slots=True)
class Full:
    """No pruning: every video token stays, whatever the budget."""

    needs: frozenset[Signal] = frozenset()

    def score(self, signals: Signals) -> Tensor:
        return torch.ones(signals.video_tokens)

    def select(self, scores: Tensor, budget: int) -> Tensor:
        return torch.arange(len(scores))


@dataclass(frozen=True, slots=True)
class Nothing:
    """A blind draft: every video token is dropped, whatever the budget."""

    needs: frozenset[Signal] = frozenset()

    def score(self, signals: Signals) -> Tensor:
        return torch.zeros(signals.video_tokens)

    def select(self, scores: Tensor, budget: int) -> Tensor:
        return torch.arange(0)


@dataclass(frozen=True, slots=True)
class Uniform:
    """Evenly spaced by flattened index: linspace(0, m - 1, K)."""

    needs: frozenset[Signal] = frozenset()

    def score(self, signals: Signals) -> Tensor:
        return torch.zeros(signals.video_tokens)

    def select(self, scores: Tensor, budget: int) -> Tensor:
        return evenly(torch.arange(len(scores)), budget)


@dataclass(frozen=True, slots=True)
class Random:
    """A seeded random subset."""

    seed: int = 0
    needs: frozenset[Signal] = frozenset()

    def score(self, signals: Signals) -> Tensor:
        return torch.rand(signals.video_tokens, generator=torch.Generator().manual_seed(self.seed))

    def select(self, scores: Tensor, budget: int) -> Tensor:
        return top(scores, budget)


def evenly(candidates: Tensor, count: int) -> Tensor:
    """`count` distinct entries of `candidates`, evenly spaced, the first and the last among them."""
    if count <= 0:
        return candidates[:0]
    # In integers: a float linspace can round two neighbours to one index.
    steps = torch.arange(count, device=candidates.device) * (len(candidates) - 1) // max(1, count - 1)
    return candidates[steps]
