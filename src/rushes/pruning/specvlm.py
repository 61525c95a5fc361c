"""SpecVLM's two-stage pruning, guided by the target's own attention (arXiv 2508.16201, section 3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rushes.errors import RushesError
from rushes.models.base import Grid
from rushes.pruning.base import Scorer, top
from rushes.pruning.controls import evenly
from rushes.signals import Signal, Signals


@dataclass(frozen=True, slots=True)
class SpecVLM(Scorer):
    """Stage I keeps what the target attends to, stage II spreads the rest of the budget evenly.

    Args:
        attention_share: lambda_r: stage I takes the shortest prefix of the sorted scores that reaches this share of
            their sum. The paper: 0.5 for Qwen2.5-VL, 0.4 for LLaVA-OneVision.
    """

    attention_share: float = 0.5
    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.TEXT_ATTENTION})

    def __post_init__(self) -> None:
        if not 0 <= self.attention_share <= 1:
            raise RushesError(f"attention_share must be between 0 and 1, got {self.attention_share}")

    def score(self, signals: Signals) -> Tensor:
        assert signals.text_attention is not None, "TEXT_ATTENTION was asked for"
        return signals.text_attention

    def select(self, scores: Tensor, budget: int, grids: Sequence[Grid] = ()) -> Tensor:
        budget = min(budget, len(scores))
        ordered = scores.sort(descending=True, stable=True).values.double()
        reached = ordered.cumsum(0) >= self.attention_share * (1 - 1e-12) * ordered.sum()
        prefix = int(reached.int().argmax()) + 1 if len(scores) and self.attention_share > 0 else 0
        attended = top(scores, min(prefix, budget))
        rest = torch.ones(len(scores), dtype=torch.bool, device=scores.device)
        rest[attended] = False
        spread = evenly(rest.nonzero().squeeze(1), budget - len(attended))
        return torch.cat([attended, spread]).sort().values
