"""Ways to make scores of different kinds comparable, inside each frame."""

from collections.abc import Callable

import torch
from torch import Tensor

FLAT = 1e-6  # a frame that varies by less than this part of its largest score is constant: the rest is rounding


def minmax(scores: Tensor) -> Tensor:
    """From 0, the frame's lowest, to 1, its highest; a constant frame gives 0."""
    low, high = scores.aminmax(dim=1, keepdim=True)
    return _divide(scores - low, high - low, high)


def zscore(scores: Tensor) -> Tensor:
    """Standard deviations above the frame's mean; a constant frame gives 0."""
    centred = scores - scores.mean(1, keepdim=True)
    return _divide(centred, centred.square().mean(1, keepdim=True).sqrt(), scores.amax(1, keepdim=True))


def rank(scores: Tensor) -> Tensor:
    """The share of the frame's other cells that score lower, so that equals rank alike; a constant frame gives 0."""
    lower = torch.searchsorted(scores.sort(1).values, scores.contiguous())
    return lower / max(1, scores.shape[1] - 1)


def none(scores: Tensor) -> Tensor:
    """As they are."""
    return scores


# (frames, cells) non-negative scores to the same shape.
NORMALISERS: dict[str, Callable[[Tensor], Tensor]] = {"minmax": minmax, "zscore": zscore, "rank": rank, "none": none}


def _divide(scores: Tensor, spread: Tensor, high: Tensor) -> Tensor:
    flat = spread <= FLAT * high
    return (scores / spread.masked_fill(flat, 1)).masked_fill(flat, 0)
