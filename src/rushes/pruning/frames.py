"""The frames that video tokens belong to, and how a budget is shared among them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rushes.models.base import Grid

ROUNDING = 1e-9  # of a quota, in tokens


def one_frame(tokens: int) -> tuple[Grid, ...]:
    """The grid to use where none is known: all tokens are one row of one frame."""
    return ((1, 1, tokens),) if tokens else ()


def by_video(rows: Tensor, grids: Sequence[Grid]) -> list[Tensor]:
    """Views of (m, ...) rows as one (frames, rows, columns, ...) tensor for each video."""
    parts = rows.split([t * h * w for t, h, w in grids])
    return [part.unflatten(0, grid) for part, grid in zip(parts, grids, strict=True)]


def frame_sizes(grids: Sequence[Grid]) -> Tensor:
    """(F,) cells of every frame of all videos, in order."""
    return torch.tensor([h * w for t, h, w in grids for _ in range(t)], dtype=torch.long)


def frame_means(scores: Tensor, grids: Sequence[Grid]) -> Tensor:
    """(F,) mean of every frame's scores; a mean that is not above rounding is 0."""
    means = [video.flatten(1).double().mean(1) for video in by_video(scores, grids)]
    joined = torch.cat(means) if means else scores.new_zeros(0, dtype=torch.double)
    # z-scores of a frame add up to 0, but for rounding, which must not decide how many of its tokens stay.
    return joined.where(joined > 1e-6 * scores.abs().amax(), 0) if len(scores) else joined


def share_out(budget: int, weights: Tensor, sizes: Tensor, floor: float = 0.0) -> Tensor:
    """Share a budget among frames in proportion to weights.

    Args:
        budget: K, at most the sum of `sizes`.
        weights: (F,) non-negative; where no frame with room has a weight, the rest is shared evenly.
        sizes: (F,) tokens of each frame, its limit. What a full frame cannot take goes to the others.
        floor: 0..1, the part of the even share K / F that every frame gets (rounded down) whatever its weight.

    Returns:
        (F,) integers that add up to K, by largest remainder; among equal remainders the earlier frame is first.
    """
    room = sizes.double()
    quota = room.clamp(max=floor * budget / max(1, len(sizes)))
    while (left := budget - float(quota.sum())) > ROUNDING:
        has_room = quota < room
        weighted = weights.double() * has_room
        if float(weighted.sum()) <= 0:
            weighted = has_room.double()
        quota = torch.minimum(room, quota + left * weighted / weighted.sum())
    counts = (quota + ROUNDING).floor()
    remainders = (quota - counts).masked_fill(counts >= room, -1)
    missing = budget - int(counts.sum())
    counts[remainders.argsort(descending=True, stable=True)[:missing]] += 1
    return counts.long()


def top_of_each(scores: Tensor, sizes: Tensor, counts: Tensor) -> Tensor:
    """Ascending indices of the highest scores of each frame; among equal scores the earlier token stays.

    Args:
        scores: (m,), frame behind frame.
        sizes: (F,) tokens of each frame; they add up to m.
        counts: (F,) how many of them to keep.
    """
    frame = torch.arange(len(sizes)).repeat_interleave(sizes)
    order = scores.argsort(descending=True, stable=True)
    order = order[frame[order].argsort(stable=True)]  # frame behind frame again, each from its best to its worst
    rank = torch.arange(len(scores)) - (sizes.cumsum(0) - sizes)[frame]
    return order[rank < counts[frame]].sort().values
