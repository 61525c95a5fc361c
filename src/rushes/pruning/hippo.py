"""HIPPO's semantic-aware token preservation (arXiv 2601.08273)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rushes.errors import RushesError, unknown_name
from rushes.models.base import Grid
from rushes.pruning.base import Scorer
from rushes.pruning.frames import by_video, frame_means, frame_sizes, one_frame, share_out, top_of_each
from rushes.pruning.locality import novelty_and_complexity
from rushes.pruning.normalisers import NORMALISERS
from rushes.signals import Signal, Signals

NEIGHBOURS = ["previous", "next"]
CROP = 4


@dataclass(frozen=True, slots=True)
class Hippo(Scorer):
    """What the text asks about, what moves and what is rich in detail, frame by frame (`methods.md` section 3).

    Each of the three is normalised inside its frame; the fused score is their weighted sum. A frame's share of the
    budget grows with its mean fused score. Which crops, neighbour, normaliser, weights and floor the paper uses could
    not be found: the defaults are our reading.

    Args:
        weights: Of relevance (attention of the text over the video alone), temporal novelty and spatial complexity;
            they sum to 1.
        crop: Side of the crops that complexity looks at, in cells of the merged grid; None for 4, or for the whole
            frame where that is smaller.
        neighbour: The frame that novelty compares with, "previous" or "next"; the first or last takes the other one.
        normaliser: "minmax", "zscore", "rank" or "none", inside each frame. After "zscore" all frames have the same
            mean, so that they share the budget evenly; after "none" the largest of the three rules the sum.
        floor: 0..1, the part of an even share of the budget that is guaranteed to every frame.
    """

    weights: tuple[float, ...] = (1 / 3, 1 / 3, 1 / 3)
    crop: int | None = None
    neighbour: str = "previous"
    normaliser: str = "minmax"
    floor: float = 0.5
    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.VISUAL_ATTENTION, Signal.FEATURES})

    def __post_init__(self) -> None:
        if len(self.weights) != 3 or not all(weight >= 0 for weight in self.weights):
            raise RushesError(
                f"weights must be three numbers of 0 or more (relevance, novelty, complexity), got {self.weights}"
            )
        if not math.isclose(sum(self.weights), 1, abs_tol=1.5e-3):  # thirds may be written with three digits
            raise RushesError(f"weights must sum to 1, got {self.weights} with a sum of {sum(self.weights):g}")
        if self.crop is not None and self.crop < 1:
            raise RushesError(f"crop must be 1 cell or more, got {self.crop}")
        if self.neighbour not in NEIGHBOURS:
            raise unknown_name("neighbour", self.neighbour, NEIGHBOURS)
        if self.normaliser not in NORMALISERS:
            raise unknown_name("normaliser", self.normaliser, list(NORMALISERS))
        if not 0 <= self.floor <= 1:
            raise RushesError(f"floor must be between 0 and 1, got {self.floor}")

    def check(self, grids: Sequence[Grid]) -> None:
        for _, h, w in grids:
            if self.crop is not None and self.crop > min(h, w):
                raise RushesError(
                    f"crop {self.crop} is larger than a frame of {h} x {w} cells; give {min(h, w)} or less"
                )

    def score(self, signals: Signals) -> Tensor:
        if signals.video_tokens == 0:
            return torch.zeros(0)
        assert signals.features is not None, "FEATURES was asked for"
        grids = signals.grids or one_frame(signals.video_tokens)
        crop, to_next = self.crop or CROP, self.neighbour == "next"
        fused = []
        for relevance, cells in zip(
            by_video(self._relevance(signals), grids), by_video(signals.features, grids), strict=True
        ):
            kinds = (relevance.float(), *novelty_and_complexity(cells, crop, to_next=to_next))
            normalised = [NORMALISERS[self.normaliser](kind.flatten(1)) for kind in kinds]
            parts = [weight * kind.flatten() for weight, kind in zip(self.weights, normalised, strict=True)]
            fused.append(parts[0] + parts[1] + parts[2])
        return torch.cat(fused)

    def _relevance(self, signals: Signals) -> Tensor:
        """(m,) how much the text asks about each token."""
        assert signals.visual_attention is not None, "VISUAL_ATTENTION was asked for"
        return signals.visual_attention

    def select(self, scores: Tensor, budget: int, grids: Sequence[Grid] = ()) -> Tensor:
        grids = grids or one_frame(len(scores))
        here = scores.cpu()  # the shares are integers that the host needs, and (m,) numbers are few
        sizes = frame_sizes(grids)
        counts = share_out(min(budget, len(here)), frame_means(here, grids), sizes, self.floor)
        return top_of_each(here, sizes, counts).to(scores.device)


@dataclass(frozen=True, slots=True)
class LocalHippo(Hippo):
    """HIPPO without relevance, for a target whose attention is out of reach: what moves and what is rich in detail.

    Args:
        weights: As Hippo's; the first one must be 0, and is shared by the others by default.
    """

    weights: tuple[float, ...] = (0.0, 0.5, 0.5)
    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.FEATURES})

    def __post_init__(self) -> None:
        Hippo.__post_init__(self)
        if self.weights[0] != 0:
            raise RushesError(
                f"the weight of relevance must be 0 where nothing shows what the text attends to, got {self.weights}"
            )

    def _relevance(self, signals: Signals) -> Tensor:
        return torch.zeros(signals.video_tokens)
