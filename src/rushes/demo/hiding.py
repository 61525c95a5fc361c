"""Hide video tokens of a batch, as pruning will: what the draft learns from, so that a pruned prompt is nothing new."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from rushes.demo.data import IGNORE, Batch

SHARES = (0.04, 0.1, 0.1, 0.1, 0.1, 0.2, 0.3, 0.6)  # of the tokens that stay; a tenth more often


def hide(batch: Batch, rng: np.random.Generator, pad: int) -> Batch:
    """The same conversations with fewer video tokens; every token that stays keeps its own position.

    Args:
        batch: With every video token.
        rng: Decides for each conversation: all, none, or an even or random share.
        pad: Token id for the columns that become free on the right.
    """
    size, length = batch.input_ids.shape
    stays = torch.ones(size, length, dtype=torch.bool)
    seen = torch.ones(len(batch.video_slots), dtype=torch.bool)
    for row in range(size):
        tokens = (batch.video_slots[:, 0] == row).nonzero().squeeze(1)
        kept = torch.zeros(len(tokens), dtype=torch.bool)
        kept[torch.from_numpy(_kept(len(tokens), rng))] = True
        seen[tokens] = kept
        stays[row, batch.video_slots[tokens[~kept], 1]] = False
    longest = int(stays.sum(1).max())
    order = (~stays).to(torch.uint8).argsort(dim=1, stable=True)[:, :longest]
    free = ~stays.gather(1, order)

    def squeeze(values: Tensor, fill: int) -> Tensor:
        return values.gather(1, order).masked_fill(free, fill)

    rows, columns = batch.video_slots[seen].unbind(1)
    moved = (stays.cumsum(1) - 1)[rows, columns]
    return replace(
        batch,
        input_ids=squeeze(batch.input_ids, pad),
        labels=squeeze(batch.labels, IGNORE),
        scene_of=squeeze(batch.scene_of, IGNORE),
        asking=batch.asking.gather(1, order) & ~free,
        positions=torch.stack([squeeze(p, 0) for p in batch.positions]),
        video_slots=torch.stack([rows, moved], dim=1),
        video_rows=batch.video_rows[seen],
    )


def _kept(count: int, rng: np.random.Generator) -> np.ndarray:
    """Ascending indices of the tokens that stay."""
    kind = rng.random()
    if kind < 0.2:
        return np.arange(count)
    if kind < 0.28:
        return np.arange(0)
    few = max(1, round(count * float(rng.choice(SHARES))))
    if kind < 0.64:
        return np.unique(np.linspace(0, count - 1, few).astype(np.int64))
    return np.sort(rng.permutation(count)[:few])
