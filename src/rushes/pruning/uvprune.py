"""ParallelVLM's UV-Prune (arXiv 2603.19610)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.linalg import vector_norm
from torch.nn.functional import normalize

from rushes.errors import RushesError
from rushes.pruning.base import Scorer
from rushes.signals import Signal, Signals, States

ROWS_AT_ONCE = 512  # in fp32, so that a long video in half precision is never copied as a whole


@dataclass(frozen=True, slots=True)
class UVPrune(Scorer):
    """The tokens that grow most like the text behind the video in the target's early layers (`methods.md` section 4).

    Token i scores `sum_j sum_l (S_ij^l - S_ij^(l-1))`, where `S_ij^l` is the cosine of its hidden state and text
    token j's behind layer l. The sum over l telescopes, so that the states of two depths suffice. Hidden states have
    no attention sink: nothing favours the first and the last frames.

    Args:
        layers: L, the last of the early layers; None for a quarter of the target's depth (our reading).
    """

    layers: int | None = None
    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.EARLY_STATES})

    def __post_init__(self) -> None:
        if self.layers is not None and self.layers < 1:
            raise RushesError(f"layers must be 1 or more, got {self.layers}")

    def early_layer(self, depth: int) -> int:
        """Behind how many of the target's `depth` layers it wants EARLY_STATES.

        Raises:
            RushesError: The target has fewer layers than `layers`.
        """
        if self.layers is None:
            return max(1, depth // 4)
        if self.layers > depth:
            raise RushesError(f"layers {self.layers} is more than the target has; give 1 to {depth}")
        return self.layers

    def score(self, signals: Signals) -> Tensor:
        if signals.early_states is None:  # no video, or no text behind it to grow alike
            return torch.zeros(signals.video_tokens)
        before, behind = signals.early_states
        return likeness(behind) - likeness(before)


def likeness(states: States) -> Tensor:
    """(m,) fp32 `sum_j cos(V_i, X_j)`: one product with the sum of the normalised text states."""
    text = normalize(states.text.float(), dim=-1).sum(0)
    parts = [_cosine_sums(rows.float(), text) for rows in states.video.split(ROWS_AT_ONCE)]
    return torch.cat(parts)


def _cosine_sums(rows: Tensor, text: Tensor) -> Tensor:
    return rows @ text / vector_norm(rows, dim=-1).clamp_min(1e-12)  # a row of zeros is like nothing
